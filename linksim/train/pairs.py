"""Stereo pairs to train on: from files, and made of single photographs.

A pair is one array, the left view beside the right. Mirrored as a whole it is again a pair.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linksim.errors import ImageError
from linksim.train.data import contents, decoded

NEAR, FAR = 30.0, 0.5  # shift of the nearest and the farthest things [pixels of a view 256 wide]


def read_pairs(paths: list[Path], height: int) -> np.ndarray:
    """Views named ``*_L`` and ``*_R``. Returns: [N, height, 4 height, 3] uint8. Raises ImageError."""
    views: dict[str, dict[str, np.ndarray]] = {}
    for name, data in contents(paths):
        stem = name.rpartition(".")[0]
        if stem[-2:] not in ("_L", "_R"):
            raise ImageError(f"{name} is no view of a pair; name the views *_L and *_R")
        image = np.asarray(decoded(data, name))
        if image.shape != (height, 2 * height, 3):
            raise ImageError(
                f"{name} is {image.shape[1]}x{image.shape[0]}, but size {height} means views of "
                f"{2 * height}x{height}"
            )
        views.setdefault(stem[:-2], {})[stem[-1]] = image
    for stem, pair in views.items():
        if len(pair) < 2:
            raise ImageError(f"{stem}_{next(iter(pair))} has no partner")
    return np.stack([np.concatenate([v["L"], v["R"]], 1) for v in views.values()])


def synthetic_pairs(
    paths: list[Path], height: int, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Views of an invented scene: a photograph on a ground plane, with things that stand nearer.

    Shifts keep the range and the layout of a road scene (near below, far above); what is hidden in one view is not
    modelled, and brightness and noise differ a little between the views.

    Returns: [count, height, 4 height, 3] uint8.
    """
    from PIL import Image

    names = list(contents(paths))
    width, margin = 2 * height, height // 2
    pairs = np.zeros((count, height, 2 * width, 3), np.uint8)
    current = -1
    for i in range(count):
        index = i * len(names) // count
        if index != current:
            picture, current = decoded(names[index][1], names[index][0]), index
        ratio = (width + margin) / height
        most = min(picture.height, picture.width / ratio)
        tall = float(np.exp(rng.uniform(np.log(min(0.5 * most, height)), np.log(most))))
        x = rng.uniform(0, picture.width - tall * ratio)
        y = rng.uniform(0, picture.height - tall)
        box = (int(x), int(y), int(x + tall * ratio), int(y + tall))
        scene = np.asarray(
            picture.resize((width + margin, height), Image.Resampling.LANCZOS, box=box), np.float32
        )
        left = scene[:, :width]
        right = _shifted(scene, _shifts(height, width, rng))
        gain = np.exp(rng.normal(0, 0.04, 3)).astype(np.float32)
        right = right * gain + rng.normal(0, 1.5, right.shape).astype(np.float32)
        pairs[i] = np.clip(np.rint(np.concatenate([left, right], 1)), 0, 255)
    return pairs


def _shifts(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Shift of every pixel of the right view, [height, width] >= 0."""
    scale = width / 256
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    horizon = rng.uniform(0.2, 0.6) * height
    slope = rng.uniform(0.3, 1.0) * NEAR * scale / height
    shift = rng.uniform(FAR, 4.0) * scale + np.maximum(y - horizon, 0) * slope
    walls = np.abs(x - width / 2) / width * rng.uniform(0, 12) * scale
    shift = np.maximum(shift, walls)
    for _ in range(int(rng.integers(1, 6))):
        w, h = rng.uniform(0.05, 0.3) * width, rng.uniform(0.1, 0.6) * height
        at_x, at_y = rng.uniform(-w / 2, width - w / 2), rng.uniform(0, height - h / 2)
        inside = (x >= at_x) & (x < at_x + w) & (y >= at_y) & (y < at_y + h)
        shift = np.where(inside, np.maximum(shift, rng.uniform(2, NEAR) * scale), shift)
    return shift


def _shifted(scene: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """right(x) = scene(x + shift), linear in between."""
    height, width = shift.shape
    place = np.clip(np.arange(width)[None, :] + shift, 0, scene.shape[1] - 1.001)
    low = place.astype(int)
    part = (place - low)[..., None].astype(np.float32)
    rows = np.arange(height)[:, None]
    return scene[rows, low] * (1 - part) + scene[rows, low + 1] * part
