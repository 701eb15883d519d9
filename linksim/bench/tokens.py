"""The token codec: pictures to packets, some lost, and pictures again; beside the learned codec in one piece."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from linksim import registry
from linksim.bench.measure import interleaved, row
from linksim.bench.pictures import photos
from linksim.errors import ComponentError, MissingAssetError
from linksim.seeds import FrameSeeds
from linksim.types import Delivered

PACKETS = 10
OVERHEAD = 4  # bytes of header and check in each packet
LOSS = 0.2
BUDGET = 256  # bytes a picture: 0.125 bpp at 128x128


def rows(smoke: bool) -> list[dict[str, Any]]:
    """The section's rows."""
    from linksim.codec.tokens import CONCEALMENTS, Layout, Packed, TokenCodec

    count, rounds = (2, 1) if smoke else (32, 5)
    images = photos(count)
    height, width = images.shape[1:3]
    codec = TokenCodec()
    try:
        codec.tokenise(images[:1])
    except (ComponentError, MissingAssetError):
        return []
    base = Layout(height // 16, width // 16, PACKETS, stages=codec.stages)
    seeds = FrameSeeds.of(1, count)
    lost = seeds.child("loss").uniform(PACKETS) < LOSS

    def encode() -> tuple[list[Packed], list[Layout]]:
        tokens = codec.tokenise(images)
        found = codec.fit(tokens, base, [BUDGET] * count, OVERHEAD)
        layouts = [base if layout is None else layout for layout in found]
        return codec.pack(tokens, layouts), layouts

    def both(how: Any) -> np.ndarray:
        packed, layouts = encode()
        arrived = [
            [None if gone else data for data, gone in zip(row.bodies, mask, strict=True)]
            for row, mask in zip(packed, lost, strict=True)
        ]
        reads = codec.unpack(arrived, layouts)
        return codec.conceal(reads, layouts, height, width, seeds, how)

    ntc = registry.create("codecs", "ntc")

    def whole(decode: bool) -> None:
        sent = ntc.encode(images, np.full(count, 8 * BUDGET, np.int64))
        if decode:
            data = tuple(tuple(p.data for p in row) for row in sent.of)
            ntc.decode(Delivered(data, tuple((True,) * len(row) for row in data)))

    stages = {"encode": encode, "ntc encode": lambda: whole(False), "ntc": lambda: whole(True)}
    stages |= {how: lambda h=how: both(h) for how in CONCEALMENTS}  # type: ignore[misc]
    seconds = interleaved(stages, rounds, clock=time.perf_counter)
    what = f"{height}x{width}, {BUDGET} bytes in {PACKETS} packets"
    found = [
        row(
            f"tokens encode to a budget, {what}",
            "images/s",
            count / seconds["encode"],
            "ntc encode to the same bytes",
            count / seconds["ntc encode"],
        )
    ]
    for how in CONCEALMENTS:
        found.append(
            row(
                f"tokens encode + decode with {LOSS:.0%} of packets lost, {how}, {what}",
                "images/s",
                count / seconds[how],
                "ntc encode + decode without loss",
                count / seconds["ntc"],
            )
        )
    return found
