"""A Fréchet distance on LPIPS features, for where the Inception weights are not: its own measure, never called FID."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim.metric.enough import MIN_IMAGES, check_enough, check_min_images
from linksim.metric.frechet import frechet_distance
from linksim.metric.lpips import locate_weights, pooled_features, weights_digest


@dataclass(frozen=True)
class FrechetLpipsAlex:
    """Fréchet distance to the originals on pooled LPIPS-alex features; not FID, and not comparable with it.

    The features are the five taps of LPIPS (unit length over channels, each channel times the root of its LPIPS
    weight), averaged over space: 1152 numbers an image.

    Args: min_images: fewer are refused; lower it to force a value, and compare such values only at equal N.
    Raises: MissingAssetError: when made without its weights on this machine.
    """

    min_images: int = MIN_IMAGES

    unit = ""
    higher_is_better = False
    averaging = "whole set"
    extractor = "lpips-alex-pooled"

    def __post_init__(self) -> None:
        check_min_images(self.min_images)
        locate_weights("alex")

    def features(self, images: np.ndarray) -> np.ndarray:
        """Args: [B, H, W, 3] uint8, at least 31 px. Returns: [B, 1152] float32."""
        return pooled_features("alex", images)

    def weights_digest(self) -> str:
        """What the features are made with (see linksim.metric.kept)."""
        return weights_digest("alex")

    def distance(self, reference: np.ndarray, features: np.ndarray) -> float:
        """Args: [N, 1152] and [M, 1152]. Returns: the distance. Raises: ValueError: fewer than min_images rows."""
        check_enough("frechet-lpips-alex", self.min_images, reference, features)
        return frechet_distance(reference, features)
