"""Rayleigh and Rician block fading."""

import numpy as np
import pytest

from linksim.channel.fading import Rayleigh, Rician
from linksim.seeds import FrameSeeds


def _h(channel, frames, symbols, seed=0):
    x = np.ones((frames, symbols), np.complex64)
    return channel(x, 0.0, FrameSeeds.of(seed, frames)).h


@pytest.mark.parametrize("make", [Rayleigh, lambda block_length: Rician(3.0, block_length)])
def test_block_length(make):
    h = _h(make(block_length=10), 4, 35)
    assert h.shape == (4, 35)
    blocks = [h[:, a : a + 10] for a in range(0, 35, 10)]
    for block in blocks:
        np.testing.assert_array_equal(block, np.repeat(block[:, :1], block.shape[1], axis=1))
    assert len(np.unique(np.concatenate([b[:, 0] for b in blocks]))) == 16
    assert _h(make(block_length=None), 4, 35).shape == (4, 1)


def test_rayleigh_blocks_are_independent():
    h = _h(Rayleigh(block_length=1), 300, 200).astype(np.complex128)
    assert abs(np.mean(h[:, 1:] * h[:, :-1].conj())) < 0.02
    assert abs(np.mean(h)) < 0.02
    assert np.mean(np.abs(h) ** 2) == pytest.approx(1, abs=0.02)


def test_rician_limits():
    steady = _h(Rician(k_factor_db=100.0), 200, 1)
    np.testing.assert_allclose(np.abs(steady), 1, atol=1e-4)
    assert abs(steady.mean()) < 0.3, "the phase of the steady path is uniform"
    weak = np.sort(np.abs(_h(Rician(k_factor_db=-100.0), 4000, 1)[:, 0]) ** 2)
    assert weak.mean() == pytest.approx(1, abs=0.06)
    assert np.median(weak) == pytest.approx(np.log(2), abs=0.05)  # exponential


def test_rician_second_moment():
    gains = np.abs(_h(Rician(k_factor_db=6.0), 20000, 1).astype(np.complex128)) ** 2
    k = 10**0.6
    assert gains.mean() == pytest.approx(1, abs=0.02)
    assert gains.var() == pytest.approx((1 + 2 * k) / (1 + k) ** 2, rel=0.05)


def test_gain_cdf_agrees_with_rayleigh_at_small_k():
    gain = np.linspace(0, 5, 50)
    np.testing.assert_allclose(Rician(-60.0).gain_cdf(gain), Rayleigh().gain_cdf(gain), atol=1e-5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Rayleigh(block_length=0), "block_length must be at least 1"),
        (lambda: Rician(k_factor_db=float("nan")), "k_factor_db must be in"),
        (lambda: Rician(k_factor_db=200.0), "k_factor_db must be in"),
        (lambda: Rician(3.0, block_length=-1), "block_length must be at least 1"),
    ],
)
def test_bad_parameters(make, message):
    with pytest.raises(ValueError, match=message):
        make()
