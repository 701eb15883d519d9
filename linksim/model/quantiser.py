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
EARLIER = 0.5  # of the rank a stage earlier: of 0, 0.5 and 1 the best LPIPS at equal bits on validation faces
CHUNK = 64  # values of which the greatest is looked at first
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
        self.within, self.span = None, (0, dim) if band is None else tuple(band)
        if self.span != (0, dim):
            inside = (np.arange(dim) >= self.span[0]) & (np.arange(dim) < self.span[1])
            self.within = inside.astype("f")
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
            distance = distance + self.lagrange * self.bits()
        return ops.argmin(distance, -1)

    def inside(self, z):
        """z without what is not quantised."""
        return z if self.within is None else z * self.within

    def lookup(self, index):
        """[...] int -> [..., d]."""
        return ops.take(self.codebook, index, axis=0)

    def bits(self):
        """What each code costs at its frequency [bits], [K]."""
        share = self.usage / ops.sum(self.usage)
        return -ops.log(share + 1e-9) / float(np.log(2.0))

    def call(self, z, index=None):
        """z [..., d] -> its code with the gradient of z, and its index. Args: index: [...], where it is known."""
        z = self.inside(z)
        index = self.indices(ops.stop_gradient(z)) if index is None else index
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


def greatest(x, count: int):
    """The greatest values of each row and where they are: ``top_k`` after a look at the greatest of each chunk.

    Args:    x [P,n]; count: in 1..n.
    Returns: [P,count], falling; [P,count] int32.
    """
    size = x.shape[-1]
    if size % CHUNK or size // CHUNK <= count:
        return ops.top_k(x, count)
    chunks = ops.reshape(x, (-1, size // CHUNK, CHUNK))
    _, held = ops.top_k(ops.max(chunks, -1), count)  # none of the greatest is in another chunk
    some = ops.reshape(picked(chunks, held), (-1, count * CHUNK))
    found, place = ops.top_k(some, count)
    return found, picked(held, place // CHUNK) * CHUNK + place % CHUNK


def picked(x, which):
    """Of each row its entries ``which``, in one flat lookup (with ``take_along_axis`` a search takes twice as long).

    Args: x [P,n,...]; which [P,m] int. Returns: [P,m,...].
    """
    first = ops.arange(ops.shape(x)[0], dtype=which.dtype) * x.shape[1]
    flat = ops.reshape(x, (-1, *x.shape[2:]))
    return ops.take(flat, first[:, None] + which, axis=0)


class ResidualQuantiser(keras.layers.Layer):
    """A cascade of codebooks, each coding what those before it left over.

    A stage of stride 2 codes blocks of 2 x 2 positions through a learned linear map onto d coefficients and back.

    Where codes are chosen stage by stage, each is the best for its stage alone. ``search`` keeps several choices alive.

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

    def search(self, y, survivors: int):
        """The codes of a tree search (M-algorithm): after each stage so many choices go on, and the best one wins.

        Choices are ranked by squared error + lambda * bits of all their codes, lambda that of the stage, plus half of
        what they were ranked by a stage earlier: what is left over after few stages is a picture too.

        Args:    y [B,h,w,d]; survivors >= 1. Every stride must be 1.
        Returns: per stage [B,h,w] int32.
        Source:  LeBlanc et al. (1993), Efficient search and design procedures for robust multi-stage VQ.
        """
        assert set(self.strides) == {1}
        grid = ops.shape(y)[:3]
        left = ops.reshape(y, (-1, 1, y.shape[-1]))  # of each survivor
        bits = earlier = ops.zeros_like(left[..., 0])
        chosen: list[Any] = []
        alive = 1
        for s, quantiser in enumerate(self.stages):
            book, last = quantiser.codebook, s == len(self.stages) - 1
            spent = ops.sum(ops.square(left), -1) + quantiser.lagrange * bits + earlier
            added = ops.sum(ops.square(book), -1) + quantiser.lagrange * quantiser.bits()
            a, b = quantiser.span
            gain = ops.matmul(left[..., a:b], 2.0 * ops.transpose(book[:, a:b])) - added
            gain = ops.reshape(gain - spent[..., None], (-1, alive * quantiser.size))
            alive = 1 if last else min(survivors, alive * quantiser.size)
            gain, which = greatest(gain, alive)
            before, code = which // quantiser.size, which % quantiser.size
            chosen = [picked(c, before) for c in chosen] + [code]
            left = picked(left, before) - quantiser.lookup(code)
            bits = picked(bits, before) + ops.take(quantiser.bits(), code)
            earlier = -EARLIER * gain
        return [ops.reshape(ops.cast(c[:, 0], "int32"), grid) for c in chosen]

    def call(self, y, survivors: int = 1):
        """Quantise.

        Args:    y [B,h,w,d]; survivors: of ``search``, 1: stage by stage.
        Returns: parts, per stage [B,h,w,d], whose sum is y_hat (with gradients); inputs and codes, per stage
                 [B,h_s,w_s,d], what was quantised and to what; indices, per stage [B,h_s,w_s] int32.
        """
        parts, inputs, codes, indices = [], [], [], []
        found = self.search(ops.stop_gradient(y), survivors) if survivors > 1 else None
        residual = y
        for s, quantiser in enumerate(self.stages):
            z = self.project(residual, s)
            code, index = quantiser(z, index=None if found is None else found[s])
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
