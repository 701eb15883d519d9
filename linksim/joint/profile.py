"""How a frame's channel symbols are dealt to the embeddings of a picture.

An image's profile is a whole number per embedding, its rate against the picture's mean in steps of 1/2 octave:
level l means weight 2^(l/2). Both ends turn levels and the frame's length into symbols by the same integer arithmetic,
so that a frame is filled exactly and only the levels need to be told. All levels zero is the uniform profile, which
needs no telling.

Source: Dai et al. (2022), Sec. III: k_i = Q(eta * -log2 P(y_i | z)); eta is what makes the sum fit.
"""

# deviates: the paper quantises k_i itself to 16 values; quantising the ratio to the mean serves every budget.

from __future__ import annotations

import numpy as np

LEVEL_MAX = 4  # levels are -4..4: a quarter to four times the mean
MIN_K = 4  # complex symbols that an embedding gets at least
_WEIGHTS = np.rint(2.0 ** (np.arange(-LEVEL_MAX, LEVEL_MAX + 1) / 2) * (1 << 12)).astype(np.int64)
_ONE = 1 << 20  # fixed point of the scale


def levels_of(bits: np.ndarray) -> np.ndarray:
    """Profile of estimated rates.

    Args:    bits [..., h, w], -log2 P of each embedding.
    Returns: [..., h, w] int64 in -LEVEL_MAX..LEVEL_MAX.
    """
    bits = np.maximum(np.asarray(bits, np.float64), 1e-3)
    ratio = np.log2(bits / bits.mean((-2, -1), keepdims=True))
    return np.clip(np.rint(2 * ratio), -LEVEL_MAX, LEVEL_MAX).astype(np.int64)


def capacity(embeddings: int, max_k: int) -> int:
    """Complex symbols that a frame can use at most."""
    return embeddings * max_k


def allocate(levels: np.ndarray, total: int, max_k: int) -> np.ndarray:
    """Deal exactly min(total, capacity) complex symbols.

    Args:    levels [N] int, in raster order; total: of the frame, at least MIN_K each; max_k: of an embedding at most.
    Returns: [N] int64, MIN_K..max_k, adding up.
    Raises:  ValueError: if total is too small.
    """
    count = len(levels)
    if total < MIN_K * count:
        raise ValueError(f"{count} embeddings need at least {MIN_K * count} symbols, got {total}")
    total = min(total, capacity(count, max_k))
    weight = _WEIGHTS[np.asarray(levels, np.int64) + LEVEL_MAX]

    def dealt(scale: int) -> np.ndarray:
        return np.clip(weight * scale // _ONE, MIN_K, max_k)

    low, high = (
        0,
        (max_k + 1) * _ONE // int(_WEIGHTS[0]) + 1,
    )  # dealt(low) <= total < or = dealt(high)
    while high - low > 1:
        middle = (low + high) // 2
        if int(dealt(middle).sum()) <= total:
            low = middle
        else:
            high = middle
    k = dealt(low)
    rest = total - int(k.sum())
    if rest:
        # one more each, to those with the largest remainder; ties in raster order
        remainder = np.where(k < max_k, weight * low - k * _ONE, -(1 << 62))
        k[np.argsort(-remainder, kind="stable")[:rest]] += 1
    return k
