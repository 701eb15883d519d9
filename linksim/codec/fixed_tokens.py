"""The tokens' masked transformer in exact arithmetic, in one pass or round by round.

The arithmetic is that of ``linksim.codec.exact``. An encoder knows all tokens and runs both streams of
``linksim.model.token_prior`` at once (``FixedTokens.states``); a decoder goes round by round with the keys and values
of what it has (``Rounds``). Both give the same integers (a test holds them to it). Sequences hold only the positions
that matter; a place in a sequence that nothing is at has position -1.

Sizes: n sequences side by side (a description of a picture, or a tile of one), m or l places in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from linksim.codec.exact import (
    FRACTION,
    PRECISION,
    WEIGHT_FRACTION,
    Weights,
    clip,
    counts_of,
    exponential,
    leaky,
    linear,
    rest_of_block,
    scores,
    to_fixed,
)
from linksim.errors import ComponentError
from linksim.model.token_grid import TokenPriorConfig, place_buckets

BOOK_FRACTION = 20  # bits of codes: they are small numbers
BOOK_LIMIT = 2.0**25  # of codes: 32; those of a coarse stage hold a patch's mean, up to 14
CONTENT, QUERY = 0, 1
CHUNK = 1 << 22  # most scores of an attention at once
ROWS = 1024  # tables made at once


class FixedTokens:
    """The transformer of one set of weights.

    Args:
      arrays: weights by path; the transformer's begin with "prior".
      cfg:    its architecture.
      books:  codebook of each stage, [K, d].
    """

    def __init__(
        self, arrays: Mapping[str, np.ndarray], cfg: TokenPriorConfig, books: Sequence[np.ndarray]
    ) -> None:
        self.cfg, self.stages = cfg, len(books)
        self.weights = w = Weights(arrays, "prior")
        self.books = [to_fixed(book, BOOK_FRACTION) for book in books]
        if (most := max(float(np.abs(book).max()) for book in self.books)) > BOOK_LIMIT:
            raise ComponentError(
                f"a code has the entry {most * 2.0**-BOOK_FRACTION:.1f}, exact arithmetic reaches to "
                f"{BOOK_LIMIT * 2.0**-BOOK_FRACTION:.0f}"
            )
        self._tagged = self.books
        if cfg.tags:
            tags = np.clip(to_fixed(arrays["prior/tag"], BOOK_FRACTION), -BOOK_LIMIT, BOOK_LIMIT)
            self._tagged = [np.concatenate(pair, 1) for pair in zip(self.books, tags, strict=True)]
        self._tokens = np.stack(
            [
                linear(
                    self._tagged[s],
                    w[f".token{s}/kernel"],
                    w[f".token{s}/bias"],
                    WEIGHT_FRACTION + BOOK_FRACTION - FRACTION,
                )
                - w["/absent"][s]
                for s in range(self.stages)
            ]
        )
        self._nothing = w["/absent"].sum(0)
        self._places: dict[tuple[int, int], np.ndarray] = {}

    # ------------------------------------------------------------------------------------------------- vectors

    def prefix(self, index: np.ndarray, stage: int) -> np.ndarray:
        """A position's vector with the stages before one alone. index [..., S] int, -1 unknown -> [..., dim]."""
        found = np.broadcast_to(self._nothing, (*index.shape[:-1], self.cfg.dim))
        for s in range(stage):
            known = index[..., s, None] >= 0
            found = found + np.where(known, self._tokens[s][np.maximum(index[..., s], 0)], 0.0)
        return found

    def _input(
        self, position: np.ndarray, grid: tuple[int, int], kind: int, vector: np.ndarray
    ) -> np.ndarray:
        """What goes into the first block. position [n,m] int, -1 none; vector [n,m,dim] or [dim]."""
        if grid not in self._places:
            y, x = place_buckets(self.cfg, *grid)
            self._places[grid] = self.weights["/row"][y] + self.weights["/column"][x]
        return clip(
            vector + self._places[grid][np.maximum(position, 0)] + self.weights["/kind"][kind]
        )

    def _relative(self, who: np.ndarray, what: np.ndarray, columns: int) -> np.ndarray:
        """Entry of the bias tables (``token_grid.relative_entries``). who [n,m], what [n,l] positions -> [n,m,l]."""
        cfg = self.cfg
        (y, x), (v, u) = np.divmod(who, columns), np.divmod(what, columns)
        down = np.clip(v[:, None, :] - y[:, :, None], -cfg.reach_y, cfg.reach_y) + cfg.reach_y
        across = np.clip(u[:, None, :] - x[:, :, None], -cfg.reach_x, cfg.reach_x) + cfg.reach_x
        return down * (2 * cfg.reach_x + 1) + across

    def _heads(self, x: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Query, key and value of a block, each [n,heads,m,head_dim]."""
        parts = self.weights.layer(self.weights.norm(x, f"{name}.norm0"), f"{name}.qkv")
        parts = parts.reshape(*x.shape[:2], 3, self.cfg.heads, self.cfg.head_dim)
        query, key, value = parts.transpose(2, 0, 3, 1, 4)
        return query, key, value

    def _mix(
        self,
        query: np.ndarray,
        key: np.ndarray,
        value: np.ndarray,
        relative: np.ndarray,
        seen: np.ndarray,
        name: str,
        own: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> np.ndarray:
        """Attention of [n,heads,m,hd] to [n,heads,l,hd] where ``seen`` [n,m,l]; own: key and value of each itself."""
        places = self.weights[f"{name}/places"]
        score = scores(query @ key.swapaxes(-1, -2), self.cfg.head_dim)
        score += places[relative].transpose(0, 3, 1, 2)
        score = np.where(seen[:, None], score, -np.inf)
        if own is not None:
            mine = scores((query * own[0]).sum(-1, keepdims=True), self.cfg.head_dim)
            mine += places[len(places) // 2][:, None, None]
            score = np.concatenate([score, mine], -1)
        weight = exponential(score)
        total = weight.sum(-1, keepdims=True)
        mixed = weight[..., : value.shape[2]] @ value
        if own is not None:
            mixed += weight[..., -1:] * own[1]
        mixed = np.floor(mixed / total + 0.5)
        n, heads, m, depth = mixed.shape
        return mixed.transpose(0, 2, 1, 3).reshape(n, m, heads * depth)

    # ------------------------------------------------------------------------------------------------ one pass

    def states(
        self, position: np.ndarray, rounds: np.ndarray, index: np.ndarray, grid: tuple[int, int]
    ) -> np.ndarray:
        """Both streams at once, for an encoder.

        Args:
          position: [n,m] int, -1 where there is none.
          rounds:   [n,m] int, not falling along a sequence.
          index:    [n,m,S] int, tokens of each position, -1 where not sent.
          grid:     rows and columns.
        Returns: what is known of each position before its round, [n,m,dim].
        """
        n, m = position.shape
        step = max(1, CHUNK // max(1, self.cfg.heads * m * m))
        parts = []
        for a in range(0, n, step):
            b = slice(a, a + step)
            parts.append(self._states(position[b], rounds[b], index[b], grid))
        return np.concatenate(parts) if parts else np.zeros((0, m, self.cfg.dim))

    def _states(
        self, position: np.ndarray, rounds: np.ndarray, index: np.ndarray, grid: tuple[int, int]
    ) -> np.ndarray:
        there = position >= 0
        last = np.where(there, rounds, -1).max(1, keepdims=True)
        # nobody looks at the content of the last round
        some = int((there & (rounds < last)).sum(1).max(initial=0))
        q = self._input(position, grid, QUERY, self._nothing)
        c = self._input(
            position[:, :some], grid, CONTENT, self.prefix(index[:, :some], self.stages)
        )
        relative = self._relative(position, position[:, :some], grid[1])
        seen = there[:, None, :some] & (rounds[:, None, :some] < rounds[:, :, None])
        fine = there[:, None, :some] & (rounds[:, None, :some] <= rounds[:, :some, None])
        for i in range(self.cfg.layers):
            name = f".block{i}"
            q_q, k_q, v_q = self._heads(q, name)
            q_c, k_c, v_c = self._heads(c, name)
            mixed = self._mix(q_q, k_c, v_c, relative, seen, name, own=(k_q, v_q))
            q = rest_of_block(self.weights, q, mixed, name)
            if i + 1 < self.cfg.layers and some:
                fine_or_self = fine | np.eye(some, dtype=bool)
                mixed = self._mix(q_c, k_c, v_c, relative[:, :some], fine_or_self, name)
                c = rest_of_block(self.weights, c, mixed, name)
        return self.weights.norm(q, ".norm")

    # --------------------------------------------------------------------------------------------------- heads

    def weight_of(
        self, state: np.ndarray, prefix: np.ndarray, stage: int, temperature: float = 1.0
    ) -> np.ndarray:
        """Frequencies of a stage's tokens, not normalised.

        Args:    state [r,dim] of ``states``; prefix [r,dim] of ``prefix``; temperature: of the logits, > 0.
        Returns: [r,K] integers >= 0, the largest 2^20.
        """
        w = self.weights
        u = w.layer(state, ".depth_h") + w.layer(prefix, ".depth_v") + w["/stage"][stage]
        u = clip(u)
        u = clip(u + w.layer(leaky(u), ".depth_mid"))
        out = w.layer(leaky(w.norm(u, ".depth_norm")), f".head{stage}")
        logits = linear(out, self._tagged[stage].T, w["/bias"][stage], BOOK_FRACTION)
        return exponential(logits if temperature == 1.0 else np.floor(logits / temperature + 0.5))

    def counts(self, state: np.ndarray, prefix: np.ndarray, stage: int) -> np.ndarray:
        """Tables for the range coder. See ``weight_of``. Returns: [r,K] int32, rows summing to 2^20."""
        found = np.empty((len(state), self.books[stage].shape[0]), np.int32)
        for a in range(0, len(state), ROWS):
            part = slice(a, a + ROWS)
            found[part] = counts_of(self.weight_of(state[part], prefix[part], stage))
        return found

    def bits(
        self, state: np.ndarray, prefix: np.ndarray, stage: int, token: np.ndarray
    ) -> np.ndarray:
        """What tokens [r] cost under these tables, but for the last rounding. Returns: [r] float64."""
        found = np.empty(len(state))
        for a in range(0, len(state), ROWS):
            part = slice(a, a + ROWS)
            weight = self.weight_of(state[part], prefix[part], stage)
            mine = np.take_along_axis(weight, token[part, None].astype(np.int64), 1)[:, 0]
            free = (1 << PRECISION) - weight.shape[1]
            found[part] = PRECISION - np.log2(1.0 + mine * (free / weight.sum(1)))
        return found

    def estimate(self, state: np.ndarray) -> np.ndarray:
        """The mean of y_hat that a state stands for. [..., dim] -> [..., d] float64, exact."""
        w = self.weights
        total = state @ w[".estimate/kernel"] + w[".estimate/bias"] * 2.0**WEIGHT_FRACTION
        return total * 2.0 ** -(FRACTION + WEIGHT_FRACTION)

    def code(self, index: np.ndarray) -> np.ndarray:
        """Sum of the codes that are there. index [..., S] int, -1 none -> [..., d] float64, exact."""
        total = np.zeros((*index.shape[:-1], self.books[0].shape[1]))
        for s, book in enumerate(self.books):
            known = index[..., s, None] >= 0
            total += np.where(known, book[np.maximum(index[..., s], 0)], 0.0)
        return total * 2.0**-BOOK_FRACTION


class Rounds:
    """n sequences filled round by round: ``ask`` about positions, then ``tell`` their tokens.

    Args: net; count: n; room: most positions of a sequence; grid: rows and columns.
    """

    def __init__(self, net: FixedTokens, count: int, room: int, grid: tuple[int, int]) -> None:
        cfg = net.cfg
        self.net, self.grid = net, grid
        shape = (cfg.layers, count, cfg.heads, room, cfg.head_dim)
        self._keys, self._values = np.zeros(shape), np.zeros(shape)
        self._position = np.full((count, room), -1, np.int64)
        self._used = np.zeros(count, np.int64)

    def ask(self, rows: np.ndarray, position: np.ndarray) -> np.ndarray:
        """States of positions before their round.

        Args:    rows [r], of the sequences; position [r,m], -1 none.
        Returns: [r,m,dim].
        """
        net = self.net
        step = max(1, CHUNK // max(1, net.cfg.heads * position.shape[1] * self._most(rows)))
        parts = []
        for a in range(0, len(rows), step):
            b = slice(a, a + step)
            q = net._input(position[b], self.grid, QUERY, net._nothing)
            seen, relative, there = self._around(rows[b], position[b])
            for i in range(net.cfg.layers):
                query, key, value = net._heads(q, f".block{i}")
                mixed = net._mix(
                    query,
                    self._keys[i][rows[b], :, :there],
                    self._values[i][rows[b], :, :there],
                    relative,
                    seen,
                    f".block{i}",
                    own=(key, value),
                )
                q = rest_of_block(net.weights, q, mixed, f".block{i}")
            parts.append(net.weights.norm(q, ".norm"))
        return np.concatenate(parts)

    def tell(self, rows: np.ndarray, position: np.ndarray, index: np.ndarray) -> None:
        """Take in the tokens of a round. Args: rows, position as for ``ask``; index [r,m,S], -1 not sent."""
        net = self.net
        order = np.argsort(position < 0, axis=1, kind="stable")  # gaps last
        position = np.take_along_axis(position, order, 1)
        index = np.take_along_axis(index, order[..., None], 1)
        slot = self._used[rows][:, None] + np.arange(position.shape[1])
        row, place = np.nonzero(position >= 0)
        at, slot = rows[row], slot[row, place]
        self._position[at, slot] = position[row, place]
        self._used[rows] += (position >= 0).sum(1)
        most = max(1, self._most(rows))
        step = max(1, CHUNK // (net.cfg.heads * max(1, position.shape[1]) * most))
        for a in range(0, len(rows), step):
            part = slice(a, a + step)
            mine = (row >= a) & (row < a + step)
            where = (row[mine] - a, place[mine])
            c = net._input(position[part], self.grid, CONTENT, net.prefix(index[part], net.stages))
            seen, relative, there = self._around(rows[part], position[part])
            for i in range(net.cfg.layers):
                query, key, value = net._heads(c, f".block{i}")
                self._keys[i][at[mine], :, slot[mine]] = key.transpose(0, 2, 1, 3)[where]
                self._values[i][at[mine], :, slot[mine]] = value.transpose(0, 2, 1, 3)[where]
                if i + 1 == net.cfg.layers:
                    break
                mixed = net._mix(
                    query,
                    self._keys[i][rows[part], :, :there],
                    self._values[i][rows[part], :, :there],
                    relative,
                    seen | (position[part] < 0)[..., None],
                    f".block{i}",
                )
                c = rest_of_block(net.weights, c, mixed, f".block{i}")

    def _most(self, rows: np.ndarray) -> int:
        return int(self._used[rows].max(initial=0))

    def _around(self, rows: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
        """What positions [r,m] see of what is there [r,l]: seen [r,m,l], relative [r,m,l], l."""
        there = self._most(rows)
        what = self._position[rows, :there]
        relative = self.net._relative(position, what, self.grid[1])
        return np.broadcast_to((what >= 0)[:, None], relative.shape), relative, there
