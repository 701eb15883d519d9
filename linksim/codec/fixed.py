"""h_s in fixed point: means and scale indices that encoder and decoder cannot see differently.

All values are integers held in float64, small enough (below 2^53) that every sum is exact whatever its order. So batch
size, thread count, BLAS and machine make no difference, where a float network would.

Formats: activations 2^-10, weights 2^-14.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from linksim.codec.tables import ScaleTables

FRACTION = 10  # bits of activations
WEIGHT_FRACTION = 14


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
class FixedHyper:
    """h_s of one set of weights, gains included.

    Args:
      arrays: weights by path, values of float16 precision.
      levels: quality levels above 0.
      tables: whose scales the indices point to.
      floor:  SCALE_MIN of the network.
      top:    RAW_MAX of the network.
    """

    arrays: Mapping[str, np.ndarray]
    levels: int
    tables: ScaleTables
    floor: float
    top: float

    def _kernel(self, name: str) -> np.ndarray:
        return _round(self.arrays[f"h_s.{name}/kernel"].astype(np.float64), WEIGHT_FRACTION)

    def _table(self, name: str, phi: np.ndarray) -> np.ndarray:
        return phi @ self.arrays[f"{name}/table"].astype(np.float64)

    def _bias(self, layer: str, phi: np.ndarray, table: str | None = None) -> np.ndarray:
        bias = self.arrays[f"h_s.{layer}/bias"].astype(np.float64)
        return _round(bias + (self._table(f"h_s.{table}", phi) if table else 0.0), FRACTION)

    def __call__(self, z_hat: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
        """Entropy parameters of u.

        Args:    z_hat [B,h,w,side] integers; level of the quality.
        Returns: mu [B,4h,4w,latent] float64, a multiple of 2^-10; index [B,4h,4w,latent] int64 into the tables.
        """
        anchors = len(self.arrays["gain/table"])
        phi = quality_basis(level, self.levels, anchors)
        h = z_hat * _round(np.exp(self._table("ungain_z", phi)), FRACTION)
        h = _conv(h, self._kernel("up0")) + self._bias("up0", phi, "bias0")
        h = _leaky(_shuffle(h))
        h = _leaky(_conv(h, self._kernel("conv0")) + self._bias("conv0", phi))
        h = _conv(h, self._kernel("up1")) + self._bias("up1", phi, "bias1")
        h = _leaky(_shuffle(h))
        h = _leaky(_conv(h, self._kernel("conv1")) + self._bias("conv1", phi))
        h = _conv(h, self._kernel("out")) + self._bias("out", phi, "bias2")
        mean, raw = np.split(h, 2, axis=-1)
        log_gain = self._table("gain", phi)
        mean = np.floor(mean * _round(np.exp(log_gain), FRACTION) * 2.0**-FRACTION + 0.5)
        raw = np.minimum(raw, self.top * 2**FRACTION)
        return mean * 2.0**-FRACTION, self._index(raw, log_gain)

    def _index(self, raw: np.ndarray, log_gain: np.ndarray) -> np.ndarray:
        # the boundary between neighbouring scales, in the domain of the network's own output
        edges = np.log(self.tables.edges - self.floor)[:, None] - log_gain
        index = np.zeros(raw.shape, np.int64)
        for edge in _round(edges, FRACTION):
            index += raw > edge
        return index
