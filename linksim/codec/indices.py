"""Indices of a residual quantiser <-> the bytes of packets, one for each band of rows.

Packet::

    check (1 byte) | range-coded: how many indices, the indices stage by stage in raster order

A band is coded on its own: the tables of its indices depend on what comes before them in the same band alone. A budget
may end anywhere: the indices behind it are not sent. The check is a CRC-8 over the caller's stamp (model, mode) and the
indices, so that bytes which no encoder wrote show as damaged but for one in 256.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

from linksim.codec.exact import PRECISION, counts_of
from linksim.codec.fixed_prior import FixedPrior
from linksim.codec.ranges import range_decoder, shortest

PriorName = Literal["transformer", "order-0", "none"]
CHECK_BYTES = 1
LEARNED_WEIGHT = 64  # of the learned frequencies against what an order-0 coder sees by itself


@dataclass(frozen=True)
class Band:
    """Rows of all stages' grids that one packet carries.

    Args: first, rows: at the coarsest grid. total: rows of that grid in the picture. columns: of that grid.
    """

    first: int
    rows: int
    total: int
    columns: int


def bands_of(rows: int, columns: int, count: int) -> list[Band]:
    """Cut the coarsest grid into at most ``count`` bands of about equal height, at least one row each."""
    edges = np.linspace(0, rows, min(count, rows) + 1).round().astype(int).tolist()
    return [Band(a, b - a, rows, columns) for a, b in pairwise(edges)]


class IndexCoder:
    """Tables and byte strings of indices, the same at both ends.

    Args:
      fixed: the prior in exact arithmetic, with the codebooks.
      usage: per stage [K], how often each code is used (for order-0).
      prior: "transformer", "order-0" (adaptive, from the learned frequencies) or "none" (fixed length).
      mode:  of the encoder, a number that the prior knows.
      stamp: bytes that the check covers besides the indices.
    """

    def __init__(
        self,
        fixed: FixedPrior,
        usage: Sequence[np.ndarray],
        prior: PriorName,
        mode: int,
        stamp: bytes,
    ) -> None:
        self.fixed, self.prior, self.mode, self.stamp = fixed, prior, mode, stamp
        cfg = fixed.cfg
        self.scales = [max(cfg.strides) // stride for stride in cfg.strides]
        self.usage = [starting(u) for u in usage]

    def grid(self, band: Band, stage: int) -> tuple[int, int]:
        """Rows and columns of a stage's indices in a band."""
        scale = self.scales[stage]
        return band.rows * scale, band.columns * scale

    def sizes(self, band: Band) -> list[int]:
        """How many indices each stage has in a band."""
        return [math.prod(self.grid(band, s)) for s in range(len(self.scales))]

    def cut(self, index: Sequence[np.ndarray], band: Band) -> list[np.ndarray]:
        """The indices of a band. Args: per stage [h_s, w_s]."""
        return [
            grid[band.first * scale : (band.first + band.rows) * scale]
            for grid, scale in zip(index, self.scales, strict=True)
        ]

    # ---------------------------------------------------------------------------------------------- encoding

    def tables(self, index: Sequence[np.ndarray], band: Band) -> list[np.ndarray]:
        """Counts that code each index of a band, per stage [h*w, K] int64."""
        found = []
        before: np.ndarray | None = None
        for s, grid in enumerate(index):
            if self.prior == "transformer":
                base = self._base(before, band, s)
                found.append(self.fixed.counts(grid[None], base, s)[0])
                part = self.fixed.expand(grid[None], s)
                before = part if before is None else before + part
            else:
                adaptive = Adaptive(self.usage[s], self.prior == "order-0")
                rows = []
                for value in grid.reshape(-1).tolist():
                    rows.append(adaptive.counts())
                    adaptive.see(value)
                found.append(np.stack(rows))
        return found

    def _base(self, before: np.ndarray | None, band: Band, stage: int) -> np.ndarray:
        rows, columns = self.grid(band, stage)
        first, total = band.first * self.scales[stage], band.total * self.scales[stage]
        return self.fixed.base(before, self.mode, stage, rows, columns, first, total)

    def bits(self, index: Sequence[np.ndarray], tables: Sequence[np.ndarray]) -> np.ndarray:
        """Information content of the first n indices of a band, n = 0 .. all. Returns: [N + 1] float64."""
        cost = [
            PRECISION
            - np.log2(np.take_along_axis(counts, grid.reshape(-1, 1).astype(np.int64), 1)[:, 0])
            for grid, counts in zip(index, tables, strict=True)
        ]
        return np.concatenate([[0.0], np.cumsum(np.concatenate(cost))])

    def count_bits(self, band: Band) -> float:
        """What the number of indices costs."""
        return math.log2(sum(self.sizes(band)) + 1)

    def write(
        self, index: Sequence[np.ndarray], tables: Sequence[np.ndarray], band: Band, count: int
    ) -> bytes:
        """The packet with the first ``count`` indices of a band."""
        import constriction

        model = constriction.stream.model
        total = sum(self.sizes(band))
        coder = constriction.stream.queue.RangeEncoder()
        coder.encode(count, model.Uniform(total + 1))
        flat, rows = _first(index, tables, count)
        family = model.Categorical(perfect=False)
        for symbols, counts in zip(flat, rows, strict=True):
            coder.encode(symbols.astype(np.int32), family, counts / float(1 << PRECISION))
        whole = coder.get_compressed().astype(">u4").tobytes()

        def decodes(data: bytes) -> bool:
            decoder = range_decoder(data)
            try:
                if decoder.decode(model.Uniform(total + 1)) != count:
                    return False
                return all(
                    np.array_equal(decoder.decode(family, counts / float(1 << PRECISION)), symbols)
                    for symbols, counts in zip(flat, rows, strict=True)
                )
            except (AssertionError, ValueError):
                return False

        least = math.ceil((self.count_bits(band) + self.bits(index, tables)[count]) / 8)
        body = shortest(whole, decodes, least)
        return bytes([self._check(count, np.concatenate([*flat, np.zeros(0, np.int64)]))]) + body

    def _check(self, count: int, flat: np.ndarray) -> int:
        content = count.to_bytes(4, "little") + flat.astype("<u2").tobytes()
        return zlib.crc32(self.stamp + content) & 0xFF

    # ---------------------------------------------------------------------------------------------- decoding

    def read(self, packets: Sequence[bytes], band: Band) -> list[list[np.ndarray] | None]:
        """The indices in packets of the same band, several pictures side by side.

        Returns: per packet the indices of each stage [h_s, w_s] int64, -1 where none was sent; None where the bytes are
                 no packet. Never raises on any bytes.
        """
        import constriction

        model = constriction.stream.model
        total = sum(self.sizes(band))
        decoders, counts = [], np.zeros(len(packets), np.int64)
        alive = np.array([len(p) > CHECK_BYTES for p in packets], bool)
        for b, data in enumerate(packets):
            decoders.append(range_decoder(data[CHECK_BYTES:]))
            if alive[b]:
                try:
                    counts[b] = decoders[b].decode(model.Uniform(total + 1))
                except (AssertionError, ValueError):
                    alive[b] = False
        family = model.Categorical(perfect=False)

        def take(b: int, table: np.ndarray) -> int:
            try:
                return int(decoders[b].decode(family, table[None] / float(1 << PRECISION))[0])
            except (AssertionError, ValueError):
                alive[b] = False
                return 0

        grids = self._walk(band, len(packets), np.where(alive, counts, 0), take)
        found: list[list[np.ndarray] | None] = []
        for b, data in enumerate(packets):
            mine = [grid[b] for grid in grids]
            flat = np.concatenate([g.reshape(-1) for g in mine])
            right = alive[b] and self._check(int(counts[b]), flat[flat >= 0]) == data[0]
            found.append(mine if right else None)
        return found

    def _walk(
        self, band: Band, batch: int, counts: np.ndarray, take: Callable[[int, np.ndarray], int]
    ) -> list[np.ndarray]:
        """Decode stage by stage, position by position. Returns: per stage [B,h_s,w_s] int64, -1 where there is none."""
        grids = []
        before: np.ndarray | None = None
        done = 0
        for s in range(len(self.scales)):
            rows, columns = self.grid(band, s)
            index = np.full((batch, rows * columns), -1, np.int64)
            most = int(np.clip(counts - done, 0, rows * columns).max(initial=0))
            if most:
                self._stage(index, before, band, s, counts - done, most, take)
            grid = index.reshape(batch, rows, columns)
            grids.append(grid)
            done += rows * columns
            if self.prior == "transformer" and int(counts.max(initial=0)) > done:
                part = self.fixed.expand(np.maximum(grid, 0), s)
                before = part if before is None else before + part
        return grids

    def _stage(
        self,
        index: np.ndarray,
        before: np.ndarray | None,
        band: Band,
        stage: int,
        wanted: np.ndarray,
        most: int,
        take: Callable[[int, np.ndarray], int],
    ) -> None:
        """Fill in ``index`` [B, h*w] up to each picture's ``wanted``."""
        batch = len(index)
        if self.prior == "transformer":
            stepper = self.fixed.stepper(self._base(before, band, stage), batch, stage)
            for t in range(most):
                tables = stepper.next()
                for b in np.flatnonzero(wanted > t):
                    index[b, t] = take(int(b), tables[b])
                stepper.put(index[:, t])
            return
        for b in range(batch):
            adaptive = Adaptive(self.usage[stage], self.prior == "order-0")
            for t in range(int(min(wanted[b], index.shape[1]))):
                index[b, t] = take(b, adaptive.counts())
                adaptive.see(int(index[b, t]))

    # --------------------------------------------------------------------------------------------- filling in

    def expect(
        self,
        index: Sequence[np.ndarray],
        known: Sequence[np.ndarray],
        wanted: Sequence[np.ndarray],
        band: Band,
    ) -> list[np.ndarray]:
        """What the prior expects where indices are lost, given those before them in raster order.

        Args:
          index:  per stage [h_s, w_s].
          known:  likewise bool, where ``index`` holds.
          wanted: likewise bool, what to make up where it is not known; the rest was never sent.
        Returns: per stage [h_s, w_s, d] float64: the code where known, the mean code under the prior where wanted, else
                 zeros. After what it made up it goes on from the likeliest index.
        """
        found = []
        before: np.ndarray | None = None
        for s, grid in enumerate(index):
            rows, columns = grid.shape
            have, want = known[s].reshape(-1), wanted[s].reshape(-1) & ~known[s].reshape(-1)
            book = self.fixed.books[s] * 2.0**-10
            codes = np.zeros((rows * columns, book.shape[1]))
            chosen = np.where(have, grid.reshape(-1), -1)
            codes[have] = book[chosen[have]]
            last = int(np.flatnonzero(want).max(initial=-1))
            stepper = self.fixed.stepper(self._base(before, band, s), 1, s)
            for t in range(last + 1):
                share = stepper.next()[0] / float(1 << PRECISION)
                if want[t]:
                    codes[t], chosen[t] = share @ book, int(np.argmax(share))
                stepper.put(chosen[t : t + 1])
            part = self.fixed.expand(np.maximum(chosen, 0).reshape(1, rows, columns), s)
            before = part if before is None else before + part
            found.append(codes.reshape(rows, columns, -1))
        return found


def starting(usage: np.ndarray, weight: int = LEARNED_WEIGHT) -> np.ndarray:
    """Where an order-0 coder starts.

    Args:    usage [K], how often each code is used; weight: how many indices that have been seen it counts for.
    Returns: [K] integers.
    """
    least = 2.0**10 * weight / LEARNED_WEIGHT
    return np.floor(weight * usage / usage.sum() * 2.0**16 + 0.5) + least


class Adaptive:
    """Order-0 frequencies that follow what they see, or (``learns`` false) equal ones: fixed length.

    Args: start: of ``starting``; learns.
    """

    def __init__(self, start: np.ndarray, learns: bool) -> None:
        self.learns = learns
        self.weight = start.copy() if learns else np.ones_like(start)
        self._fixed = None if learns else counts_of(self.weight)

    def counts(self) -> np.ndarray:
        """[K] int64, for the range coder."""
        return counts_of(self.weight) if self._fixed is None else self._fixed

    def see(self, index: int) -> None:
        """Learn from an index that was coded."""
        if self.learns:
            self.weight[index] += 2.0**16


def _first(
    index: Sequence[np.ndarray], tables: Sequence[np.ndarray], count: int
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The first ``count`` symbols and their tables, stage by stage; stages without any left out."""
    flat, rows = [], []
    for grid, counts in zip(index, tables, strict=True):
        take = min(count, grid.size)
        if take:
            flat.append(grid.reshape(-1)[:take])
            rows.append(counts[:take])
        count -= take
    return flat, rows
