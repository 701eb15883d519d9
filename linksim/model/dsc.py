"""Neural distributed source coding: a conditional VQ-VAE whose decoder sees a correlated picture.

::

    x --> g_a --> y --> residual quantiser --> indices --> y_hat, mask --> g_s --> x_hat
           ^                                                                ^
           +--(Joint)-- side --> SI-net --> features --(Joint, Distributed)-+

Who sees ``side`` is the mode: both ends (Joint), the decoder alone (Distributed), nobody (Separate). One network serves
the three: flags switch the side information off and tell each end the mode.

``mask`` says which stages of which position have arrived: a budget that ends inside a stage and a packet that was lost
look the same to g_s. With nothing arrived it shows what the side information alone is worth.

Sizes: x, side [B,H,W,3] in 0..255 with H, W multiples of 16; y [B,H/8,W/8,dim]; indices of a stage of stride 2
[B,H/16,W/16], of stride 1 [B,H/8,W/8]. About 1 M parameters, 0.4 G multiply-adds for 128x128.

Source: Whang et al., "Neural Distributed Source Coding", arXiv 2106.02797, Sec. 4 and App. C.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import keras
import numpy as np
from keras import ops

from linksim.model.alignment import GlobalAttention, RowAttention
from linksim.model.index_grid import PriorConfig
from linksim.model.index_prior import IndexPrior, bits_of
from linksim.model.layers import (
    PatchLinear,
    Residual,
    conv,
    depth_to_space,
    leaky,
    space_to_depth,
)
from linksim.model.quantiser import ResidualQuantiser

STRIDE = 8  # of y against x
UNIT = 16  # sides of a picture are multiples of this
BRANCH = 0.01  # variance of the deep branches' last layers at the start: the linear skeleton leads
MODES = ("separate", "distributed", "joint")
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


def _planes(values, like):
    """[B, n] -> [B, h, w, n], the size of ``like``."""
    ones = ops.ones_like(like[..., :1])
    return ones * values[:, None, None, :]


class SideNet(keras.layers.Layer):
    """SI-net for "global" and "concat": side [B,H,W,3] around 0 -> features [B,H/8,W/8,width8]."""

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
        h = self.down8(leaky(self.stem(space_to_depth(side, 4))))
        for block in self.blocks:
            h = block(h)
        return leaky(h)


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
    """

    def __init__(self, cfg: DscConfig, name: str) -> None:
        super().__init__(name=name)
        self.cfg = cfg
        c4, c8 = cfg.width4, cfg.width8
        if cfg.alignment == "rows":
            self.up = conv(f"{name}.up", c8, 4 * c4, 1)
            self.rows = RowAttention(f"{name}.rows", c4, cfg.attention, cfg.nearest, cfg.farthest)
            self.merge = conv(f"{name}.merge", 4 * self.found, c8, 1)
        else:
            self.near = conv(f"{name}.near", c8, c8, 1)
            if cfg.alignment == "global":
                self.attend = GlobalAttention(f"{name}.attend", c8, cfg.attention, c8)
                self.merge = conv(f"{name}.merge", c8, c8, 1)

    @property
    def found(self) -> int:
        """Channels at 1/4 resolution; 0 where nothing is found there."""
        return self.cfg.width4 + 50 if self.cfg.alignment == "rows" else 0

    def call(self, h, there):
        """h [B,h,w,width8]; there: of the SI-net. Returns: what to add to h, and [B,2h,2w,found] or None."""
        if self.cfg.alignment == "rows":
            features, pixels = there
            here = depth_to_space(self.up(leaky(h)), 2)
            found = self.rows(here, features, ops.concatenate([features, pixels], -1))
            return self.merge(space_to_depth(found, 2)), found
        near = self.near(there)
        if self.cfg.alignment == "global":
            near = near + self.merge(self.attend(leaky(h), there))
        return near, None


class Analysis(keras.layers.Layer):
    """g_a: x [B,H,W,3] around 0 -> y [B,H/8,W/8,dim]; in Joint mode with the side information."""

    def __init__(self, cfg: DscConfig, name: str = "g_a") -> None:
        super().__init__(name=name)
        c4, c8 = cfg.width4, cfg.width8
        self.stem = conv(f"{name}.stem", 48, c4, 3)
        self.down8 = conv(f"{name}.down8", c4, c8, 3, 2)
        self.mode = conv(f"{name}.mode", 2, c8, 1)
        self.finder = Finder(cfg, f"{name}.finder")
        self.blocks = [Residual(f"{name}.block.{i}", c8, cfg.hidden8) for i in range(cfg.blocks_a)]
        self.out = conv(f"{name}.out", c8, cfg.dim, 1, scale=BRANCH)
        self.linear = PatchLinear(f"{name}.linear", STRIDE, cfg.dim, inverse=False)

    def call(self, x, there, sees):
        """x; there: of the SI-net; sees [B,2] -> y."""
        h = self.down8(leaky(self.stem(space_to_depth(x, 4))))
        h = h + self.mode(_planes(sees, h))
        more, _ = self.finder(h, there)
        h = h + sees[:, :1, None, None] * more
        for block in self.blocks:
            h = block(h)
        return self.out(leaky(h)) + self.linear(x)


class Synthesis(keras.layers.Layer):
    """g_s: y_hat [B,h,w,dim], mask [B,h,w,S], side information -> x_hat [B,8h,8w,3] around 0, not clipped."""

    def __init__(self, cfg: DscConfig, name: str = "g_s") -> None:
        super().__init__(name=name)
        c4, c8 = cfg.width4, cfg.width8
        self.inp = conv(f"{name}.inp", cfg.dim + cfg.stages + 3, c8, 3)
        self.first = Residual(f"{name}.block.0", c8, cfg.hidden8)
        self.finder = Finder(cfg, f"{name}.finder")
        self.blocks = [
            Residual(f"{name}.block.{i}", c8, cfg.hidden8) for i in range(1, cfg.blocks_s)
        ]
        self.up4 = conv(f"{name}.up4", c8, 4 * c4, 1)
        self.join = conv(f"{name}.join", self.finder.found, c4, 1) if self.finder.found else None
        self.block4 = Residual(f"{name}.block4", c4, c4)
        self.out = conv(f"{name}.out", c4, 48, 3, scale=BRANCH)
        self.linear = PatchLinear(f"{name}.linear", STRIDE, cfg.dim, inverse=True)

    def call(self, y_hat, mask, there, sees):
        """y_hat, mask; there: of the SI-net; sees [B,2] -> x_hat."""
        place = ops.ones_like(mask[..., :1]) * coordinates(*mask.shape[1:3])
        flag = _planes(sees[:, 1:], mask)
        h = self.first(self.inp(ops.concatenate([y_hat, mask, place, flag], -1)))
        more, found = self.finder(h, there)
        h = h + sees[:, 1:, None, None] * more
        for block in self.blocks:
            h = block(h)
        h = depth_to_space(self.up4(leaky(h)), 2)
        if self.join is not None:
            h = h + sees[:, 1:, None, None] * self.join(found)
        return depth_to_space(self.out(leaky(self.block4(h))), 4) + self.linear(y_hat)


class DscNet(keras.Model):
    """The conditional VQ-VAE; ``parts`` are its separable pieces."""

    def __init__(self, cfg: DscConfig | None = None) -> None:
        super().__init__(name="dsc")
        self.cfg = cfg = cfg or DscConfig()
        self.g_a = Analysis(cfg)
        self.g_s = Synthesis(cfg)
        self.si = SideRows(cfg) if cfg.alignment == "rows" else SideNet(cfg)
        self.q = ResidualQuantiser("q", cfg.dim, cfg.sizes, cfg.strides)
        self.prior = IndexPrior(cfg.prior)
        self.built = True

    @property
    def parts(self) -> dict[str, keras.layers.Layer]:
        """Name -> layer, in a fixed order."""
        return {name: getattr(self, name) for name in ("g_a", "g_s", "si", "q", "prior")}

    def look(self, side, sees) -> Any:
        """Features of the side information [B,H,W,3] 0..255; of a grey picture where neither end sees it."""
        centred = (side / 255.0 - 0.5) * sees[:, 1:, None, None]
        return self.si(ops.flip(centred, 1) if self.cfg.mirror else centred)

    def analyse(self, x, there, sees):
        """x [B,H,W,3] 0..255 -> y."""
        return self.g_a(x / 255.0 - 0.5, there, sees)

    def encode(self, x, side, sees):
        """What the transmitter does: indices of all stages, per stage [B,h_s,w_s] int32."""
        return self.q(self.analyse(x, self.look(side, sees), sees))[3]

    def synthesise(self, y_hat, mask, side, sees):
        """What the receiver does: y_hat (zero where mask is), side 0..255 -> x_hat 0..255, not clipped."""
        return (self.g_s(y_hat, mask, self.look(side, sees), sees) + 0.5) * 255.0

    def call(self, x, side, sees, mask):
        """Training pass.

        Args:    x, side [B,H,W,3] float32 0..255; sees [B,2] 0 or 1, see ``SEES``; mask [B,H/8,W/8,S] 0 or 1.
        Returns: x_hat [B,H,W,3]; inputs, codes and indices of the quantiser's stages.
        """
        there = self.look(side, sees)
        parts, inputs, codes, indices = self.q(self.analyse(x, there, sees))
        y_hat = sum(part * mask[..., s : s + 1] for s, part in enumerate(parts))
        x_hat = (self.g_s(y_hat, mask, there, sees) + 0.5) * 255.0
        return x_hat, inputs, codes, indices

    def index_bits(self, codes, indices, sees, bands: int = 1) -> list[Any]:
        """What the prior charges for each index; no gradient goes into the codes.

        Args:    codes, indices: of ``call``; sees [B,2]; bands: rows are cut into so many bands, each on its own.
        Returns: per stage [B,h_s,w_s].
        """
        mode = ops.cast(ops.sum(sees, -1), "int32")  # 0, 1, 2: in the order of MODES
        codes = [ops.stop_gradient(c) for c in codes]
        before: Any = ops.zeros_like(self.q.expand(codes[0], 0))
        found = []
        for s, (code, index) in enumerate(zip(codes, indices, strict=True)):
            rows = code.shape[1] // bands
            step = self.cfg.strides[s]
            pieces = []
            for i in range(bands):
                a, b = i * rows, (i + 1) * rows
                seen = before[:, a * step : b * step]
                logits = self.prior(
                    code[:, a:b], before=seen, mode=mode, stage=s, first=a, total=code.shape[1]
                )
                pieces.append(bits_of(logits, index[:, a:b]))
            found.append(ops.concatenate(pieces, 1))
            before = before + ops.stop_gradient(self.q.expand(code, s))
        return found
