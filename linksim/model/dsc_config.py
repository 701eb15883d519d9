"""Distributed coding's network: its architecture, its modes, and the decoder's mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from linksim.model.index_grid import PriorConfig

STRIDE = 8  # of y against x
UNIT = 16  # sides of a picture are multiples of this
MODES = ("separate", "distributed", "joint")
WAVES = (1, 2, 4)  # half periods over the picture
PLACES = 2 + 4 * len(WAVES)  # channels of ``waves``
SEES = {"separate": (0.0, 0.0), "distributed": (0.0, 1.0), "joint": (1.0, 1.0)}  # encoder, decoder


@dataclass(frozen=True)
class DscConfig:
    """The architecture.

    Args:
      alignment:   how side information is looked up: "rows" (rectified stereo), "global" (attention over the whole
                   picture) or "concat" (same place only, as in the paper).
      mirror:      the side information lies below the picture and is flipped, so that adjacent rows meet.
      dim:         d, of y and of the codes.
      sizes:       codes of each stage.
      strides:     1 or 2 of each stage against y.
      width4, width8: channels at 1/4 and 1/8 resolution.
      hidden8:     channels inside the residual blocks at 1/8.
      blocks_a, blocks_side, blocks_s: how many of these in g_a, the SI-net and g_s.
      attention:   channels of queries and keys.
      nearest, farthest: window of shifts for "rows" [2 pixels].
      fit:         "rows": a shift is judged, besides by learned features, by how well the other view then fits the
                   first guess of the picture (``RowFit``).
      detail:      channels of the branch of g_s that uses single pixels of the side information (``Detail``) and of
                   the look-up that knows places; 0: without both.
      looks:       blocks of cross-attention in g_s (``Look``; not for "rows").
      seam:        channels of the branch of g_s that convolves across the halves' border (``Seam``, with ``mirror``);
                   0: without.
      seam_blocks: residual blocks in it.
      own:         modes whose decoder sees side information have codebooks and linear maps of their own (``Own``).
      prior_dim, prior_heads, prior_layers, prior_hidden: of the prior over the indices.
    """

    alignment: Literal["rows", "global", "concat"] = "global"
    mirror: bool = False
    dim: int = 32
    sizes: tuple[int, ...] = (256, 256, 256, 256)
    strides: tuple[int, ...] = (2, 2, 1, 1)
    width4: int = 48
    width8: int = 96
    hidden8: int = 64
    blocks_a: int = 2
    blocks_side: int = 2
    blocks_s: int = 4
    attention: int = 32
    nearest: int = -2
    farthest: int = 20
    fit: bool = False
    detail: int = 0
    looks: int = 0
    seam: int = 0
    seam_blocks: int = 2
    own: bool = False
    prior_dim: int = 96
    prior_heads: int = 4
    prior_layers: int = 2
    prior_hidden: int = 192

    def __post_init__(self) -> None:
        for name in ("sizes", "strides"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # lists from YAML and JSON
        if len(self.sizes) != len(self.strides) or not self.sizes:
            raise ValueError(
                f"sizes and strides must be as many, got {self.sizes} and {self.strides}"
            )
        if set(self.strides) - {1, 2} or list(self.strides) != sorted(self.strides, reverse=True):
            raise ValueError(f"strides must be 2s and then 1s, got {self.strides}")
        if self.detail < 0:
            raise ValueError(f"detail must be >= 0, got {self.detail}")
        if min(self.looks, self.seam) < 0:
            raise ValueError(f"looks and seam must be >= 0, got {self.looks} and {self.seam}")
        if self.looks and self.alignment == "rows":
            raise ValueError("looks need alignment: global or concat, got 'rows'")
        if self.seam and not (self.mirror and self.alignment != "rows"):
            raise ValueError("seam needs mirror: true, and alignment: global or concat")
        if self.fit and self.alignment != "rows":
            raise ValueError(f"fit: true needs alignment: rows, got {self.alignment!r}")

    @property
    def stages(self) -> int:
        """S."""
        return len(self.sizes)

    @property
    def prior(self) -> PriorConfig:
        """The architecture of the prior."""
        return PriorConfig(
            self.sizes,
            self.strides,
            self.dim,
            self.prior_dim,
            self.prior_heads,
            self.prior_layers,
            self.prior_hidden,
            modes=len(MODES),
        )

    def grid(self, stage: int, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of a stage's indices for a picture of H x W."""
        step = STRIDE * self.strides[stage]
        return height // step, width // step


def mask_of(cfg: DscConfig, arrived: Sequence[np.ndarray]) -> np.ndarray:
    """The decoder's mask. Args: arrived: per stage [h_s, w_s] bool. Returns: [H/8, W/8, S] float32."""
    planes = [
        np.repeat(np.repeat(a, step, 0), step, 1)
        for a, step in zip(arrived, cfg.strides, strict=True)
    ]
    return np.stack(planes, -1).astype(np.float32)


def coordinates(height: int, width: int) -> np.ndarray:
    """Row and column of each position in -1..1. Returns: [1, height, width, 2] float32."""
    y, x = np.meshgrid(np.linspace(-1, 1, height), np.linspace(-1, 1, width), indexing="ij")
    return np.stack([y, x], -1)[None].astype(np.float32)


def waves(height: int, width: int) -> np.ndarray:
    """What tells places apart: row, column, and ``WAVES`` of each. Returns: [1, height, width, PLACES] float32."""
    at = coordinates(height, width)
    phase = np.pi * np.array(WAVES) * at[..., None] / 2
    flat = (1, height, width, -1)
    parts = [at, np.sin(phase).reshape(flat), np.cos(phase).reshape(flat)]
    return np.concatenate(parts, -1).astype(np.float32)
