"""Mapping and demapping against Sionna, the LLR sign, and what vanishing noise does."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.phy import modem, scrambler

ORDERS = (2, 4, 6, 8)


@pytest.mark.parametrize("order", ORDERS)
def test_mapping_is_sionnas(order):
    import tensorflow as tf
    from sionna.phy.mapping import Mapper

    labels = ((np.arange(1 << order)[:, None] >> np.arange(order - 1, -1, -1)) & 1).astype(np.uint8)
    theirs = Mapper("qam", order)(tf.constant(labels, tf.float32)).numpy()
    ours = modem.map_bits(labels, order)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    assert np.mean(np.abs(ours) ** 2) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_llrs_are_sionnas_and_their_sign_is_one_over_zero(order):
    rng = np.random.default_rng(order)
    bits = rng.integers(0, 2, (3, 40 * order), np.uint8)
    x = modem.map_bits(bits, order)
    h = (rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape)).astype(np.complex64)
    n0 = np.full(x.shape, 0.05, np.float32)
    y = (h * x + 0.1 * rng.normal(size=x.shape)).astype(np.complex64)
    ours = modem.demap(y, h, n0, order)
    theirs = modem.demap(y, h, n0, order, backend="sionna")
    np.testing.assert_allclose(ours, theirs, rtol=2e-3, atol=2e-2)
    clean = modem.demap((h * x).astype(np.complex64), h, 1e-4 * n0, order)
    np.testing.assert_array_equal(clean > 0, bits.astype(bool))


@pytest.mark.parametrize("order", ORDERS)
def test_llrs_stay_finite_without_noise_without_channel_and_on_nan(order):
    x = modem.map_bits(np.zeros((1, 4 * order), np.uint8), order)
    one = np.ones_like(x)
    for y, h, n0 in ((x, one, 0.0), (x, 0 * one, 0.1), (np.nan * x, one, 0.1), (x, one, np.inf)):
        llr = modem.demap(
            y.astype(np.complex64), h.astype(np.complex64), np.full(x.shape, n0, np.float32), order
        )
        assert np.isfinite(llr).all()


def test_bad_orders_and_lengths_are_refused():
    with pytest.raises(ValueError, match="must be one of"):
        modem.map_bits(np.zeros((1, 6), np.uint8), 3)
    with pytest.raises(ValueError, match="no multiple of 4"):
        modem.map_bits(np.zeros((1, 6), np.uint8), 4)


def test_gold_sequence_is_sionnas():
    from sionna.phy.nr.utils import generate_prng_seq

    for init in (1, 0x2F4D1, (1 << 31) - 1):
        np.testing.assert_array_equal(scrambler.gold(3000, init), generate_prng_seq(3000, init))
    np.testing.assert_array_equal(scrambler.sequence(100), scrambler.sequence(5000)[:100])
