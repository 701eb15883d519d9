"""The one style table: what every system looks like in every figure.

Colours are Okabe and Ito's (2008) and Tol's (2021) muted ones, told apart under the common colour blindnesses; marker
and line style differ too, so that a figure also reads in grey.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

COLUMN_WIDTH = 3.5  # inches, one column of a two-column paper
PAGE_WIDTH = 7.16
DPI = 250

RC: dict[Any, Any] = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "axes.grid": True,
    "grid.color": "0.88",
    "grid.linewidth": 0.5,
    "axes.axisbelow": True,
    "lines.linewidth": 1.2,
    "lines.markersize": 4,
    "svg.hashsalt": "linksim",
    "svg.fonttype": "path",
}


@dataclass(frozen=True)
class Style:
    """How a curve is drawn. Args: as matplotlib names them."""

    color: str
    marker: str
    linestyle: Any = "-"


KNOWN = {
    "vvc": Style("#0072B2", "o"),
    "hevc": Style("#56B4E9", "s"),
    "avif": Style("#44AA99", "D", "--"),
    "jpeg2000": Style("#999933", "^", "--"),
    "jpeg": Style("#8C8C8C", "v", "--"),
    "softcast": Style("#E69F00", "P", "-."),
    "ntscc": Style("#D55E00", "*"),
    "ntscc-perceptual": Style("#CC3311", "X", "--"),
    "deepjscc": Style("#CC79A7", "p"),
    "ntc": Style("#009E73", "h"),
    "ntc-perceptual": Style("#117733", "H", "--"),
    "token": Style("#882255", "<"),
    "neural-dsc": Style("#332288", ">"),
}

_SPARE = [
    Style(color, marker, line)
    for line in ((0, (3, 1, 1, 1)), ":", (0, (5, 2)))
    for color, marker in (
        ("#AA4499", "d"),
        ("#117733", "H"),
        ("#6699CC", "8"),
        ("#661100", "1"),
        ("#DDAA33", "2"),
        ("#000000", "."),
        ("#BB5566", "3"),
        ("#004488", "4"),
    )
]
_VARIANT_LINES: tuple[Any, ...] = (
    "-",
    "--",
    ":",
    "-.",
    (0, (3, 1, 1, 1)),
    (0, (4, 1, 1, 1, 1, 1)),
)


def styles(labels: Sequence[str]) -> dict[str, Style]:
    """A style for each system label.

    Known systems always look the same. A label that begins with a known one ("vvc-slower", "ntscc 4 dB") keeps its
    colour and marker with a line style of its own; any other takes a spare style by the hash of its name, the next free
    one where two meet.
    """
    found: dict[str, Style] = {}
    for label in sorted(set(labels)):
        base = _known(label)
        if base == label.lower():
            found[label] = KNOWN[base]
            continue
        options = _SPARE
        if base is not None:
            options = [replace(KNOWN[base], linestyle=line) for line in _VARIANT_LINES[1:]]
        start = int.from_bytes(hashlib.blake2b(label.encode(), digest_size=4).digest(), "big")
        order = [options[(start + i) % len(options)] for i in range(len(options))]
        taken = set(found.values())
        found[label] = next((style for style in order if style not in taken), order[0])
    return {label: found[label] for label in labels}


def variant(style: Style, index: int) -> Style:
    """The style of a system's curve number ``index`` where an axis splits it into several."""
    lines = [style.linestyle, *(x for x in _VARIANT_LINES if x != style.linestyle)]
    return replace(style, linestyle=lines[index % len(lines)])


def _known(label: str) -> str | None:
    """The known system that a label is, or is a variant of: the longest that it begins with, up to a word's end."""
    text = label.lower()
    fits = [n for n in KNOWN if text == n or (text.startswith(n) and not text[len(n)].isalnum())]
    return max(fits, key=len, default=None)


@contextmanager
def house_style() -> Iterator[None]:
    """Matplotlib settings of all our figures, for the length of a ``with`` block."""
    import matplotlib

    with matplotlib.rc_context(RC):
        yield
