"""FID and KID: distances between sets of pictures in the features of the 2015-12-05 Inception graph.

The reference set is the originals. Both depend on the number of images (FID is biased by it) and on the resize, which
is the graph's own; report N beside them.

Not verified: the weights were not at hand when this was written, so the distances are tested on closed-form Gaussians
and the loader on a synthetic graph, and no published FID has been reproduced yet. ``verified`` tells whoever reads it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim import assets
from linksim.metric.enough import MIN_IMAGES, check_enough, check_min_images
from linksim.metric.frechet import frechet_distance, kernel_distance
from linksim.metric.inception import EXTRACTOR, inception_features


@dataclass(frozen=True)
class Fid:
    """Fréchet Inception distance to the originals (unverified until the original weights are at hand).

    Args: min_images: fewer are refused; lower it to force a value, and compare such values only at equal N.
    Raises: MissingAssetError: when made without its weights on this machine.
    """

    min_images: int = MIN_IMAGES

    unit = ""
    higher_is_better = False
    averaging = "whole set"
    extractor = EXTRACTOR
    verified = False

    def __post_init__(self) -> None:
        check_min_images(self.min_images)
        assets.locate(EXTRACTOR)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Args: [B, H, W, 3] uint8. Returns: [B, 2048] float32."""
        return inception_features(images)

    def weights_digest(self) -> str:
        """What the features are made with (see linksim.metric.kept)."""
        return assets.digest(EXTRACTOR)

    def distance(self, reference: np.ndarray, features: np.ndarray) -> float:
        """Args: [N, 2048] and [M, 2048]. Returns: FID. Raises: ValueError: fewer than min_images rows."""
        check_enough("fid", self.min_images, reference, features)
        return frechet_distance(reference, features)


@dataclass(frozen=True)
class Kid:
    """Kernel Inception distance to the originals, unbiased (unverified until the original weights are at hand).

    Args: min_images: fewer are refused; lower it to force a value.
    Raises: MissingAssetError: when made without its weights on this machine.
    """

    min_images: int = MIN_IMAGES

    unit = ""
    higher_is_better = False
    averaging = "whole set"
    extractor = EXTRACTOR
    verified = False

    def __post_init__(self) -> None:
        check_min_images(self.min_images)
        assets.locate(EXTRACTOR)

    def features(self, images: np.ndarray) -> np.ndarray:
        """Args: [B, H, W, 3] uint8. Returns: [B, 2048] float32."""
        return inception_features(images)

    def weights_digest(self) -> str:
        """What the features are made with (see linksim.metric.kept)."""
        return assets.digest(EXTRACTOR)

    def distance(self, reference: np.ndarray, features: np.ndarray) -> float:
        """Args: [N, 2048] and [M, 2048]. Returns: KID. Raises: ValueError: fewer than min_images rows."""
        check_enough("kid", self.min_images, reference, features)
        return kernel_distance(reference, features)
