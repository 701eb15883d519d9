"""h_s and ctx in fixed point: means and scale indices that encoder and decoder cannot see differently.

All values are integers held in float64, small enough (below 2^53) that every sum is exact whatever its order. So batch
size, thread count, BLAS and machine make no difference, where a float network would.

Formats: activations 2^-10, weights 2^-14.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from linksim.codec.tables import ScaleTables

FRACTION = 10  # bits of activations
WEIGHT_FRACTION = 14
PAST_LIMIT = 2.0**22


def quality_basis(level: int, levels: int, anchors: int) -> np.ndarray:
    """``layers.hat_basis`` of quality level / levels, [K]; exact when levels / (anchors - 1) is 2^n."""
    position = level * (anchors - 1) / levels
    return np.maximum(0.0, 1.0 - np.abs(position - np.arange(anchors)))


def _round(x: np.ndarray, fraction: int) -> np.ndarray:
    return np.floor(x * 2.0**fraction + 0.5)


def _leaky(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, np.floor(x * 0.125 + 0.5))


def _shuffle(x: np.ndarray) -> np.ndarray:
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, 2, 2, channels // 4).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, 2 * height, 2 * width, channels // 4)


def _conv(x: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Zero-padded convolution of integers. x [B,H,W,C] 2^-10; kernel [k,k,C,D] 2^-14. Returns: [B,H,W,D] 2^-10."""
    size, _, inputs, outputs = kernel.shape
    batch, height, width, _ = x.shape
    if size == 1:
        total = x @ kernel[0, 0]
    else:
        padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
        columns = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
        flat = np.concatenate(columns, -1).reshape(-1, 9 * inputs)
        total = (flat @ kernel.reshape(9 * inputs, outputs)).reshape(batch, height, width, outputs)
    return np.floor(total * 2.0**-WEIGHT_FRACTION + 0.5)


@dataclass(frozen=True)
class Hyper:
    """What z_hat says about u: the start of mu and of the raw scale, and features for ctx. All 2^-10 integers.

    Args:
      level:    of the quality.
      log_gain: [latent] float64.
      mean, raw: [B,h,w,latent].
      features: [B,h,w,hyper_out].
    """

    level: int
    log_gain: np.ndarray
    mean: np.ndarray
    raw: np.ndarray
    features: np.ndarray


class FixedHyper:
    """h_s and ctx of one set of weights, gains included.

    Args:
      arrays: weights by path, values of float16 precision.
      bounds: first channel and end of each slice.
      levels: quality levels above 0.
      tables: whose scales the indices point to.
      floor:  SCALE_MIN of the network.
      top:    RAW_MAX of the network.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        bounds: Sequence[tuple[int, int]],
        levels: int,
        tables: ScaleTables,
        floor: float,
        top: float,
    ) -> None:
        self.arrays, self.bounds, self.levels = arrays, bounds, levels
        self.tables, self.floor, self.top = tables, floor, top
        self._kernels: dict[str, np.ndarray] = {}

    def _conv(self, name: str, x: np.ndarray) -> np.ndarray:
        if name not in self._kernels:
            kernel = self.arrays[f"{name}/kernel"].astype(np.float64)
            self._kernels[name] = _round(kernel, WEIGHT_FRACTION)
        return _conv(x, self._kernels[name])

    def _table(self, name: str, phi: np.ndarray) -> np.ndarray:
        return phi @ self.arrays[f"{name}/table"].astype(np.float64)

    def _layer(
        self, name: str, x: np.ndarray, phi: np.ndarray | None = None, table: str = ""
    ) -> np.ndarray:
        bias = self.arrays[f"{name}/bias"].astype(np.float64)
        if phi is not None:
            bias = bias + self._table(table, phi)
        return self._conv(name, x) + _round(bias, FRACTION)

    def begin(self, z_hat: np.ndarray, level: int) -> Hyper:
        """Run h_s. Args: z_hat [B,h,w,side] integers; level of the quality."""
        phi = quality_basis(level, self.levels, len(self.arrays["gain/table"]))
        h = z_hat * _round(np.exp(self._table("ungain_z", phi)), FRACTION)
        h = _leaky(_shuffle(self._layer("h_s.up0", h, phi, "h_s.bias0")))
        h = _leaky(self._layer("h_s.conv0", h))
        h = _leaky(_shuffle(self._layer("h_s.up1", h, phi, "h_s.bias1")))
        h = _leaky(self._layer("h_s.conv1", h))
        mean, raw = np.split(self._layer("h_s.out", h, phi, "h_s.bias2"), 2, axis=-1)
        return Hyper(level, self._table("gain", phi), mean, raw, h)

    def slice(
        self, hyper: Hyper, index: int, past: Sequence[np.ndarray]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Entropy parameters of a slice of u.

        Args:
          hyper: of ``begin``.
          index: of the slice.
          past:  the slices before it, each u_hat [B,h,w,n] float64, as ``mu`` and integers add up to.
        Returns: mu [B,h,w,n] float64, a multiple of 2^-10; table index [B,h,w,n] int64.
        """
        start, end = self.bounds[index]
        mean, raw = hyper.mean[..., start:end], hyper.raw[..., start:end]
        log_gain = hyper.log_gain[start:end]
        if index:
            name = f"ctx.{{}}{index}"
            h = self._conv(name.format("past"), self._past(hyper, past))
            h = h + self._layer(name.format("features"), hyper.features)
            bias = self.arrays[f"{name.format('past')}/bias"].astype(np.float64)
            h = _leaky(h + _round(bias, FRACTION))
            more = np.split(self._layer(name.format("out"), h), 2, axis=-1)
            mean, raw = mean + more[0], raw + more[1]
        mean = np.floor(mean * _round(np.exp(log_gain), FRACTION) * 2.0**-FRACTION + 0.5)
        raw = np.minimum(raw, self.top * 2**FRACTION)
        return mean * 2.0**-FRACTION, self._index(raw, log_gain)

    def _past(self, hyper: Hyper, past: Sequence[np.ndarray]) -> np.ndarray:
        # in units of y, 2^-10; the limit keeps wild symbols of damaged packets inside exact arithmetic
        u_hat = np.concatenate(past, -1)
        inverse = _round(np.exp(-hyper.log_gain[: u_hat.shape[-1]]), FRACTION)
        y_hat = np.floor(u_hat * inverse + 0.5)
        return np.clip(y_hat, -PAST_LIMIT, PAST_LIMIT)

    def _index(self, raw: np.ndarray, log_gain: np.ndarray) -> np.ndarray:
        # the boundary between neighbouring scales, in the domain of the network's own output
        edges = np.log(self.tables.edges - self.floor)[:, None] - log_gain
        index = np.zeros(raw.shape, np.int64)
        for edge in _round(edges, FRACTION):
            index += raw > edge
        return index
