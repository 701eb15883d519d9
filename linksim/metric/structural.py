"""Structural metrics: SSIM and MS-SSIM of RGB pictures, data range 255.

Both use an 11x11 Gaussian window of sigma 1.5, K1 = 0.01, K2 = 0.03, population (not sample) variances, and only
windows that lie wholly inside the picture; each channel is scored alone and the three scores are averaged.

Source: Wang, Bovik, Sheikh, Simoncelli (2004); Wang, Simoncelli, Bovik (2003).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from linksim.metric.pair import check_pair

WINDOW = 11
SIGMA = 1.5
C1 = (0.01 * 255) ** 2
C2 = (0.03 * 255) ** 2
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. (2003), Sec. 3.2


@cache
def _taps() -> np.ndarray:
    at = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-0.5 * (at / SIGMA) ** 2)
    return taps / taps.sum()


def _scores(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """SSIM and its contrast-structure factor, each the mean over windows.

    Args:    both [H, W, C] float64, H and W at least 11.
    Returns: two [C].
    """
    from linksim.metric.ssim_kernel import window_sums

    height, width, channels = x.shape
    rows = (height, width * channels)
    full, structure = window_sums(x.reshape(rows), y.reshape(rows), channels, _taps(), C1, C2)
    windows = (height - WINDOW + 1) * (width - WINDOW + 1)
    return full / windows, structure / windows


def _halve(x: np.ndarray) -> np.ndarray:
    """[H, W, C] -> [ceil(H/2), ceil(W/2), C]: means of 2x2 samples, the last row or column repeated if odd."""
    if x.shape[0] % 2 or x.shape[1] % 2:
        x = np.pad(x, ((0, x.shape[0] % 2), (0, x.shape[1] % 2), (0, 0)), mode="edge")
    return (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2]) / 4


def num_scales(height: int, width: int) -> int:
    """How many of the five scales an image has room for: the window must fit the smallest (5 from 161 px on).

    0 where even the picture itself is smaller than the window.
    """
    side, scales = min(height, width), 0
    while scales < len(WEIGHTS) and side >= WINDOW:
        side, scales = -(-side // 2), scales + 1
    return scales


def ssim(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Structural similarity of each image; NaN for images smaller than the window (11 px).

    Args:    both [B, H, W, 3] uint8.
    Returns: [B] float64, at most 1.
    """
    check_pair(reference, image)
    found = np.full(len(reference), np.nan)
    if num_scales(*reference.shape[1:3]):
        for b in range(len(reference)):
            full, _ = _scores(reference[b].astype(np.float64), image[b].astype(np.float64))
            found[b] = full.mean()
    return found


def ms_ssim(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Multi-scale structural similarity of each image; NaN for images smaller than the window (11 px).

    Images under 161 px use the finest scales that they have room for (``num_scales``; 4 at 128x128), with those scales'
    weights divided by their sum: values of such images are not comparable with five-scale ones.
    A negative contrast-structure mean counts as 0, as in the common implementations.

    Args:    both [B, H, W, 3] uint8.
    Returns: [B] float64, 0..1.
    """
    check_pair(reference, image)
    scales = num_scales(*reference.shape[1:3])
    found = np.full(len(reference), np.nan)
    if not scales:
        return found
    weights = np.array(WEIGHTS[:scales])
    weights /= weights.sum()
    for b in range(len(reference)):
        x, y = reference[b].astype(np.float64), image[b].astype(np.float64)
        product = np.ones(3)
        for scale, weight in enumerate(weights):
            full, structure = _scores(x, y)
            last = scale == scales - 1
            product *= np.maximum(full if last else structure, 0) ** weight
            if not last:
                x, y = _halve(x), _halve(y)
        found[b] = product.mean()
    return found


@dataclass(frozen=True)
class Ssim:
    """Structural similarity, RGB, 11x11 Gaussian window."""

    unit = ""
    higher_is_better = True
    averaging = "mean of images"

    def __call__(self, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Args: both [B, H, W, 3] uint8. Returns: [B] float64; NaN below 11 px."""
        return ssim(reference, image)


@dataclass(frozen=True)
class MsSsim:
    """Multi-scale structural similarity, RGB; fewer scales below 161 px."""

    unit = ""
    higher_is_better = True
    averaging = "mean of images"

    def __call__(self, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Args: both [B, H, W, 3] uint8. Returns: [B] float64; NaN below 11 px."""
        return ms_ssim(reference, image)
