"""Offset min-sum in 16-bit fixed point: the check-node rule of the ``fast`` profile."""

from __future__ import annotations

import numpy as np

from linksim.phy.fast.simd import (
    add_sat,
    both,
    kernel,
    load,
    lower,
    magnitude,
    negate_where,
    reduce_by,
    splat16,
    store,
    sub_sat,
    upper,
    where_equal,
    xor,
)

SCALE = 16.0  # of an LLR
LIMIT = 2047  # of a channel LLR and of a message, 128: sums then stay within 16 bits but for the most certain bits
_OFFSET = 8  # 0.5
_LANES = 32


@kernel
def one_pass(app, msg, width, stride, row_start, column, turn, lone, tmp, keep):
    """One pass over all rows.

    Args:
      app:  [columns, stride] int16, flat, a-posteriori values (positive: bit 0), each column as its last row left it.
      msg:  [edges, stride] int16, flat, check-to-variable messages.
      lone: [rows] int64, where in app the column begins that this row alone meets, or -1; it is read and never changed.
      tmp:  [degree, stride] int16, flat, scratch.
      keep: [32] int16, 0 in the lanes of blocks that have no messages yet, else -1.
    """
    offset, limit = splat16(np.int16(_OFFSET)), splat16(np.int16(LIMIT))
    most = splat16(np.int16(32767))
    kept = load(keep, 0)
    for r in range(lone.size):
        first, last = row_start[r], row_start[r + 1]
        degree = last - first
        for e in range(first, last):
            base, s = column[e] * stride, turn[e]
            old, to = e * stride, (e - first) * stride
            head = width - s
            for t in range(0, head, _LANES):
                m = both(load(msg, old + t), kept)
                store(tmp, to + t, sub_sat(load(app, base + s + t), m))
            for t in range(0, s, _LANES):  # overwrites what the loop above wrote too much
                m = both(load(msg, old + head + t), kept)
                store(tmp, to + head + t, sub_sat(load(app, base + t), m))
        for t in range(0, width, _LANES):
            low = most
            high = most
            sign = splat16(np.int16(0))
            if lone[r] >= 0:
                sign = load(app, lone[r] + t)
                low = magnitude(sign)
            for j in range(degree):
                v = load(tmp, j * stride + t)
                a = magnitude(v)
                high = lower(high, upper(a, low))
                low = lower(a, low)
                sign = xor(sign, v)
            other = lower(reduce_by(low, offset), limit)
            own = lower(reduce_by(high, offset), limit)
            for j in range(degree):
                v = load(tmp, j * stride + t)
                m = where_equal(magnitude(v), low, own, other)
                m = negate_where(xor(sign, v), m)
                store(msg, (first + j) * stride + t, m)
                store(app, column[first + j] * stride + t, add_sat(v, m))
