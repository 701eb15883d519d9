"""5G LDPC encoder, 3GPP TS 38.212 clause 5.3.2: one pass over the base graph's edges, a bit a byte.

The four core rows have a double-diagonal parity part, so their sum leaves the first parity column alone, turned; the
other three follow one from another. Every further parity column is the check sum of its own row. Columns are kept twice
in a row, so that a turned one is a straight read.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from linksim import cores
from linksim.phy.fast.basegraph import base_graph
from linksim.phy.fast.simd import LANES_U8, aligned, kernel, load, store, xor

_CORE = 4


@dataclass(frozen=True)
class Steps:
    """Sums to be taken in order; step i adds columns turned left and gives one column, turned right.

    Args:
      start:  [R+1] int64, terms of step i.
      column: [E] int64.
      turn:   [E] int64.
      target: [R] int64, the column that the step gives.
      back:   [R] int64, by how much the sum is turned right.
    """

    start: np.ndarray
    column: np.ndarray
    turn: np.ndarray
    target: np.ndarray
    back: np.ndarray


@cache
def steps(bg: int, z: int) -> Steps:
    """The steps that give all parity columns, derived from the base graph."""
    graph = base_graph(bg, z)
    info, rows = graph.num_info_columns, len(graph.row_start) - 1
    of_row = [
        [
            (int(graph.column[e]), int(graph.shift[e]))
            for e in range(graph.row_start[r], graph.row_start[r + 1])
        ]
        for r in range(rows)
    ]
    # Sum of the core: what stands an even number of times cancels.
    left: dict[tuple[int, int], int] = {}
    for term in (term for row in of_row[:_CORE] for term in row):
        left[term] = left.get(term, 0) ^ 1
    total = [term for term, odd in left.items() if odd]
    plan = [_solve(total, set(range(info)))]
    known = {*range(info), plan[0][1]}
    waiting = list(range(_CORE))
    while len(known) < info + _CORE:
        row = next(r for r in waiting if sum(c not in known for c, _ in of_row[r]) == 1)
        waiting.remove(row)
        plan.append(_solve(of_row[row], known))
        known.add(plan[-1][1])
    plan += [_solve(of_row[r], known) for r in range(_CORE, rows)]
    terms = [terms for terms, _, _ in plan]
    flat = np.array([term for part in terms for term in part], np.int64)
    start = np.concatenate([[0], np.cumsum([len(part) for part in terms])]).astype(np.int64)
    target, back = (np.array([step[i] for step in plan], np.int64) for i in (1, 2))
    return Steps(start, flat[:, 0].copy(), flat[:, 1].copy(), target, back)


def _solve(terms: list[tuple[int, int]], known: set[int]) -> tuple[list[tuple[int, int]], int, int]:
    """A check sum with one unknown column: the known terms, the unknown column, its shift."""
    unknown = [term for term in terms if term[0] not in known]
    if len(unknown) != 1:
        raise ValueError(f"a check must leave one parity column to find, got {len(unknown)}")
    return [term for term in terms if term[0] in known], *unknown[0]


@kernel
def _copy(source, at, size, out, to):
    """out[to : to + size] = source[at : at + size]."""
    if size < LANES_U8:
        for i in range(size):
            out[to + i] = source[at + i]
        return
    for t in range(0, size - LANES_U8, LANES_U8):
        store(out, to + t, load(source, at + t))
    last = size - LANES_U8  # overlaps the vector before it
    store(out, to + last, load(source, at + last))


@kernel
def _encode(bits, z, info, start, column, turn, target, back, stride, twice, total, turned, out):
    """out [N, columns - 2, z] from bits [N, info, z], all flat; the others are scratch, twice [info + 4, stride]."""
    size = (start.size - 1 + info - 2) * z  # of a code word
    for n in range(out.size // size):
        word = n * size - 2 * z  # where its first two columns would begin
        _copy(bits, (n * info + 2) * z, (info - 2) * z, out, word + 2 * z)
        for c in range(info):
            _copy(bits, (n * info + c) * z, z, twice, c * stride)
            _copy(bits, (n * info + c) * z, z, twice, c * stride + z)
        for r in range(target.size):
            first, last = start[r], start[r + 1]
            for t in range(0, z, LANES_U8):
                acc = load(twice, column[first] * stride + turn[first] + t)
                for e in range(first + 1, last):
                    acc = xor(acc, load(twice, column[e] * stride + turn[e] + t))
                store(total, t, acc)
            c, s = target[r], back[r]
            for t in range(0, s, LANES_U8):  # writes too much, which the next loop mends
                store(turned, t, load(total, z - s + t))
            for t in range(0, z - s, LANES_U8):
                store(turned, s + t, load(total, t))
            _copy(turned, 0, z, out, word + c * z)
            if c < info + _CORE:
                _copy(turned, 0, z, twice, c * stride)
                _copy(turned, 0, z, twice, c * stride + z)


def encode_mother(bits: np.ndarray, bg: int, z: int) -> np.ndarray:
    """Encode code blocks to the content of the circular buffer.

    Args:    bits [N, K] uint8, 0 or 1, K = 22 z (base graph 1) or 10 z (2), filler bits as zeros.
    Returns: [N, 66 z] or [N, 50 z] uint8: the code word without its first 2 z bits.
    """
    graph = base_graph(bg, z)
    info = graph.num_info_columns
    if bits.ndim != 2 or bits.shape[1] != info * z:
        raise ValueError(f"bits must be [N, {info * z}], got {bits.shape}")
    plan = steps(bg, z)
    blocks = np.require(bits, np.uint8, ["C", "W"])
    words = np.empty((len(bits), (graph.num_columns - 2) * z), np.uint8)
    stride = -(-2 * z // LANES_U8) * LANES_U8 + LANES_U8

    def work(begin: int, end: int) -> None:
        twice, total, turned = (aligned(size * stride, np.uint8) for size in (info + _CORE, 1, 1))
        twice[:] = 0
        _encode(
            blocks[begin:end].reshape(-1), z, info, plan.start, plan.column, plan.turn, plan.target, plan.back,
            stride, twice, total, turned, words[begin:end].reshape(-1),
        )  # fmt: skip

    cores.over_rows(work, len(bits), max(1, 200_000 // bits.shape[1]))
    return words
