"""Uncoded bit error rates against closed forms, with enough errors to see 0.1 dB."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import beta

from linksim.phy import modem
from linksim.units import db_to_linear, n0_from_es_n0_db

MIN_ERRORS = 40_000


def gray_qam_ber(order: int, snr: np.ndarray | float) -> np.ndarray | float:
    """Exact bit error rate of Gray-mapped square QAM on AWGN (Cho & Yoon 2002, eq. 14 to 16)."""
    if order == 2:
        return ndtr(-np.sqrt(snr))
    levels = 2 ** (order // 2)
    bits = order // 2
    total = 0.0
    for k in range(1, bits + 1):
        inner = 0.0
        for i in range(int((1 - 2.0**-k) * levels)):
            weight = (-1) ** (i * 2 ** (k - 1) // levels) * (
                2 ** (k - 1) - int(i * 2 ** (k - 1) / levels + 0.5)
            )
            inner = inner + weight * ndtr(
                -(2 * i + 1) * np.sqrt(2 * 3 * snr / (2 * (levels**2 - 1)))
            )
        total = total + 2 * inner / levels
    return total / bits


def count(order: int, es_n0_db: float, fading: bool) -> tuple[int, int]:
    rng = np.random.default_rng(order)
    n0 = n0_from_es_n0_db(es_n0_db)
    errors = sent = 0
    while errors < MIN_ERRORS:
        bits = rng.integers(0, 2, (1, 120_000), np.uint8)
        x = modem.map_bits(bits, order)
        w = (rng.standard_normal((*x.shape, 2)) @ np.array([1, 1j])) * np.sqrt(n0 / 2)
        h = np.ones(x.shape, complex)
        if fading:
            h = (rng.standard_normal((*x.shape, 2)) @ np.array([1, 1j])) * np.sqrt(0.5)
        llr = modem.demap(
            (h * x + w).astype(np.complex64),
            h.astype(np.complex64),
            np.full(x.shape, n0, np.float32),
            order,
        )
        errors += int(((llr > 0) != bits.astype(bool)).sum())
        sent += bits.size
    return errors, sent


def interval(errors: int, sent: int, level: float = 0.9999) -> tuple[float, float]:
    tail = (1 - level) / 2
    return beta.ppf(tail, errors, sent - errors + 1), beta.ppf(1 - tail, errors + 1, sent - errors)


@pytest.mark.parametrize(("order", "es_n0_db"), [(2, 4.0), (4, 10.0), (6, 16.0), (2, 0.0)])
def test_awgn(order, es_n0_db):
    errors, sent = count(order, es_n0_db, fading=False)
    low, high = interval(errors, sent)
    assert low < gray_qam_ber(order, db_to_linear(es_n0_db)) < high
    # an SNR off by 0.1 dB would be seen
    assert not low < gray_qam_ber(order, db_to_linear(es_n0_db + 0.1)) < high


@pytest.mark.parametrize(("order", "es_n0_db"), [(2, 8.0), (4, 12.0), (6, 16.0)])
def test_rayleigh(order, es_n0_db):
    errors, sent = count(order, es_n0_db, fading=True)
    low, high = interval(errors, sent)
    mean = db_to_linear(es_n0_db)
    if order == 2:
        expected = 0.5 * (1 - np.sqrt(mean / (mean + 2)))  # Proakis, eq. 14.3-7, at Eb = Es/2
    else:
        nodes, weights = np.polynomial.laguerre.laggauss(180)  # average over |h|^2 ~ Exp(1)
        expected = float(np.sum(weights * gray_qam_ber(order, mean * nodes)))
    assert low < expected < high


@pytest.mark.parametrize(
    ("order", "es_n0_db", "errors", "sent"),
    [(2, 4, 68245, 1.2e6), (2, 8, 7291, 1.2e6), (4, 10, 71252, 1.2e6), (4, 14, 11258, 1.2e6),
     (6, 16, 58987, 1.2e6), (6, 20, 10289, 1.2e6)],
)  # fmt: skip
def test_closed_form_lies_in_sionnas_counts(order, es_n0_db, errors, sent):
    """Counts of Sionna 1.2.2, seed 42, AWGN: a third opinion on the closed form used above."""
    low, high = interval(errors, int(sent))
    assert low < gray_qam_ber(order, db_to_linear(es_n0_db)) < high
