"""The picture that golden outputs are made of."""

from __future__ import annotations

import numpy as np


def golden_picture() -> np.ndarray:
    """A fixed picture, 128x128x3 uint8: ramps, an edge and a texture, in integer arithmetic."""
    y, x = np.mgrid[0:128, 0:128]
    planes = [(2 * x) % 256, 255 - (x + y), ((x // 8 + y // 8) % 2) * 96 + y // 2]
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def block_means(picture: np.ndarray) -> list[float]:
    """Means over 16x16 blocks of a picture [H, W, 3], row by row, rounded to 0.01."""
    height, width, channels = picture.shape
    blocks = picture.astype(np.float64).reshape(height // 16, 16, width // 16, 16, channels)
    return np.round(blocks.mean((1, 3)), 2).reshape(-1).tolist()
