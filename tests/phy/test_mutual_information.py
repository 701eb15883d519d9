"""Bit-interleaved mutual information and the effective SNR made of it."""

import numpy as np
import pytest

from linksim.phy import modem
from linksim.phy.mutual_information import effective_snr_db, information


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_information_is_what_the_demapper_measures(order):
    """E[log2(1 + exp(-L (2b - 1)))] over the exact demapper's LLRs is what is missing from each bit."""
    rng = np.random.default_rng(order)
    bits = rng.integers(0, 2, (40, 1000 * order), np.uint8)
    x = modem.map_bits(bits, order)
    for es_n0_db in (0.0, 2.0 * order):
        n0 = 10 ** (-es_n0_db / 10)
        w = rng.standard_normal((*x.shape, 2), np.float32).view(np.complex64)[..., 0]
        y = x + np.float32(np.sqrt(n0 / 2)) * w
        llr = modem.demap(y, np.ones_like(x), np.full(x.shape, n0, np.float32), order)
        told = order * (1 - np.mean(np.logaddexp(0, np.where(bits == 1, -llr, llr))) / np.log(2))
        assert float(information(1 / n0, order)) == pytest.approx(told, abs=0.012)


def test_qpsk_knows_its_limits():
    # Binary-input AWGN capacity 1/2 at Es/N0 = -2.82 dB per real symbol: Eb/N0 0.187 dB (Richardson & Urbanke)
    assert float(information(10**0.0187, 2)) == pytest.approx(1.0, abs=2e-3)
    assert information(np.array([0.0, 1e-3]), 2) == pytest.approx([0, 1e-3 / np.log(2)], abs=2e-6)
    assert information(1e4, 2) == pytest.approx(2.0) and information(1e9, 8) == pytest.approx(8)


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_effective_snr(order):
    for db in (-8.0, 3.0, 9.0):
        assert effective_snr_db(np.full(7, 10 ** (db / 10)), order) == pytest.approx(db, abs=0.01)
    mixed = np.array([[0.1, 30.0], [3.0, 3.0]])
    effective = effective_snr_db(mixed, order)
    mean = information(mixed, order).mean(-1)
    np.testing.assert_allclose(information(10 ** (effective / 10), order), mean, rtol=1e-3)
    # a strong half cannot make up for a weak one: below the flat channel of the same mean capacity
    capacity_db = 10 * np.log10(np.expm1(np.log1p(mixed).mean(-1)))
    assert effective[0] < capacity_db[0] or order > 4
    assert np.isfinite(effective_snr_db(np.array([0.0, 1e30]), order))
