"""What every image metric asks of its two arguments."""

from __future__ import annotations

import numpy as np


def check_images(images: np.ndarray, name: str = "images") -> None:
    """Raises ValueError unless ``images`` is [B, H, W, 3] uint8 with H, W >= 1."""
    if not isinstance(images, np.ndarray):
        raise ValueError(f"{name} must be a numpy array, got {type(images).__name__}")
    if images.dtype != np.uint8:
        raise ValueError(f"{name} must be uint8, got {images.dtype}; round and clip to 0..255")
    if images.ndim != 4 or images.shape[-1] != 3 or 0 in images.shape[1:]:
        raise ValueError(f"{name} must be [B, H, W, 3], got {list(images.shape)}")


def check_pair(reference: np.ndarray, image: np.ndarray) -> None:
    """Raises ValueError unless both are [B, H, W, 3] uint8 of one shape."""
    check_images(reference, "reference")
    check_images(image, "image")
    if reference.shape != image.shape:
        raise ValueError(
            f"reference and image must have one shape, got {list(reference.shape)} and {list(image.shape)}"
        )
