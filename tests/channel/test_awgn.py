"""Channels without fading."""

import numpy as np
import pytest

from linksim.channel.apply import faded
from linksim.channel.awgn import Awgn, Ideal
from linksim.seeds import FrameSeeds

X = np.full((3, 50), 1j, np.complex64)


def test_noise_power_is_per_complex_symbol():
    x = np.ones((400, 500), np.complex64)
    w = Awgn()(x, 0.25, FrameSeeds.of(1, 400)).y - x
    assert np.mean(np.abs(w) ** 2) == pytest.approx(0.25, rel=0.01)
    assert np.mean(w.real**2) == pytest.approx(0.125, rel=0.015)
    assert np.mean(w.imag**2) == pytest.approx(0.125, rel=0.015)


def test_noise_is_not_scaled_by_the_power_of_the_batch():
    seeds = FrameSeeds.of(1, 3)
    silence = Awgn()(0 * X, 0.5, seeds).y
    np.testing.assert_allclose(Awgn()(10 * X, 0.5, seeds).y - 10 * X, silence, atol=2e-6)


def test_no_noise_at_n0_zero():
    received = Awgn()(X, 0.0, FrameSeeds.of(1, 3))
    np.testing.assert_array_equal(received.y, X)
    assert received.n0_eff == 0 and received.h.shape == (3, 1)


def test_ideal_ignores_n0():
    received = Ideal()(X, 3.0, FrameSeeds.of(1, 3))
    np.testing.assert_array_equal(received.y, X)
    assert received.n0_eff == 0
    received.y[0, 0] = 0
    assert X[0, 0] == 1j, "y must be a copy"


def test_an_empty_batch_and_an_empty_frame_pass():
    assert Awgn()(np.zeros((0, 5), np.complex64), 1.0, FrameSeeds.of(1, 0)).y.shape == (0, 5)
    assert Awgn()(np.zeros((2, 0), np.complex64), 1.0, FrameSeeds.of(1, 2)).y.shape == (2, 0)


@pytest.mark.parametrize("n0", [-0.1, float("nan"), float("inf")])
def test_bad_noise_power(n0):
    with pytest.raises(ValueError, match="n0 must be a finite number >= 0"):
        Awgn()(X, n0, FrameSeeds.of(1, 3))


def test_bad_shapes():
    with pytest.raises(ValueError, match="3 frames but there are 2 seeds"):
        Awgn()(X, 1.0, FrameSeeds.of(1, 2))
    with pytest.raises(ValueError, match=r"x must be \[B, S\]"):
        Awgn()(X[0], 1.0, FrameSeeds.of(1, 50))
    with pytest.raises(ValueError, match="h must be"):
        faded(X, np.ones((3, 7)), 1.0, FrameSeeds.of(1, 3))
