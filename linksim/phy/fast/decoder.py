"""Layered LDPC decoder, one code block per SIMD lane.

``fast``: offset min-sum in 16-bit fixed point (LLR scale 16, offset 0.5). ``quality``: min* (the exact check-node rule
as min plus its correction term, pairwise) in float32. Both stop a block as soon as its syndrome is zero and give its
lane to the next block that waits, so a slow block holds nobody up.

Layout: ``app[column * z + i, lane]``, flattened, so the loop over a row's z checks and the lanes together is one long run
of contiguous memory that the compiler vectorises. A check-to-variable message of a lane in its first iteration is masked
to zero rather than cleared.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numba import njit

from linksim.phy.fast.basegraph import BaseGraph, base_graph

LANES = 32
SCALE = 16.0
OFFSET = 8  # 0.5 at SCALE
CHANNEL_LIMIT = 2047  # of a channel LLR
MESSAGE_LIMIT = 2047  # of a check-to-variable message
APP_LIMIT = 16383  # app - message stays within 16 bits

Profile = Literal["fast", "quality"]


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def _variable_pass(app, msg, mask, tmp, low, high, sign):
    """tmp = app - (msg & mask); low, high = two smallest magnitudes; sign = xor of the values."""
    for i in range(tmp.size):
        v = np.int16(app[i] - (msg[i] & mask[i]))
        tmp[i] = v
        a = np.int16(-v) if v < np.int16(0) else v
        big = a if a > low[i] else low[i]
        high[i] = big if big < high[i] else high[i]
        low[i] = a if a < low[i] else low[i]
        sign[i] ^= v


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def _check_pass(app, msg, tmp, low, out_low, out_high, sign, limit):
    """msg = sign * (the smallest other magnitude, offset); app = tmp + msg, saturated."""
    for i in range(tmp.size):
        v = tmp[i]
        a = np.int16(-v) if v < np.int16(0) else v
        m = out_high[i] if a == low[i] else out_low[i]
        m = np.int16(-m) if np.int16(sign[i] ^ v) < np.int16(0) else m
        msg[i] = m
        s = np.int16(v + m)
        s = s if s < limit else limit
        app[i] = s if s > np.int16(-limit) else np.int16(-limit)


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def _offset(low, high, out_low, out_high, offset, limit):
    zero = np.int16(0)
    for i in range(low.size):
        a = np.int16(low[i] - offset)
        b = np.int16(high[i] - offset)
        a = a if a > zero else zero
        b = b if b > zero else zero
        out_low[i] = a if a < limit else limit
        out_high[i] = b if b < limit else limit


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def _xor_into(acc, app):
    for i in range(acc.size):
        acc[i] ^= app[i]


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def _syndrome(app, rows, z, lanes, row_start, column, shift, acc, bad):
    """bad[lane] < 0 where a check of that lane fails."""
    bad[:] = 0
    for r in range(rows):
        acc[:] = 0
        for e in range(row_start[r], row_start[r + 1]):
            base = column[e] * z
            s = shift[e]
            n = (z - s) * lanes
            _xor_into(acc[:n], app[(base + s) * lanes : (base + z) * lanes])
            _xor_into(acc[n:], app[base * lanes : (base + s) * lanes])
        for i in range(z):
            line = acc[i * lanes : (i + 1) * lanes]
            for k in range(lanes):
                bad[k] |= line[k]


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def _load(app, lane, lanes, llr, z, columns, scale, limit):
    """Quantise one block's LLRs (ln p1/p0) into its lane; the first two columns were never sent."""
    for i in range(2 * z):
        app[i * lanes + lane] = 0
    for i in range((columns - 2) * z):
        v = -llr[i] * scale
        if not (v < limit):  # also NaN, which thus becomes a confident zero and fails its checks
            v = limit
        elif v < -limit:
            v = -limit
        app[(i + 2 * z) * lanes + lane] = np.int16(np.rint(v))


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy")
def _decode_int16(
    llr, z, info, columns, rows, row_start, column, shift, num_iter, lanes, scale, offset,
    channel_limit, message_limit, app_limit, bits, good, iterations,
):  # fmt: skip
    total = llr.shape[0]
    width = z * lanes
    edges = row_start[rows]
    degree = 0
    for r in range(rows):
        degree = max(degree, row_start[r + 1] - row_start[r])
    app = np.zeros(columns * width, np.int16)
    msg = np.zeros(edges * width, np.int16)
    tmp = np.empty((degree, width), np.int16)
    low = np.empty(width, np.int16)
    high = np.empty(width, np.int16)
    out_low = np.empty(width, np.int16)
    out_high = np.empty(width, np.int16)
    sign = np.empty(width, np.int16)
    mask = np.zeros(width, np.int16)
    bad = np.zeros(lanes, np.int16)
    owner = np.full(lanes, -1, np.int64)  # block in each lane
    age = np.zeros(lanes, np.int64)  # iterations it has had
    waiting = 0
    active = 0
    for k in range(lanes):
        if waiting < total:
            _load(app, k, lanes, llr[waiting], z, columns, scale, channel_limit)
            owner[k] = waiting
            waiting += 1
            active += 1
    while active > 0:
        for k in range(lanes):
            keep = np.int16(-1) if age[k] > 0 else np.int16(0)
            if mask[k] != keep:
                for i in range(z):
                    mask[i * lanes + k] = keep
        for r in range(rows):
            low[:] = 32767
            high[:] = 32767
            sign[:] = 0
            first = row_start[r]
            for e in range(first, row_start[r + 1]):
                base = column[e] * z
                s = shift[e]
                n = (z - s) * lanes
                m = msg[e * width : (e + 1) * width]
                t = tmp[e - first]
                _variable_pass(
                    app[(base + s) * lanes : (base + z) * lanes],
                    m[:n], mask[:n], t[:n], low[:n], high[:n], sign[:n],
                )  # fmt: skip
                if s:
                    _variable_pass(
                        app[base * lanes : (base + s) * lanes],
                        m[n:], mask[n:], t[n:], low[n:], high[n:], sign[n:],
                    )  # fmt: skip
            _offset(low, high, out_low, out_high, offset, message_limit)
            for e in range(first, row_start[r + 1]):
                base = column[e] * z
                s = shift[e]
                n = (z - s) * lanes
                m = msg[e * width : (e + 1) * width]
                t = tmp[e - first]
                _check_pass(
                    app[(base + s) * lanes : (base + z) * lanes],
                    m[:n], t[:n], low[:n], out_low[:n], out_high[:n], sign[:n], app_limit,
                )  # fmt: skip
                if s:
                    _check_pass(
                        app[base * lanes : (base + s) * lanes],
                        m[n:], t[n:], low[n:], out_low[n:], out_high[n:], sign[n:], app_limit,
                    )  # fmt: skip
        _syndrome(app, rows, z, lanes, row_start, column, shift, out_low, bad)
        for k in range(lanes):
            if owner[k] < 0:
                continue
            age[k] += 1
            if bad[k] < 0 and age[k] < num_iter:
                continue
            block = owner[k]
            for i in range(info * z):
                bits[block, i] = 1 if app[i * lanes + k] < 0 else 0
            good[block] = bad[k] >= 0
            iterations[block] = age[k]
            age[k] = 0
            if waiting < total:
                _load(app, k, lanes, llr[waiting], z, columns, scale, channel_limit)
                owner[k] = waiting
                waiting += 1
            else:
                owner[k] = -1
                active -= 1


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy", fastmath={"contract"})
def _decode_float(
    llr, z, info, columns, rows, row_start, column, shift, num_iter, bits, good, iterations
):
    """Exact check-node rule (pairwise min* forwards and backwards), one block at a time, z checks in the inner loop."""
    degree = 0
    for r in range(rows):
        degree = max(degree, row_start[r + 1] - row_start[r])
    app = np.empty(columns * z, np.float32)
    msg = np.empty(row_start[rows] * z, np.float32)
    tmp = np.empty((degree, z), np.float32)
    forward = np.empty((degree, z), np.float32)
    backward = np.empty(z, np.float32)
    for block in range(llr.shape[0]):
        app[: 2 * z] = 0.0
        for i in range((columns - 2) * z):
            v = -llr[block, i]
            app[2 * z + i] = (
                min(max(v, np.float32(-100)), np.float32(100)) if v == v else np.float32(100)
            )
        msg[:] = 0.0
        for it in range(num_iter):
            for r in range(rows):
                first = row_start[r]
                count = row_start[r + 1] - first
                for j in range(count):
                    e = first + j
                    base = column[e] * z
                    for i in range(z):
                        at = i + shift[e]
                        at = at - z if at >= z else at
                        tmp[j, i] = app[base + at] - msg[e * z + i]
                    if j == 0:
                        forward[0] = tmp[0]
                    else:
                        _min_star(forward[j - 1], tmp[j], forward[j])
                for j in range(count - 1, -1, -1):
                    e = first + j
                    base = column[e] * z
                    new = msg[e * z : (e + 1) * z]
                    if count == 1:
                        new[:] = 0.0
                    elif j == count - 1:
                        new[:] = forward[j - 1]
                        backward[:] = tmp[j]
                    elif j == 0:
                        new[:] = backward
                    else:
                        _min_star(forward[j - 1], backward, new)
                        _min_star(backward, tmp[j], backward)
                    for i in range(z):
                        at = i + shift[e]
                        at = at - z if at >= z else at
                        app[base + at] = tmp[j, i] + new[i]
            failed = False
            for r in range(rows):
                for i in range(z):
                    parity = 0
                    for e in range(row_start[r], row_start[r + 1]):
                        at = i + shift[e]
                        at = at - z if at >= z else at
                        parity ^= 1 if app[column[e] * z + at] < 0 else 0
                    failed = failed or parity != 0
                if failed:
                    break
            iterations[block] = it + 1
            if not failed:
                break
        good[block] = not failed
        for i in range(info * z):
            bits[block, i] = 1 if app[i] < 0 else 0


@njit(cache=True, nogil=True, boundscheck=False, error_model="numpy", fastmath={"contract"})
def _min_star(a, b, out):
    """out = 2 atanh(tanh(a/2) tanh(b/2)), as sign min + log1p(exp(-|a+b|)) - log1p(exp(-|a-b|))."""
    for i in range(out.size):
        x, y = a[i], b[i]
        least = min(abs(x), abs(y))
        least = -least if (x < 0) != (y < 0) else least
        plus = np.log1p(np.exp(-abs(x + y)))
        minus = np.log1p(np.exp(-abs(x - y)))
        out[i] = least + plus - minus


def _extent(graph: BaseGraph, num_coded: int | None) -> tuple[int, int]:
    """Columns and rows of the graph that matter when only the first ``num_coded`` buffer positions were sent."""
    rows = len(graph.row_start) - 1
    if num_coded is None:
        return graph.num_columns, rows
    columns = 2 + -(-num_coded // graph.z)
    columns = min(max(columns, graph.num_info_columns + 4), graph.num_columns)
    return columns, min(columns - graph.num_info_columns, rows)


def decode_mother(
    llr: np.ndarray,
    bg: int,
    z: int,
    num_iter: int = 20,
    profile: Profile = "fast",
    num_coded: int | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Decode code blocks from the soft content of the circular buffer.

    Args:
      llr:       [N, 66 z] or [N, 50 z] float32, ln p(1)/p(0); 0 where nothing was sent, large negative at filler bits.
      num_iter:  at most so many iterations.
      num_coded: buffer positions from here on were not sent; the checks that only they need are left out.
    Returns: bits [N, K] uint8; [N] bool, all checks fulfilled; iterations [N] uint8.
    """
    graph = base_graph(bg, z)
    if llr.ndim != 2 or llr.shape[1] != (graph.num_columns - 2) * z:
        raise ValueError(f"llr must be [N, {(graph.num_columns - 2) * z}], got {llr.shape}")
    if not 1 <= num_iter <= 255:
        raise ValueError(f"num_iter must be 1..255, got {num_iter}")
    columns, rows = _extent(graph, num_coded)
    bits = np.zeros((len(llr), graph.num_info_columns * z), np.uint8)
    good = np.zeros(len(llr), np.bool_)
    iterations = np.zeros(len(llr), np.uint8)
    if len(llr) == 0:
        return bits, good, iterations
    soft = np.ascontiguousarray(llr, np.float32)
    shape = (z, graph.num_info_columns, columns, rows, graph.row_start, graph.column, graph.shift)
    if profile == "fast":
        _decode_int16(
            soft, *shape, num_iter, LANES, np.float32(SCALE), np.int16(OFFSET),
            np.float32(CHANNEL_LIMIT), np.int16(MESSAGE_LIMIT), np.int16(APP_LIMIT),
            bits, good, iterations,
        )  # fmt: skip
    elif profile == "quality":
        _decode_float(soft, *shape, num_iter, bits, good, iterations)
    else:
        raise ValueError(f"profile must be fast or quality, got {profile!r}")
    return bits, good, iterations
