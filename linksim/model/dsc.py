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
[B,H/16,W/16], of stride 1 [B,H/8,W/8]. About 2.5 M parameters with prior, looks and seam.

Source: Whang et al., "Neural Distributed Source Coding", arXiv 2106.02797, Sec. 4 and App. C.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from linksim.model.dsc_config import MODES, SEES, STRIDE, DscConfig, coordinates, mask_of
from linksim.model.dsc_look import Look, Own, Seam
from linksim.model.dsc_side import Detail, Finder, SideNet, SideRows
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

__all__ = ["MODES", "SEES", "STRIDE", "DscConfig", "DscNet", "mask_of"]
BRANCH = 0.01  # variance of the deep branches' last layers at the start: the linear skeleton leads


def _chosen(sees, alone, helped):
    """Of two tensors [B,...] the one of each picture's mode. sees [B,2]."""
    helps = ops.reshape(sees[:, 1] > 0.5, (-1, *[1] * (len(alone.shape) - 1)))
    return ops.where(helps, helped, alone)


def _planes(values, like):
    """[B, n] -> [B, h, w, n], the size of ``like``."""
    ones = ops.ones_like(like[..., :1])
    return ones * values[:, None, None, :]


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
        patch = 3 * STRIDE**2
        self.own = Own(f"{name}.own", patch, cfg.dim, mirror=cfg.mirror) if cfg.own else None

    def call(self, x, there, sees):
        """x; there: of the SI-net; sees [B,2] -> y."""
        h = self.down8(leaky(self.stem(space_to_depth(x, 4))))
        h = h + self.mode(_planes(sees, h))
        more, _ = self.finder(h, there, x, ops.ones_like(h[..., :1]))
        h = h + sees[:, :1, None, None] * more
        for block in self.blocks:
            h = block(h)
        y = self.out(leaky(h)) + self.linear(x)
        return y if self.own is None else y + self.own(space_to_depth(x, STRIDE), sees[:, 1])


class Synthesis(keras.layers.Layer):
    """g_s: y_hat [B,h,w,dim], mask [B,h,w,S], side information -> x_hat [B,8h,8w,3] around 0, not clipped."""

    def __init__(self, cfg: DscConfig, name: str = "g_s") -> None:
        super().__init__(name=name)
        c4, c8 = cfg.width4, cfg.width8
        self.inp = conv(f"{name}.inp", cfg.dim + cfg.stages + 3, c8, 3)
        self.first = Residual(f"{name}.block.0", c8, cfg.hidden8)
        self.finder = Finder(cfg, f"{name}.finder", places=cfg.detail > 0)
        self.blocks = [
            Residual(f"{name}.block.{i}", c8, cfg.hidden8) for i in range(1, cfg.blocks_s)
        ]
        self.looks = [Look(cfg, f"{name}.look.{i}") for i in range(cfg.looks)]
        self.up4 = conv(f"{name}.up4", c8, 4 * c4, 1)
        self.join = conv(f"{name}.join", self.finder.found, c4, 1) if self.finder.found else None
        self.block4 = Residual(f"{name}.block4", c4, c4)
        self.out = conv(f"{name}.out", c4, 48, 3, scale=BRANCH)
        self.linear = PatchLinear(f"{name}.linear", STRIDE, cfg.dim, inverse=True)
        patch = 3 * STRIDE**2
        self.own = Own(f"{name}.own", cfg.dim, patch, mirror=cfg.mirror) if cfg.own else None
        self.detail = Detail(cfg, self.finder.found, f"{name}.detail") if cfg.detail else None
        self.seam = Seam(cfg, f"{name}.seam") if cfg.seam else None

    def call(self, y_hat, mask, there, sees, meant):
        """y_hat, mask; there: of the SI-net; sees, meant [B,2] (see DscNet.synthesise) -> x_hat."""
        place = ops.ones_like(mask[..., :1]) * coordinates(*mask.shape[1:3])
        flag = _planes(sees[:, 1:], mask)
        linear = self.linear(y_hat)
        if self.own is not None:
            linear = linear + depth_to_space(self.own(y_hat, meant[:, 1]), STRIDE)
        h = self.first(self.inp(ops.concatenate([y_hat, mask, place, flag], -1)))
        more, found = self.finder(h, there, linear, mask[..., :1])
        h = h + sees[:, 1:, None, None] * more
        for block in self.blocks:
            h = block(h)
        for look in self.looks:
            h = look(h, there[0], sees[:, 1])
        h = depth_to_space(self.up4(leaky(h)), 2)
        if self.join is not None:
            h = h + sees[:, 1:, None, None] * self.join(found)
        h = self.block4(h)
        shown = depth_to_space(self.out(leaky(h)), 4) + linear
        if self.detail is not None:
            more = self.detail(h, found, there[1], space_to_depth(shown, 4))
            shown = shown + depth_to_space(sees[:, 1:, None, None] * more, 4)
        if self.seam is not None:
            more = self.seam(h, there[1], space_to_depth(shown, 4))
            shown = shown + depth_to_space(sees[:, 1:, None, None] * more, 4)
        return shown


class DscNet(keras.Model):
    """The conditional VQ-VAE; ``parts`` are its separable pieces."""

    def __init__(self, cfg: DscConfig | None = None) -> None:
        super().__init__(name="dsc")
        self.cfg = cfg = cfg or DscConfig()
        self.g_a = Analysis(cfg)
        self.g_s = Synthesis(cfg)
        self.si = SideRows(cfg) if cfg.alignment == "rows" else SideNet(cfg)
        self.q = ResidualQuantiser("q", cfg.dim, cfg.sizes, cfg.strides)
        self.q_side = (
            ResidualQuantiser("q_side", cfg.dim, cfg.sizes, cfg.strides) if cfg.own else None
        )
        self.prior = IndexPrior(cfg.prior)
        self.built = True

    @property
    def parts(self) -> dict[str, keras.layers.Layer]:
        """Name -> layer, in a fixed order."""
        names = ["g_a", "g_s", "si", "q", *["q_side"] * self.cfg.own, "prior"]
        return {name: getattr(self, name) for name in names}

    def look(self, side, sees) -> Any:
        """Features of the side information [B,H,W,3] 0..255; of a grey picture where neither end sees it."""
        centred = (side / 255.0 - 0.5) * sees[:, 1:, None, None]
        return self.si(ops.flip(centred, 1) if self.cfg.mirror else centred)

    def analyse(self, x, there, sees):
        """x [B,H,W,3] 0..255 -> y."""
        return self.g_a(x / 255.0 - 0.5, there, sees)

    def encode(self, x, side, sees):
        """What the transmitter does: indices of all stages, per stage [B,h_s,w_s] int32."""
        return self.quantise(self.analyse(x, self.look(side, sees), sees), sees)[3]

    def quantise(self, y, sees):
        """See ``ResidualQuantiser.call``; every picture with the codebooks of its mode."""
        found = self.q(y)
        if self.q_side is None:
            return found
        return [
            [_chosen(sees, a, b) for a, b in zip(here, there, strict=True)]
            for here, there in zip(found, self.q_side(y), strict=True)
        ]

    def expand(self, code, stage: int, sees):
        """See ``ResidualQuantiser.expand``."""
        found = self.q.expand(code, stage)
        return (
            found if self.q_side is None else _chosen(sees, found, self.q_side.expand(code, stage))
        )

    def updates(self, inputs, indices, revive, sees) -> dict[str, Any]:
        """The state of all codebooks after a step, each following the pictures of its modes: see the quantiser's."""
        if self.q_side is None:
            return self.q.updates(inputs, indices, revive)
        return self.q.updates(inputs, indices, revive, 1.0 - sees[:, 1]) | self.q_side.updates(
            inputs, indices, revive, sees[:, 1]
        )

    def synthesise(self, y_hat, mask, side, sees, meant):
        """What the receiver does: y_hat (zero where mask is), side 0..255 -> x_hat 0..255, not clipped.

        Args: sees [B,2]: what is there to see; meant [B,2]: what the transmitter coded for.
        """
        return (self.g_s(y_hat, mask, self.look(side, sees), sees, meant) + 0.5) * 255.0

    def call(self, x, side, sees, mask):
        """Training pass.

        Args:    x, side [B,H,W,3] float32 0..255; sees [B,2] 0 or 1, see ``SEES``; mask [B,H/8,W/8,S] 0 or 1.
        Returns: x_hat [B,H,W,3]; inputs, codes and indices of the quantiser's stages.
        """
        there = self.look(side, sees)
        parts, inputs, codes, indices = self.quantise(self.analyse(x, there, sees), sees)
        y_hat = sum(part * mask[..., s : s + 1] for s, part in enumerate(parts))
        x_hat = (self.g_s(y_hat, mask, there, sees, sees) + 0.5) * 255.0
        return x_hat, inputs, codes, indices

    def index_bits(self, codes, indices, sees, bands: int = 1) -> list[Any]:
        """What the prior charges for each index; no gradient goes into the codes.

        Args:    codes, indices: of ``call``; sees [B,2]; bands: rows are cut into so many bands, each on its own.
        Returns: per stage [B,h_s,w_s].
        """
        mode = ops.cast(ops.sum(sees, -1), "int32")  # 0, 1, 2: in the order of MODES
        codes = [ops.stop_gradient(c) for c in codes]
        before: Any = ops.zeros_like(self.expand(codes[0], 0, sees))
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
            before = before + ops.stop_gradient(self.expand(code, s, sees))
        return found
