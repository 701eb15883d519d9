"""Pixel metrics: MSE and PSNR of RGB pictures on the 0..255 scale."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim.metric.pair import check_pair

PEAK = 255.0


def mse(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Mean squared error over all samples of an image, exact: squares are summed as integers.

    Args:    both [B, H, W, 3] uint8.
    Returns: [B] float64, 0..255^2.
    """
    check_pair(reference, image)
    total = np.zeros(len(reference), np.int64)
    for b in range(len(reference)):
        error = reference[b].astype(np.int32) - image[b]
        total[b] = np.sum(error * error, dtype=np.int64)
    return total / np.prod(reference.shape[1:], dtype=np.int64)


def psnr(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image, 10 log10(255^2 / MSE).

    An image without any error gets the highest value that an image with an error can have, that of one sample off by
    one: 10 log10(255^2 * 3HW), 95.0 dB at 128x128. So means, intervals and axes stay finite.

    Args:    both [B, H, W, 3] uint8.
    Returns: [B] float64, dB.
    """
    least = 1.0 / np.prod(reference.shape[1:], dtype=np.float64)
    return 10.0 * np.log10(PEAK**2 / np.maximum(mse(reference, image), least))


@dataclass(frozen=True)
class Mse:
    """Mean squared error, RGB, 0..255 scale."""

    unit = ""
    higher_is_better = False
    averaging = "mean of images"

    def __call__(self, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Args: both [B, H, W, 3] uint8. Returns: [B] float64."""
        return mse(reference, image)


@dataclass(frozen=True)
class Psnr:
    """Peak signal-to-noise ratio, RGB, data range 255, per image.

    The mean over images of this is not the PSNR of the mean MSE: the two differ by decibels, and tables name both.
    """

    unit = "dB"
    higher_is_better = True
    averaging = "mean of images"

    def __call__(self, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Args: both [B, H, W, 3] uint8. Returns: [B] float64, dB; finite for identical images (see ``psnr``)."""
        return psnr(reference, image)
