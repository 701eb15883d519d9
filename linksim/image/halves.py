"""Upper halves of pictures, with the lower halves as side information."""

from __future__ import annotations

from typing import Any

import numpy as np

from linksim import registry
from linksim.image.pairs import Paired
from linksim.image.source import ImageSource


class Halves(Paired):
    """The upper half of every picture of another source; the lower half is its side information.

    Args: image: the other source, by name or as a mapping with its parameters. A row too many is left out at the end.
    Raises: ComponentError, ImageError: as the other source does. ValueError: pictures of a single row.
    """

    def __init__(self, image: Any) -> None:
        self.whole: ImageSource = registry.create("images", image)

    def __len__(self) -> int:
        return len(self.whole)

    def key(self, index: int) -> str:
        """See ImageSource.key."""
        return self.whole.key(index)

    def size(self, index: int) -> tuple[int, int]:
        """See ImageSource.size."""
        height, width = self.whole.size(index)
        if height < 2:
            raise ValueError(f"{self.key(index)} is {width}x{height}: it has no two halves")
        return height // 2, width

    def load(self, index: int) -> np.ndarray:
        """See ImageSource.load."""
        return self.whole.load(index)[: self.size(index)[0]]

    def side(self, index: int) -> np.ndarray:
        """See PairedSource.side."""
        height = self.size(index)[0]
        return self.whole.load(index)[height : 2 * height]
