"""The layered decoder's frame: blocks in and out of their places, passes until the syndrome is zero.

The number type of ``app`` chooses the check-node rule: int16 offset min-sum (min_sum.py), float32 the exact one
(sum_product.py). See decoder.py for the layout. All buffers are flat, padded to whole vectors and one more.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from linksim.phy.fast import min_sum, sum_product
from linksim.phy.fast.simd import kernel, load, load_bits, sign_mask, store, xor


def _pass(
    app: Any, msg: Any, width: Any, stride: Any, row_start: Any, column: Any, turn: Any, lone: Any, tmp: Any, keep: Any
) -> None:  # fmt: skip
    """One pass over all rows, by the rule of app's number type."""


@overload(_pass)
def _choose_pass(app, msg, width, stride, row_start, column, turn, lone, tmp, keep):
    rule = min_sum.one_pass if app.dtype == types.int16 else sum_product.one_pass

    def run(app, msg, width, stride, row_start, column, turn, lone, tmp, keep):
        rule(app, msg, width, stride, row_start, column, turn, lone, tmp, keep)

    return run


@kernel
def _put(llr, app, place, group, z, columns, stride, turn, scale, limit, whole):
    """Load one block's LLRs (ln p1/p0) into its place, each column turned. Returns: whether one was NaN.

    A NaN counts as nothing received. The first two columns are never sent.
    """
    strange = False
    for c in range(columns):
        base = c * stride + place
        if c < 2:
            for i in range(z):
                app[base + i * group] = 0
            continue
        for half in range(2):  # positions turn..z-1 come first, then 0..turn-1
            start = (c - 2) * z + (0 if half else turn[c])
            count = turn[c] if half else z - turn[c]
            to = base + (z - turn[c]) * group if half else base
            for i in range(count):
                v = -scale * llr[start + i]
                strange |= v != v
                v = np.float32(0.0) if v != v else v
                v = limit if v > limit else v
                v = -limit if v < -limit else v
                app[to + i * group] = np.rint(v) if whole else v
    return strange


@kernel
def _take(app, place, group, z, info, stride, turn, bits):
    """Hard decisions of one block. Returns: whether any is undecided (APP zero).

    An undecided bit reads as 1: an empty block must not look like the all-zero code word, whose CRC is right.
    """
    undecided = False
    for c in range(info):
        base = c * stride + place
        for half in range(2):
            start = c * z + (0 if half else turn[c])
            count = turn[c] if half else z - turn[c]
            at = base + (z - turn[c]) * group if half else base
            for i in range(count):
                v = app[at + i * group]
                undecided |= v == 0
                bits[start + i] = v <= 0
    return undecided


@kernel
def _failing(app, width, group, stride, row_start, column, turn, tmp, alive):
    """Bit g is set where block g fails a check. Leaves off when all blocks of ``alive`` have."""
    lanes = 64 // app.itemsize
    failing = np.int64(0)
    spare = ((np.int64(1) << lanes) - 1) >> (-width % lanes)  # lanes of the last vector in use
    for r in range(row_start.size - 1):
        first, last = row_start[r], row_start[r + 1]
        for e in range(first, last):
            base, to = column[e] * stride, (e - first) * stride
            head = width - turn[e]
            for t in range(0, head, lanes):
                store(tmp, to + t, load(app, base + turn[e] + t))
            for t in range(0, turn[e], lanes):  # overwrites what the loop above wrote too much
                store(tmp, to + head + t, load(app, base + t))
        found = np.int64(0)
        for t in range(0, width, lanes):
            parity = load_bits(tmp, t)
            for j in range(1, last - first):
                parity = xor(parity, load_bits(tmp, j * stride + t))
            mask = sign_mask(parity)
            found |= mask if t + lanes <= width else mask & spare
        part = lanes // 2
        while part >= group:
            found |= found >> part
            part //= 2
        failing |= found & ((np.int64(1) << group) - 1)
        if failing & alive == alive:
            break
    return failing


@kernel
def decode(
    llr, z, group, info, columns, stride, row_start, column, turn, turn_end, lone,
    check_start, check_column, check_turn, num_iter, scale, limit, app, msg, tmp, keep, bits, good, iterations,
):  # fmt: skip
    """Decode all blocks. app [columns, stride], msg [edges, stride], tmp [degree, stride], keep [a vector], flat."""
    total = llr.shape[0]
    whole = app.itemsize == 2
    owner = np.full(group, -1, np.int64)  # block in each place
    age = np.zeros(group, np.int64)  # passes it has had
    strange = np.zeros(group, np.bool_)
    app[:] = 0  # the padding too: whole vectors are worked on
    msg[:] = 0
    tmp[:] = 0
    waiting = 0
    alive = np.int64(0)
    for g in range(group):
        if waiting < total:
            strange[g] = _put(
                llr[waiting], app, g, group, z, columns, stride, turn_end, scale, limit, whole
            )
            owner[g] = waiting
            waiting += 1
            alive |= np.int64(1) << g
    while alive:
        for k in range(keep.size):  # 0 where a block has no messages yet, else all bits
            keep[k] = -1 if age[k % group] > 0 else 0
        _pass(app, msg, z * group, stride, row_start, column, turn, lone, tmp, keep)
        failing = _failing(
            app, z * group, group, stride, check_start, check_column, check_turn, tmp, alive
        )
        for g in range(group):
            if not (alive >> g) & 1:
                continue
            age[g] += 1
            failed = (failing >> g) & 1
            if failed and age[g] < num_iter:
                continue
            block = owner[g]
            undecided = _take(app, g, group, z, info, stride, turn_end, bits[block])
            if undecided and not failed and age[g] < num_iter:
                continue
            good[block] = not (failed or undecided or strange[g])
            iterations[block] = age[g]
            age[g] = 0
            if waiting < total:
                strange[g] = _put(
                    llr[waiting], app, g, group, z, columns, stride, turn_end, scale, limit, whole
                )
                owner[g] = waiting
                waiting += 1
            else:
                alive &= ~(np.int64(1) << g)
