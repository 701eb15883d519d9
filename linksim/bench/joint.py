"""Joint coders: pictures to symbols and back, beside the transform alone that they cannot do without."""

from __future__ import annotations

from typing import Any

import numpy as np

from linksim import registry
from linksim.bench.measure import interleaved, row
from linksim.bench.pictures import photos
from linksim.errors import ComponentError, MissingAssetError
from linksim.seeds import FrameSeeds
from linksim.types import Delivered, Received, TxKnowledge


def rows(smoke: bool) -> list[dict[str, Any]]:
    """The section's rows."""
    from scipy.fft import dctn, idctn

    count, rounds = (2, 1) if smoke else (16, 7)
    images = photos(count)
    height, width = images.shape[1:3]
    uses = np.full(count, 3 * height * width // 24, np.int64)
    tx = TxKnowledge(np.full(count, 4.0))
    planes = images.astype(np.float64).transpose(0, 3, 1, 2)
    found = []
    for name in registry.entries("joints"):
        try:
            coder = registry.create("joints", name)
        except (ComponentError, MissingAssetError):
            continue
        payload = coder.encode(images, uses, tx)
        noise = FrameSeeds.of(1, count).complex_normal(payload.symbols.x.shape[1])
        y = (payload.symbols.x + np.float32(0.6) * noise).astype(np.complex64)
        packets = payload.packets.of if payload.packets is not None else ((),) * count
        sent = Delivered(
            tuple(tuple(p.data for p in row) for row in packets),
            tuple((True,) * len(row) for row in packets),
            Received(y, np.ones((count, 1), np.complex64), 0.36),
        )
        for what, ours, floor in (
            ("encode", lambda c=coder: c.encode(images, uses, tx), dctn),
            ("decode", lambda c=coder, s=sent: c.decode(s), idctn),
        ):
            seconds = interleaved(
                {
                    "ours": ours,
                    "transform": lambda f=floor: f(planes, axes=(-2, -1), norm="ortho"),  # type: ignore[misc]
                },
                rounds,
            )
            found.append(
                row(
                    f"{name} {what}, {height}x{width}, CBR 1/24",
                    "images/s",
                    count / seconds["ours"],
                    f"SciPy's {floor.__name__} of the planes alone",
                    count / seconds["transform"],
                )
            )
    return found
