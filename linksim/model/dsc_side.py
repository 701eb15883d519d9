"""Side information inside distributed coding's network: its features, where they belong, and its single pixels."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from linksim.model.alignment import GlobalAttention, RowAttention, RowFit
from linksim.model.dsc_config import PLACES, DscConfig, coordinates, waves
from linksim.model.layers import Residual, conv, depth_to_space, leaky, space_to_depth


class SideNet(keras.layers.Layer):
    """SI-net for "global" and "concat": side [B,H,W,3] around 0 -> features [B,H/8,W/8,width8], and the 4x4 pixels at
    each place, [B,H/4,W/4,48]."""

    def __init__(self, cfg: DscConfig, name: str = "si") -> None:
        super().__init__(name=name)
        c4, c8 = cfg.width4, cfg.width8
        self.stem = conv(f"{name}.stem", 48, c4, 3)
        self.down8 = conv(f"{name}.down8", c4, c8, 3, 2)
        self.blocks = [
            Residual(f"{name}.block.{i}", c8, cfg.hidden8) for i in range(cfg.blocks_side)
        ]

    def call(self, side):
        """See the class."""
        pixels = space_to_depth(side, 4)
        h = self.down8(leaky(self.stem(pixels)))
        for block in self.blocks:
            h = block(h)
        return leaky(h), pixels


class SideRows(keras.layers.Layer):
    """SI-net for "rows": side [B,H,W,3] -> features [B,H/4,W/2,width4] and the 4x4 pixels at each, [B,H/4,W/2,48]."""

    def __init__(self, cfg: DscConfig, name: str = "si") -> None:
        super().__init__(name=name)
        c4 = cfg.width4
        self.stem = conv(f"{name}.stem", 48, c4, 1)
        self.blocks = [
            Residual(f"{name}.block.{i}", c4, cfg.attention) for i in range(cfg.blocks_side)
        ]

    def call(self, side):
        """See the class."""
        rows, columns = side.shape[1] // 4, side.shape[2] // 2
        shifted = ops.concatenate([side[:, :, 2:], side[:, :, -2:]], 2)
        both = ops.stack([space_to_depth(side, 4), space_to_depth(shifted, 4)], 3)
        pixels = ops.reshape(both, (-1, rows, columns, 48))
        h = self.stem(pixels)
        for block in self.blocks:
            h = block(h)
        return leaky(h), pixels


class Finder(keras.layers.Layer):
    """Side information brought to where it belongs, at 1/8 and, for "rows", at 1/4 too.

    # deviates: the paper concatenates the SI-net's features at the same place; a stereo view is shifted by up to 40
    # pixels, and what a face's lower half says about the upper is not at the same place either.

    Args: cfg; name: full dotted name; places: with a second look-up over the whole picture whose queries and keys know
      where they are ("global" alone). It starts as nothing.
    """

    def __init__(self, cfg: DscConfig, name: str, *, places: bool = False) -> None:
        super().__init__(name=name)
        self.cfg = cfg
        c4, c8 = cfg.width4, cfg.width8
        self.places: Any = None
        if cfg.alignment == "rows":
            self.up = conv(f"{name}.up", c8, 4 * c4, 1)
            self.rows = RowAttention(f"{name}.rows", c4, cfg.attention, cfg.nearest, cfg.farthest)
            self.fit = RowFit(f"{name}.fit") if cfg.fit else None
            self.merge = conv(f"{name}.merge", 4 * self.found, c8, 1)
        else:
            self.near = conv(f"{name}.near", c8, c8, 1)
            if cfg.alignment == "global":
                self.attend = GlobalAttention(f"{name}.attend", c8, cfg.attention, c8)
                self.merge = conv(f"{name}.merge", c8, c8, 1)
                if places:
                    wide = c8 + PLACES
                    self.places = GlobalAttention(f"{name}.places", wide, cfg.attention, c8)
                    self.merge_places = conv(f"{name}.merge_places", c8, c8, 1, scale=0.0)

    @property
    def found(self) -> int:
        """Channels at 1/4 resolution; 0 where nothing is found there."""
        return self.cfg.width4 + 50 if self.cfg.alignment == "rows" else 0

    def call(self, h, there, guess, known):
        """Look up.

        Args:    h [B,h,w,width8]; there: of the SI-net; guess [B,8h,8w,3] around 0, the picture as far as it is known;
                 known [B,h,w,1], 1 where it is at all.
        Returns: what to add to h, and [B,2h,2w,found] or None.
        """
        features, pixels = there
        if self.cfg.alignment == "rows":
            here = depth_to_space(self.up(leaky(h)), 2)
            fit = None
            if self.fit is not None:
                trust = ops.repeat(ops.repeat(known, 2, 1), 2, 2)
                fit = self.fit(space_to_depth(guess, 4), pixels) * trust
            found = self.rows(here, features, ops.concatenate([features, pixels], -1), fit)
            return self.merge(space_to_depth(found, 2)), found
        near = self.near(features)
        if self.cfg.alignment == "global":
            near = near + self.merge(self.attend(leaky(h), features))
        if self.places is not None:
            place = ops.ones_like(h[..., :1]) * waves(*h.shape[1:3])
            here = ops.concatenate([leaky(h), place], -1)
            there = ops.concatenate([features, place], -1)
            near = near + self.merge_places(self.places(here, there))
        return near, None


class Detail(keras.layers.Layer):
    """What single pixels of the side information say: a branch at 1/4 resolution that starts as nothing.

    It blends the side information's pixels (where the Finder put them, for "rows"; else those at the same place, which
    for mirrored halves are the better the nearer the common border) into the picture, with a weight for every pixel,
    and adds a correction. Of mirrored halves the row of cells next to the border is offered to the whole column.

    # deviates: the paper's decoder sees side information at its coarsest resolution alone.

    Args: cfg; found: channels that the Finder found at 1/4 resolution, 0 if none; name: full dotted name.
    """

    def __init__(self, cfg: DscConfig, found: int, name: str) -> None:
        super().__init__(name=name)
        n = cfg.detail
        self.own = found == 0
        if self.own:
            self.stem = conv(f"{name}.stem", 48, n, 3)
            self.side = Residual(f"{name}.side", n, n)
        self.border = conv(f"{name}.border", n + 48, n, 1) if self.own and cfg.mirror else None
        self.inp = conv(f"{name}.inp", cfg.width4 + (found or n + 48) + 48 + 2, n, 1)
        self.block = Residual(f"{name}.block", n, n)
        self.out = conv(f"{name}.out", n, 48 + 16, 3, scale=0.0)

    def call(self, h, found, pixels, now):
        """What to add, [B,H/4,W/4,48].

        Args: h [B,H/4,W/4,width4]; found: of the Finder, or None; pixels: of the SI-net; now [B,H/4,W/4,48], the
          picture without this branch.
        """
        if self.own:
            found = ops.concatenate([leaky(self.side(self.stem(pixels))), pixels], -1)
        else:
            pixels = found[..., -50:-2]
        place = ops.ones_like(h[..., :1]) * coordinates(*h.shape[1:3])
        u = self.inp(ops.concatenate([leaky(h), found, now, place], -1))
        if self.border is not None:
            u = u + self.border(found[:, -1:])
        both = self.out(leaky(self.block(u)))
        share = ops.repeat(both[..., 48:], 3, -1)  # of a pixel, the same for its colours
        return both[..., :48] + share * (pixels - now)
