"""Joint coders: pictures to symbols and back, beside the transform alone that they cannot do without.

The learned ones also there and back, wall time, beside one encoding of a picture by VVC in the same run.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from linksim import registry
from linksim.bench.measure import interleaved, row
from linksim.bench.pictures import photos
from linksim.errors import ComponentError, MissingAssetError
from linksim.seeds import FrameSeeds
from linksim.types import Delivered, Received, TxKnowledge

UPDATES, REFINE = 1, 50  # times and steps, as in scenarios/distortion.yaml and refined.yaml


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
            (height, width),
        )
        if any(image is None for image in coder.decode(sent).images):
            raise SystemExit(
                f"{name} shows no picture of what it sent; its time would mean nothing"
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
    return found + _beside_vvc(smoke)


def _beside_vvc(smoke: bool) -> list[dict[str, Any]]:
    """NTSCC there and back at batch 32 and 1, with fewer updates, and refined, against VVC's encoder.

    VVC encodes one picture at one QP, preset medium.

    Wall time: the encoder is a process of its own, on one thread; NTSCC has all cores.
    """
    count, rounds, qp = (2, 1, 40) if smoke else (32, 5, 32)
    try:
        plain = registry.create("joints", "ntscc")
        updated = registry.create("joints", {"name": "ntscc", "updates": UPDATES})
        refined = registry.create("joints", {"name": "ntscc", "refine": REFINE})
        vvc: Any = registry.create("codecs", {"name": "vvc", "preset": "medium"})
    except (ComponentError, MissingAssetError):
        return []
    images = photos(count)
    height, width = images.shape[1:3]
    turn = 0

    def there_and_back(batch: int, coder: Any = plain) -> None:
        given = images[:batch]
        uses = np.full(batch, 3 * height * width // 24, np.int64)
        payload = coder.encode(given, uses, TxKnowledge(np.full(batch, 4.0)), 0)
        received = Received(payload.symbols.x, np.ones((batch, 1), np.complex64), 0.4)
        packets = ((),) * batch
        coder.decode(Delivered(packets, packets, received, (height, width)))

    def encode() -> None:
        nonlocal turn
        turn += 1  # another picture every time
        vvc.compress([images[turn % count]], qp)

    seconds = interleaved(
        {
            "batch": lambda: there_and_back(count),
            "one": lambda: there_and_back(1),
            "updated": lambda: there_and_back(count, updated),
            "refined": lambda: there_and_back(count, refined),
            "vvc": encode,
        },
        rounds,
        clock=time.perf_counter,
        least=0.0 if smoke else 0.5,
    )
    reference = f"one VVC encode, medium, QP {qp}"
    return [
        row(
            f"ntscc{how} there and back, {height}x{width}, batch {batch}",
            "images/s",
            batch / seconds[name],
            reference,
            1 / seconds["vvc"],
        )
        for name, batch, how in (
            ("batch", count, ""),
            ("one", 1, ""),
            ("updated", count, f", {UPDATES} update,"),
            ("refined", count, f", refined by {REFINE} steps,"),
        )
    ]
