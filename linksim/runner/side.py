"""Side information on its way from the image source to the systems whose receivers hold some."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from linksim.image.pairs import side_of
from linksim.image.source import ImageSource
from linksim.link.system import System


def _offset(system: System) -> int | None:
    """Whose side information the system wants: of the picture so many places further; None: it wants none."""
    return getattr(system, "side_offset", None)


def check_side(system: System, source: ImageSource) -> None:
    """Raises ImageError: if the system wants side information that the source does not have."""
    offset = _offset(system)
    if offset is not None:
        side_of(source, 0, offset)


def side_arguments(
    system: System, source: ImageSource, items: Sequence[int], repeats: int
) -> dict[str, Any]:
    """What ``System.simulate`` takes besides pictures, point and seeds: ``side`` [B, H, W, 3], if it wants it."""
    offset = _offset(system)
    if offset is None:
        return {}
    found = np.stack([side_of(source, i, offset) for i in items])
    return {"side": np.repeat(found, repeats, axis=0)}
