"""Golden outputs of distributed coding's weights: what packets made once must decode to, on any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linksim.train.golden import block_means, golden_picture

SHARE = 0.6  # of what all indices of the picture cost
MODES = ("separate", "distributed", "joint")


def _pictures(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its side information, as the weights' task has them: halves, or a picture and its shifted self."""
    from linksim.codec.dsc import engine

    whole = golden_picture()
    if engine(str(path)).cfg.mirror:
        return whole[:64], whole[64:]
    return whole, np.roll(whole, 6, axis=1)


def _digest(index: Sequence[np.ndarray]) -> str:
    content = b"".join(grid.astype("<i2").tobytes() for grid in index)
    return hashlib.sha256(content).hexdigest()


def _encoded(path: Path, mode: Any) -> bytes:
    from linksim.codec.dsc import Dsc

    image, side = _pictures(path)
    codec = Dsc(str(path), mode)
    budget = np.array([int(SHARE * 5 * image.size / 192) // 8 * 8])
    seen = side[None] if mode == "joint" else None
    return codec.encode(image[None], budget, seen).of[0][0].data


def _decoded(path: Path, mode: Any, data: bytes) -> tuple[list[np.ndarray] | None, np.ndarray]:
    from linksim.codec.dsc import Dsc
    from linksim.types import Delivered

    image, side = _pictures(path)
    codec = Dsc(str(path), mode)
    height, width = image.shape[:2]
    index = codec.indices([data], height, width)[0]
    shown = codec.decode(Delivered(((data,),), ((True,),)), height, width, side[None]).images[0]
    return index, np.zeros_like(image) if shown is None else shown


def golden(path: Path) -> list[dict[str, Any]]:
    """Packets, digests of their indices, block means of the pictures, in every mode."""
    entries = []
    for mode in MODES:
        data = _encoded(path, mode)
        index, picture = _decoded(path, mode, data)
        assert index is not None
        entries.append(
            {
                "mode": mode,
                "packet": data.hex(),
                "indices_sha256": _digest(index),
                "block_means": block_means(picture),
            }
        )
    return entries


def differences(path: Path, entries: list[dict[str, Any]]) -> list[str]:
    """Where packets no longer decode to the same indices and pictures, or cost over 2 % more or less."""
    found = []
    for entry in entries:
        what, data = f"mode {entry['mode']}", bytes.fromhex(entry["packet"])
        index, picture = _decoded(path, entry["mode"], data)
        if index is None:
            found.append(f"{what}: the packet does not decode")
            continue
        if _digest(index) != entry["indices_sha256"]:
            found.append(f"{what}: the packet decodes to other indices")
        error = np.abs(np.subtract(block_means(picture), entry["block_means"])).max()
        if error >= 0.1:
            found.append(f"{what}: block means are off by up to {error:.2f}")
        size = len(_encoded(path, entry["mode"]))
        if abs(size - len(data)) > max(3, 0.02 * len(data)):
            found.append(f"{what}: encoding takes {size} bytes instead of {len(data)}")
    return found
