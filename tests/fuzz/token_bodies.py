"""Any bytes as bodies of token packets, in every context mode, where no check stands before the codec."""

from __future__ import annotations

import importlib
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from linksim.codec.token_layout import Layout, padded
from linksim.codec.tokens import CONCEALMENTS, TokenCodec
from linksim.seeds import FrameSeeds

SIZE = (40, 60)
PRIORS = ("transformer", "transformer", "transformer", "order-0", "none")
EVERY = 5  # inputs are drawn as a picture, too


def _small():
    """tests/tokens_small.py, also where a campaign runs this file outside of pytest."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    try:
        return importlib.import_module("tokens_small")
    finally:
        sys.path.pop()


@cache
def _codecs() -> dict[str, TokenCodec]:
    weights = _small().write(Path(tempfile.mkdtemp(prefix="linksim-fuzz-")))
    return {prior: TokenCodec(weights, prior) for prior in PRIORS}


@cache
def _layouts() -> tuple[Layout, ...]:
    stages = _codecs()["none"].stages
    grid = padded(*SIZE)
    made = [Layout(*grid, 4, "random", d, t, stages) for d, t in ((4, 40), (1, 40), (2, 7))]
    made.append(Layout(*grid, 3, "raster", 3, 48, stages))
    made.append(Layout(*grid, 3, "random", 1, 14, stages, sent=6))
    made.append(Layout(*grid, 4, "random", 4, 20, stages, base=1))
    return tuple(made)


@cache
def seeds() -> list[bytes]:
    """Bodies of every layout, each behind its length."""
    stages = _codecs()["none"].stages
    tokens = np.random.default_rng(1).integers(0, 32, (1, *padded(*SIZE), stages)).astype(np.int16)
    found = []
    for layout in _layouts():
        bodies = _codecs()["transformer"].pack(tokens, [layout])[0].bodies
        found.append(b"".join(bytes([len(body)]) + body for body in bodies))
        read = _codecs()["transformer"].unpack([[None] * layout.packets], [layout])
        # compiles what draws pictures
        _codecs()["transformer"].conceal(read, [layout], *SIZE, FrameSeeds.of(0, 1))
    return found


def run(data: bytes, number: int, folder: Path) -> None:
    """One input: duplicated, reordered, foreign and missing packets among them."""
    layout = _layouts()[number % len(_layouts())]
    prior = PRIORS[number // len(_layouts()) % len(PRIORS)] if not layout.sent else "transformer"
    codec = _codecs()[prior]
    bodies: list[bytes | None] = []
    at = 0
    while at < len(data) and len(bodies) < 300:
        bodies.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    if number % 7 == 0:
        bodies = bodies[::-1] + bodies[:2]
    if number % 11 == 0:
        bodies = [None if i == number % 3 else body for i, body in enumerate(bodies)]
    if number % 13 == 0:
        bodies = [data] * layout.packets
    heads = (np.arange(layout.packets) % 3 == number % 3) & (number % 5 == 0)
    read = codec.unpack([bodies], [layout], [heads])[0]
    assert read.index.shape == (layout.rows, layout.columns, layout.stages)
    assert read.decodable.shape == (layout.packets,)
    assert read.index.min() >= -1 and read.index.max() < 32
    known = (read.index >= 0).sum()
    assert known <= layout.tokens and (known > 0) >= read.decodable.any()
    assert not (read.decodable & heads & (layout.base > 0)).any()
    if not (heads.any() and layout.base):
        assert (known > 0) == read.decodable.any()
    if number % EVERY == 0:
        how = CONCEALMENTS[number // EVERY % len(CONCEALMENTS)]
        one = FrameSeeds.of(number, 1)
        shown = _codecs()["transformer"].conceal([read], [layout], *SIZE, one, how, 2, samples=2)
        assert shown.shape == (1, *SIZE, 3)
