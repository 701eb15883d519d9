"""The exact check-node rule in float32: that of the ``quality`` profile.

A message of magnitude L is carried as odds p / q = e^-L. Two of them combine by

    (p, q) with (p', q')  ->  (p q' + p' q,  q q' + p p'),    that is  tanh(L''/2) = tanh(L/2) tanh(L'/2),

which only ever adds positive numbers, so that nothing cancels however certain the bits are. Running combinations from
both ends give each edge that of all others; one exp and one log an edge lead in and out.
"""

from __future__ import annotations

import numpy as np

from linksim.phy.fast.lanewise import exp, log
from linksim.phy.fast.simd import (
    add,
    as_floats,
    both,
    div,
    fabs,
    fma,
    fmax,
    kernel,
    load,
    load_bits,
    mul,
    negate_where,
    splat,
    splat32,
    store,
    sub,
    xor,
)

LIMIT = 100.0  # of a channel LLR
_CERTAIN = -40.0  # e^-40 beside 1 is nothing in float32
_LANES = 16


@kernel
def one_pass(app, msg, width, stride, row_start, column, turn, lone, tmp, keep):
    """One pass over all rows. Args: as in min_sum.one_pass, float32; keep [16] int32."""
    kept = load(keep, 0)
    zero, one, certain = (
        splat(np.float32(0.0)),
        splat(np.float32(1.0)),
        splat(np.float32(_CERTAIN)),
    )
    most = 0
    for r in range(lone.size):
        most = max(most, row_start[r + 1] - row_start[r])
    odds = np.empty(most * _LANES, np.float32)
    run_p = np.empty(most * _LANES, np.float32)
    run_q = np.empty(most * _LANES, np.float32)
    for r in range(lone.size):
        first, last = row_start[r], row_start[r + 1]
        degree = last - first
        for e in range(first, last):
            base, s = column[e] * stride, turn[e]
            old, to = e * stride, (e - first) * stride
            head = width - s
            for t in range(0, head, _LANES):
                m = as_floats(both(load_bits(msg, old + t), kept))
                store(tmp, to + t, sub(load(app, base + s + t), m))
            for t in range(0, s, _LANES):  # overwrites what the loop above wrote too much
                m = as_floats(both(load_bits(msg, old + head + t), kept))
                store(tmp, to + head + t, sub(load(app, base + t), m))
        for t in range(0, width, _LANES):
            p, q = zero, one  # odds of a certain 0, which changes nothing
            sign = splat32(np.int32(0))
            if lone[r] >= 0:
                sign = load_bits(app, lone[r] + t)
                p = exp(fmax(sub(zero, fabs(load(app, lone[r] + t))), certain))
            for j in range(degree):
                v = load(tmp, j * stride + t)
                x = exp(fmax(sub(zero, fabs(v)), certain))
                sign = xor(sign, load_bits(tmp, j * stride + t))
                store(odds, j * _LANES, x)
                store(run_p, j * _LANES, p)
                store(run_q, j * _LANES, q)
                p, q = fma(x, q, p), fma(x, p, q)
            p, q = zero, one
            for j in range(degree - 1, -1, -1):
                v = load(tmp, j * stride + t)
                x = load(odds, j * _LANES)
                p0, q0 = load(run_p, j * _LANES), load(run_q, j * _LANES)
                # odds of all others, from both sides
                others = div(fma(q0, q, mul(p0, p)), fma(p0, q, mul(q0, p)))
                m = negate_where(xor(sign, load_bits(tmp, j * stride + t)), log(others))
                p, q = fma(x, q, p), fma(x, p, q)
                store(msg, (first + j) * stride + t, m)
                store(app, column[first + j] * stride + t, add(v, m))
