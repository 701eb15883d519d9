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
    """Es/N0 [N], dB, and ln(1 - I / Qm) there, strictly falling. Both axes of the QAM are alike, so one is enough."""
    from linksim.phy.fast.mapper import axis_levels

    half = num_bits_per_symbol // 2
    levels = axis_levels(half).astype(np.float64)
    bits = (np.arange(len(levels))[:, None] >> np.arange(half)[::-1]) & 1  # [M, half]
    nodes, weights = np.polynomial.hermite.hermgauss(96)
    snr_db = np.arange(-30.0, 50.0, _STEP_DB)
    missing = np.empty(len(snr_db))
    for i, n0 in enumerate(10 ** (-snr_db / 10)):
        y = levels[:, None] + np.sqrt(n0) * nodes  # noise of n0/2 on the axis; [M, K]
        metric = -((y[..., None] - levels) ** 2) / n0  # [M, K, M]
        metric -= metric.max(axis=-1, keepdims=True)
        likelihood = np.exp(metric)
        lost = 0.0
        for b in range(half):
            same = bits[:, b][:, None] == bits[:, b]  # [M, M]
            other = (likelihood * ~same[:, None]).sum(-1)
            right = np.maximum((likelihood * same[:, None]).sum(-1), 1e-300)
            lost += float((np.log2(1 + other / right) @ weights).mean()) / np.sqrt(np.pi)
        missing[i] = lost / half
    last = int(np.argmax(missing < _LEAST)) or len(missing)
    return snr_db[:last], np.minimum.accumulate(np.log(missing[:last]))


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
