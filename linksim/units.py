"""Units: the one place where decibels, noise powers and budgets are converted.

Conventions (held by tests/test_units.py):
  - SNR is Es/N0 per complex channel use at the receiver, averaged over fading, with E|x|^2 = E|h|^2 = 1.
  - ``n0`` is the noise power per complex symbol: half of it falls on each real dimension.
  - ``cbr`` is complex channel uses per source sample, H*W*3 samples an image, unpadded.
  - ``bpp`` is payload bits, headers included, per pixel (H*W).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

SAMPLES_PER_PIXEL = 3


def db_to_linear(db: ArrayLike) -> np.ndarray:
    """10^(db/10). Args: db [...], dB. Returns: [...] float64, linear power ratio."""
    return np.power(10.0, np.asarray(db, np.float64) / 10.0)


def linear_to_db(linear: ArrayLike) -> np.ndarray:
    """10 log10(linear). Args: linear [...], >= 0. Returns: [...] float64, dB; -inf at 0."""
    with np.errstate(divide="ignore"):
        return 10.0 * np.log10(np.asarray(linear, np.float64))


def n0_from_es_n0_db(es_n0_db: float) -> float:
    """Noise power per complex symbol at E|x|^2 = 1.

    Args:    es_n0_db: dB; +inf stands for a channel without noise.
    Returns: n0, linear (0.0 for +inf).
    Raises:  ValueError: if es_n0_db is NaN or -inf.
    """
    if math.isnan(es_n0_db) or es_n0_db == -math.inf:
        raise ValueError(f"es_n0_db must be a number above -inf, got {es_n0_db}")
    return float(db_to_linear(-es_n0_db)) if es_n0_db != math.inf else 0.0


def eb_n0_db_from_es_n0_db(es_n0_db: float, bits_per_use: float) -> float:
    """Eb/N0 [dB] at ``bits_per_use`` information bits per complex channel use."""
    return es_n0_db - 10.0 * math.log10(bits_per_use)


def channel_uses(cbr: float, height: int, width: int) -> int:
    """Whole complex channel uses that a bandwidth ratio gives an image; never more than cbr asks for.

    A tolerance of 1e-9 of a use absorbs rounding, so that cbr = 1/24 at 128x128 is exactly 2048.
    """
    if not cbr > 0 or not math.isfinite(cbr):
        raise ValueError(f"cbr must be a positive number, got {cbr}")
    return math.floor(cbr * height * width * SAMPLES_PER_PIXEL + 1e-9)


def payload_bits(bpp: float, height: int, width: int) -> int:
    """Whole bytes, in bits, that ``bpp`` gives an image on a packet link (headers included)."""
    if not bpp > 0 or not math.isfinite(bpp):
        raise ValueError(f"bpp must be a positive number, got {bpp}")
    return 8 * math.floor((bpp * height * width + 1e-9) / 8)
