"""Bessel functions of the first kind for many orders, and sums over them."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_LANES = 8
_TINY = 1e-280  # where the downward recurrence starts
_SMALL = 1e-6  # below it J_0 = 1, J_1 = x / 2 and the others vanish


def num_orders(x: float) -> int:
    """How many orders, from 0, are above 1e-9 at |x|: those behind vanish faster than any exponential."""
    return math.ceil(abs(x) + 8 * abs(x) ** (1 / 3) + 3)


@njit(cache=True, fastmath={"contract"}, nogil=True)
def _fill(x, weight, out, scratch):
    """out[k, t] = weight[t] J_k(x[t]). x, weight [T] float64, T a multiple of 8; out [K, T] float32; scratch [M, 8]."""
    orders, count = out.shape
    before, here = np.empty(_LANES), np.empty(_LANES)
    first = np.empty(_LANES, np.int64)
    inverse, total = np.empty(_LANES), np.empty(_LANES)
    for start in range(0, count, _LANES):
        top = 0
        for i in range(_LANES):
            size = abs(x[start + i])
            first[i] = int(size + 14 * size ** (1 / 3) + 26)
            top = max(top, first[i])
            inverse[i] = 2.0 / max(size, _SMALL)
            before[i] = 0.0
            here[i] = 0.0
            total[i] = 0.0
        # Miller: J_(k-1) = (2k / x) J_k - J_(k+1), downwards, up to a common factor, which J_0 + 2 sum J_2m = 1 gives
        for k in range(top, -1, -1):
            even = 2.0 if k % 2 == 0 else 0.0
            for i in range(_LANES):
                if (
                    k == first[i]
                ):  # each where its own values begin: from higher up they would overflow
                    here[i] = _TINY
                scratch[k, i] = here[i]
                total[i] += even * here[i]
                below = k * inverse[i] * here[i] - before[i]
                before[i] = here[i]
                here[i] = below
        for i in range(_LANES):
            # ``here`` is J_(-1); order 0 was counted twice
            total[i] = weight[start + i] / (total[i] - scratch[0, i])
        last = min(top + 1, orders)
        for k in range(last):
            for i in range(_LANES):
                value = scratch[k, i] * total[i]
                out[k, start + i] = -value if (x[start + i] < 0.0 and k % 2 == 1) else value
        for i in range(_LANES):
            if abs(x[start + i]) < _SMALL:
                for k in range(last):
                    out[k, start + i] = 0.0
                out[0, start + i] = weight[start + i]
                if last > 1:
                    out[1, start + i] = weight[start + i] * 0.5 * x[start + i]


def bessel(x: np.ndarray, weight: np.ndarray, orders: int) -> np.ndarray:
    """weight J_k(x) for k = 0..orders-1.

    Args:    x, weight [T] float64, T a multiple of 8; orders at least num_orders(max |x|).
    Returns: [orders, T] float32.
    """
    out = np.zeros((orders, len(x)), np.float32)
    most = float(np.abs(x).max(initial=0.0))
    scratch = np.empty((int(most + 14 * most ** (1 / 3)) + 30, _LANES))
    _fill(x, weight, out, scratch)
    return out


@njit(cache=True, fastmath={"contract"}, nogil=True)
def accumulate(z, basis, out):
    """out[b, t] += sum_k z[b, k] basis[k, t], every frame by itself and in the order of k.

    z [B, K', 2] float32 with K' >= K; basis [K, T] float32, T a multiple of 8; out [B, T, 2] float32.
    """
    orders, count = basis.shape
    real = np.empty(count, np.float32)
    imag = np.empty(count, np.float32)
    whole = orders // 4 * 4
    for b in range(z.shape[0]):
        real[:] = 0.0
        imag[:] = 0.0
        for k in range(0, whole, 4):
            r0, r1, r2, r3 = z[b, k, 0], z[b, k + 1, 0], z[b, k + 2, 0], z[b, k + 3, 0]
            i0, i1, i2, i3 = z[b, k, 1], z[b, k + 1, 1], z[b, k + 2, 1], z[b, k + 3, 1]
            for t in range(count):
                b0, b1, b2, b3 = basis[k, t], basis[k + 1, t], basis[k + 2, t], basis[k + 3, t]
                real[t] += (r0 * b0 + r1 * b1) + (r2 * b2 + r3 * b3)
                imag[t] += (i0 * b0 + i1 * b1) + (i2 * b2 + i3 * b3)
        for k in range(whole, orders):
            r0, i0 = z[b, k, 0], z[b, k, 1]
            for t in range(count):
                real[t] += r0 * basis[k, t]
                imag[t] += i0 * basis[k, t]
        for t in range(count):
            out[b, t, 0] += real[t]
            out[b, t, 1] += imag[t]
