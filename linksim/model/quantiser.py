"""Vectors <-> indices: a codebook learned by moving averages, its residual cascade, and finite scalar quantisation.

::

    z --> nearest code --> index --> code e --> z_q = z + sg(e - z)

A codebook is state, not a weight: no gradient reaches it. ``updates`` says what it becomes after a step, and the
training loop stores that (``linksim.train.steppers``).

With a Lagrange multiplier the code is not the nearest but that of the least squared error + lambda * bits, bits being
those of the code's frequency. A code that is zero (``rest``) then adds nothing where that would not pay.

Source: van den Oord et al. (2017), VQ-VAE, and its appendix A.1 for the moving averages; Lee et al. (2022), residual
quantisation; Chou, Lookabaugh & Gray (1989), entropy-constrained vector quantisation; Mentzer et al. (2024), finite
scalar quantisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from linksim.model.layers import depth_to_space, space_to_depth

DECAY = 0.99  # of the moving averages
RARE = 0.03  # share of the mean use below which a code is dead and starts anew from an input


class VectorQuantiser(keras.layers.Layer):
    """Nearest code of a codebook that follows its inputs.

    Args:
      name: full dotted name.
      size: K, codes.
      dim:  d.
      band: first coordinate that is quantised and the one after the last; the codes are zero elsewhere. None: all.
      lagrange: squared error that a bit is worth; 0: the nearest code.
      rest: the first code is zero.
    """

    def __init__(
        self,
        name: str,
        size: int,
        dim: int,
        band: tuple[int, int] | None = None,
        lagrange: float = 0.0,
        rest: bool = False,
    ) -> None:
        super().__init__(name=name)
        self.size, self.lagrange, self.rest = size, lagrange, rest
        self.within = None
        if band is not None and tuple(band) != (0, dim):
            self.within = ((np.arange(dim) >= band[0]) & (np.arange(dim) < band[1])).astype("f")
        self.codebook = self.add_weight(
            shape=(size, dim), initializer="random_normal", trainable=False, name="codebook"
        )
        self.usage = self.add_weight(
            shape=(size,), initializer="ones", trainable=False, name="usage"
        )

    def indices(self, z):
        """[..., d] -> [...] int32, the nearest (or cheapest) code; the lowest index among equals."""
        distance = ops.sum(ops.square(self.codebook), -1) - 2.0 * ops.matmul(
            z, ops.transpose(self.codebook)
        )
        if self.lagrange:
            share = self.usage / ops.sum(self.usage)
            distance = distance - self.lagrange / float(np.log(2.0)) * ops.log(share + 1e-9)
        return ops.argmin(distance, -1)

    def inside(self, z):
        """z without what is not quantised."""
        return z if self.within is None else z * self.within

    def lookup(self, index):
        """[...] int -> [..., d]."""
        return ops.take(self.codebook, index, axis=0)

    def call(self, z):
        """z [..., d] -> its code with the gradient of z, and its index."""
        z = self.inside(z)
        index = self.indices(ops.stop_gradient(z))
        return z + ops.stop_gradient(self.lookup(index) - z), index

    def updates(self, z, index, revive, counted=None) -> dict[str, Any]:
        """The state after a step: moving averages of uses and inputs, dead codes replaced by inputs.

        Args:    z [B,...,d]; index [B,...] of ``call``; revive [K] int32, the inputs (flattened) to revive codes with;
                 counted [B], 1 for what the codebook follows, else 0 (without: all).
        Returns: variable path -> new value.
        """
        flat = ops.stop_gradient(ops.reshape(self.inside(z), (-1, z.shape[-1])))
        chosen = ops.one_hot(ops.reshape(index, (-1,)), self.size, dtype="float32")
        if counted is not None:
            ones = ops.ones_like(index, dtype="float32")
            weight = ones * ops.reshape(counted, (-1, *[1] * (len(index.shape) - 1)))
            chosen = chosen * ops.reshape(weight, (-1, 1))
        count = ops.sum(chosen, 0)
        total = ops.matmul(ops.transpose(chosen), flat)
        usage = DECAY * self.usage + (1.0 - DECAY) * count
        weight = ops.expand_dims(ops.maximum(usage, 1e-6), -1)
        moved = (
            DECAY * self.codebook * ops.expand_dims(self.usage, -1) + (1.0 - DECAY) * total
        ) / weight
        mean = ops.sum(usage) / self.size
        dead = usage < RARE * mean
        if self.rest:
            first = np.arange(self.size) == 0
            dead = ops.logical_and(dead, ~first)
            moved = moved * (~first)[:, None].astype("f")
        fresh = ops.take(flat, ops.mod(revive, ops.shape(flat)[0]), axis=0)
        book = ops.where(ops.expand_dims(dead, -1), fresh, moved)
        return {
            self.codebook.path: book,
            self.usage.path: ops.where(dead, mean, usage),
        }


class ResidualQuantiser(keras.layers.Layer):
    """A cascade of codebooks, each coding what those before it left over.

    A stage of stride 2 codes blocks of 2 x 2 positions through a learned linear map onto d coefficients and back.

    Args:
      name:    full dotted name.
      dim:     d, of the latent and of every code.
      sizes:   K of each stage.
      strides: 1 or 2 of each stage, against the latent's grid.
      bands:   coordinates that each stage quantises; empty: all.
      lagrange: squared error that a bit is worth in each stage; empty: 0. The stages after the first then have a zero
               code.
    """

    def __init__(
        self,
        name: str,
        dim: int,
        sizes: Sequence[int],
        strides: Sequence[int],
        bands: Sequence[tuple[int, int]] = (),
        lagrange: Sequence[float] = (),
    ) -> None:
        super().__init__(name=name)
        self.strides = tuple(strides)
        worth = tuple(lagrange) or (0.0,) * len(sizes)
        self.stages = [
            VectorQuantiser(
                f"{name}.stage{i}",
                k,
                dim,
                bands[i] if bands else None,
                worth[i],
                rest=i > 0 and worth[i] > 0,
            )
            for i, k in enumerate(sizes)
        ]
        self.down: list[Any] = []
        self.up: list[Any] = []
        for i, stride in enumerate(self.strides):
            pair = stride == 2
            size = 4 * dim
            self.down.append(self._matrix(f"down{i}", (size, dim)) if pair else None)
            self.up.append(self._matrix(f"up{i}", (dim, size)) if pair else None)
            if pair:
                self.up[i].assign(ops.transpose(self.down[i]))
        self.built = True

    def _matrix(self, name: str, shape: tuple[int, int]):
        return self.add_weight(shape=shape, initializer=keras.initializers.Orthogonal(), name=name)

    def project(self, residual, stage: int):
        """What a stage quantises. [B,h,w,d] -> [B,h/stride,w/stride,d]."""
        if self.strides[stage] == 1:
            return residual
        return ops.matmul(space_to_depth(residual, 2), self.down[stage])

    def expand(self, code, stage: int):
        """What a stage's codes stand for on the latent's grid; undoes ``project``."""
        if self.strides[stage] == 1:
            return code
        return depth_to_space(ops.matmul(code, self.up[stage]), 2)

    def call(self, y):
        """Quantise.

        Args:    y [B,h,w,d].
        Returns: parts, per stage [B,h,w,d], whose sum is y_hat (with gradients); inputs and codes, per stage
                 [B,h_s,w_s,d], what was quantised and to what; indices, per stage [B,h_s,w_s] int32.
        """
        parts, inputs, codes, indices = [], [], [], []
        residual = y
        for s, quantiser in enumerate(self.stages):
            z = self.project(residual, s)
            code, index = quantiser(z)
            part = self.expand(code, s)
            residual = residual - part
            parts.append(part)
            inputs.append(z)
            codes.append(quantiser.lookup(index))
            indices.append(index)
        return parts, inputs, codes, indices

    def updates(self, inputs, indices, revive, counted=None) -> dict[str, Any]:
        """The state of all codebooks after a step.

        Args: inputs, indices of ``call``; revive [stages, K_max] int32; counted: see ``VectorQuantiser.updates``.
        """
        merged: dict[str, Any] = {}
        for s, quantiser in enumerate(self.stages):
            merged |= quantiser.updates(inputs[s], indices[s], revive[s, : quantiser.size], counted)
        return merged


class FiniteScalarQuantiser(keras.layers.Layer):
    """Each coordinate bounded and rounded to a few levels: a codebook that needs no learning.

    Args:
      name:   full dotted name.
      levels: L_i >= 2 of each coordinate; the codebook has prod(L_i) codes.
    """

    def __init__(self, name: str, levels: Sequence[int]) -> None:
        super().__init__(name=name)
        if not levels or min(levels) < 2:
            raise ValueError(f"levels must each be at least 2, got {list(levels)}")
        self.levels = tuple(int(v) for v in levels)
        self.size = 1
        self.basis: list[int] = []
        for level in self.levels:
            self.basis.append(self.size)
            self.size *= level

    def _grid(self, z):
        # tanh to (0, L - 1), so that rounding gives L levels, the outer ones half as wide in z
        top = ops.convert_to_tensor([level - 1.0 for level in self.levels], "float32")
        return 0.5 * (ops.tanh(z) + 1.0) * top, top

    def call(self, z):
        """z [..., n] -> its rounded value in -1..1 with the gradient of the bounded one, and the index [...] int32."""
        inside, top = self._grid(z)
        rounded = inside + ops.stop_gradient(ops.round(inside) - inside)
        basis = ops.convert_to_tensor(self.basis, "int32")
        index = ops.sum(ops.cast(ops.round(inside), "int32") * basis, -1)
        return 2.0 * rounded / top - 1.0, index

    def lookup(self, index):
        """[...] int -> [..., n] in -1..1."""
        digits = [
            ops.mod(ops.floor_divide(index, step), level)
            for step, level in zip(self.basis, self.levels, strict=True)
        ]
        top = ops.convert_to_tensor([level - 1.0 for level in self.levels], "float32")
        return 2.0 * ops.cast(ops.stack(digits, -1), "float32") / top - 1.0
