"""The index prior in exact arithmetic: frequency tables that encoder and decoder cannot see differently.

All values are integers held in float64, kept small enough (below 2^53) that every sum is exact whatever its order, so
that batch size, thread count, BLAS and machine make no difference; what is not a sum is a single IEEE operation
(product, quotient, square root, floor) on one element, which is the same everywhere. exp comes from a table.

The encoder sees all indices and runs a stage at once; the decoder runs position by position with the keys and values so
far. Both give the same integers (a test holds them to it).

Formats: activations 2^-10, weights 2^-14, square roots and quotients rounded to 2^-10.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache

import numpy as np

from linksim.model.index_grid import NEIGHBOURS, PriorConfig, buckets, relative_places

FRACTION = 10  # bits of activations
WEIGHT_FRACTION = 14
LIMIT = 2.0**21  # of activations: 2048 in their unit
WEIGHT_LIMIT = 2.0**17  # of weights: 8
EXP_ONE = 2.0**20  # exp(0) in the table
EXP_REACH = 14 << FRACTION  # below exp(-14) it is zero
PRECISION = 20  # bits: the counts of a table sum to 2^20


def to_fixed(x: np.ndarray, fraction: int) -> np.ndarray:
    """Rounded to multiples of 2^-fraction, as integers."""
    return np.floor(np.asarray(x, np.float64) * 2.0**fraction + 0.5)


def clip(x: np.ndarray) -> np.ndarray:
    """Within the range in which sums stay exact."""
    return np.clip(x, -LIMIT, LIMIT)


def leaky(x: np.ndarray) -> np.ndarray:
    """``layers.leaky`` of integers."""
    return np.maximum(x, np.floor(x * 0.125 + 0.5))


def linear(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray | float = 0.0) -> np.ndarray:
    """x [..., n] 2^-10 @ kernel [n, m] 2^-14 + bias 2^-10."""
    return clip(np.floor((x @ kernel) * 2.0**-WEIGHT_FRACTION + 0.5) + bias)


def convolve(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Zero-padded 3x3 convolution. x [B,h,w,C] 2^-10, kernel [3,3,C,D] 2^-14, bias [D] 2^-10."""
    _, height, width, channels = x.shape
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    columns = [padded[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    return linear(np.concatenate(columns, -1), kernel.reshape(9 * channels, -1), bias)


@lru_cache(maxsize=1)
def exp_table() -> np.ndarray:
    """round(2^20 exp(-i 2^-10)), [EXP_REACH + 1]. No entry is near a tie, so every libm gives the same."""
    return np.array(
        [math.floor(EXP_ONE * math.exp(-i * 2.0**-FRACTION) + 0.5) for i in range(EXP_REACH)]
        + [0.0]
    )


def exponential(score: np.ndarray) -> np.ndarray:
    """2^20 exp(score - max) along the last axis, integers. score 2^-10; -inf allowed."""
    below = score.max(-1, keepdims=True) - score
    return exp_table()[np.minimum(below, EXP_REACH).astype(np.int64)]


def counts_of(weight: np.ndarray) -> np.ndarray:
    """Counts that a range coder uses: each at least 1, rows summing to 2^20.

    Args:    weight [..., K] integers >= 0, not all 0.
    Returns: [..., K] int64.
    """
    size = weight.shape[-1]
    free = (1 << PRECISION) - size
    counts = 1 + np.floor(weight * (free / weight.sum(-1, keepdims=True)) + 0.5).astype(np.int64)
    top = np.argmax(weight, -1)[..., None]
    rest = (1 << PRECISION) - counts.sum(-1, keepdims=True)
    np.put_along_axis(counts, top, np.take_along_axis(counts, top, -1) + rest, -1)
    return counts


class FixedPrior:
    """The prior of one set of weights.

    Args:
      arrays: weights by path; the prior's begin with "prior".
      cfg:    its architecture.
      books:  codebook of each stage, [K, d].
      up:     map of each stage's codes to the latent's grid, [d, 4 d], or None where its stride is 1.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        cfg: PriorConfig,
        books: Sequence[np.ndarray],
        up: Sequence[np.ndarray | None],
    ) -> None:
        self.arrays, self.cfg = arrays, cfg
        self.books = [clip(to_fixed(book, FRACTION)) for book in books]
        self._up = [None if m is None else self._limited(m) for m in up]
        self._weights: dict[str, np.ndarray] = {}

    @staticmethod
    def _limited(x: np.ndarray) -> np.ndarray:
        return np.clip(to_fixed(x, WEIGHT_FRACTION), -WEIGHT_LIMIT, WEIGHT_LIMIT)

    def _weight(self, name: str) -> np.ndarray:
        """A matrix (2^-14) or, of another kind, a vector or table (2^-10)."""
        if name not in self._weights:
            value = self.arrays[f"prior{name}"]
            matrix = name.endswith("/kernel")
            self._weights[name] = (
                self._limited(value) if matrix else clip(to_fixed(value, FRACTION))
            )
        return self._weights[name]

    def expand(self, index: np.ndarray, stage: int) -> np.ndarray:
        """Codes of a stage on the latent's grid. [B,h,w] -> [B,h*stride,w*stride,d] integers 2^-10."""
        code = self.books[stage][index]
        matrix = self._up[stage]
        if matrix is None:
            return code
        batch, height, width, depth = code.shape
        blocks = linear(code, matrix).reshape(batch, height, width, 2, 2, depth)
        blocks = blocks.transpose(0, 1, 3, 2, 4, 5)
        return blocks.reshape(batch, 2 * height, 2 * width, depth)

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        square = (x * x).sum(-1, keepdims=True) / x.shape[-1]  # an exact sum, one division
        return clip(np.floor(x / np.sqrt(square + 1.0) * self._weight(f"{name}/gain") + 0.5))

    def _layer(self, x: np.ndarray, name: str) -> np.ndarray:
        return linear(x, self._weight(f"{name}/kernel"), self._weight(f"{name}/bias"))

    def base(
        self,
        before: np.ndarray | None,
        mode: int,
        stage: int,
        rows: int,
        columns: int,
        first: int = 0,
        total: int = 0,
    ) -> np.ndarray:
        """Everything about a stage's positions that does not depend on its own indices.

        Args:
          before: [B,h*stride,w*stride,d], sum of ``expand`` of the stages before; None for the first.
          mode:   of the encoder.
          first, total: the rows are ``first`` .. of ``total`` (0: these are all).
        Returns: [B or 1, rows, columns, dim].
        """
        cfg = self.cfg
        y, x = buckets(cfg, rows, columns, first, total or rows)
        h = self._weight("/row")[y][:, None] + self._weight("/column")[x][None]
        h = (h + self._weight("/mode")[mode] + self._weight("/stage")[stage])[None]
        if before is not None:
            seen = _to_depth(before) if cfg.strides[stage] == 2 else before
            a = f".ctx{stage}"
            seen = leaky(convolve(seen, self._weight(f"{a}/kernel"), self._weight(f"{a}/bias")))
            b = f".mix{stage}"
            h = h + convolve(seen, self._weight(f"{b}/kernel"), self._weight(f"{b}/bias"))
        return clip(h)

    def counts(self, index: np.ndarray, base: np.ndarray, stage: int) -> np.ndarray:
        """Tables of all positions at once, for an encoder. index [B,h,w]; base of ``base``. -> [B,h*w,K] int64."""
        cfg = self.cfg
        batch, rows, columns = index.shape
        count = rows * columns
        near = self._layer(_shifted(self.books[stage][index]), f".near{stage}")
        x = clip(base + near).reshape(batch, count, cfg.dim)
        relative = relative_places(cfg, rows, columns)
        later = np.triu(np.ones((count, count), bool), 1)
        for i in range(cfg.layers):
            name = f".block{i}"
            parts = self._layer(self._norm(x, f"{name}.norm0"), f"{name}.qkv")
            parts = parts.reshape(batch, count, 3, cfg.heads, cfg.head_dim).transpose(2, 0, 3, 1, 4)
            query, key, value = parts
            bias = self._weight(f"{name}/places")[relative].transpose(2, 0, 1)
            score = self._score(query @ key.swapaxes(-1, -2)) + bias
            mixed = _mix(np.where(later, -np.inf, score), value)
            x = self._rest(x, mixed.transpose(0, 2, 1, 3).reshape(batch, count, cfg.dim), name)
        return self._tables(x, stage)

    def _score(self, product: np.ndarray) -> np.ndarray:
        return np.floor(product * (2.0**-FRACTION / math.sqrt(self.cfg.head_dim)) + 0.5)

    def _rest(self, x: np.ndarray, mixed: np.ndarray, name: str) -> np.ndarray:
        """What a block does after its attention."""
        x = clip(x + self._layer(mixed, f"{name}.out"))
        hidden = leaky(self._layer(self._norm(x, f"{name}.norm1"), f"{name}.up"))
        return clip(x + self._layer(hidden, f"{name}.down"))

    def _tables(self, x: np.ndarray, stage: int) -> np.ndarray:
        return counts_of(exponential(self._layer(self._norm(x, ".norm"), f".head{stage}")))

    def stepper(self, base: np.ndarray, batch: int, stage: int) -> Stepper:
        """The same position by position, for a decoder."""
        return Stepper(self, base, batch, stage)


class Stepper:
    """A stage of ``batch`` pictures, decoded in raster order: ``next`` gives the tables, ``put`` takes the indices."""

    def __init__(self, prior: FixedPrior, base: np.ndarray, batch: int, stage: int) -> None:
        self.prior, self.stage = prior, stage
        cfg = prior.cfg
        _, self.rows, self.columns, _ = base.shape
        self.base = np.broadcast_to(base, (batch, *base.shape[1:]))
        count = self.rows * self.columns
        self.relative = relative_places(cfg, self.rows, self.columns)
        # a frame of zeros around the codes: neighbours outside are there, and nothing
        self.codes = np.zeros((batch, self.rows + 1, self.columns + 2, cfg.code))
        shape = (batch, cfg.heads, count, cfg.head_dim)
        self.keys = [np.zeros(shape) for _ in range(cfg.layers)]
        self.values = [np.zeros(shape) for _ in range(cfg.layers)]
        self.at = 0

    def next(self) -> np.ndarray:
        """Tables of the next position, [B,K] int64."""
        prior, cfg, t = self.prior, self.prior.cfg, self.at
        y, x = divmod(t, self.columns)
        around = [self.codes[:, y + 1 + dy, x + 1 + dx] for dy, dx in NEIGHBOURS]
        h = clip(
            self.base[:, y, x] + prior._layer(np.concatenate(around, -1), f".near{self.stage}")
        )
        for i in range(cfg.layers):
            name = f".block{i}"
            parts = prior._layer(prior._norm(h, f"{name}.norm0"), f"{name}.qkv")
            query, key, value = parts.reshape(len(h), 3, cfg.heads, cfg.head_dim).swapaxes(0, 1)
            self.keys[i][:, :, t], self.values[i][:, :, t] = key, value
            product = (self.keys[i][:, :, : t + 1] @ query[..., None])[..., 0]
            bias = prior._weight(f"{name}/places")[self.relative[t, : t + 1]].T
            score = prior._score(product) + bias
            mixed = _mix(score[:, :, None], self.values[i][:, :, : t + 1])
            h = prior._rest(h, mixed.reshape(len(h), cfg.dim), name)
        return prior._tables(h, self.stage)

    def put(self, index: np.ndarray) -> None:
        """The indices [B] of that position; -1: none, coded as nothing."""
        y, x = divmod(self.at, self.columns)
        code = self.prior.books[self.stage][np.maximum(index, 0)]
        self.codes[:, y + 1, x + 1] = np.where((index >= 0)[:, None], code, 0.0)
        self.at += 1


def _mix(score: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Softmax of score [..., n, T] times value [..., T, d], rounded to 2^-10."""
    weight = exponential(score)
    return np.floor((weight @ value) / weight.sum(-1, keepdims=True) + 0.5)


def _shifted(codes: np.ndarray) -> np.ndarray:
    """``index_prior.shifted`` of integers."""
    height, width = codes.shape[1:3]
    padded = np.pad(codes, ((0, 0), (1, 0), (1, 1), (0, 0)))
    return np.concatenate(
        [padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in NEIGHBOURS], -1
    )


def _to_depth(x: np.ndarray) -> np.ndarray:
    """``layers.space_to_depth`` with blocks of 2."""
    batch, height, width, depth = x.shape
    x = x.reshape(batch, height // 2, 2, width // 2, 2, depth).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(batch, height // 2, width // 2, 4 * depth)
