"""A causal transformer over the indices of a residual quantiser: P(index | indices before it).

::

    stages before --> ctx --+
    neighbours' codes ------+--> x --> [ norm, causal attention, norm, MLP ] x L --> norm --> head --> logits [K]
    place, stage, mode -----+

A stage's indices follow each other in raster order. Each is predicted from all stages before it (as the sum of their
codes, through convolutions) and from what precedes it in its own stage (its four causal neighbours directly, all others
through attention with a bias by relative place).

Multiplications by constants, additions, leaky ReLU, root-mean-square norms and softmax, and nothing else: the codec
runs it in exact arithmetic (``linksim.codec.fixed_prior``), where encoder and decoder cannot disagree. Any network that
has indices on grids and code vectors for them can use it: the distributed system and packetised tokens alike.

# deviates: Whang et al. flatten one grid of indices; with residual stages that sequence would be 1,280 long for a
# stereo view, so attention stays within a stage and the stages before come in as features.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from linksim.model.index_grid import NEIGHBOURS, PriorConfig, buckets, relative_places
from linksim.model.layers import conv, leaky, space_to_depth

HIDDEN_FROM = -1e9  # score of what comes later
NORM_FLOOR = 2.0**-20  # added to a mean square: one unit of the fixed-point format's squares


def shifted(codes: Any) -> Any:
    """The codes of the four causal neighbours of every position, zeros outside. [B,h,w,d] -> [B,h,w,4d]."""
    height, width = codes.shape[1:3]
    padded = ops.pad(codes, ((0, 0), (1, 0), (1, 1), (0, 0)))
    return ops.concatenate(
        [padded[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width] for dy, dx in NEIGHBOURS], -1
    )


class Norm(keras.layers.Layer):
    """Root-mean-square norm with a gain per channel."""

    def __init__(self, name: str, channels: int) -> None:
        super().__init__(name=name)
        self.gain = self.add_weight(shape=(channels,), initializer="ones", name="gain")

    def call(self, x):
        """[..., C] -> [..., C]."""
        square = ops.mean(ops.square(x), -1, keepdims=True)
        return x * self.gain / ops.sqrt(square + NORM_FLOOR)


class Linear(keras.layers.Layer):
    """x @ kernel + bias, random weights of variance scale / fan-in (0: zeros)."""

    def __init__(self, name: str, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__(name=name)
        start = keras.initializers.VarianceScaling(scale, "fan_in") if scale else "zeros"
        self.kernel = self.add_weight(shape=(inputs, outputs), initializer=start, name="kernel")
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x):
        """[..., inputs] -> [..., outputs]."""
        return ops.matmul(x, self.kernel) + self.bias


class Block(keras.layers.Layer):
    """Causal attention and a two-layer perceptron, each behind a norm and added."""

    def __init__(self, name: str, cfg: PriorConfig) -> None:
        super().__init__(name=name)
        self.cfg = cfg
        self.norm0 = Norm(f"{name}.norm0", cfg.dim)
        self.qkv = Linear(f"{name}.qkv", cfg.dim, 3 * cfg.dim)
        entries = (cfg.reach_y + 1) * (2 * cfg.reach_x + 1)
        self.places = self.add_weight(
            shape=(entries, cfg.heads), initializer="zeros", name="places"
        )
        self.out = Linear(f"{name}.out", cfg.dim, cfg.dim, scale=0.1)
        self.norm1 = Norm(f"{name}.norm1", cfg.dim)
        self.up = Linear(f"{name}.up", cfg.dim, cfg.hidden)
        self.down = Linear(f"{name}.down", cfg.hidden, cfg.dim, scale=0.1)

    def call(self, x, relative):
        """x [B,T,dim]; relative [T,T] int (``relative_places``) -> [B,T,dim]."""
        cfg, count = self.cfg, x.shape[1]
        parts = ops.reshape(self.qkv(self.norm0(x)), (-1, count, 3, cfg.heads, cfg.head_dim))
        query, key, value = (ops.transpose(parts[:, :, i], (0, 2, 1, 3)) for i in range(3))
        score = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) * cfg.head_dim**-0.5
        score = score + ops.transpose(ops.take(self.places, relative, axis=0), (2, 0, 1))
        later = np.triu(np.full((count, count), HIDDEN_FROM, np.float32), 1)
        mixed = ops.matmul(ops.softmax(score + later, -1), value)
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, count, cfg.dim))
        x = x + self.out(mixed)
        return x + self.down(leaky(self.up(self.norm1(x))))


class IndexPrior(keras.layers.Layer):
    """The whole prior; ``parts`` of the network that it belongs to holds it under one name.

    Args: cfg: the architecture. name: full dotted name.
    """

    def __init__(self, cfg: PriorConfig, name: str = "prior") -> None:
        super().__init__(name=name)
        self.cfg = cfg
        start = keras.initializers.RandomNormal(stddev=0.1)

        def table(what: str, entries: int):
            return self.add_weight(shape=(entries, cfg.dim), initializer=start, name=what)

        self.mode = table("mode", cfg.modes)
        self.stage = table("stage", len(cfg.sizes))
        self.row = table("row", cfg.rows)
        self.column = table("column", cfg.columns)
        self.ctx: list[Any] = []
        self.mix: list[Any] = []
        self.near, self.head = [], []
        for s, size in enumerate(cfg.sizes):
            if s:
                self.ctx.append(conv(f"{name}.ctx{s}", cfg.context(s), cfg.dim, 3))
                self.mix.append(conv(f"{name}.mix{s}", cfg.dim, cfg.dim, 3))
            self.near.append(Linear(f"{name}.near{s}", 4 * cfg.code, cfg.dim))
            self.head.append(Linear(f"{name}.head{s}", cfg.dim, size, scale=0.0))
        self.blocks = [Block(f"{name}.block{i}", cfg) for i in range(cfg.layers)]
        self.norm = Norm(f"{name}.norm", cfg.dim)
        self.built = True

    def call(self, codes, before, mode, stage: int, first: int = 0, total: int = 0):
        """Logits of a stage's indices, each from what precedes it.

        Args:
          codes:  [B,h,w,code], the code vectors of the stage's own indices.
          before: [B,h*stride,w*stride,code], sum of the codes of the stages before on the latent's grid.
          mode:   [B] int32.
          stage:  which.
          first, total: the rows are ``first`` .. of ``total`` (0: these are all).
        Returns: [B,h,w,K].
        """
        cfg = self.cfg
        _, height, width, _ = codes.shape
        y, x = buckets(cfg, height, width, first, total or height)
        place = ops.take(self.row, y, axis=0)[:, None] + ops.take(self.column, x, axis=0)[None]
        kind = ops.take(self.mode, mode, axis=0)[:, None, None] + self.stage[stage]
        h = self.near[stage](shifted(codes)) + place + kind
        if stage:
            seen = space_to_depth(before, 2) if cfg.strides[stage] == 2 else before
            h = h + self.mix[stage - 1](leaky(self.ctx[stage - 1](seen)))
        h = ops.reshape(h, (-1, height * width, cfg.dim))
        relative = relative_places(cfg, height, width)
        for block in self.blocks:
            h = block(h, relative)
        logits = self.head[stage](self.norm(h))
        return ops.reshape(logits, (-1, height, width, cfg.sizes[stage]))

    def start_from_usage(self, usage: Sequence[np.ndarray]) -> None:
        """Begin at the order-0 statistics. Args: usage: per stage [K], how often each code is used."""
        for head, counts in zip(self.head, usage, strict=True):
            share = (counts + 1e-3 * counts.mean() + 1e-9) / counts.sum()
            head.bias.assign(np.log(share).astype(np.float32))


def bits_of(logits: Any, index: Any) -> Any:
    """-log2 P(index). Args: logits [..., K]; index [...] int. Returns: [...]."""
    log_p = ops.log_softmax(logits, -1)
    picked = ops.take_along_axis(log_p, ops.expand_dims(index, -1), axis=-1)
    return -ops.squeeze(picked, -1) / float(np.log(2.0))
