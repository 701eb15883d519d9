"""Nonlinear transform source-channel coding: latents to channel symbols, with a rate per embedding.

::

    x --> g_a --> y --> f_e --> s --[first k_i of each embedding, unit power]--> channel
                         ^ condition: SNR believed, k_i
    x_hat <-- g_s <-- y_hat <-- f_d <-- r (MMSE-equalised, zeros where nothing was sent)
                                 ^ condition: SNR met, k_i

f_e and f_d are a linear map (at the start: the largest coefficients as they are, with the power that is best for a
linear system) plus attention blocks over the embeddings. Symbols are nested: fewer of them are the first of more.
Between f_e and f_d everything is in real symbols of unit variance; two make one complex symbol.

A network with blocks_u has f_u besides: where its own decoder, shown the symbols through noise, errs, the transmitter
learns by the slope of that error, and f_u maps symbols and slope to better symbols, once or several times.

Sizes: x [B,H,W,3] in 0..255, H and W multiples of 16; y, y_hat [B,H/16,W/16,latent]; s, r [B,H/16,W/16,symbols];
k [B,H/16,W/16], complex symbols of each embedding; SNR in dB, [B] at the transmitter, like k at the receiver.

Source: Dai et al. (2022), NTSCC, JSAC; Wang et al. (2023), arXiv:2303.14637 (one model for many SNRs, levels to 320);
f_u: Marino et al. (2018), iterative amortized inference, ICML.
"""

# deviates: f_e and f_d are conditioned on k continuously instead of by one token per level, so that any k can be sent
# and a budget is filled exactly; the rate model is that of NTC, whose weights are a file of their own.

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

import keras
import numpy as np
from keras import ops

from linksim.model.attention import Block, Linear
from linksim.model.layers import hat_basis, leaky
from linksim.model.ntc import STRIDE, Analysis, NtcConfig, Synthesis

SNR_LOW_DB, SNR_HIGH_DB = -8.0, 20.0  # of the condition; clipped outside
LOG2_K_LOW, LOG2_K_HIGH = 2.0, 7.0
# Quality of NTC's transforms that an information rate asks for: bpp = 0.0358 exp(3.9 quality) (validation of NTC).
BPP_AT_0, BPP_GROWTH = 0.0358, 3.9
ATTAINED = 0.8  # share of capacity that this rate is taken to be
# Of f_u: how far its outputs move a symbol, what is added to a slope's RMS before it divides, where the update starts.
UPDATE_GAIN, SLOPE_FLOOR, UPDATE_START = 0.15, 0.3, 0.015


@dataclass(frozen=True)
class NtsccConfig:
    """The architecture.

    Args:
      transforms: of g_a and g_s, as keywords of NtcConfig.
      width, heads, hidden: of the attention blocks.
      window:     side of their windows [embeddings].
      blocks_e, blocks_d: how many in f_e and in f_d.
      blocks_u:   how many in f_u; 0: there is no f_u.
      symbols:    real symbols of an embedding at most.
      condition:  channels of the condition.
      anchors_snr, anchors_k: of the axes of SNR and of log2 k.
    """

    transforms: dict[str, Any] = field(default_factory=dict)
    width: int = 160
    heads: int = 5
    hidden: int = 320
    window: int = 8
    blocks_e: int = 2
    blocks_d: int = 4
    blocks_u: int = 0
    symbols: int = 256
    condition: int = 48
    anchors_snr: int = 8
    anchors_k: int = 6

    def __post_init__(self) -> None:
        known = {f.name for f in fields(NtcConfig)}
        if unknown := sorted(set(self.transforms) - known):
            raise ValueError(f"transforms has no {unknown[0]!r}; it has {sorted(known)}")
        if self.symbols % 2 or self.symbols < 2:
            raise ValueError(f"symbols must be even, got {self.symbols}")

    @property
    def ntc(self) -> NtcConfig:
        """Configuration of the transforms."""
        return NtcConfig(**self.transforms)

    @property
    def max_k(self) -> int:
        """Complex symbols of an embedding at most."""
        return self.symbols // 2


def quality_for(bits_per_embedding):
    """Quality in 0..1 of the transforms for an information rate.

    Args: bits_per_embedding: [B], capacity of what an embedding may use on the average.
    """
    bpp = ops.maximum(ATTAINED * bits_per_embedding / STRIDE**2, 1e-6)
    return ops.clip(ops.log(bpp / BPP_AT_0) / BPP_GROWTH, 0.0, 1.0)


class Condition(keras.layers.Layer):
    """(SNR, k) of an embedding -> basis functions, and a vector for the blocks."""

    def __init__(self, cfg: NtsccConfig, name: str) -> None:
        super().__init__(name=name)
        self.cfg = cfg
        self.inp = Linear(f"{name}.inp", cfg.anchors_snr + cfg.anchors_k, cfg.condition)
        self.out = Linear(f"{name}.out", cfg.condition, cfg.condition)

    @property
    def size(self) -> int:
        """Number of basis functions."""
        return self.cfg.anchors_snr * self.cfg.anchors_k

    def call(self, snr_db, k):
        """Args: both [B,h,w]. Returns: basis [B,h,w,size], c [B,h,w,condition]."""
        snr = (snr_db - SNR_LOW_DB) / (SNR_HIGH_DB - SNR_LOW_DB)
        level = (ops.log2(ops.maximum(k, 1.0)) - LOG2_K_LOW) / (LOG2_K_HIGH - LOG2_K_LOW)
        phi_snr = hat_basis(ops.clip(snr, 0.0, 1.0), self.cfg.anchors_snr)
        phi_k = hat_basis(ops.clip(level, 0.0, 1.0), self.cfg.anchors_k)
        product = phi_snr[..., :, None] * phi_k[..., None, :]
        basis = ops.reshape(product, (*ops.shape(product)[:3], self.size))
        both = ops.concatenate([phi_snr, phi_k], -1)
        return basis, self.out(leaky(self.inp(both)))


class Coder(keras.layers.Layer):
    """f_e or f_d: a gain per channel before and after a linear map, plus attention blocks.

    Args: name; cfg; inputs, outputs: channels; blocks: how many; gain: where the condition's gain acts, "in" or "out".
    """

    def __init__(
        self, name: str, cfg: NtsccConfig, inputs: int, outputs: int, blocks: int, gain: str
    ) -> None:
        super().__init__(name=name)
        self.gain = gain
        self.condition = Condition(cfg, f"{name}.condition")
        channels = inputs if gain == "in" else outputs
        self.table = self.add_weight(
            shape=(self.condition.size, channels), initializer="zeros", name="table"
        )
        self.linear = Linear(f"{name}.linear", inputs, outputs)
        self.inp = Linear(f"{name}.inp", inputs, cfg.width)
        self.blocks = [
            Block(
                f"{name}.block{i}",
                width=cfg.width,
                heads=cfg.heads,
                window=cfg.window,
                hidden=cfg.hidden,
                condition=cfg.condition,
                shift=bool(i % 2),
            )
            for i in range(blocks)
        ]
        self.out = Linear(f"{name}.out", cfg.width, outputs, scale=0.001)

    def call(self, x, snr_db, k):
        """x [B,h,w,inputs]; snr_db, k [B,h,w] -> [B,h,w,outputs]."""
        basis, c = self.condition(snr_db, k)
        scale = ops.exp(ops.matmul(basis, self.table))
        if self.gain == "in":
            x = x * scale
        t = self.inp(x)
        for block in self.blocks:
            t = block(t, c)
        y = self.linear(x) + self.out(t)
        return y * scale if self.gain == "out" else y


class NtsccNet(keras.Model):
    """The whole network; ``parts`` are its separable pieces, saved and reused by name."""

    def __init__(self, cfg: NtsccConfig | None = None) -> None:
        super().__init__(name="ntscc")
        self.cfg = cfg = cfg or NtsccConfig()
        ntc = cfg.ntc
        self.g_a = Analysis(ntc)
        self.g_s = Synthesis(ntc)
        self.f_e = Coder("f_e", cfg, ntc.latent, cfg.symbols, cfg.blocks_e, "out")
        self.f_d = Coder("f_d", cfg, cfg.symbols, ntc.latent, cfg.blocks_d, "in")
        self.f_u = (
            Coder("f_u", cfg, 2 * cfg.symbols + 1, cfg.symbols, cfg.blocks_u, "in")
            if cfg.blocks_u
            else None
        )
        self.built = True

    @property
    def parts(self) -> dict[str, keras.layers.Layer]:
        """Name -> layer, in a fixed order."""
        parts = {"g_a": self.g_a, "g_s": self.g_s, "f_e": self.f_e, "f_d": self.f_d}
        return parts if self.f_u is None else parts | {"f_u": self.f_u}

    def _phi(self, snr_db, k):
        """Quality basis of the transforms for what the embeddings carry on the average. Both [B,h,w]."""
        capacity = ops.log2(1.0 + ops.power(10.0, snr_db / 10.0))
        quality = quality_for(ops.mean(k * capacity, (1, 2)))
        return hat_basis(quality, self.cfg.ntc.anchors)

    def _sent(self, k):
        """[B,h,w] -> [B,h,w,symbols]: 1 where a real symbol is sent."""
        return ops.cast(
            ops.arange(self.cfg.symbols, dtype="float32") < 2.0 * k[..., None], "float32"
        )

    def encode(self, x, snr_db, k):
        """Symbols of unit mean power over those that are sent, zeros elsewhere.

        Args:    x [B,H,W,3] 0..255; snr_db [B], believed; k [B,h,w].
        Returns: s [B,h,w,symbols].
        """
        return self._normalised(self._coded(x, snr_db, k), self._sent(k))

    def _coded(self, x, snr_db, k):
        """What f_e makes of pictures, of any power. Args, returns: as ``encode``."""
        snr = ops.broadcast_to(snr_db[:, None, None], ops.shape(k))
        return self.f_e(self.g_a(x / 255.0 - 0.5, self._phi(snr, k)), snr, k)

    def updated(self, s, slope, snr_db, k):
        """Symbols moved by f_u, of unit mean power again.

        Args:    s [B,h,w,symbols] of ``encode``; slope, like s: gradient by it of each picture's ln (MSE + 1)
                 behind AWGN at the SNR believed, mean of noise and its negative; snr_db [B], believed; k [B,h,w].
        Returns: like s.
        """
        assert self.f_u is not None, "a network of blocks_u: 0 updates nothing"
        sent = self._sent(k)
        count = ops.sum(sent, (1, 2, 3), keepdims=True)
        slope = slope * count
        size = ops.sqrt(ops.sum(ops.square(slope), (1, 2, 3), keepdims=True) / count) + SLOPE_FLOOR
        seen = ops.concatenate([s, slope / size, ops.log(size) * ops.ones_like(s[..., :1])], -1)
        snr = ops.broadcast_to(snr_db[:, None, None], ops.shape(k))
        return self._normalised(s + UPDATE_GAIN * self.f_u(seen, snr, k), sent)

    @staticmethod
    def _normalised(s, sent):
        """Unit mean power over what is sent, zeros elsewhere."""
        s = s * sent
        power = ops.sum(ops.square(s), (1, 2, 3), keepdims=True)
        count = ops.sum(sent, (1, 2, 3), keepdims=True)
        return s * ops.sqrt(count / ops.maximum(power, 1e-9))

    def decode(self, r, snr_db, k):
        """What was sent, seen through noise -> a picture.

        Args:    r [B,h,w,symbols], MMSE-equalised real symbols, zeros where nothing was sent; snr_db [B,h,w], met, on
                 the average of each embedding's symbols; k [B,h,w].
        Returns: x_hat [B,H,W,3] on the 0..255 scale, not clipped.
        """
        return (self.g_s(self.f_d(r, snr_db, k), self._phi(snr_db, k)) + 0.5) * 255.0

    def call(self, x, snr_tx_db, snr_db, k, noise):
        """Forward pass over a flat channel.

        Args:    x [B,H,W,3]; snr_tx_db, snr_db [B], believed and met; k [B,h,w]; noise [B,h,w,symbols], N(0, 1).
        Returns: x_hat [B,H,W,3].
        """
        return self.through(self._coded(x, snr_tx_db, k), snr_db, k, noise)

    def through(self, s, snr_db, k, noise):
        """Symbols over a flat channel to pictures.

        Args:    s [B,h,w,symbols], of any power; snr_db [B], met; k [B,h,w]; noise, N(0, 1), like s.
        Returns: x_hat [B,H,W,3].
        """
        sent = self._sent(k)
        snr = ops.power(10.0, snr_db / 10.0)[:, None, None, None]
        r = (self._normalised(s, sent) + noise * ops.rsqrt(snr)) * (snr / (1.0 + snr)) * sent
        met = ops.broadcast_to(snr_db[:, None, None], ops.shape(k))
        return self.decode(r, met, k)


def ln_mse(x, x_hat):
    """ln (MSE + 1) of each picture [B]. Args: both [B,H,W,3], 0..255."""
    return ops.log(ops.mean(ops.square(x_hat - x), (1, 2, 3)) + 1.0)


def start_update(net: NtsccNet) -> None:
    """Make f_u a step down the slope. In place."""
    assert net.f_u is not None
    kernel = np.zeros((2 * net.cfg.symbols + 1, net.cfg.symbols), np.float32)
    kernel[net.cfg.symbols : -1] = -UPDATE_START / UPDATE_GAIN * np.eye(net.cfg.symbols)
    net.f_u.linear.kernel.assign(kernel)


def start_linear(net: NtsccNet, y: np.ndarray) -> None:
    """Make f_e and f_d a linear system on their own: the largest coefficients, powers as their deviations. In place.

    Args: y: [N, latent], latents of training pictures.
    """
    cfg = net.cfg
    mean, deviation = y.mean(0), y.std(0) + 1e-6
    weight = deviation * np.exp(np.asarray(net.g_s.linear.log_scale.numpy()))
    order = np.argsort(-weight, kind="stable")
    latent, symbols = len(order), cfg.symbols
    gain = np.sqrt(weight / weight.max())
    forwards, backwards = np.zeros((latent, symbols)), np.zeros((symbols, latent))
    scale = np.zeros(symbols)
    for j in range(symbols):
        c = order[j % latent]
        repeat = j // latent
        forwards[c, j] = (-1.0) ** repeat / deviation[c]
        scale[j] = np.log(gain[c]) - 0.5 * repeat
        if not repeat:
            backwards[j, c] = deviation[c]
    encode, decode = _gains(cfg, scale)
    net.f_e.linear.kernel.assign(forwards.astype(np.float32))
    net.f_e.linear.bias.assign((-(mean @ forwards)).astype(np.float32))
    net.f_e.table.assign(encode.astype(np.float32))
    net.f_d.linear.kernel.assign(backwards.astype(np.float32))
    net.f_d.linear.bias.assign(mean.astype(np.float32))
    net.f_d.table.assign(decode.astype(np.float32))


def _gains(cfg: NtsccConfig, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Log gains at every pair of anchors: powers of unit mean over what is sent, and the linear MMSE estimator.

    Args:    scale [symbols], log amplitudes up to a constant.
    Returns: encode, decode, each [anchors_snr * anchors_k, symbols].
    """
    encode, decode = [], []
    for snr_db in np.linspace(SNR_LOW_DB, SNR_HIGH_DB, cfg.anchors_snr):
        snr = 10 ** (snr_db / 10)
        for k in np.exp2(np.linspace(LOG2_K_LOW, LOG2_K_HIGH, cfg.anchors_k)):
            power = np.exp(2 * scale)
            power /= power[: int(2 * k)].mean()
            estimate = (1 + snr) / snr * power / (power + 1 / snr)  # of s from w (s + noise)
            encode.append(0.5 * np.log(power))
            decode.append(np.log(estimate) - 0.5 * np.log(power))
    return np.array(encode), np.array(decode)
