"""Nonlinear transform coding with a mean-scale hyperprior, one network for all rates.

::

    x --> g_a --> y --*gain(q)--> u --- Q(u - mu) --> s --- + mu --*ungain(q)--> y_hat --> g_s --> x_hat
                  |                       ^                 ^
                  +--> h_a --*gain_z(q)--> z --Q--> z_hat --*ungain_z(q)--> h_s --> *gain(q) --> mu, sigma

    bits = -log2 P(z_hat; q) - log2 P(s | sigma)

The channels of u are coded in slices: what ``ctx`` sees of the slices before refines mu and sigma of the next.
g_a and g_s are a linear patch transform plus a deep branch. y has about unit variance; u is y in quantisation steps.

Sizes: x [B,H,W,3] in 0..255 with H, W multiples of 64; y, u, s, mu, sigma [B,H/16,W/16,latent]; z [B,H/64,W/64,side];
q [B] in 0..1, the quality. The weights shipped as ``ntc`` (224 latents) have 4.3 M parameters and take 0.8 G
multiply-adds for 128x128.

Source: Minnen et al. (2018), mean-scale hyperprior; Cui et al. (2021), gained latents (here interpolated linearly
between anchors, and residual stages modulated too); Minnen & Singh (2020), channel slices, and noise for the rate and
rounding with a straight-through gradient for the distortion.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

from linksim.errors import ComponentError
from linksim.model.entropy import RAW_MAX, SCALE_MIN, MixturePrior, gaussian_bits
from linksim.model.layers import (
    Anchored,
    Modulation,
    PatchLinear,
    Residual,
    conv,
    depth_to_space,
    hat_basis,
    leaky,
    space_to_depth,
)
from linksim.model.ntc_config import STRIDE, STRIDE_Z, NtcConfig

__all__ = ["STRIDE", "STRIDE_Z", "NtcConfig", "NtcNet"]

BRANCH = 0.01  # variance of the deep branches' last layers at the start: the linear skeleton leads

BRANCH = 0.01  # variance of the deep branches' last layers at the start: the linear skeleton leads


class Analysis(keras.layers.Layer):
    """g_a: x [B,H,W,3] in -0.5..0.5 -> y [B,H/16,W/16,latent]."""

    def __init__(self, cfg: NtcConfig, name: str = "g_a") -> None:
        super().__init__(name=name)
        c4, c8, c16, k = cfg.width4, cfg.width8, cfg.width16, cfg.anchors
        self.stem = conv(f"{name}.stem", 48, c4, 3)
        self.blocks4 = [Residual(f"{name}.block4.{i}", c4, cfg.hidden4) for i in range(cfg.blocks4)]
        self.down8 = conv(f"{name}.down8", c4, c8, 3, 2)
        self.blocks8 = [Residual(f"{name}.block8.{i}", c8, cfg.hidden8) for i in range(cfg.blocks8)]
        self.film8 = Modulation(f"{name}.film8", k, c8)
        self.down16 = conv(f"{name}.down16", c8, c16, 3, 2)
        self.blocks16 = [
            Residual(f"{name}.block16.{i}", c16, cfg.hidden16) for i in range(cfg.blocks16)
        ]
        self.film16 = Modulation(f"{name}.film16", k, c16)
        self.out = conv(f"{name}.out", c16, cfg.latent, 1, scale=BRANCH)
        self.linear = PatchLinear(f"{name}.linear", STRIDE, cfg.latent, inverse=False)

    def call(self, x, phi):
        """x, phi [B,K] -> y."""
        h = leaky(self.stem(space_to_depth(x, 4)))
        for block in self.blocks4:
            h = block(h)
        h = self.down8(h)
        for block in self.blocks8:
            h = block(h)
        h = self.down16(leaky(self.film8(h, phi)))
        for block in self.blocks16:
            h = block(h)
        return self.out(leaky(self.film16(h, phi))) + self.linear(x)


class Synthesis(keras.layers.Layer):
    """g_s: y_hat [B,h,w,latent] -> x_hat [B,16h,16w,3], around -0.5..0.5, not clipped."""

    def __init__(self, cfg: NtcConfig, name: str = "g_s") -> None:
        super().__init__(name=name)
        c4, c8, c16, k = cfg.width4, cfg.width8, cfg.width16, cfg.anchors
        self.inp = conv(f"{name}.inp", cfg.latent, c16, 1)
        self.blocks16 = [
            Residual(f"{name}.block16.{i}", c16, cfg.hidden16) for i in range(cfg.blocks16)
        ]
        self.film16 = Modulation(f"{name}.film16", k, c16)
        self.up8 = conv(f"{name}.up8", c16, 4 * c8, 1)
        count8 = cfg.blocks8 + cfg.more8
        self.blocks8 = [Residual(f"{name}.block8.{i}", c8, cfg.hidden8) for i in range(count8)]
        self.film8 = Modulation(f"{name}.film8", k, c8)
        self.up4 = conv(f"{name}.up4", c8, 4 * c4, 1)
        names4 = [f"{name}.block4", *(f"{name}.block4.{i}" for i in range(cfg.blocks4))]
        self.blocks4 = [Residual(n, c4, cfg.hidden4) for n in names4]
        self.out = conv(f"{name}.out", c4, 48, 3, scale=BRANCH)
        self.linear = PatchLinear(f"{name}.linear", STRIDE, cfg.latent, inverse=True)

    def call(self, y_hat, phi):
        """y_hat, phi [B,K] -> x_hat."""
        h = self.inp(y_hat)
        for block in self.blocks16:
            h = block(h)
        h = depth_to_space(self.up8(leaky(self.film16(h, phi))), 2)
        for block in self.blocks8:
            h = block(h)
        h = depth_to_space(self.up4(leaky(self.film8(h, phi))), 2)
        for block in self.blocks4:
            h = block(h)
        return depth_to_space(self.out(leaky(h)), 4) + self.linear(y_hat)


class HyperAnalysis(keras.layers.Layer):
    """h_a: y [B,h,w,latent] -> z [B,h/4,w/4,side], before its gain."""

    def __init__(self, cfg: NtcConfig, name: str = "h_a") -> None:
        super().__init__(name=name)
        self.conv0 = conv(f"{name}.conv0", cfg.latent, cfg.hyper, 3)
        self.film0 = Modulation(f"{name}.film0", cfg.anchors, cfg.hyper)
        self.down0 = conv(f"{name}.down0", cfg.hyper, cfg.hyper, 3, 2)
        self.down1 = conv(f"{name}.down1", cfg.hyper, cfg.side, 3, 2)

    def call(self, y, phi):
        """y, phi [B,K] -> z."""
        return self.down1(leaky(self.down0(leaky(self.film0(self.conv0(y), phi)))))


class HyperSynthesis(keras.layers.Layer):
    """h_s: z_hat [B,h/4,w/4,side] -> mu, raw scale, each [B,h,w,latent], and features [B,h,w,hyper_out] for ctx.

    Convolutions, biases that depend on the quality and leaky ReLU with slope 1/8, and nothing else: the codec runs it
    in exact fixed-point arithmetic (``linksim.codec.hyper``), where encoder and decoder cannot disagree.
    """

    def __init__(self, cfg: NtcConfig, name: str = "h_s") -> None:
        super().__init__(name=name)
        c, k = cfg.hyper, cfg.anchors
        self.up0 = conv(f"{name}.up0", cfg.side, 4 * c, 1)
        self.bias0 = Anchored(f"{name}.bias0", k, 4 * c)
        self.conv0 = conv(f"{name}.conv0", c, c, 3)
        self.up1 = conv(f"{name}.up1", c, 4 * c, 1)
        self.bias1 = Anchored(f"{name}.bias1", k, 4 * c)
        self.conv1 = conv(f"{name}.conv1", c, cfg.hyper_out, 3)
        self.out = conv(f"{name}.out", cfg.hyper_out, 2 * cfg.latent, 1)
        self.bias2 = Anchored(f"{name}.bias2", k, 2 * cfg.latent)

    def call(self, z_hat, phi):
        """z_hat, phi [B,K] -> mu, raw, features."""
        h = leaky(depth_to_space(self.up0(z_hat) + self.bias0(phi), 2))
        h = leaky(self.conv0(h))
        h = leaky(depth_to_space(self.up1(h) + self.bias1(phi), 2))
        h = leaky(self.conv1(h))
        mu, raw = ops.split(self.out(h) + self.bias2(phi), 2, axis=-1)
        return mu, raw, h


class Context(keras.layers.Layer):
    """ctx: slices already decoded -> what to add to mu and the raw scale of the next. Nothing at the start.

    Runs in fixed point in the codec, like h_s.
    """

    def __init__(self, cfg: NtcConfig, name: str = "ctx") -> None:
        super().__init__(name=name)
        c = cfg.context
        self.past, self.features, self.out = [], [], []
        for i, (start, end) in enumerate(cfg.bounds()):
            if i:
                self.past.append(conv(f"{name}.past{i}", start, c, 3))
                self.features.append(conv(f"{name}.features{i}", cfg.hyper_out, c, 1))
                self.out.append(conv(f"{name}.out{i}", c, 2 * (end - start), 1, scale=0.0))

    def call(self, past, features, index: int):
        """Before slice ``index`` >= 1: past [B,h,w,sum of the slices before], in units of y; features of h_s."""
        h = leaky(self.past[index - 1](past) + self.features[index - 1](features))
        return ops.split(self.out[index - 1](h), 2, axis=-1)


def fitted(path: str, array: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    """A variable of a network with fewer latents, or more, as one of this network: the leading latents are the same.

    What the other does not have is zero, but for the gains of latents, which are as ``fresh`` has them.

    Args:    path of the variable; array: its value there; fresh: its value in this network at the start.
    Returns: shaped like fresh; array itself where the shapes are one.
    Raises:  ComponentError: they have not the same dimensions, or are kernels of other sizes.
    """
    if array.shape == fresh.shape:
        return array
    window = -2 if fresh.ndim == 4 else 0  # of a convolution
    if array.ndim != fresh.ndim or array.shape[:window] != fresh.shape[:window]:
        raise ComponentError(f"{path} has shape {array.shape}, which {fresh.shape} cannot take")
    result = fresh.copy() if path.split("/")[0] in ("gain", "ungain") else np.zeros_like(fresh)
    halves = 2 if path.startswith(("h_s.out", "h_s.bias2", "ctx.out")) else 1  # mu | raw scale
    pairs = (np.split(a, halves, -1) for a in (result, array))
    for target, source in zip(*pairs, strict=True):  # views of ``result``
        common = tuple(map(slice, np.minimum(target.shape, source.shape)))
        target[common] = source[common]
    return result


def straight_through(x):
    """round(x) with the gradient of x."""
    return x + ops.stop_gradient(ops.round(x) - x)


class NtcNet(keras.Model):
    """The whole network; ``parts`` are its separable pieces, saved and reused by name."""

    def __init__(self, cfg: NtcConfig | None = None) -> None:
        super().__init__(name="ntc")
        self.cfg = cfg = cfg or NtcConfig()
        k = cfg.anchors
        self.g_a = Analysis(cfg)
        self.g_s = Synthesis(cfg)
        self.h_a = HyperAnalysis(cfg)
        self.h_s = HyperSynthesis(cfg)
        self.ctx = Context(cfg)
        # at high rate a uniform step of 5.1 / sqrt(lambda) is best for an orthonormal transform; y is in units of
        # 1/255 of that, to which the training start adds the size of each principal component
        lagrangians = [cfg.lagrangian(i / (k - 1)) for i in range(k)]
        ladder = [math.log(255 * math.sqrt(v) / 5.1) for v in lagrangians]
        half = [0.5 * (v - ladder[0]) for v in ladder]
        self.gain = Anchored("gain", k, cfg.latent, ladder)
        self.ungain = Anchored("ungain", k, cfg.latent, [-v for v in ladder])
        self.gain_z = Anchored("gain_z", k, cfg.side, half)
        self.ungain_z = Anchored("ungain_z", k, cfg.side, [-v for v in half])
        self.prior = MixturePrior("prior", k, cfg.side)
        self.built = True

    @property
    def parts(self) -> dict[str, keras.layers.Layer]:
        """Name -> layer, in a fixed order."""
        names = ["g_a", "g_s", "h_a", "h_s", "ctx", "gain", "ungain", "gain_z", "ungain_z", "prior"]
        return {name: getattr(self, name) for name in names}

    def basis(self, quality):
        """quality [B] -> phi [B, K]."""
        return hat_basis(quality, self.cfg.anchors)

    def analyse(self, x, phi):
        """x [B,H,W,3] 0..255 -> y, and z before quantisation."""
        y = self.g_a(x / 255.0 - 0.5, phi)
        return y, self.h_a(y, phi) * ops.exp(self.gain_z(phi))

    def quantise(self, u, z_hat, phi, rounding=None, noise=None):
        """Slice by slice: rounded residuals and what they were rounded around.

        Args:    u [B,h,w,latent], in quantisation steps; z_hat; phi [B,K]; rounding: of u - mu with a slice's noise
                 (shaped like u) in place of ``straight_through``.
        Returns: residual (integers, with the gradient of u - mu), mu, sigma, each like u.
        """
        mean, raw, features = self.h_s(z_hat * ops.exp(self.ungain_z(phi)), phi)
        gain = ops.exp(self.gain(phi))
        past: list = []
        residuals, means, sigmas = [], [], []
        for i, (start, end) in enumerate(self.cfg.bounds()):
            m, r, g = (t[..., start:end] for t in (mean, raw, gain))
            if i:
                more = self.ctx(ops.concatenate(past, -1), features, index=i)
                m, r = m + more[0], r + more[1]
            means.append(m * g)
            sigmas.append(SCALE_MIN + ops.exp(ops.minimum(r, RAW_MAX)) * g)
            residual = u[..., start:end] - means[-1]
            residuals.append(
                rounding(residual, noise[..., start:end])
                if rounding
                else straight_through(residual)
            )
            past.append((residuals[-1] + means[-1]) / g)
        return tuple(ops.concatenate(parts, -1) for parts in (residuals, means, sigmas))

    def synthesise(self, u_hat, phi):
        """u_hat -> x_hat [B,H,W,3] on the 0..255 scale, not clipped."""
        return (self.g_s(u_hat * ops.exp(self.ungain(phi)), phi) + 0.5) * 255.0

    def drawn(self, u, z, phi, rounding, noise_u, noise_z):
        """What latents cost and show under another rounding, for encoders that search (``linksim.codec.ntc_refine``).

        Args:    u, z before rounding, in quantisation steps; phi [B,K]; rounding: (value, noise) -> value.
        Returns: bits [B]; x_hat like ``synthesise``.
        """
        z_hat = rounding(z, noise_z)
        residual, mu, sigma = self.quantise(u, z_hat, phi, rounding, noise_u)
        bits = ops.sum(gaussian_bits(residual, sigma), (1, 2, 3))
        bits = bits + ops.sum(self.prior(z_hat, phi), (1, 2, 3))
        return bits, self.synthesise(residual + mu, phi)

    def call(self, x, quality, noise_u=None, noise_z=None):
        """Forward pass: training with noise (uniform in -0.5..0.5, shaped like u and z), real rounding without.

        Args:    x [B,H,W,3] float32 0..255; quality [B].
        Returns: x_hat [B,H,W,3]; bits of u [B,h,w,latent]; bits of z [B,h/4,w/4,side].
        """
        phi = self.basis(quality)
        y, z = self.analyse(x, phi)
        u = y * ops.exp(self.gain(phi))
        z_hat = straight_through(z)
        residual, mu, sigma = self.quantise(u, z_hat, phi)
        x_hat = self.synthesise(residual + mu, phi)
        bits_u = gaussian_bits(residual if noise_u is None else u - mu + noise_u, sigma)
        bits_z = self.prior(z_hat if noise_z is None else z + noise_z, phi)
        return x_hat, bits_u, bits_z
