"""Source codecs: pictures coded, decoded and measured per second, cold and from the ladder's cache.

The reference is the plain way: one picture at a time, the encoder called once for each operating point. A learned codec
has no ladder; it is measured by the picture, against itself one picture at a time.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from types import SimpleNamespace
from typing import Any

import numpy as np

from linksim import registry
from linksim.bench.measure import interleaved, row
from linksim.bench.pictures import photos
from linksim.errors import ComponentError, MissingAssetError
from linksim.types import Delivered

_FASTER = {"vvc": {"preset": "fast"}}  # the quickstart's
_SAMPLED = 12  # rungs that the reference codes of each picture
_PLENTY = 1 << 30  # bits


def rows(smoke: bool) -> list[dict[str, Any]]:
    """The section's rows."""
    count, size, rounds = (1, 32, 1) if smoke else (4, 128, 3)
    found = []
    for name in registry.entries("codecs"):
        try:
            codec = registry.create("codecs", {"name": name, **_FASTER.get(name, {})})
            if hasattr(codec, "qualities"):
                codec = dataclasses.replace(codec, ladder="full")
            codec.min_bits(size, size)
        except (ComponentError, MissingAssetError):
            continue
        measure = _ladder if hasattr(codec, "qualities") else _learned
        found += measure(name, codec, count, size, rounds)
    return found


def _ladder(name: str, codec: Any, count: int, size: int, rounds: int) -> list[dict[str, Any]]:
    """Wall time: encoders run as processes and threads of their own. Pictures are others in every round."""
    points = [(scale, q) for scale, qs in codec.qualities().items() for q in qs]
    plain = [q for scale, q in points if scale == 1]
    plain = plain[:: max(1, len(plain) // _SAMPLED)]
    budget = np.full(count, _PLENTY, np.int64)
    times: dict[str, list[float]] = {"cold": [], "plain": [], "warm": []}
    codec.encode(photos(1, size, seed=99), budget[:1])  # processes and tables that are made once
    for turn in range(rounds):
        images = photos(count, size, seed=100 + turn)
        start = time.perf_counter()
        codec.encode(images, budget)
        times["cold"].append((time.perf_counter() - start) / (count * len(points)))
        start = time.perf_counter()
        codec.encode(images, budget)
        times["warm"].append((time.perf_counter() - start) / count)
        start = time.perf_counter()
        for quality in plain:
            _one(codec, images[:1], quality)
        times["plain"].append((time.perf_counter() - start) / len(plain))
    seconds = {key: statistics.median(taken) for key, taken in times.items()}
    return [
        row(
            f"{name} ladder, {size}x{size}",
            "rungs/s",
            1 / seconds["cold"],
            "one picture a call, one core",
            1 / seconds["plain"],
        ),
        row(
            f"{name} from the cache, {size}x{size}",
            "images/s",
            1 / seconds["warm"],
            "encoding the ladder",
            1 / (seconds["cold"] * len(points)),
        ),
    ]


def _one(codec: Any, images: np.ndarray, quality: int) -> None:
    """One operating point of one picture: coded, decoded, measured."""
    ((payload, note),) = codec.compress(list(images), quality)
    height, width = images.shape[1:3]
    header = SimpleNamespace(height=height, width=width, coded=(height, width), scale=1, note=note)
    shown = codec.decompress(payload, header, True)
    np.mean((images[0].astype(np.float32) - shown) ** 2)


def _learned(name: str, codec: Any, count: int, size: int, rounds: int) -> list[dict[str, Any]]:
    images = photos(4 * count, size)
    budget = np.full(len(images), size * size // 2, np.int64)  # 0.5 bits a pixel
    packets = codec.encode(images, budget)
    data = tuple(tuple(p.data for p in of) for of in packets.of)
    sent = Delivered(data, tuple((True,) * len(of) for of in data))

    def decode_singly() -> None:
        for b in range(len(images)):
            codec.decode(Delivered(sent.packets[b : b + 1], sent.ok[b : b + 1]))

    def encode_singly() -> None:
        for b in range(len(images)):
            codec.encode(images[b : b + 1], budget[:1])

    found = []
    for what, batch, single in (
        ("encode", lambda: codec.encode(images, budget), encode_singly),
        ("decode", lambda: codec.decode(sent), decode_singly),
    ):
        seconds = interleaved({"batch": batch, "single": single}, rounds, clock=time.perf_counter)
        found.append(
            row(
                f"{name} {what}, {size}x{size}",
                "images/s",
                len(images) / seconds["batch"],
                "one picture at a time",
                len(images) / seconds["single"],
            )
        )
    return found
