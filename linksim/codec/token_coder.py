"""Tokens <-> the bodies of packets.

A body holds the tokens of a packet's positions, range coded, and nothing else: round by round, in a round stage by
stage, in a stage in the order of the layout. The rest is agreed upon (the layout) or stands in the packet's header, the
check against damage too.

With ``Layout.base`` the first stages of all its positions come first in a body, and do not depend on the others: a
prefix of the body, its head, gives them.

With ``Layout.sent`` the positions themselves are chosen as coding goes: before each packet both ends ask the
transformer about all positions that are left, and take those whose first token is least certain. Nothing is signalled.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from linksim.codec.exact import PRECISION, counts_of
from linksim.codec.fixed_tokens import FixedTokens, Rounds
from linksim.codec.indices import Adaptive, PriorName, starting
from linksim.codec.ranges import range_decoder, shortest
from linksim.codec.token_layout import Layout, shares, tiles

TOTAL = float(1 << PRECISION)
LEARNED_WEIGHT = (
    256  # of the learned frequencies at order 0: of 64 .. 1024 the best over a picture of 4 stages
)
HEAD_SLACK = 0.6  # bytes that the longest head takes beyond its information, in the mean
AT_ONCE = 8192  # tokens whose tables are made side by side
_LOST, _HEAD, _WHOLE = 0, 1, 2  # what of a body is there


@dataclass(frozen=True)
class Read:
    """What became of a picture's packets.

    Args:
      index:     [rows, columns, S] int16, -1 where nothing is known.
      decodable: [N] bool: the body and all that it needs have arrived, and its bytes can be its; not where its head
                 alone is there.
    """

    index: np.ndarray
    decodable: np.ndarray


@dataclass(frozen=True)
class Packed:
    """Bodies of a picture's packets.

    Args:
      bodies: N.
      head:   so many first bytes of each (or all, where it has fewer) give the stages of the base layer; 0 without one.
    """

    bodies: tuple[bytes, ...]
    head: int


@dataclass(frozen=True)
class Sequences:
    """A layout's positions as sequences for the transformer: one for each description in each tile, by round.

    Args: each [n, m], -1 (depth: 0) where a sequence is shorter.
    """

    position: np.ndarray
    rounds: np.ndarray
    packet: np.ndarray
    depth: np.ndarray


@lru_cache(maxsize=256)
def sequences(layout: Layout) -> Sequences:
    """Of a layout without a choice of positions."""
    order = layout.order[layout.depth[layout.order] > 0]
    order = order[np.argsort(layout.round_of[order], kind="stable")]
    tile = tiles(layout.rows, layout.columns)[order]
    group = tile * layout.descriptions + layout.packet_of[order] % layout.descriptions
    _, row = np.unique(group, return_inverse=True)
    sizes = np.bincount(row)
    slot = np.empty(len(order), np.int64)
    for r in range(len(sizes)):
        slot[row == r] = np.arange(sizes[r])
    found = []
    for values, empty in (
        (np.arange(layout.positions), -1),
        (layout.round_of, -1),
        (layout.packet_of, -1),
        (layout.depth, 0),
    ):
        table = np.full((len(sizes), int(sizes.max())), empty, np.int64)
        table[row, slot] = values[order]
        table.setflags(write=False)
        found.append(table)
    return Sequences(*found)


@dataclass(frozen=True)
class _Step:
    """Positions that pictures code at once. Args: rows [r] of the sequences; position, body, depth [r, m]."""

    rows: np.ndarray
    position: np.ndarray
    body: np.ndarray
    depth: np.ndarray


class TokenCoder:
    """Tables and bodies of tokens, the same at both ends.

    Args:
      net:    the transformer in exact arithmetic; None where no prior needs it.
      usage:  per stage [K], how often each code is used (for order-0).
      prior:  "transformer", "order-0" (adaptive, from the learned frequencies) or "none" (fixed length).
    """

    def __init__(
        self, net: FixedTokens | None, usage: Sequence[np.ndarray], prior: PriorName
    ) -> None:
        self.net, self.prior = net, prior
        self.usage = [starting(u, LEARNED_WEIGHT) for u in usage]
        self.stages, self.codes = len(usage), len(usage[0])

    # ----------------------------------------------------------------------------------------------- bits

    def bits(
        self,
        tokens: np.ndarray,
        layouts: Sequence[Layout],
        known: dict[Any, np.ndarray] | None = None,
        names: Sequence[int] | None = None,
    ) -> list[np.ndarray]:
        """What each body costs under its tables, the base layer and the rest.

        Args:
          tokens:  [B, rows, columns, S].
          layouts: B of them.
          known:   costs of sequences that other calls found, and what this one adds.
          names:   B, of the pictures, by which ``known`` tells them apart; 0 .. B - 1 if not given.
        Returns: per picture [N, 2] float64.
        """
        if self.prior != "transformer" or any(layout.sent for layout in layouts):
            found = []
            for b, layout in enumerate(layouts):
                cost = np.zeros((layout.packets, 2))
                for p, late, symbols, counts in self._coded(tokens[b : b + 1], [layout]):
                    cost[p, 1] += _information(symbols[late], counts[late])
                    cost[p, 0] += _information(symbols[~late], counts[~late])
                found.append(cost)
            return found
        known = {} if known is None else known
        keys, todo = [], []
        for b, layout in enumerate(layouts):
            plan = sequences(layout)
            for r in range(len(plan.position)):
                name = b if names is None else names[b]
                key = (name, layout.base, plan.position[r].tobytes(), plan.depth[r].tobytes())
                if key not in known:
                    known[key] = np.zeros(0)  # nobody else does it
                    todo.append((b, r, key))
                keys.append((b, r, key))
        grids: dict[tuple[int, int], list[Any]] = {}
        for item in todo:
            layout = layouts[item[0]]
            grids.setdefault((layout.rows, layout.columns), []).append(item)
        for grid, items in grids.items():
            for part in _portions(items, lambda i: int(sequences(layouts[i[0]]).depth[i[1]].sum())):
                self._costs(tokens, layouts, grid, part, known)
        found = [np.zeros((layout.packets, 2)) for layout in layouts]
        for b, r, key in keys:
            packet = sequences(layouts[b]).packet[r]
            np.add.at(found[b], packet[packet >= 0], known[key])
        return found

    def _costs(
        self,
        tokens: np.ndarray,
        layouts: Sequence[Layout],
        grid: tuple[int, int],
        items: Sequence[tuple[int, int, Any]],
        known: dict[Any, np.ndarray],
    ) -> None:
        """Bits of each position of some sequences, of the base layer and of the rest [m, 2], into ``known``."""
        net = self._transformer()
        plans = [sequences(layouts[b]) for b, _, _ in items]
        rows = [r for _, r, _ in items]
        position = _stack([p.position[r] for p, r in zip(plans, rows, strict=True)], -1)
        rounds = _stack([p.rounds[r] for p, r in zip(plans, rows, strict=True)], -1)
        depth = _stack([p.depth[r] for p, r in zip(plans, rows, strict=True)], 0)
        flat = np.stack([tokens[b].reshape(-1, self.stages) for b, _, _ in items])
        index = _sent(flat, position, depth)
        mine = [layouts[b] for b, _, _ in items]
        state = net.states(position, rounds, _told(index, mine), grid)
        base = np.array([layout.base for layout in mine])
        cost = np.zeros((*position.shape, 2))
        for s in range(int(depth.max(initial=0))):
            row, place = np.nonzero(depth > s)
            tokens_here = index[row, place]
            spent = net.bits(state[row, place], net.prefix(tokens_here, s), s, tokens_here[:, s])
            cost[row, place, (s >= base[row]).astype(np.int64)] += spent
        for i, (_, _, key) in enumerate(items):
            known[key] = cost[i][position[i] >= 0]

    # ------------------------------------------------------------------------------------------- encoding

    def pack(self, tokens: np.ndarray, layouts: Sequence[Layout]) -> list[Packed]:
        """Bodies of all packets. Args: tokens [B, rows, columns, S]; B layouts. Returns: B."""
        found = [[b""] * layout.packets for layout in layouts]
        heads = np.zeros(len(layouts), np.int64)
        for rows in self._batches(layouts):
            mine = [layouts[b] for b in rows]
            collected: dict[int, list[tuple[np.ndarray, ...]]] = {}
            for body, *parts in self._coded(tokens[rows], mine):
                collected.setdefault(body, []).append(tuple(parts))
            most = max(layout.packets for layout in mine)
            for body, pieces in collected.items():
                late, symbols, tables = (np.concatenate(p) for p in zip(*pieces, strict=True))
                b, p = rows[body // most], body % most
                found[b][p] = _write(symbols, tables)
                if layouts[b].base:
                    early = int((~late).sum())
                    size = _head_bytes(found[b][p], symbols[:early], tables[:early])
                    heads[b] = max(heads[b], size)
        return [Packed(tuple(row), int(head)) for row, head in zip(found, heads, strict=True)]

    def _coded(
        self, tokens: np.ndarray, layouts: Sequence[Layout]
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """Everything that is coded, body after body or in turns: (body, behind the base layer [q], tokens [q],
        tables [q, K])."""
        most = max(layout.packets for layout in layouts)
        if self.prior == "transformer" and not any(layout.sent for layout in layouts):
            yield from self._at_once(tokens, layouts, most)
            return
        parts: list[tuple[int, np.ndarray, np.ndarray, np.ndarray]] = []
        flat = tokens.reshape(len(tokens), -1, self.stages)

        def given(body: int, counts: np.ndarray, where: tuple[np.ndarray, int]) -> np.ndarray:
            position, stage = where
            symbols = flat[body // most, position, stage].astype(np.int64)
            late = np.full(len(symbols), stage >= layouts[body // most].told)
            parts.append((body, late, symbols, counts))
            return symbols

        arrived = [np.full(layout.packets, _WHOLE) for layout in layouts]
        self._walk(layouts, arrived, given)
        yield from parts

    def _at_once(
        self, tokens: np.ndarray, layouts: Sequence[Layout], most: int
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.ndarray]]:
        """The same from one pass over all tokens."""
        net = self._transformer()
        plans = [sequences(layout) for layout in layouts]
        picture = np.repeat(np.arange(len(layouts)), [len(p.position) for p in plans])
        position, rounds, packet = (
            _stack([row for p in plans for row in getattr(p, name)], -1)
            for name in ("position", "rounds", "packet")
        )
        depth = _stack([row for p in plans for row in p.depth], 0)
        index = _sent(tokens.reshape(len(tokens), -1, self.stages)[picture], position, depth)
        grid = (layouts[0].rows, layouts[0].columns)
        state = net.states(position, rounds, _told(index, [layouts[b] for b in picture]), grid)
        told = _told_stages(layouts)[picture]
        tables, fields = [], []
        for s in range(int(depth.max(initial=0))):
            row, place = np.nonzero(depth > s)
            mine = index[row, place]
            tables.append(net.counts(state[row, place], net.prefix(mine, s), s))
            body = picture[row] * most + packet[row, place]
            stage, late = np.full(len(row), s), s >= told[row]
            fields.append(np.stack([place, row, stage, rounds[row, place], late, body, mine[:, s]]))
        if not tables:
            return
        everything = np.concatenate(fields, 1)
        order = np.lexsort(everything[:6])
        counts = np.concatenate(tables)[order]
        late, bodies, symbols = everything[4:, order]
        for a, b in _runs(bodies):
            yield int(bodies[a]), late[a:b].astype(bool), symbols[a:b], counts[a:b]

    # ------------------------------------------------------------------------------------------- decoding

    def unpack(
        self,
        bodies: Sequence[Sequence[bytes | None]],
        layouts: Sequence[Layout],
        heads: Sequence[np.ndarray] | None = None,
    ) -> list[Read]:
        """Tokens of what arrived. Never raises on any bytes.

        Args:
          bodies:  of each picture, None where one is lost (too few: the rest is lost).
          layouts: B.
          heads:   B times [N] bool, where a body's first bytes alone are there; nowhere if not given.
        Returns: B Reads.
        """
        found: list[Read | None] = [None] * len(layouts)
        if heads is None:
            heads = [np.zeros(layout.packets, bool) for layout in layouts]
        for rows in self._batches(layouts):
            mine = self._unpack(
                [bodies[b] for b in rows], [layouts[b] for b in rows], [heads[b] for b in rows]
            )
            for b, read in zip(rows, mine, strict=True):
                found[b] = read
        return [read for read in found if read is not None]

    def _unpack(
        self,
        bodies: Sequence[Sequence[bytes | None]],
        layouts: Sequence[Layout],
        heads: Sequence[np.ndarray],
    ) -> list[Read]:
        import constriction

        family = constriction.stream.model.Categorical(perfect=False)
        most = max(layout.packets for layout in layouts)
        decoders: dict[int, Any] = {}
        spent: dict[int, float] = {}
        good = []
        for b, layout in enumerate(layouts):
            row = list(bodies[b][: layout.packets])
            row += [None] * (layout.packets - len(row))
            here = layout.decodable(np.array([data is not None for data in row]))
            part = np.where(heads[b], _HEAD if layout.base else _LOST, _WHOLE)
            good.append(np.where(here, part, _LOST))
            for p in np.flatnonzero(good[b]):
                decoders[b * most + int(p)] = range_decoder(row[p] or b"")
                spent[b * most + int(p)] = 0.0
        broken: set[int] = set()

        def take(body: int, counts: np.ndarray, _: Any) -> np.ndarray:
            if body not in broken:
                try:
                    symbols = decoders[body].decode(family, counts / TOTAL).astype(np.int64)
                    spent[body] += _information(symbols, counts)
                    return symbols
                except (AssertionError, ValueError):
                    broken.add(body)
            return np.zeros(len(counts), np.int64)

        index = self._walk(layouts, good, take)
        found = []
        for b, layout in enumerate(layouts):
            fine = good[b] > _LOST
            for p in np.flatnonzero(fine):
                body = b * most + int(p)
                # no encoder writes more bytes than the tokens need, nor many fewer; a head goes on as far as it likes
                slack = 8 * len(bodies[b][p] or b"") - spent[body]
                longest = 16 if good[b][p] == _WHOLE else math.inf
                fine[p] = body not in broken and -16 <= slack <= longest
            fine = layout.decodable(fine)
            bad = (good[b] > _LOST) & ~fine
            if bad.any():  # once more without them: they have misled those that follow
                kept = [data if fine[p] else None for p, data in enumerate(bodies[b][: len(fine)])]
                found += self._unpack([kept], [layout], [heads[b]])
                continue
            shape = (layout.rows, layout.columns, self.stages)
            found.append(Read(index[b].reshape(shape).astype(np.int16), good[b] == _WHOLE))
        return found

    # -------------------------------------------------------------------------------------------- walking

    def _transformer(self) -> FixedTokens:
        if self.net is None:
            raise ValueError("these weights have no prior; choose prior: order-0 or none")
        return self.net

    def _batches(self, layouts: Sequence[Layout]) -> Iterator[list[int]]:
        """Pictures of equal grids, few enough at once."""
        grids: dict[tuple[int, int, bool], list[int]] = {}
        for b, layout in enumerate(layouts):
            if layout.stages > self.stages:
                raise ValueError(
                    f"these weights have {self.stages} stages, the layout asks for {layout.stages}"
                )
            if layout.sent and self.prior != "transformer":
                raise ValueError(
                    f"a choice of positions needs prior: transformer, got {self.prior!r}"
                )
            grids.setdefault((layout.rows, layout.columns, bool(layout.sent)), []).append(b)
        for rows in grids.values():
            yield from _portions(rows, lambda b: layouts[b].tokens)

    def _walk(self, layouts: Sequence[Layout], good: Sequence[np.ndarray], take: Any) -> np.ndarray:
        """Go through everything that is coded, in the order of coding.

        Args:
          layouts: of equal grids.
          good:    per picture [N] int, ``_LOST``, ``_HEAD`` or ``_WHOLE``: what of each body to go through.
          take:    (body, tables [q, K], (positions [q], stage)) -> tokens [q]; body is picture * most packets + packet.
        Returns: [B, positions, S] int64, -1 where nothing was coded.
        """
        if self.prior != "transformer":
            return self._order_0(layouts, good, take)
        net = self._transformer()
        grid = (layouts[0].rows, layouts[0].columns)
        index = np.full((len(layouts), grid[0] * grid[1], self.stages), -1, np.int64)
        choosing = bool(layouts[0].sent)
        walk = _Chosen(layouts, good, net) if choosing else _Planned(layouts, good, net)
        told = _told_stages(layouts)
        later = []  # steps with stages behind the base layer
        for step in walk.steps():
            state = walk.rounds.ask(step.rows, step.position)
            owner = walk.picture[step.rows]
            here = np.full((*step.position.shape, self.stages), -1, np.int64)
            least = told[owner][:, None]
            self._take(step, state, here, np.zeros_like(least), least, take)
            if (step.depth > least).any():
                later.append((step, state, here))
            _put(index, owner, step, here)
            walk.tell(step, here)
        for step, state, here in later:
            owner = walk.picture[step.rows]
            self._take(step, state, here, told[owner][:, None], self.stages, take)
            _put(index, owner, step, here)
        return index

    def _take(
        self, step: _Step, state: np.ndarray, here: np.ndarray, low: Any, high: Any, take: Any
    ) -> None:
        """Stages low <= s < high of a step's tokens, into ``here`` [r, m, S]. Args: low, high: [r, 1] or numbers."""
        net = self._transformer()
        for s in range(int(step.depth.max(initial=0))):
            row, place = np.nonzero((step.depth > s) & (low <= s) & (s < high))
            if not len(row):
                continue
            body = step.body[row, place]
            order = np.lexsort((place, row, body))
            row, place, body = row[order], place[order], body[order]
            counts = net.counts(state[row, place], net.prefix(here[row, place], s), s)
            for a, b in _runs(body):
                where = (step.position[row[a:b], place[a:b]], s)
                here[row[a:b], place[a:b], s] = take(int(body[a]), counts[a:b], where)

    def _order_0(
        self, layouts: Sequence[Layout], good: Sequence[np.ndarray], take: Any
    ) -> np.ndarray:
        most = max(layout.packets for layout in layouts)
        index = np.full((len(layouts), layouts[0].positions, self.stages), -1, np.int64)
        flat = np.full(self.codes, (1 << PRECISION) // self.codes, np.int64)
        if (1 << PRECISION) % self.codes:
            flat = counts_of(np.ones(self.codes))

        def go(b: int, p: int, adaptive: list[Adaptive]) -> None:
            for position, s in _in_body(layouts[b], p):
                if good[b][p] == _HEAD and s >= layouts[b].base:
                    return
                counts = flat if self.prior == "none" else adaptive[s].counts()
                token = int(take(b * most + p, counts[None], (np.array([position]), s))[0])
                adaptive[s].see(token)
                index[b, position, s] = token

        for b, layout in enumerate(layouts):
            fresh = [Adaptive(u, self.prior == "order-0") for u in self.usage]
            for d in range(layout.descriptions):
                adaptive = deepcopy(fresh)
                for p in range(d, layout.packets, layout.descriptions):
                    if not good[b][p]:
                        break
                    go(b, p, adaptive)
        return index


class _Planned:
    """The steps of layouts that say beforehand which position is coded when."""

    def __init__(
        self, layouts: Sequence[Layout], good: Sequence[np.ndarray], net: FixedTokens
    ) -> None:
        plans = [sequences(layout) for layout in layouts]
        most = max(layout.packets for layout in layouts)
        self.picture = np.repeat(np.arange(len(layouts)), [len(p.position) for p in plans])
        position, self._rounds, packet = (
            _stack([row for p in plans for row in getattr(p, name)], -1)
            for name in ("position", "rounds", "packet")
        )
        self._depth = _stack([row for p in plans for row in p.depth], 0)
        usable = np.full((len(layouts), most), _LOST)
        for b, row in enumerate(good):
            usable[b, : len(row)] = row
        part = np.where(position >= 0, usable[self.picture[:, None], np.maximum(packet, 0)], _LOST)
        base = np.array([layout.base for layout in layouts])[self.picture][:, None]
        fine = part > _LOST
        self._depth = np.where(part == _HEAD, np.minimum(self._depth, base), self._depth * fine)
        self._position = np.where(fine, position, -1)
        self._rounds = np.where(fine, self._rounds, -1)
        self._body = self.picture[:, None] * most + packet
        self._last = self._rounds.max(1, initial=-1)
        self.rounds = Rounds(
            net, len(position), position.shape[1], (layouts[0].rows, layouts[0].columns)
        )

    def steps(self) -> Iterator[_Step]:
        """One for each round."""
        for g in range(int(self._last.max(initial=-1)) + 1):
            here = self._rounds == g
            rows = np.flatnonzero(here.any(1))
            if not len(rows):
                continue
            here = here[rows]
            width = int(here.sum(1).max())
            first = np.argsort(~here, axis=1, kind="stable")[:, :width]
            there = np.take_along_axis(here, first, 1)
            position, body, depth = (
                np.where(there, np.take_along_axis(table[rows], first, 1), empty)
                for table, empty in ((self._position, -1), (self._body, -1), (self._depth, 0))
            )
            self._now = g
            yield _Step(rows, position, body, depth)

    def tell(self, step: _Step, index: np.ndarray) -> None:
        """The tokens [r, m, S] of a step."""
        more = self._last[step.rows] > self._now
        if more.any():
            self.rounds.tell(step.rows[more], step.position[more], index[more])


class _Chosen:
    """The steps of layouts whose positions the transformer chooses, packet by packet."""

    def __init__(
        self, layouts: Sequence[Layout], good: Sequence[np.ndarray], net: FixedTokens
    ) -> None:
        self.layouts, self.good, self.net = layouts, good, net
        first = layouts[0]
        tile = tiles(first.rows, first.columns)
        self._tiles = [np.flatnonzero(tile == t) for t in range(int(tile.max()) + 1)]
        count = len(self._tiles)
        self.picture = np.repeat(np.arange(len(layouts)), count)
        room = max(map(len, self._tiles))
        self.rounds = Rounds(net, len(layouts) * count, room, (first.rows, first.columns))
        self._left = np.ones((len(layouts), first.positions), bool)
        self._most = max(layout.packets for layout in layouts)

    def steps(self) -> Iterator[_Step]:
        """One for each round of each packet."""
        done = np.zeros(len(self.layouts), np.int64)
        for p in range(self._most):
            alive = [b for b, row in enumerate(self.good) if p < len(row) and row[p]]
            chosen = self._choose(alive, p)
            steps = [self.layouts[b].steps(len(c)) for b, c in zip(alive, chosen, strict=True)]
            for r in range(max((int(s.max(initial=0)) for s in steps), default=-1) + 1):
                yield self._step(alive, chosen, steps, done, p, r)
            for b, c in zip(alive, chosen, strict=True):
                done[b] += len(c)

    def _choose(self, pictures: Sequence[int], packet: int) -> list[np.ndarray]:
        """Positions of a packet of each picture, the least certain first."""
        if not pictures:
            return []
        tile_count = len(self._tiles)
        rows = np.array([b * tile_count + t for b in pictures for t in range(tile_count)])
        left = [part[self._left[b][part]] for b in pictures for part in self._tiles]
        position = _stack(left, -1)
        state = self.rounds.ask(rows, position)
        there = position >= 0
        counts = self.net.counts(
            state[there], self.net.prefix(np.full((int(there.sum()), self.net.stages), -1), 0), 0
        ).astype(np.float64)
        certain = np.full(self._left.shape, np.inf)
        picture = np.broadcast_to(self.picture[rows][:, None], position.shape)
        # sums of squares of integers: exact, so that both ends see the same order
        certain[picture[there], position[there]] = (counts * counts).sum(1)
        found = []
        for b in pictures:
            layout = self.layouts[b]
            wanted = int((shares(layout.sent, layout.packets) == packet).sum())
            chosen = _apart(certain[b], wanted, layout.columns)
            self._left[b, chosen] = False
            found.append(chosen)
        return found

    def _step(
        self,
        pictures: Sequence[int],
        chosen: Sequence[np.ndarray],
        steps: Sequence[np.ndarray],
        done: np.ndarray,
        packet: int,
        number: int,
    ) -> _Step:
        rows, position, body, depth = [], [], [], []
        for b, mine, step in zip(pictures, chosen, steps, strict=True):
            layout = self.layouts[b]
            whole, extra = divmod(layout.tokens, layout.sent)
            deep = whole + (done[b] + np.arange(len(mine)) < extra)
            for t, part in enumerate(self._tiles):
                here = (step == number) & np.isin(mine, part)
                if here.any():
                    rows.append(b * len(self._tiles) + t)
                    position.append(mine[here])
                    depth.append(deep[here])
                    body.append(np.full(int(here.sum()), b * self._most + packet))
        return _Step(np.array(rows), _stack(position, -1), _stack(body, -1), _stack(depth, 0))

    def tell(self, step: _Step, index: np.ndarray) -> None:
        """The tokens [r, m, S] of a step."""
        self.rounds.tell(step.rows, step.position, index)


def _apart(certain: np.ndarray, count: int, columns: int) -> np.ndarray:
    """The ``count`` least certain positions, none beside another one as long as there are others."""
    order = np.argsort(certain, kind="stable")
    order = order[np.isfinite(certain[order])]
    free = np.ones(len(certain), bool)
    y, x = np.divmod(np.arange(len(certain)), columns)
    chosen: list[int] = []
    late: list[int] = []
    for p in order.tolist():
        if len(chosen) == count:
            break
        if free[p]:
            chosen.append(p)
            free[(abs(y - y[p]) <= 1) & (abs(x - x[p]) <= 1)] = False
        else:
            late.append(p)
    return np.array((chosen + late)[:count], np.int64)


@lru_cache(maxsize=256)
def _in_bodies(layout: Layout) -> tuple[tuple[tuple[int, int], ...], ...]:
    plan = sequences(layout)
    found: list[list[tuple[bool, int, int, int, int, int]]] = [[] for _ in range(layout.packets)]
    for r, k in zip(*np.nonzero(plan.position >= 0), strict=True):
        for s in range(int(plan.depth[r, k])):
            late = s >= layout.told
            entry = (late, int(plan.rounds[r, k]), s, int(r), int(k), int(plan.position[r, k]))
            found[int(plan.packet[r, k])].append(entry)
    return tuple(tuple((e[5], e[2]) for e in sorted(entries)) for entries in found)


def _in_body(layout: Layout, body: int) -> tuple[tuple[int, int], ...]:
    """(position, stage) of a body's tokens in the order of coding."""
    return _in_bodies(layout)[body]


def _told_stages(layouts: Sequence[Layout]) -> np.ndarray:
    """Stages of a position that the tables of other positions go by, of each layout."""
    return np.array([layout.told for layout in layouts], np.int64)


def _told(index: np.ndarray, layouts: Sequence[Layout]) -> np.ndarray:
    """Tokens [n, m, S] as other positions may know them. Args: layouts: n."""
    told = _told_stages(layouts)[:, None, None]
    return np.where(np.arange(index.shape[-1]) < told, index, -1)


def _put(index: np.ndarray, owner: np.ndarray, step: _Step, here: np.ndarray) -> None:
    """Tokens [r, m, S] of a step to their places in ``index`` [B, positions, S]. Args: owner: [r], pictures."""
    picture = np.broadcast_to(owner[:, None], step.position.shape)
    there = step.position >= 0
    index[picture[there], step.position[there]] = here[there]


def _stack(rows: Sequence[np.ndarray], empty: int) -> np.ndarray:
    """Rows of several lengths as [n, m] int64."""
    found = np.full((len(rows), max((len(r) for r in rows), default=0)), empty, np.int64)
    for i, row in enumerate(rows):
        found[i, : len(row)] = row
    return found


def _sent(flat: np.ndarray, position: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Tokens [n,m,S] at positions [n,m] of flat [n,positions,S]; -1 from ``depth`` on."""
    index = flat[np.arange(len(flat))[:, None], np.maximum(position, 0)].astype(np.int64)
    return np.where(np.arange(flat.shape[2]) < depth[..., None], index, -1)


def _portions(items: Sequence[Any], size: Callable[[Any], int]) -> Iterator[list[Any]]:
    """Cut a list so that sizes sum to at most AT_ONCE (or a part has one item)."""
    part: list[Any] = []
    total = 0
    for item in items:
        if part and total + size(item) > AT_ONCE:
            yield part
            part, total = [], 0
        part.append(item)
        total += size(item)
    if part:
        yield part


def _runs(values: np.ndarray) -> Iterator[tuple[int, int]]:
    """Start and end of each run of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    yield from zip([0, *edges.tolist()], [*edges.tolist(), len(values)], strict=True)


def _information(symbols: np.ndarray, counts: np.ndarray) -> float:
    """Bits of tokens [q] under tables [q, K]."""
    mine = np.take_along_axis(counts, symbols[:, None], 1)
    return float(PRECISION * len(symbols) - np.log2(mine).sum())


def _head_bytes(body: bytes, symbols: np.ndarray, counts: np.ndarray) -> int:
    """How many first bytes of a body give its first tokens [q], under tables [q, K]."""
    least = max(math.floor(_information(symbols, counts) / 8), 0)
    for size in range(least, len(body)):
        if _decodes(body[:size], symbols, counts / TOTAL):
            return size
    return len(body)


def _decodes(data: bytes, symbols: np.ndarray, share: np.ndarray) -> bool:
    """Whether bytes begin with these tokens."""
    import constriction

    family = constriction.stream.model.Categorical(perfect=False)
    try:
        return np.array_equal(range_decoder(data).decode(family, share), symbols)
    except (AssertionError, ValueError):
        return False


def _write(symbols: np.ndarray, counts: np.ndarray) -> bytes:
    """Range-coded tokens [q] under tables [q, K]."""
    import constriction

    family = constriction.stream.model.Categorical(perfect=False)
    share = counts / TOTAL
    coder = constriction.stream.queue.RangeEncoder()
    coder.encode(symbols.astype(np.int32), family, share)
    least = math.floor(_information(symbols, counts) / 8) - 1
    whole = coder.get_compressed().astype(">u4").tobytes()
    return shortest(whole, lambda data: _decodes(data, symbols, share), max(least, 0))
