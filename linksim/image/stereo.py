"""Rectified stereo pairs: the right view is the picture, the left one its side information."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linksim.errors import ImageError, MissingAssetError
from linksim.image import decode
from linksim.image.pairs import Paired
from linksim.image.samples import photo_folder
from linksim.image.source import check_whole, resolve

LEFT, RIGHT = "_L", "_R"
# of scikit-image's motorcycle pair, 741x500, the same place in both views: key -> top, rows, left, columns
SAMPLES = {"motorcycle": (60, 370, 0, 740), "motorcycle-floor": (220, 280, 100, 560)}
SAMPLE_SIZE = (128, 256)


class Stereo(Paired):
    """Rectified stereo pairs of a folder (``*_L``, ``*_R``); without one, scikit-image's motorcycle.

    Args:
      path:  folder with both views of every pair; every file in it is a view. ``$LINKSIM_ASSETS/...`` is expanded.
      swap:  the left view is the picture and the right one its side information.
      limit: use only the first so many pairs.
    Raises: ImageError: no such folder, no pairs, a view without its partner, views of two sizes.
    """

    def __init__(
        self, path: str | None = None, swap: bool = False, limit: int | None = None
    ) -> None:
        check_whole("limit", limit, 1, 1 << 40)
        self.swap = swap
        self.root = None if path is None else resolve(path)
        if self.root is None:
            self._pairs = {key: ("", "") for key in SAMPLES}
        else:
            self._pairs = _paired(self.root)
        self._keys = list(self._pairs)[:limit]

    def __len__(self) -> int:
        return len(self._keys)

    def key(self, index: int) -> str:
        """See ImageSource.key: the name that both views share."""
        return self._keys[index]

    def size(self, index: int) -> tuple[int, int]:
        """See ImageSource.size. Raises ImageError where the two views differ."""
        if self.root is None:
            return SAMPLE_SIZE
        left, right = (
            decode.read_size(self.root / name, str(self.root / name))
            for name in self._pairs[self._keys[index]]
        )
        if left != right:
            raise ImageError(
                f"{self.root / self._keys[index]}: the left view is {left[1]}x{left[0]}, the right one "
                f"{right[1]}x{right[0]}; rectified views are of one size"
            )
        return right

    def load(self, index: int) -> np.ndarray:
        """See ImageSource.load."""
        return self._view(index, 0 if self.swap else 1)

    def side(self, index: int) -> np.ndarray:
        """See PairedSource.side."""
        return self._view(index, 1 if self.swap else 0)

    def _view(self, index: int, which: int) -> np.ndarray:
        key = self._keys[index]
        if self.root is None:
            file = photo_folder() / ("motorcycle_left.png", "motorcycle_right.png")[which]
            if not file.is_file():
                raise MissingAssetError(
                    f"scikit-image has no {file.name} in {file.parent}; install it from its wheel"
                )
            top, rows, left, columns = SAMPLES[key]
            crop = decode.read(file, str(file))[top : top + rows, left : left + columns]
            return decode.resize(crop, *SAMPLE_SIZE)
        self.size(index)
        file = self.root / self._pairs[key][which]
        return decode.read(file, str(file))


def _paired(root: Path) -> dict[str, tuple[str, str]]:
    """Common name -> file names of the left and the right view, in alphabetical order."""
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise ImageError(f"path: folder {root} {what}; name a folder with stereo pairs")
    views: dict[str, dict[str, str]] = {}
    for file in sorted(f for f in root.iterdir() if f.is_file() and not f.name.startswith(".")):
        stem = file.stem
        if stem[-2:] not in (LEFT, RIGHT):
            raise ImageError(
                f"path: {file} is no view of a pair; views are named *{LEFT} and *{RIGHT}"
            )
        mine = views.setdefault(stem[:-2], {})
        if stem[-2:] in mine:
            raise ImageError(f"path: {file} and {mine[stem[-2:]]} are the same view; keep one")
        mine[stem[-2:]] = file.name
    alone = [next(iter(mine.values())) for mine in views.values() if len(mine) < 2]
    if alone:
        raise ImageError(
            f"path: {len(alone)} views in {root} have no partner, the first {alone[0]}; every *{LEFT} needs its "
            f"*{RIGHT}"
        )
    if not views:
        raise ImageError(f"path: folder {root} has no stereo pairs")
    return {stem: (mine[LEFT], mine[RIGHT]) for stem, mine in views.items()}
