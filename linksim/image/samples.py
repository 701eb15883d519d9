"""Photographs that come with an installed package: nothing to download."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from linksim.errors import ImageError, MissingAssetError
from linksim.image import decode
from linksim.image.source import Source, check_whole

# key, file, left, top, side [pixels]. Ordered so that any first few are diverse.
BOXES: tuple[tuple[str, str, int, int, int], ...] = (
    ("astronaut-face", "astronaut.png", 140, 0, 190),
    ("coffee-cup", "coffee.png", 100, 0, 400),
    ("cat-face", "chelsea.png", 90, 0, 300),
    ("motorcycle", "motorcycle_left.png", 170, 0, 500),
    ("rocket", "rocket.jpg", 100, 0, 427),
    ("flag", "astronaut.png", 0, 0, 150),
    ("garage-shelf", "motorcycle_left.png", 440, 10, 250),
    ("cat-eye", "chelsea.png", 110, 50, 130),
    ("spoon", "coffee.png", 270, 180, 190),
    ("spacesuit", "astronaut.png", 80, 270, 240),
    ("engine", "motorcycle_left.png", 290, 130, 220),
    ("shuttle", "astronaut.png", 340, 0, 172),
    ("front-wheel", "motorcycle_right.png", 480, 230, 250),
    ("tower-lights", "rocket.jpg", 20, 240, 187),
    ("bench", "motorcycle_right.png", 10, 70, 200),
    ("whiskers", "chelsea.png", 190, 130, 160),
    ("helmet", "astronaut.png", 280, 300, 212),
    ("wood", "coffee.png", 0, 0, 200),
    ("tissue", "ihc.png", 90, 90, 256),
    ("retina", "retina.jpg", 60, 440, 500),
    ("galaxies", "hubble_deep_field.jpg", 300, 200, 400),
)


class Samples(Source):
    """Square colour crops of the photographs that scikit-image carries: people, animals, things, a sky.

    Args:
      size:  height and width of each image; Lanczos from a fixed box of the original.
      limit: use only the first so many of the 21.
    """

    def __init__(self, size: int = 128, limit: int | None = None) -> None:
        if size is None:
            raise ValueError("size: must be a whole number 1..8192, got None")
        check_whole("size", size, 1, 8192)
        check_whole("limit", limit, 1, 1 << 40)
        self.target = size
        self._boxes = BOXES[:limit]

    def __len__(self) -> int:
        return len(self._boxes)

    def key(self, index: int) -> str:
        """See ImageSource.key."""
        return self._boxes[index][0]

    def size(self, index: int) -> tuple[int, int]:
        """See ImageSource.size."""
        self._boxes[index]
        return self.target, self.target

    def load(self, index: int) -> np.ndarray:
        """See ImageSource.load. Raises MissingAssetError if scikit-image is installed without its photographs."""
        _, name, left, top, side = self._boxes[index]
        file = photo_folder() / name
        if not file.is_file():
            raise MissingAssetError(
                f"scikit-image has no {name} in {file.parent}; install it from its wheel: pip install scikit-image"
            )
        photo = decode.read(file, str(file))
        if photo.shape[0] < top + side or photo.shape[1] < left + side:
            raise ImageError(f"{file}: {photo.shape[1]}x{photo.shape[0]}, smaller than expected")
        return decode.resize(photo[top : top + side, left : left + side], self.target, self.target)


def photo_folder() -> Path:
    """Where scikit-image keeps its data, found without importing it (which takes half a second)."""
    spec = importlib.util.find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingAssetError("scikit-image is not installed; pip install scikit-image")
    return Path(spec.submodule_search_locations[0]) / "data"
