"""The control word: distance, power, and its error rate at the lowest SNR of the article."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.link import control
from linksim.types import Received
from linksim.units import n0_from_es_n0_db


def test_words_come_back_without_noise_and_have_unit_power():
    index = np.arange(64)
    x = control.modulate(index)
    assert x.shape == (64, control.NUM_USES)
    np.testing.assert_allclose(np.abs(x), 1, rtol=1e-6)
    received = Received(0.3j * x, np.full((64, 1), 0.3j, np.complex64), 0.0)
    np.testing.assert_array_equal(control.demodulate(received), index)


def test_minimum_distance_is_that_of_reed_muller_1_5():
    words = control._codebook()
    distances = (words[:, None] ^ words[None]).sum(-1)
    assert distances[~np.eye(64, dtype=bool)].min() == 16


def test_error_rate_at_minus_4_db_stays_below_the_union_bound():
    rng = np.random.default_rng(0)
    n0 = n0_from_es_n0_db(-4.0)
    index = rng.integers(0, 64, 40_000)
    x = control.modulate(index)
    noise = rng.standard_normal((*x.shape, 2)) @ np.array([1, 1j]) * np.sqrt(n0 / 2)
    errors = (control.demodulate(Received(x + noise, np.ones((len(x), 1)), n0)) != index).sum()
    assert errors < 40_000 * 4e-4 * 1.5
    assert errors > 0  # the channel was noisy


def test_a_word_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"0\.\.63"):
        control.modulate(np.array([64]))


def test_nan_symbols_give_some_word():
    y = np.full((2, control.NUM_USES), np.nan, np.complex64)
    assert control.demodulate(Received(y, np.ones((2, 1), np.complex64), 0.1)).shape == (2,)


@pytest.mark.parametrize("size", [1, 47, 48, 500, 2000])
def test_words_stand_evenly_among_the_symbols(size):
    rng = np.random.default_rng(size)
    index = np.arange(0, 64, 7)
    x = rng.standard_normal((len(index), size)).astype(np.complex64)
    frame = control.among(index, x)
    assert frame.shape == (len(index), control.NUM_USES + size)
    one = np.ones((len(index), 1), np.complex64)
    read, rest = control.apart(Received(frame, one, np.float32(1e-9)))
    np.testing.assert_array_equal(read, index)
    np.testing.assert_array_equal(rest.y, x)
    word, _ = control._places(frame.shape[1])
    gaps = np.diff(word)
    assert gaps.min() >= 1 and np.ptp(gaps) <= 1
    assert abs(word[0] - (frame.shape[1] - 1 - word[-1])) <= 1, (
        "as far from the first as from the last"
    )


def test_a_word_outlives_a_fade_of_a_tenth_of_the_frame():
    index = np.arange(64)
    x = control.among(index, np.ones((64, 432), np.complex64))
    for start in range(0, 480, 48):
        h = np.ones_like(x)
        h[:, start : start + 48] = 0
        read, _ = control.apart(Received(h * x, h, np.float32(0.01)))
        np.testing.assert_array_equal(read, index)
