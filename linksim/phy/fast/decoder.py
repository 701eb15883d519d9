"""Layered LDPC decoder with early stop.

``fast``: offset min-sum in 16-bit fixed point (LLR scale 16, offset 0.5). ``quality``: the exact check-node rule in
float32. Both stop a block as soon as its syndrome is zero.

A base-graph column is a run of z numbers and a row meets it rotated, so the z checks of a row are worked on side by
side in SIMD registers. Where z is short, G blocks are interleaved (position i of block g at i G + g: a rotation by s
becomes one by s G), and a block that is done gives its place to the next that waits. A column is kept in the rotation of
the row that met it last, so each edge costs one rotated read and one straight write.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from linksim.phy.fast import layered, min_sum, sum_product, threads
from linksim.phy.fast.basegraph import BaseGraph, base_graph
from linksim.phy.fast.simd import LANES_F32, LANES_I16, aligned

Profile = Literal["fast", "quality"]
_WIDTH = (
    256  # z G is at least this where blocks suffice: shorter runs leave the loops' overhead unpaid
)


@dataclass(frozen=True)
class Schedule:
    """The rows that are worked on, in order, with the rotations between one meeting of a column and the next.

    Args:
      row_start:  [R+1] int64, edges of row r.
      column:     [E] int64.
      turn:       [E] int64, rotation from how the row before left the column to how this one needs it.
      turn_check: [E] int64, the same from how a whole pass leaves the column.
      turn_end:   [columns] int64, rotation of each column after a pass.
    """

    row_start: np.ndarray
    column: np.ndarray
    turn: np.ndarray
    turn_check: np.ndarray
    turn_end: np.ndarray

    @property
    def degree(self) -> int:
        """Most edges of a row."""
        return int(np.diff(self.row_start).max())


def _order(graph: BaseGraph, rows: int) -> list[int]:
    """Row order: rows that meet fewest unsent columns first, so that those columns are known early."""
    return list(range(rows))


@cache
def schedule(bg: int, z: int, columns: int, rows: int) -> Schedule:
    """The schedule of the first ``rows`` rows of a base graph."""
    graph = base_graph(bg, z)
    order = _order(graph, rows)
    edges = [np.arange(graph.row_start[r], graph.row_start[r + 1]) for r in order]
    every = np.concatenate(edges)
    column, shift = graph.column[every], graph.shift[every]
    end = np.zeros(columns, np.int64)
    end[column] = shift  # the last meeting stays
    now = end.copy()
    turn = np.empty_like(shift)
    for e, (c, s) in enumerate(zip(column, shift, strict=True)):
        turn[e] = (s - now[c]) % z
        now[c] = s
    start = np.concatenate([[0], np.cumsum([len(e) for e in edges])]).astype(np.int64)
    return Schedule(start, column, turn, (shift - end[column]) % z, end)


def _extent(graph: BaseGraph, num_coded: int | None) -> tuple[int, int]:
    """Columns and rows of the graph that matter when only the first ``num_coded`` buffer positions were sent."""
    rows = len(graph.row_start) - 1
    if num_coded is None:
        return graph.num_columns, rows
    columns = 2 + -(-num_coded // graph.z)
    columns = min(max(columns, graph.num_info_columns + 4), graph.num_columns)
    return columns, columns - graph.num_info_columns


def _group(z: int, blocks: int, lanes: int) -> int:
    """Blocks to interleave: a power of two, at most a vector full."""
    group = 1
    while group < lanes and group * z < _WIDTH and group < blocks:
        group *= 2
    return group


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
    Returns: bits [N, K] uint8; [N] bool, all checks fulfilled by decided bits and no LLR NaN; iterations [N] uint8.
    """
    graph = base_graph(bg, z)
    if llr.ndim != 2 or llr.shape[1] != (graph.num_columns - 2) * z:
        raise ValueError(f"llr must be [N, {(graph.num_columns - 2) * z}], got {llr.shape}")
    if not 1 <= num_iter <= 255:
        raise ValueError(f"num_iter must be 1..255, got {num_iter}")
    if profile not in ("fast", "quality"):
        raise ValueError(f"profile must be fast or quality, got {profile!r}")
    columns, rows = _extent(graph, num_coded)
    plan = schedule(bg, z, columns, rows)
    soft = np.require(llr, np.float32, ["C", "W"])  # one array type, one compilation
    bits = np.empty((len(llr), graph.num_info_columns * z), np.uint8)
    good = np.zeros(len(llr), np.bool_)
    iterations = np.zeros(len(llr), np.uint8)
    number: Any
    keep: Any
    if profile == "fast":
        number, keep, lanes = np.int16, np.int16, LANES_I16
        scale, limit = min_sum.SCALE, float(min_sum.LIMIT)
    else:
        number, keep, lanes = np.float32, np.int32, LANES_F32
        scale, limit = 1.0, sum_product.LIMIT

    def work(start: int, stop: int) -> None:
        group = _group(z, stop - start, lanes)
        # whole vectors and one to spare for the overrun of a rotated read
        stride = -(-z * group // lanes) * lanes + lanes
        layered.decode(
            soft[start:stop], z, group, graph.num_info_columns, columns, rows, stride,
            plan.row_start, plan.column, plan.turn * group, plan.turn_check * group, plan.turn_end,
            num_iter, np.float32(scale), np.float32(limit), aligned(columns * stride, number),
            aligned(len(plan.column) * stride, number), aligned(plan.degree * stride, number),
            aligned(lanes, keep),
            bits[start:stop], good[start:stop], iterations[start:stop],
        )  # fmt: skip

    if len(llr):
        threads.over_rows(work, len(llr), 4)
    return bits, good, iterations
