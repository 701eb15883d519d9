"""Combining and the forms of an equaliser."""

import numpy as np
import pytest

from linksim.channel.ofdm.combine import combine, equalise
from linksim.channel.tdl import Tdl
from linksim.phy import modem
from linksim.seeds import FrameSeeds

N0 = 0.05


def cn(*shape, seed=0):
    return FrameSeeds.of(seed, shape[0]).complex_normal(*shape[1:])


def test_mrc_adds_the_snrs_and_keeps_the_noise():
    h, x = cn(500, 3, 40), np.full((500, 1, 40), 1j, np.complex64)
    w = np.float32(np.sqrt(N0)) * cn(500, 3, 40, seed=1)
    y, amplitude = combine(h * x + w, h)
    np.testing.assert_allclose(amplitude.real**2, (np.abs(h) ** 2).sum(1), rtol=1e-4)
    left = y - amplitude * x[:, 0]
    assert np.mean(np.abs(left) ** 2) == pytest.approx(N0, rel=0.03)
    assert not amplitude.imag.any()


def test_one_antenna_passes_as_it_is():
    h, y = cn(2, 1, 5), cn(2, 1, 5, seed=3)
    out = combine(y, h)
    np.testing.assert_array_equal(out[0], y[:, 0])
    np.testing.assert_array_equal(out[1], h[:, 0])


@pytest.mark.parametrize("kind", ["zf", "mmse"])
@pytest.mark.parametrize("order", [2, 4, 6])
def test_every_form_gives_the_same_llrs(kind, order):
    bits = np.random.default_rng(1).integers(0, 2, (8, 60 * order), np.uint8)
    x, h = modem.map_bits(bits, order), cn(8, 60)
    y = h * x + np.float32(np.sqrt(N0)) * cn(8, 60, seed=5)
    n0 = np.full(y.shape, N0, np.float32)
    plain = modem.demap(y, h, n0, order)
    other = modem.demap(*equalise(y, h, n0, kind), order)
    np.testing.assert_allclose(other, plain, rtol=2e-3, atol=2e-3)


def test_zero_forcing_is_unbiased_and_mmse_is_the_best_linear_estimate():
    h, x = cn(400, 50), cn(400, 50, seed=9)  # Gaussian symbols
    y = h * x + np.float32(np.sqrt(N0)) * cn(400, 50, seed=5)
    n0 = np.full(y.shape, N0, np.float32)
    zf, one, _ = equalise(y, h, n0, "zf")
    assert (one == 1).all()
    mmse, bias, left = equalise(y, h, n0, "mmse")
    error = np.mean(np.abs(mmse - x) ** 2)
    assert error == pytest.approx(np.mean(N0 / (np.abs(h) ** 2 + N0)), rel=0.03)
    assert error < np.mean(np.abs(zf - x) ** 2)
    assert np.mean(np.abs(mmse - bias * x) ** 2) == pytest.approx(left.mean(), rel=0.03)


@pytest.mark.parametrize("kind", ["mrc", "zf", "mmse"])
def test_a_dead_cell_is_not_a_nan(kind):
    zero = np.zeros((1, 3), np.complex64)
    for part in equalise(zero, zero, np.full((1, 3), N0, np.float32), kind):
        assert np.isfinite(part).all()
    assert np.isfinite(
        combine(np.ones((1, 2, 3), np.complex64), np.zeros((1, 2, 3), np.complex64))[0]
    ).all()


def test_forms_of_a_channel_have_the_same_snr():
    seeds, x = FrameSeeds.of(4, 3), np.ones((3, 100), np.complex64)
    plain = Tdl(csi_rx="lmmse")(x, N0, seeds)
    for kind in ("zf", "mmse"):
        other = Tdl(csi_rx="lmmse", equaliser=kind)(x, N0, seeds)
        snr = [np.abs(r.h) ** 2 / r.n0_eff for r in (plain, other)]
        np.testing.assert_allclose(snr[1], snr[0], rtol=1e-3)
