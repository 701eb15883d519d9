"""The index prior in exact arithmetic: frequency tables that encoder and decoder cannot see differently.

The arithmetic is that of ``linksim.codec.exact``. The encoder sees all indices and runs a stage at once; the decoder
runs position by position with the keys and values so far. Both give the same integers (a test holds them to it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from linksim.codec.exact import (
    FRACTION,
    Weights,
    clip,
    convolve,
    counts_of,
    exponential,
    leaky,
    linear,
    matrix,
    mix,
    rest_of_block,
    scores,
    to_fixed,
)
from linksim.model.index_grid import NEIGHBOURS, PriorConfig, buckets, relative_places


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
        self._up = [None if m is None else matrix(m) for m in up]
        self.weights = Weights(arrays, "prior")

    def expand(self, index: np.ndarray, stage: int) -> np.ndarray:
        """Codes of a stage on the latent's grid. [B,h,w] -> [B,h*stride,w*stride,d] integers 2^-10."""
        code = self.books[stage][index]
        up = self._up[stage]
        if up is None:
            return code
        batch, height, width, depth = code.shape
        blocks = linear(code, up).reshape(batch, height, width, 2, 2, depth)
        blocks = blocks.transpose(0, 1, 3, 2, 4, 5)
        return blocks.reshape(batch, 2 * height, 2 * width, depth)

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
        cfg, w = self.cfg, self.weights
        y, x = buckets(cfg, rows, columns, first, total or rows)
        h = w["/row"][y][:, None] + w["/column"][x][None]
        h = (h + w["/mode"][mode] + w["/stage"][stage])[None]
        if before is not None:
            seen = _to_depth(before) if cfg.strides[stage] == 2 else before
            a, b = f".ctx{stage}", f".mix{stage}"
            seen = leaky(convolve(seen, w[f"{a}/kernel"], w[f"{a}/bias"]))
            h = h + convolve(seen, w[f"{b}/kernel"], w[f"{b}/bias"])
        return clip(h)

    def counts(self, index: np.ndarray, base: np.ndarray, stage: int) -> np.ndarray:
        """Tables of all positions at once, for an encoder. index [B,h,w]; base of ``base``. -> [B,h*w,K] int64."""
        cfg, w = self.cfg, self.weights
        batch, rows, columns = index.shape
        count = rows * columns
        near = w.layer(_shifted(self.books[stage][index]), f".near{stage}")
        x = clip(base + near).reshape(batch, count, cfg.dim)
        relative = relative_places(cfg, rows, columns)
        later = np.triu(np.ones((count, count), bool), 1)
        for i in range(cfg.layers):
            name = f".block{i}"
            parts = w.layer(w.norm(x, f"{name}.norm0"), f"{name}.qkv")
            parts = parts.reshape(batch, count, 3, cfg.heads, cfg.head_dim).transpose(2, 0, 3, 1, 4)
            query, key, value = parts
            bias = w[f"{name}/places"][relative].transpose(2, 0, 1)
            score = scores(query @ key.swapaxes(-1, -2), cfg.head_dim) + bias
            mixed = mix(np.where(later, -np.inf, score), value)
            x = rest_of_block(
                w, x, mixed.transpose(0, 2, 1, 3).reshape(batch, count, cfg.dim), name
            )
        return self._tables(x, stage)

    def _tables(self, x: np.ndarray, stage: int) -> np.ndarray:
        w = self.weights
        return counts_of(exponential(w.layer(w.norm(x, ".norm"), f".head{stage}")))

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
        w, cfg, t = self.prior.weights, self.prior.cfg, self.at
        y, x = divmod(t, self.columns)
        around = [self.codes[:, y + 1 + dy, x + 1 + dx] for dy, dx in NEIGHBOURS]
        h = clip(self.base[:, y, x] + w.layer(np.concatenate(around, -1), f".near{self.stage}"))
        for i in range(cfg.layers):
            name = f".block{i}"
            parts = w.layer(w.norm(h, f"{name}.norm0"), f"{name}.qkv")
            query, key, value = parts.reshape(len(h), 3, cfg.heads, cfg.head_dim).swapaxes(0, 1)
            self.keys[i][:, :, t], self.values[i][:, :, t] = key, value
            product = (self.keys[i][:, :, : t + 1] @ query[..., None])[..., 0]
            bias = w[f"{name}/places"][self.relative[t, : t + 1]].T
            score = scores(product, cfg.head_dim) + bias
            mixed = mix(score[:, :, None], self.values[i][:, :, : t + 1])
            h = rest_of_block(w, h, mixed.reshape(len(h), cfg.dim), name)
        return self.prior._tables(h, self.stage)

    def put(self, index: np.ndarray) -> None:
        """The indices [B] of that position; -1: none, coded as nothing."""
        y, x = divmod(self.at, self.columns)
        code = self.prior.books[self.stage][np.maximum(index, 0)]
        self.codes[:, y + 1, x + 1] = np.where((index >= 0)[:, None], code, 0.0)
        self.at += 1


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
