"""Pictures that come with a correlated one: side information that a receiver may hold.

A paired source is an ordinary image source whose ``side`` gives, for every picture, the correlated one. Systems that
use no side information see the pictures alone.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np

from linksim.errors import ImageError
from linksim.image.source import ImageSource, Source, pixel_digest


@runtime_checkable
class PairedSource(ImageSource, Protocol):
    """An image source with side information."""

    def side(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8, of the same size as the picture. Raises ImageError naming the file."""
        ...


class Paired(Source):
    """Base of linksim's paired sources: a picture's digest covers its side information too."""

    def side(self, index: int) -> np.ndarray:
        """See PairedSource.side."""
        raise NotImplementedError

    def digest(self, index: int) -> str:
        """See ImageSource.digest: of the picture, its side information and the next one's."""
        if index not in self._digests:
            wrong = other(self, index, 1)
            found = [self.load(index), self.side(index)]
            found += [] if wrong is None else [self.side(wrong)]
            self._digests[index] = pixel_digest(np.concatenate(found))
        return self._digests[index]


def other(source: ImageSource, index: int, offset: int) -> int | None:
    """The picture ``offset`` places further, around the end, among those of its size; None if that is itself."""
    if not offset:
        return index
    size = source.size(index)
    alike = [i for i in range(len(source)) if source.size(i) == size]
    found = alike[(alike.index(index) + offset) % len(alike)]
    return None if found == index else found


def side_of(source: ImageSource, index: int, offset: int = 0) -> np.ndarray:
    """Side information of a picture, or of the one ``offset`` places further.

    Returns: [H, W, 3] uint8.
    Raises:  ImageError: the source has none, none of that size, or no other picture.
    """
    if not isinstance(source, PairedSource):
        raise ImageError(
            f"images: source {type(source).__name__} has no side information; use `stereo` or `halves`, or set "
            "the system's side: none"
        )
    place = other(source, index, offset)
    if place is None:
        raise ImageError(
            f"{source.key(index)}: there is no other picture of its size whose side information could be taken"
        )
    side = source.side(place)
    size = source.size(index)
    if side.shape != (*size, 3):
        raise ImageError(
            f"{source.key(index)}: side information is {side.shape[1]}x{side.shape[0]}, the picture "
            f"{size[1]}x{size[0]}; they must be of one size"
        )
    return side
