"""Pictures for the codec's tests."""

from __future__ import annotations

import numpy as np


def pictures(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Smooth random pictures with some texture, [count, height, width, 3] uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 64.0
    phase = rng.random((count, 3, 4, 1, 1)) * 6.3
    speed = rng.normal(0, 2.5, (count, 3, 4, 2, 1, 1))
    waves = np.sin(speed[:, :, :, 0] * x + speed[:, :, :, 1] * y + phase).sum(2)
    noise = rng.normal(0, 0.15, (count, 3, height, width))
    return np.clip(128 + 40 * (waves + noise), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
