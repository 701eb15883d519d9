"""The geometry of the tokens' transformer: its sizes, and where positions of a grid lie. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class TokenPriorConfig:
    """The architecture.

    Args:
      dim, heads, layers, hidden: of the transformer.
      rows, columns:    buckets of the place in the picture.
      reach_y, reach_x: relative places further off share the bias of these.
      tags:             learned coordinates of each code beside those of its vector.
    """

    dim: int = 192
    heads: int = 6
    layers: int = 4
    hidden: int = 384
    rows: int = 16
    columns: int = 16
    reach_y: int = 7
    reach_x: int = 7
    tags: int = 0

    def __post_init__(self) -> None:
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads = {self.heads}, got {self.dim}")

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.dim // self.heads

    @property
    def entries(self) -> int:
        """Of the table of biases by relative place."""
        return (2 * self.reach_y + 1) * (2 * self.reach_x + 1)


def place_buckets(cfg: TokenPriorConfig, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Bucket of the row and of the column of every position in raster order, each [rows * columns] int32."""
    y = (2 * np.arange(rows) + 1) * cfg.rows // (2 * rows)
    x = (2 * np.arange(columns) + 1) * cfg.columns // (2 * columns)
    return np.repeat(y, columns).astype(np.int32), np.tile(x, rows).astype(np.int32)


def relative_entries(cfg: TokenPriorConfig, rows: int, columns: int) -> np.ndarray:
    """Entry of the bias table for every pair of positions in raster order (who looks, at what): [n, n] int32."""
    y, x = (v.reshape(-1) for v in np.mgrid[0:rows, 0:columns])
    down = np.clip(y[None, :] - y[:, None], -cfg.reach_y, cfg.reach_y) + cfg.reach_y
    across = np.clip(x[None, :] - x[:, None], -cfg.reach_x, cfg.reach_x) + cfg.reach_x
    return (down * (2 * cfg.reach_x + 1) + across).astype(np.int32)


# where the heads of a block look at first: the rows and columns away of what they like best, and how they like it less
# with the squared distance from there
_NEAR = ((0, -1), (0, 1), (-1, 0), (1, 0))
_DIAGONAL = ((-1, -1), (-1, 1), (1, -1), (1, 1))
_FAR = ((0, -2), (0, 2), (-2, 0), (2, 0))
_NARROW, _BROAD = 0.75, (0.15, 0.02)


def first_biases(cfg: TokenPriorConfig, block: int) -> np.ndarray:
    """Biases by relative place that a block starts from, [entries, heads] float32.

    Most heads look into one direction, two look around: an optimiser that moves a bias by its step size alone would
    need thousands of steps to tell neighbours apart.
    """
    likes = [
        *((place, _NARROW) for place in (_NEAR, _DIAGONAL, _FAR)[block % 3]),
        *(((0, 0), slope) for slope in _BROAD),
    ]
    down, across = np.mgrid[-cfg.reach_y : cfg.reach_y + 1, -cfg.reach_x : cfg.reach_x + 1]
    found = []
    for head in range(cfg.heads):
        (y, x), slope = likes[head % len(likes)]
        found.append(-slope * ((down - y) ** 2 + (across - x) ** 2).reshape(-1))
    return np.maximum(np.stack(found, -1), -12.0).astype(np.float32)
