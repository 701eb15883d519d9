"""Gray-mapped QAM, 3GPP TS 38.211, clauses 5.1.3 to 5.1.6."""

from __future__ import annotations

from functools import cache

import numpy as np

from linksim import cores
from linksim.phy.fast.simd import kernel


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


@kernel
def _map(bits, levels, half, out):
    """out [T, 2] from bits [T, 2 half]."""
    for t in range(len(out)):
        re, im = 0, 0
        for i in range(half):
            re = 2 * re + (bits[t, 2 * i] & 1)
            im = 2 * im + (bits[t, 2 * i + 1] & 1)
        out[t, 0] = levels[re]
        out[t, 1] = levels[im]


def map_bits(bits: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """Map coded bits to symbols; even bits choose the real axis, odd ones the imaginary.

    Args:    bits [B, G] uint8 of 0 and 1, G a multiple of Qm.
    Returns: [B, G / Qm] complex64, unit mean power over equally likely bits.
    """
    half = num_bits_per_symbol // 2
    groups = np.require(bits, np.uint8, ["C", "W"]).reshape(-1, num_bits_per_symbol)
    axes = np.empty((len(groups), 2), np.float32)
    levels = axis_levels(half)
    cores.over_rows(
        lambda start, stop: _map(groups[start:stop], levels, half, axes[start:stop]),
        len(groups),
        1 << 16,
    )
    return axes.view(np.complex64).reshape(*bits.shape[:-1], -1)
