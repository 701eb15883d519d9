"""A figure's page: axes above, then the legend, then the caption; saving with reproducible bytes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linksim.atomic import write_atomically
from linksim.figure.style import COLUMN_WIDTH, DPI, PAGE_WIDTH, house_style
from linksim.results.manifest import guarded

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_LINE = 0.105  # inches, a line of the caption
_LEGEND_LINE = 0.132  # inches
_CAPTION_SIZE = 6


def new_page(rows: int, columns: int, panel_height: float = 2.1) -> tuple[Figure, list[list[Axes]]]:
    """A figure of ``rows`` x ``columns`` panels that share their axes; one column wide, or a page if there are more."""
    from matplotlib.figure import Figure

    width = COLUMN_WIDTH if columns == 1 else PAGE_WIDTH
    figure = Figure(figsize=(width, rows * panel_height), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    return figure, [list(line) for line in panels]


def finish_page(figure: Figure, entries: Sequence[tuple[Any, str]], caption: str) -> None:
    """Put legend and caption below the axes, in room of their own.

    Args: entries: (artist, label) of the legend; may be empty.
    """
    width, height = figure.get_size_inches()
    text = textwrap.wrap(" ".join(caption.split()), int(width * 21.5))
    longest = max((len(label) for _, label in entries), default=1)
    columns = max(1, min(len(entries), int(width / (0.35 + 0.062 * longest))))
    lines = -(-len(entries) // columns)
    legend_height = lines * _LEGEND_LINE + (0.08 if lines else 0.05)
    below = legend_height + len(text) * _LINE + 0.06
    total = height + below
    figure.set_size_inches(width, total)
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, below / total, 1, 1 - below / total))  # type: ignore[call-arg]
    if entries:
        figure.legend(
            [artist for artist, _ in entries],
            [label for _, label in entries],
            loc="upper center",
            bbox_to_anchor=(0.5, below / total),
            ncols=columns,
            frameon=False,
            borderpad=0.2,
            labelspacing=0.25,
            columnspacing=1.2,
            handlelength=2.4,
        )
    figure.text(
        0.02,
        (below - legend_height) / total,
        "\n".join(text),
        fontsize=_CAPTION_SIZE,
        color="0.35",
        va="top",
        linespacing=1.15,
    )


def save(figure: Figure, folder: Path, name: str) -> list[Path]:
    """Write ``name``.png and ``name``.svg; the same figure gives the same bytes.

    Raises: RunStateError: if they cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    paths = []
    with house_style():
        # Laid out once, for both formats; the layout is most of the work.
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # or every saving lays out again
    with house_style(), guarded(folder, f"write {name} to"):
        for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
            buffer = BytesIO()
            figure.savefig(buffer, format=kind, dpi=DPI, metadata=metadata)
            path = folder / f"{name}.{kind}"
            write_atomically(path, buffer.getvalue())
            paths.append(path)
    return paths


def caption(manifest: dict[str, Any], table: Any, what: str) -> str:
    """Image set, sample size, failure policy and what the marks mean."""
    from linksim.results.table import failure_policy

    images = describe_images(manifest)
    sent = table[table["num_images"].fillna(0) > 0]
    size = _span([int(n) for n in sent["num_images"]])
    repeats = _span([round(n) for n in sent["num_frames"] / sent["num_images"]])
    if repeats != "1":
        size += f" x {repeats} realisations"
    policy = {
        "mean-grey": "a failed image is shown, and scored, as mean grey",
        "good-prefix": "a failed image is decoded from what came before the first error, else mean grey",
        "exclude": "failed images are left out of the means",
    }
    name = failure_policy(manifest)
    return f"{what} {images}, N = {size} a point; {policy.get(name, f'failure policy: {name}')}."


def describe_images(manifest: dict[str, Any]) -> str:
    """The image set in a few words."""
    scenario = manifest.get("scenario") or {}
    images = scenario.get("images")
    if isinstance(images, dict):
        text = str(images.get("source") or images.get("plugin") or "images")
        place = images.get("path") or images.get("folder") or images.get("file")
        return f"Images: {text}" + (f" {Path(str(place)).name}" if place else "")
    return f"Images: {images}" if images else "Images"


def _span(counts: Sequence[int]) -> str:
    least, most = min(counts, default=0), max(counts, default=0)
    return str(least) if least == most else f"{least}-{most}"
