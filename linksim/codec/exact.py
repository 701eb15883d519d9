"""Transformers in exact arithmetic: what encoder and decoder cannot see differently.

All values are integers held in float64, kept small enough (below 2^53) that every sum is exact whatever its order, so
that batch size, thread count, BLAS and machine make no difference; what is not a sum is a single IEEE operation
(product, quotient, square root, floor) on one element, which is the same everywhere. exp comes from a table.

Formats: activations 2^-10, weights 2^-14, square roots and quotients rounded to 2^-10.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

FRACTION = 10  # bits of activations
WEIGHT_FRACTION = 14
LIMIT = 2.0**21  # of activations: 2048 in their unit
WEIGHT_LIMIT = 2.0**20  # of weights: 64
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
    small = x * 0.125
    small += 0.5
    return np.maximum(x, np.floor(small, out=small), out=small)


def linear(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | float = 0.0,
    fraction: int = WEIGHT_FRACTION,
) -> np.ndarray:
    """x [..., n] @ kernel [n, m] with so many bits of fraction more than the result, + bias 2^-10."""
    # one product of matrices, not one for each of the leading axes
    total = x.reshape(-1, x.shape[-1]) @ kernel
    total *= 2.0**-fraction
    total += 0.5
    np.floor(total, out=total)
    total += bias
    np.clip(total, -LIMIT, LIMIT, out=total)
    return total.reshape(*x.shape[:-1], kernel.shape[1])


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


def matrix(x: np.ndarray) -> np.ndarray:
    """A kernel as integers 2^-14."""
    return np.clip(to_fixed(x, WEIGHT_FRACTION), -WEIGHT_LIMIT, WEIGHT_LIMIT)


def scores(product: np.ndarray, head_dim: int) -> np.ndarray:
    """Attention scores 2^-10 of products of queries and keys (2^-20)."""
    return np.floor(product * (2.0**-FRACTION / math.sqrt(head_dim)) + 0.5)


def mix(score: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Softmax of score [..., n, T] times value [..., T, d], rounded to 2^-10."""
    weight = exponential(score)
    return np.floor((weight @ value) / weight.sum(-1, keepdims=True) + 0.5)


class Weights:
    """The weights of one part of a network as integers, made as they are asked for.

    Args: arrays: by path. part: what the paths begin with.
    """

    def __init__(self, arrays: Mapping[str, np.ndarray], part: str) -> None:
        self.arrays, self.part = arrays, part
        self._made: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        """A matrix ("...kernel", 2^-14) or, of another kind, a vector or table (2^-10)."""
        if name not in self._made:
            value = self.arrays[self.part + name]
            kernel = name.endswith("/kernel")
            self._made[name] = matrix(value) if kernel else clip(to_fixed(value, FRACTION))
        return self._made[name]

    def norm(self, x: np.ndarray, name: str) -> np.ndarray:
        """Root-mean-square norm with a gain (``index_prior.Norm``)."""
        square = (
            np.einsum("...c,...c->...", x, x)[..., None] / x.shape[-1]
        )  # an exact sum, one division
        found = x / np.sqrt(square + 1.0)
        found *= self[f"{name}/gain"]
        found += 0.5
        np.floor(found, out=found)
        return np.clip(found, -LIMIT, LIMIT, out=found)

    def layer(self, x: np.ndarray, name: str) -> np.ndarray:
        """``index_prior.Linear``."""
        return linear(x, self[f"{name}/kernel"], self[f"{name}/bias"])


def rest_of_block(weights: Weights, x: np.ndarray, mixed: np.ndarray, name: str) -> np.ndarray:
    """What a block (``index_prior.Block``) does after its attention."""
    x = clip(x + weights.layer(mixed, f"{name}.out"))
    hidden = leaky(weights.layer(weights.norm(x, f"{name}.norm1"), f"{name}.up"))
    return clip(x + weights.layer(hidden, f"{name}.down"))
