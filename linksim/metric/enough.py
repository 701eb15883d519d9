"""The sample rule of set metrics: no distance from too few images."""

from __future__ import annotations

import numpy as np

MIN_IMAGES = 500


def check_enough(name: str, min_images: int, reference: np.ndarray, features: np.ndarray) -> None:
    """Raises ValueError unless both sets hold at least ``min_images`` rows."""
    count = min(len(reference), len(features))
    if count < min_images:
        raise ValueError(
            f"{name} needs at least {min_images} images, got {count}: the distance is biased by the number of samples; "
            f"take more images, or force it with min_images: {count} and compare only at equal numbers"
        )


def check_min_images(min_images: int) -> None:
    """Raises ValueError unless a covariance can be taken."""
    if min_images < 2:
        raise ValueError(f"min_images must be at least 2, got {min_images}")
