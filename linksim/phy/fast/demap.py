"""Exact a-posteriori demapper for Gray-mapped square QAM.

The axes of a square constellation are independent given h, so each bit's LLR is a sum over the 2^(Qm/2) levels of its
own axis, not over all 2^Qm points.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from linksim.phy.fast.mapper import axis_levels

LLR_LIMIT = 1e4  # where the noise vanishes


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def _demap(z, precision, levels, half, out):
    """out[t, 2 i + axis] = ln p(bit i = 1) / p(bit i = 0).

    z: [T, 2] matched values y/h per axis. precision: [T] 1/variance of one axis after division by h, times 1/2.
    """
    count = len(levels)
    metric = np.empty(count, np.float32)
    limit = np.float32(LLR_LIMIT)
    for t in range(len(z)):
        p = precision[t]
        for axis in range(2):
            v = z[t, axis]
            best = np.float32(-np.inf)
            for j in range(count):
                d = v - levels[j]
                m = -p * d * d
                metric[j] = m
                best = max(best, m)
            for i in range(half):
                top1 = np.float32(-np.inf)
                top0 = np.float32(-np.inf)
                weight = 1 << (half - 1 - i)
                for j in range(count):
                    if j & weight:
                        top1 = max(top1, metric[j])
                    else:
                        top0 = max(top0, metric[j])
                sum1 = np.float32(0.0)
                sum0 = np.float32(0.0)
                if count > 2:
                    for j in range(count):
                        if j & weight:
                            sum1 += np.exp(metric[j] - top1)
                        else:
                            sum0 += np.exp(metric[j] - top0)
                    llr = top1 - top0 + np.log(sum1) - np.log(sum0)
                else:
                    llr = top1 - top0
                if not llr < limit:  # NaN too
                    llr = limit if llr == llr else np.float32(0.0)
                elif llr < -limit:
                    llr = -limit
                out[t, 2 * i + axis] = llr


def demap(y: np.ndarray, h: np.ndarray, n0: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """LLRs of the coded bits, ln p(1)/p(0).

    Args:    y, h [B, S] complex64; n0 [B, S] float32, noise power per complex symbol.
    Returns: [B, S Qm] float32, finite also for n0 = 0, h = 0 or NaN.
    """
    half = num_bits_per_symbol // 2
    gain = np.abs(h) ** 2
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.where(gain > 0, np.conj(h) * y / np.where(gain > 0, gain, 1), 0).astype(np.complex64)
        precision = (gain / np.maximum(n0, np.float32(1e-12))).astype(np.float32)
    out = np.empty((y.size, num_bits_per_symbol), np.float32)
    pairs = np.ascontiguousarray(z).view(np.float32).reshape(-1, 2)
    _demap(pairs, np.ascontiguousarray(precision).ravel(), axis_levels(half), half, out)
    return out.reshape(*y.shape[:-1], -1)
