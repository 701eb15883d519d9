"""Gray-mapped QAM, 3GPP TS 38.211, clauses 5.1.3 to 5.1.6."""

from __future__ import annotations

from functools import cache

import numpy as np


@cache
def axis_levels(bits_per_axis: int) -> np.ndarray:
    """Amplitude of each label on one axis, for unit mean power over both.

    The first bit is the sign (0: positive), each further one halves the magnitude's range:
    4-PAM (1 - 2 b0) (2 - (1 - 2 b1)), 8-PAM (1 - 2 b0) (4 - (1 - 2 b1) (2 - (1 - 2 b2))), and so on.

    Returns: [2^bits_per_axis] float32, indexed by b0 b1 .. with b0 the most significant.
    """
    labels = np.arange(1 << bits_per_axis)
    magnitude = np.ones(len(labels))
    for i in range(bits_per_axis - 1, 0, -1):
        bit = (labels >> (bits_per_axis - 1 - i)) & 1
        magnitude = (1 << (bits_per_axis - i)) - (1 - 2 * bit) * magnitude
    level = (1 - 2 * (labels >> (bits_per_axis - 1))) * magnitude
    return (level / np.sqrt(2 * np.mean(level**2))).astype(np.float32)


def map_bits(bits: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """Map coded bits to symbols; even bits choose the real axis, odd ones the imaginary.

    Args:    bits [B, G] uint8, G a multiple of Qm.
    Returns: [B, G / Qm] complex64, unit mean power over equally likely bits.
    """
    half = num_bits_per_symbol // 2
    levels = axis_levels(half)
    groups = bits.reshape(*bits.shape[:-1], -1, half, 2)
    weights = (1 << np.arange(half - 1, -1, -1)).astype(np.int64)
    index = np.einsum("...kj,k->...j", groups.astype(np.int64), weights)
    axes = levels[index]
    return np.ascontiguousarray(axes).view(np.complex64)[..., 0]
