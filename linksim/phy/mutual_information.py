"""What a Gray-mapped QAM symbol tells a bit-wise demapper, and what symbols of different SNRs are worth together.

The bit-interleaved capacity of a symbol is the sum of its bits' mutual informations. A code that spreads over symbols
of different SNRs does as well as on AWGN with the same mean (mutual-information effective SNR, MIESM): the sum, unlike
a channel capacity, knows that a QPSK symbol tells 2 bits however strong it is.

Source: Caire, Taricco & Biglieri, "Bit-interleaved coded modulation", IEEE Trans. Inf. Theory 44(3), 1998; Brueninghaus
        et al., "Link performance models for system level simulations of broadband radio access systems", PIMRC 2005.
"""

from __future__ import annotations

from functools import cache

import numpy as np

_STEP_DB = 0.25
_LEAST = 1e-12  # of what is missing from Qm bits: beyond it a symbol tells everything


@cache
def _missing(num_bits_per_symbol: int) -> tuple[np.ndarray, np.ndarray]:
    """Es/N0 [N], dB, and ln(1 - I / Qm) there, strictly falling."""
    snr_db, of_level = _missing_of_levels(num_bits_per_symbol)
    missing = of_level.mean(axis=0)
    last = int(np.argmax(missing < _LEAST)) or len(missing)
    return snr_db[:last], np.minimum.accumulate(np.log(missing[:last]))


@cache
def _missing_of_levels(num_bits_per_symbol: int) -> tuple[np.ndarray, np.ndarray]:
    """Es/N0 [N], dB, and 1 - I [Qm / 2, N] of an axis' bits, the first the strongest. Both axes are alike."""
    from linksim.phy.fast.mapper import axis_levels

    half = num_bits_per_symbol // 2
    levels = axis_levels(half).astype(np.float64)
    bits = (np.arange(len(levels))[:, None] >> np.arange(half)[::-1]) & 1  # [M, half]
    nodes, weights = np.polynomial.hermite.hermgauss(96)
    snr_db = np.arange(-30.0, 50.0, _STEP_DB)
    missing = np.empty((half, len(snr_db)))
    for i, n0 in enumerate(10 ** (-snr_db / 10)):
        y = levels[:, None] + np.sqrt(n0) * nodes  # noise of n0/2 on the axis; [M, K]
        metric = -((y[..., None] - levels) ** 2) / n0  # [M, K, M]
        metric -= metric.max(axis=-1, keepdims=True)
        likelihood = np.exp(metric)
        for b in range(half):
            same = bits[:, b][:, None] == bits[:, b]  # [M, M]
            other = (likelihood * ~same[:, None]).sum(-1)
            right = np.maximum((likelihood * same[:, None]).sum(-1), 1e-300)
            missing[b, i] = (np.log2(1 + other / right) @ weights).mean() / np.sqrt(np.pi)
    return snr_db, np.minimum.accumulate(missing, axis=1)


def information(snr: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """Bit-interleaved mutual information of a symbol.

    Args:    snr [...], linear Es/N0.
    Returns: [...] float64, bits, 0..Qm.
    """
    grid, log_missing = _missing(num_bits_per_symbol)
    db = 10 * np.log10(np.maximum(snr, 1e-30))
    told = -num_bits_per_symbol * np.expm1(np.interp(db, grid, log_missing))
    return told * np.minimum(10 ** ((db - grid[0]) / 10), 1)  # proportional to snr below the table


def effective_snr_db(snr: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """Es/N0 of the AWGN channel whose symbols tell as much as these do on average.

    Args:    snr [..., S], linear Es/N0 of the symbols of a block.
    Returns: [...] float64, dB, between -30 and where nothing is missing from Qm bits.
    """
    grid, log_missing = _missing(num_bits_per_symbol)
    db = 10 * np.log10(np.maximum(snr, 1e-30))
    missing = np.exp(np.interp(db, grid, log_missing)).mean(axis=-1)
    return np.interp(-np.log(np.maximum(missing, _LEAST)), -log_missing, grid)


def missing_of_bit(snr_db: np.ndarray, num_bits_per_symbol: int, level: int) -> np.ndarray:
    """What a bit's LLR leaves unknown, 1 - I, on one level of an axis.

    Args:    snr_db [...], Es/N0, dB, seen as at least -30; level: 0 (the strongest) .. Qm / 2 - 1. Bit j of a symbol is
             on level j // 2 (3GPP TS 38.211, clause 5.1).
    Returns: [...] float64 in (0, 1].
    """
    grid, missing = _missing_of_levels(num_bits_per_symbol)
    log_missing = np.log(np.maximum(missing[level], _LEAST))
    return np.exp(np.interp(np.asarray(snr_db, np.float64), grid, log_missing))


def qpsk_snr_db(missing: np.ndarray) -> np.ndarray:
    """Es/N0 of QPSK whose bits leave as much unknown. Args: missing [...]. Returns: [...] float64, dB, at least -30."""
    grid, log_missing = _missing(2)
    return np.interp(-np.log(np.maximum(missing, _LEAST)), -log_missing, grid)
