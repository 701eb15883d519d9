"""The geometry of the index prior: its sizes, and where the indices of a grid lie. NumPy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEIGHBOURS = ((0, -1), (-1, -1), (-1, 0), (-1, 1))  # left, above left, above, above right


@dataclass(frozen=True)
class PriorConfig:
    """The architecture.

    Args:
      sizes, strides, code: of the quantiser: codes of each stage, 1 or 2 each, length of a code.
      dim, heads, layers, hidden: of the transformer.
      rows, columns:  buckets of the place in the picture.
      modes:          kinds of encoders that it serves.
      reach_y, reach_x: relative places further off share the bias of these.
    """

    sizes: tuple[int, ...] = (256, 256, 256, 256)
    strides: tuple[int, ...] = (2, 2, 1, 1)
    code: int = 32
    dim: int = 96
    heads: int = 4
    layers: int = 2
    hidden: int = 192
    rows: int = 16
    columns: int = 16
    modes: int = 3
    reach_y: int = 6
    reach_x: int = 6

    def __post_init__(self) -> None:
        for name in ("sizes", "strides"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists from YAML and JSON
        if self.dim % self.heads:
            raise ValueError(f"dim must be a multiple of heads = {self.heads}, got {self.dim}")

    @property
    def head_dim(self) -> int:
        """Channels of one attention head."""
        return self.dim // self.heads

    def context(self, stage: int) -> int:
        """Channels of what the stages before a stage say at each of its positions."""
        return self.code * self.strides[stage] ** 2


def relative_places(cfg: PriorConfig, rows: int, columns: int) -> np.ndarray:
    """Entry of the bias table for every pair of positions in raster order, [T, T] int32 (later ones: any)."""
    y, x = (v.reshape(-1) for v in np.mgrid[0:rows, 0:columns])
    up = np.clip(y[:, None] - y[None, :], 0, cfg.reach_y)
    across = np.clip(x[:, None] - x[None, :], -cfg.reach_x, cfg.reach_x) + cfg.reach_x
    return (up * (2 * cfg.reach_x + 1) + across).astype(np.int32)


def buckets(
    cfg: PriorConfig, rows: int, columns: int, first: int, total: int
) -> tuple[np.ndarray, np.ndarray]:
    """Bucket of each row (rows ``first`` .. of ``total``) and column, [rows] and [columns] int32."""
    y = (2 * (np.arange(rows) + first) + 1) * cfg.rows // (2 * max(total, 1))
    x = (2 * np.arange(columns) + 1) * cfg.columns // (2 * columns)
    return y.clip(0, cfg.rows - 1).astype(np.int32), x.astype(np.int32)
