"""Pictures in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linksim.errors import ImageError
from linksim.image import decode
from linksim.image.source import Source, check_whole, resolve


class Folder(Source):
    """The pictures of a folder, in alphabetical order of their relative paths.

    Every file that is not hidden counts as a picture; one that is not is an error that names it.

    Args:
      path:            the folder; ``$LINKSIM_ASSETS/...`` and other variables are expanded.
      recursive:       whether folders inside it are read too.
      size:            resize with Lanczos so that the short side has this many pixels.
      crop:            "square" cuts out the centre square first, "none" keeps the whole; by default square where
                       ``size`` is given.
      limit:           read only the first so many.
      skip_unreadable: leave out files that are no pictures or are damaged, instead of stopping at them; decodes every
                       file once to find out.
    Raises:
      ImageError: if there is no such folder, or no file in it.
    """

    def __init__(
        self,
        path: str,
        recursive: bool = False,
        size: int | None = None,
        crop: decode.Crop | None = None,
        limit: int | None = None,
        skip_unreadable: bool = False,
    ) -> None:
        check_whole("limit", limit, 1, 1 << 40)
        self.crop = decode.check_fit(size, crop)
        self.target = size
        self.root = resolve(path)
        if not self.root.is_dir():
            what = "is a file" if self.root.exists() else "does not exist"
            raise ImageError(f"path: folder {self.root} {what}; name a folder with pictures")
        self._files = _listed(self.root, recursive)
        if skip_unreadable:
            self._files = _first(self._files, self.root, limit)
        self._files = self._files[:limit]
        if not self._files:
            deeper = "" if recursive else " (recursive: true looks into its folders)"
            raise ImageError(f"path: folder {self.root} has no pictures{deeper}")

    def __len__(self) -> int:
        return len(self._files)

    def key(self, index: int) -> str:
        """See ImageSource.key."""
        return self._files[index]

    def size(self, index: int) -> tuple[int, int]:
        """See ImageSource.size."""
        file = self.root / self._files[index]
        return decode.fitted_size(decode.read_size(file, str(file)), self.target, self.crop)

    def load(self, index: int) -> np.ndarray:
        """See ImageSource.load."""
        file = self.root / self._files[index]
        return decode.fit(decode.read(file, str(file)), self.target, self.crop)


def _listed(root: Path, recursive: bool) -> list[str]:
    """Relative paths of the files that are not hidden, in order."""
    found = root.rglob("*") if recursive else root.iterdir()
    names = (f.relative_to(root) for f in found if f.is_file())
    return sorted(n.as_posix() for n in names if not any(p.startswith(".") for p in n.parts))


def _first(files: list[str], root: Path, limit: int | None) -> list[str]:
    """The first ``limit`` files that are pictures."""
    good: list[str] = []
    for name in files:
        if len(good) == limit:
            break
        if decode.is_readable(root / name, name):
            good.append(name)
    return good
