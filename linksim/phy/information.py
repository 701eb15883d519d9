"""Mutual information between a coded bit and its LLR, for Gray QAM with bit-interleaved coding on AWGN.

The bits of a QAM symbol are not alike: of the Qm / 2 bits of an axis the first is the strongest. Level l of a symbol's
bit j is j // 2 (3GPP TS 38.211, clause 5.1). Source: Caire, Taricco & Biglieri, "Bit-interleaved coded modulation"
(1998).
"""

from __future__ import annotations

from functools import cache

import numpy as np

_LOW_DB, _HIGH_DB, _STEP_DB = -60.0, 50.0, 0.1
_NODES = 64  # of the Gauss-Hermite quadrature


@cache
def _table(num_bits_per_symbol: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Es/N0 [N] dB, mutual information of each level [Qm / 2, N], and its mean [N], all rising."""
    per_axis = num_bits_per_symbol // 2
    levels = 1 << per_axis
    index = np.arange(levels)
    labels = index ^ (index >> 1)  # Gray
    bits = (
        labels[:, None] >> np.arange(per_axis)[::-1]
    ) & 1  # [levels, per_axis], the strongest first
    amplitude = 2.0 * index - (levels - 1)
    amplitude /= np.sqrt(2 * (amplitude**2).mean())  # an axis has half the power
    nodes, weights = np.polynomial.hermite.hermgauss(_NODES)
    snr = np.arange(_LOW_DB, _HIGH_DB + _STEP_DB / 2, _STEP_DB)
    found = np.empty((per_axis, len(snr)))
    for i, db in enumerate(snr):
        # The noise of an axis is sqrt(n0 / 2) times normal: exp(-(d + w)^2 / n0), and w / sqrt(n0) are the nodes.
        distance = (amplitude[:, None] - amplitude[None, :]) * np.sqrt(10 ** (db / 10))
        metric = -((distance[:, :, None] + nodes) ** 2)  # [sent, other, node]
        likely = np.exp(metric - metric.max(axis=1, keepdims=True))
        every = likely.sum(axis=1)  # [sent, node]
        for j in range(per_axis):
            same = bits[:, None, j] == bits[None, :, j]
            own = np.einsum("son,so->sn", likely, same)
            found[j, i] = 1 - float((np.log2(every / own) @ weights).mean() / np.sqrt(np.pi))
    found = np.maximum.accumulate(np.clip(found, 0.0, 1.0), axis=1)
    return snr, found, found.mean(axis=0)


def of_bit(snr_db: np.ndarray, num_bits_per_symbol: int, level: int | None = None) -> np.ndarray:
    """Mutual information of a coded bit [bits]: of one level, or the mean of all.

    Args:    snr_db [...], Es/N0, dB; num_bits_per_symbol: Qm = 2, 4, 6 or 8.
    Returns: [...] float64 in [0, 1].
    """
    grid, of_level, mean = _table(num_bits_per_symbol)
    return np.interp(
        np.asarray(snr_db, np.float64), grid, mean if level is None else of_level[level]
    )


def snr_db(information: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """The inverse of :func:`of_bit` for the mean: Es/N0 [dB]. Args and returns: [...] float64; -60..50 dB."""
    grid, _, mean = _table(num_bits_per_symbol)
    rising = np.concatenate([[True], np.diff(mean) > 1e-15])
    return np.interp(np.asarray(information, np.float64), mean[rising], grid[rising])
