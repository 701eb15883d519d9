"""A masked transformer over tokens: P(token | any others), and what a lost position probably was.

::

    known positions    vector of their tokens, place, kind --> c --+--> [ norm, attention, norm, MLP ] x L
                                                                   |       c_i looks at c_j, r_j <= r_i
    positions asked    vector of what is known, place, kind --> q -+       q_i looks at c_j, r_j < r_i, and itself
                                                                                     |
                     vector of the stages before s, stage --> depth <-- norm(q_i) <--+--> estimate of y_hat_i
                                                                |
                                                                +--> logits of stage s [K]

Positions lie in groups, which do not see each other, and within a group in rounds r = 0, 1, ...: every position of a
round is predicted from the tokens of the rounds before. The two streams share all weights, so one pass gives what a
decoder that goes round by round will see. A position whose content nobody looks at can be left out without changing
anything: a packet of six positions is a sequence of six.

Inside a position the stages follow each other: a two-layer net sees the position's vector with the stages before.

Multiplications by constants, additions, leaky ReLU, root-mean-square norms and softmax, and nothing else: the codec
runs it in exact arithmetic. What multiplies a codebook (``vector``, the heads' last product) is a table of constants.

# deviates: ResiComp's transformer mixes three Gaussians for each of 192 scalars; tokens have one PMF a stage. It takes
# one pass for each round; two streams, as in XLNet, take one for all.

Source: Wang et al., "ResiComp", arXiv 2502.10812, Sec. III; Yang et al. (2019), XLNet, two-stream attention; Lee et
al. (2022), depth transformer; Chang et al. (2022), MaskGIT.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from linksim.model.index_prior import HIDDEN_FROM, Linear, Norm
from linksim.model.layers import leaky
from linksim.model.token_grid import (
    TokenPriorConfig,
    first_biases,
    place_buckets,
    relative_entries,
)

CONTENT, QUERY = 0, 1  # rows of ``kind``


class TwoStream(keras.layers.Layer):
    """Attention of both streams and a two-layer perceptron, each behind a norm and added."""

    def __init__(self, name: str, cfg: TokenPriorConfig, block: int) -> None:
        super().__init__(name=name)
        self.cfg = cfg
        self.norm0 = Norm(f"{name}.norm0", cfg.dim)
        self.qkv = Linear(f"{name}.qkv", cfg.dim, 3 * cfg.dim)
        self.places = self.add_weight(
            shape=(cfg.entries, cfg.heads), initializer="zeros", name="places"
        )
        self.places.assign(first_biases(cfg, block))
        self.out = Linear(f"{name}.out", cfg.dim, cfg.dim, scale=0.1)
        self.norm1 = Norm(f"{name}.norm1", cfg.dim)
        self.up = Linear(f"{name}.up", cfg.dim, cfg.hidden)
        self.down = Linear(f"{name}.down", cfg.hidden, cfg.dim, scale=0.1)

    def _heads(self, x):
        """[B,n,3 dim] -> query, key, value, each [B,heads,n,head_dim]."""
        cfg = self.cfg
        parts = ops.reshape(x, (-1, x.shape[1], 3, cfg.heads, cfg.head_dim))
        return [ops.transpose(parts[:, :, i], (0, 2, 1, 3)) for i in range(3)]

    def _rest(self, x, mixed):
        """What follows the attention. mixed [B,heads,n,head_dim]."""
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, x.shape[1], self.cfg.dim))
        x = x + self.out(mixed)
        return x + self.down(leaky(self.up(self.norm1(x))))

    def call(self, content, query, relative, before, *, last: bool = False):
        """Both streams, [B,n,dim].

        Args:
          relative: [n,n] int (``relative_entries``).
          before:   [B,1,n,n], 0 where a query may look at a content, ``HIDDEN_FROM`` elsewhere; and the same for a
                    content that looks.
          last:     the content is not needed any more.
        Returns: content, query.
        """
        hidden_q, hidden_c = before
        scale = self.cfg.head_dim**-0.5
        bias = ops.transpose(ops.take(self.places, relative, axis=0), (2, 0, 1))
        q_c, k_c, v_c = self._heads(self.qkv(self.norm0(content)))
        q_q, k_q, v_q = self._heads(self.qkv(self.norm0(query)))
        across = ops.transpose(k_c, (0, 1, 3, 2))
        # a query's own key comes last; its place relative to itself is the middle of the table
        own = ops.sum(q_q * k_q, -1, keepdims=True) * scale
        own = own + self.places[self.cfg.entries // 2][None, :, None, None]
        score = ops.matmul(q_q, across) * scale + bias + hidden_q
        weight = ops.softmax(ops.concatenate([score, own], -1), -1)
        mixed = ops.matmul(weight[..., :-1], v_c) + weight[..., -1:] * v_q
        asked = self._rest(query, mixed)
        if last:
            return content, asked
        weight = ops.softmax(ops.matmul(q_c, across) * scale + bias + hidden_c, -1)
        return self._rest(content, ops.matmul(weight, v_c)), asked


class TokenPrior(keras.layers.Layer):
    """The whole transformer.

    Args: cfg: its sizes; stages, codes, code: S, K and d of the quantiser; name: full dotted name.
    """

    def __init__(
        self, cfg: TokenPriorConfig, stages: int, codes: int, code: int, name: str = "prior"
    ) -> None:
        super().__init__(name=name)
        self.cfg, self.stages = cfg, stages
        start = keras.initializers.RandomNormal(stddev=0.1)

        loud = keras.initializers.RandomNormal(stddev=0.5)

        def table(what: str, entries: int, initializer: Any = start):
            return self.add_weight(shape=(entries, cfg.dim), initializer=initializer, name=what)

        self.kind = table("kind", 2)
        self.absent = table("absent", stages)
        self.stage = table("stage", stages)
        self.row = table("row", cfg.rows, loud)
        self.column = table("column", cfg.columns, loud)
        wide = code + cfg.tags
        if cfg.tags:
            shape = (stages, codes, cfg.tags)
            self.tag = self.add_weight(shape=shape, initializer="zeros", name="tag")
        self.token = [Linear(f"{name}.token{s}", wide, cfg.dim) for s in range(stages)]
        self.blocks = [TwoStream(f"{name}.block{i}", cfg, i) for i in range(cfg.layers)]
        self.norm = Norm(f"{name}.norm", cfg.dim)
        self.estimate = Linear(f"{name}.estimate", cfg.dim, code)
        self.depth_h = Linear(f"{name}.depth_h", cfg.dim, cfg.dim)
        self.depth_v = Linear(f"{name}.depth_v", cfg.dim, cfg.dim)
        self.depth_mid = Linear(f"{name}.depth_mid", cfg.dim, cfg.dim)
        self.depth_norm = Norm(f"{name}.depth_norm", cfg.dim)
        self.head = [Linear(f"{name}.head{s}", cfg.dim, wide, scale=0.1) for s in range(stages)]
        self.bias = self.add_weight(shape=(stages, codes), initializer="zeros", name="bias")
        self.built = True

    def tagged(self, book, stage: int):
        """A codebook with its tags, [K, code + tags]."""
        return ops.concatenate([book, self.tag[stage]], -1) if self.cfg.tags else book

    def pieces(self, index, books: Sequence[Any]):
        """What each token adds to its position's vector; nothing known: ``absent``.

        Args:    index [B,n,S] int, -1 where a token is not known; books: codebook of each stage, [K, code].
        Returns: per stage [B,n,dim].
        """
        found = []
        for s, (book, layer) in enumerate(zip(books, self.token, strict=True)):
            vector = ops.take(layer(self.tagged(book, s)), ops.maximum(index[..., s], 0), axis=0)
            found.append(ops.where(index[..., s : s + 1] >= 0, vector, self.absent[s]))
        return found

    def prefixes(self, pieces):
        """Per stage s: a position's vector when only the stages before s are known, [B,n,dim]."""
        vector = ops.sum(self.absent, 0)
        found = []
        for s, piece in enumerate(pieces):
            found.append(vector + ops.zeros_like(piece))
            vector = vector + piece - self.absent[s]
        return found

    def states(self, content, query, rounds, groups, rows: int, columns: int):
        """Run both streams.

        Args:
          content, query: vectors (sums of ``pieces``) of what each position says to others and knows of itself,
                          [B,n,dim], n = rows * columns in raster order.
          rounds, groups: [B,n] int, see the module.
        Returns: norm of the query stream, [B,n,dim].
        """
        cfg = self.cfg
        y, x = place_buckets(cfg, rows, columns)
        place = ops.take(self.row, y, axis=0) + ops.take(self.column, x, axis=0)
        c = content + place + self.kind[CONTENT]
        q = query + place + self.kind[QUERY]
        same = groups[:, :, None] == groups[:, None, :]
        late, early = rounds[:, :, None], rounds[:, None, :]
        hidden = [
            ops.where(ops.logical_and(same, seen), 0.0, HIDDEN_FROM)[:, None]
            for seen in (early < late, early <= late)
        ]
        relative = relative_entries(cfg, rows, columns)
        for i, block in enumerate(self.blocks):
            c, q = block(c, q, relative, hidden, last=i + 1 == cfg.layers)
        return self.norm(q)

    def logits(self, state, prefix, book, stage: int):
        """Of a stage's tokens. Args: state [B,n,dim] of ``states``; prefix [B,n,dim] of ``prefixes``. -> [B,n,K]."""
        u = self.depth_h(state) + self.depth_v(prefix) + self.stage[stage]
        u = u + self.depth_mid(leaky(u))
        out = self.head[stage](leaky(self.depth_norm(u)))
        return ops.matmul(out, ops.transpose(self.tagged(book, stage))) + self.bias[stage]

    def start(self, books: Sequence[np.ndarray], usage: Sequence[np.ndarray], rng: Any) -> None:
        """Begin at the order-0 statistics, and with vectors that hold y_hat. In place.

        One half of a position's vector is a linear map of the sum of its codes, the same for all stages, strong
        coordinates louder; the other half tells the stages apart, each about as loud as the next.

        Args:
          books: [K, code] per stage.
          usage: per stage [K], how often each code is used.
          rng:   draws the maps.
        """
        half = self.cfg.dim // 2
        size = books[0].shape[1]
        shares = [(n + 1e-3 * n.mean() + 1e-9) / n.sum() for n in usage]
        deviation = np.sqrt(
            sum(p @ np.square(b - p @ b) for b, p in zip(books, shares, strict=True)) + 1e-9
        )
        common = rng.normal(0, 1, (size, half))
        if half >= size:
            common = np.linalg.svd(common, full_matrices=False)[2]
        common = common / np.sqrt(deviation)[:, None]
        common *= np.sqrt(half / np.square(deviation[:, None] * common).sum())
        for s, book in enumerate(books):
            loud = float(np.sqrt(np.mean(np.square(book)))) + 1e-6
            own = rng.normal(0, 0.5 / (loud * np.sqrt(size)), (size, self.cfg.dim - half))
            used = np.abs(book).max(0) > 0
            kernel = np.concatenate([common, own], 1) * used[:, None]
            tags = np.zeros((self.cfg.tags, self.cfg.dim))
            self.token[s].kernel.assign(np.concatenate([kernel, tags]).astype(np.float32))
            head = self.head[s].kernel
            first = head.numpy()
            first[:, :size] *= used / loud
            head.assign(first)
        if self.cfg.tags:
            self.tag.assign(_first_tags(books, self.cfg.tags, rng))
        self.bias.assign(np.log(np.stack(shares)).astype(np.float32))


def _first_tags(books: Sequence[np.ndarray], count: int, rng: Any) -> np.ndarray:
    """Tags to begin with: whether a code is zero, how long it is, and noise. [S, K, count] float32."""
    found = rng.normal(0, 0.1, (len(books), len(books[0]), count))
    for tag, book in zip(found, books, strict=True):
        length = np.square(book).sum(1)
        known = np.stack([length == 0, length / (length.mean() + 1e-9)], 1)[:, :count]
        tag[:, : known.shape[1]] = known
    return found.astype(np.float32)
