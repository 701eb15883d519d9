"""Exact a-posteriori demapper for Gray-mapped square QAM.

The axes of a square constellation are independent given h, so each bit's LLR is a sum over the 2^(Qm/2) levels of its
own axis, not over all 2^Qm points. Sixteen symbols are worked on side by side.
"""

from __future__ import annotations

import numpy as np

from linksim import cores
from linksim.phy.fast.lanewise import exp, log
from linksim.phy.fast.mapper import axis_levels
from linksim.phy.fast.simd import (
    add,
    aligned,
    div,
    fmax,
    fmin,
    kernel,
    load,
    mul,
    splat,
    store,
    sub,
)

LLR_LIMIT = 1e4  # where the noise vanishes
_LANES = 16
_LEAST_NOISE = 1e-12
_LARGE = 1e12  # of a point or a precision; beyond, products would overflow


@kernel
def _bit(metrics, weight, count):
    """LLR of the bit that ``weight`` selects in a label, from the log-likelihoods of the levels [count, 16]."""
    top0 = splat(np.float32(-3e38))
    top1 = top0
    for j in range(count):
        m = load(metrics, j * _LANES)
        if j & weight:
            top1 = fmax(m, top1)
        else:
            top0 = fmax(m, top0)
    llr = sub(top1, top0)
    if count > 2:
        sum0 = splat(np.float32(0.0))
        sum1 = sum0
        for j in range(count):
            m = load(metrics, j * _LANES)
            if j & weight:
                sum1 = add(sum1, exp(sub(m, top1)))
            else:
                sum0 = add(sum0, exp(sub(m, top0)))
        llr = add(llr, log(div(sum1, sum0)))
    limit = np.float32(LLR_LIMIT)
    return fmin(fmax(llr, splat(-limit)), splat(limit))


@kernel
def _demap(y, h, n0, levels, half, metrics, point, precision, llr, out):
    """out [T, 2 half]; y, h, n0 [T]. Scratch: metrics [levels, 16] flat, point [2, 16] flat, precision, llr [16]."""
    zero, large = np.float32(0.0), np.float32(_LARGE)
    count = levels.size
    total = y.size
    for start in range(0, total, _LANES):
        n = min(_LANES, total - start)
        for t in range(_LANES):
            a, b = np.complex64(0), np.complex64(0)
            noise = np.float32(1.0)
            if t < n:
                a, b, noise = y[start + t], h[start + t], n0[start + t]
            gain = b.real * b.real + b.imag * b.imag
            # y / h = conj(h) y / |h|^2; its noise power on one axis is n0 / |h|^2 / 2
            inverse = np.float32(1.0) / gain if gain > zero else zero
            re = (b.real * a.real + b.imag * a.imag) * inverse
            im = (b.real * a.imag - b.imag * a.real) * inverse
            p = gain / max(noise, np.float32(_LEAST_NOISE))
            known = abs(re) < large and abs(im) < large and p >= zero  # false for NaN
            point[t] = re if known else zero
            point[_LANES + t] = im if known else zero
            precision[t] = -min(p, large) if known and noise < np.inf else zero
        weight_of = load(precision, 0)
        for axis in range(2):
            v = load(point, axis * _LANES)
            for j in range(count):
                d = sub(v, splat(levels[j]))
                store(metrics, j * _LANES, mul(weight_of, mul(d, d)))
            for i in range(half):
                store(llr, 0, _bit(metrics, 1 << (half - 1 - i), count))
                for t in range(n):
                    out[start + t, 2 * i + axis] = llr[t]


def demap(y: np.ndarray, h: np.ndarray, n0: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """LLRs of the coded bits, ln p(1)/p(0).

    Args:    y, h [B, S] complex64; n0 [B, S] float32, noise power per complex symbol.
    Returns: [B, S Qm] float32 in -1e4..1e4; 0 where y, h or n0 is NaN or h is 0.
    """
    if not y.shape == h.shape == n0.shape:
        raise ValueError(f"y, h and n0 must have one shape, got {y.shape}, {h.shape}, {n0.shape}")
    half = num_bits_per_symbol // 2
    levels = axis_levels(half)
    flat = [
        np.require(part, kind, ["C", "W"]).reshape(-1)
        for part, kind in ((y, np.complex64), (h, np.complex64), (n0, np.float32))
    ]
    out = np.empty((y.size, num_bits_per_symbol), np.float32)

    def work(start: int, stop: int) -> None:
        _demap(
            *(part[start:stop] for part in flat),
            levels,
            half,
            *(aligned(n * _LANES, np.float32) for n in (len(levels), 2, 1, 1)),
            out[start:stop],
        )

    cores.over_rows(work, y.size, 1 << 14)
    return out.reshape(*y.shape[:-1], -1)
