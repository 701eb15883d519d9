"""The inner loop of SSIM in numba, fused so that a picture is read once: several times faster than map by map.

Apart from linksim.metric.structural so that this is imported at the first score: numba takes a while to load.
"""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, error_model="numpy", nogil=True)
def window_sums(
    x: np.ndarray, y: np.ndarray, channels: int, taps: np.ndarray, c1: float, c2: float
) -> tuple[np.ndarray, np.ndarray]:
    """Sums of SSIM and of its contrast-structure factor over all windows that fit.

    Args:
      x, y:   [H, W*C] float64, channels interleaved.
      taps:   [K], the window along one axis; it is separable and sums to 1.
      c1, c2: stabilising constants.
    Returns: two [C] float64.
    """
    size = len(taps)
    height, width = x.shape
    out = width - (size - 1) * channels
    # Only the sum of both variances enters, so four maps are blurred, not five: x, y, xy, x^2 + y^2.
    down = np.empty((4, width))
    mean = np.empty((4, out))
    full = np.zeros(out)
    structure = np.zeros(out)
    for top in range(height - size + 1):
        down[:] = 0.0
        for k in range(size):
            tap = taps[k]
            a = x[top + k]
            b = y[top + k]
            for j in range(width):
                down[0, j] += tap * a[j]
                down[1, j] += tap * b[j]
                down[2, j] += tap * (a[j] * b[j])
                down[3, j] += tap * (a[j] * a[j] + b[j] * b[j])
        mean[:] = 0.0
        for k in range(size):
            tap = taps[k]
            shift = k * channels
            for i in range(4):
                for j in range(out):
                    mean[i, j] += tap * down[i, j + shift]
        for j in range(out):
            product = mean[0, j] * mean[1, j]
            squares = mean[0, j] * mean[0, j] + mean[1, j] * mean[1, j]
            factor = (2.0 * (mean[2, j] - product) + c2) / (mean[3, j] - squares + c2)
            structure[j] += factor
            full[j] += factor * ((2.0 * product + c1) / (squares + c1))
    full_sum = np.zeros(channels)
    structure_sum = np.zeros(channels)
    for j in range(out):
        full_sum[j % channels] += full[j]
        structure_sum[j % channels] += structure[j]
    return full_sum, structure_sum
