"""What an image source is.

A source is a fixed, ordered list of pictures that are read one at a time: memory does not grow with their number.
Pixels are [H, W, 3] uint8, and one rule (``linksim.image.decode``) says what becomes of grey, transparent, 16-bit and
rotated pictures. Register under ``linksim.images``; subclass :class:`Source`, or write the five methods of
:class:`ImageSource`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from linksim.errors import MissingAssetError


@runtime_checkable
class ImageSource(Protocol):
    """An ordered list of pictures, read one at a time."""

    def __len__(self) -> int:
        """How many pictures there are."""
        ...

    def key(self, index: int) -> str:
        """A stable, unique name: the path relative to the source, with forward slashes."""
        ...

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of what ``load`` returns, read from the header alone. Raises ImageError."""
        ...

    def digest(self, index: int) -> str:
        """Hash of the pixels that ``load`` returns: equal pictures have equal digests, whatever their files are."""
        ...

    def load(self, index: int) -> np.ndarray:
        """[H, W, 3] uint8. Raises ImageError naming the file."""
        ...


@dataclass(frozen=True)
class ImageRef:
    """One picture of a source, not yet read.

    Args: source, index: where it is. key: its name.
    """

    source: ImageSource
    index: int
    key: str

    @cached_property
    def digest(self) -> str:
        """Hash of the pixels; reads the picture the first time."""
        return self.source.digest(self.index)

    def load(self) -> np.ndarray:
        """[H, W, 3] uint8."""
        return self.source.load(self.index)


class Source:
    """Base of linksim's sources: what follows from ``__len__``, ``key``, ``size`` and ``load``."""

    def __len__(self) -> int:
        raise NotImplementedError

    def key(self, index: int) -> str:
        """See ImageSource.key."""
        raise NotImplementedError

    def size(self, index: int) -> tuple[int, int]:
        """See ImageSource.size."""
        raise NotImplementedError

    def load(self, index: int) -> np.ndarray:
        """See ImageSource.load."""
        raise NotImplementedError

    def digest(self, index: int) -> str:
        """See ImageSource.digest; computed once per picture."""
        if index not in self._digests:
            self._digests[index] = pixel_digest(self.load(index))
        return self._digests[index]

    @cached_property
    def _digests(self) -> dict[int, str]:
        return {}

    def entries(self) -> list[ImageRef]:
        """References to all pictures, in order; reads none of them."""
        return [ImageRef(self, i, self.key(i)) for i in range(len(self))]

    def __iter__(self) -> Iterator[np.ndarray]:
        """The pictures, in order."""
        return (self.load(i) for i in range(len(self)))


def pixel_digest(image: np.ndarray) -> str:
    """128-bit hash of shape and pixels, as hex. Args: image [H, W, 3] uint8."""
    hashed = hashlib.blake2b(repr(image.shape).encode(), digest_size=16)
    hashed.update(np.ascontiguousarray(image, np.uint8).tobytes())
    return hashed.hexdigest()


def group_by_size(source: ImageSource, batch: int) -> list[list[int]]:
    """Cut a source into batches of at most ``batch`` pictures of one size, for sets that mix orientations.

    Returns: lists of indices; sizes in order of first appearance, indices ascending within a size.
    """
    if batch < 1:
        raise ValueError(f"batch must be at least 1, got {batch}")
    of_size: dict[tuple[int, int], list[int]] = {}
    for i in range(len(source)):
        of_size.setdefault(source.size(i), []).append(i)
    return [rows[at : at + batch] for rows in of_size.values() for at in range(0, len(rows), batch)]


def resolve(path: str | Path) -> Path:
    """A path with ``$VARIABLES`` and ``~`` expanded (a scenario has made relative ones start at its own folder).

    Raises: MissingAssetError: if a variable is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match.group(1) or match.group(2)
        if not os.environ.get(name):
            raise MissingAssetError(
                f"path {str(path)!r}: the environment variable {name} is not set; "
                f"set it to the folder that holds the data (export {name}=/path/to/it)"
            )
        return os.environ[name]

    return Path(re.sub(r"\$(?:\{(\w+)\}|(\w+))", value, str(path))).expanduser()


def check_whole(name: str, value: object, low: int, high: int) -> None:
    """Raise ValueError unless ``value`` is None or a whole number in low..high."""
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ValueError(f"{name}: must be a whole number {low}..{high}, got {value!r}")
