"""Dealing symbols to embeddings, and telling the receiver how in a few bits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linksim.joint import level_code
from linksim.joint.profile import LEVEL_MAX, MIN_K, allocate, levels_of

PROFILES = st.lists(st.integers(-LEVEL_MAX, LEVEL_MAX), min_size=1, max_size=120)


@settings(max_examples=200, deadline=None)
@given(levels=PROFILES, mean=st.floats(MIN_K, 200), max_k=st.sampled_from([16, 128]))
def test_every_symbol_of_the_frame_is_dealt(levels, mean, max_k):
    total = int(np.ceil(mean * len(levels)))
    k = allocate(np.array(levels), total, max_k)
    assert k.sum() == min(total, max_k * len(levels))
    assert k.min() >= MIN_K and k.max() <= max_k


@settings(max_examples=100, deadline=None)
@given(levels=PROFILES, mean=st.floats(8, 60))
def test_a_higher_level_never_gets_fewer_by_more_than_the_remainder(levels, mean):
    levels = np.array(levels)
    k = allocate(levels, int(np.ceil(mean * len(levels))), 128)
    order = np.argsort(levels, kind="stable")
    assert (np.diff(k[order]) >= -1).all()


def test_the_shares_are_those_of_the_levels():
    k = allocate(np.array([0, 2, -2, 4]), 1000, 10_000)
    weights = 2.0 ** (np.array([0, 2, -2, 4]) / 2)
    np.testing.assert_allclose(k, 1000 * weights / weights.sum(), atol=1)


def test_a_uniform_profile_deals_evenly():
    k = allocate(np.zeros(64, int), 2048 + 5, 128)
    assert (k[:5] == 33).all() and (k[5:] == 32).all()


def test_too_few_symbols():
    with pytest.raises(ValueError, match="at least 16 symbols, got 15"):
        allocate(np.zeros(4, int), 15, 128)


def test_levels_are_ratios_to_the_mean():
    bits = np.array([[[10.0, 20.0], [40.0, 10.0]]])
    np.testing.assert_array_equal(levels_of(bits)[0], [[-2, 0], [2, -2]])
    np.testing.assert_array_equal(levels_of(1000 * bits), levels_of(bits))
    assert np.abs(levels_of(np.array([[[0.0, 1e9]]]))).max() <= LEVEL_MAX


def random_profile(height, width, seed):
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=(height + 2, width + 2))
    smooth = smooth[:-2, :-2] + smooth[1:-1, 1:-1] + smooth[2:, 2:]
    return np.clip(np.rint(1.5 * smooth), -LEVEL_MAX, LEVEL_MAX).astype(np.int64)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 20),
    width=st.integers(1, 20),
    seed=st.integers(0, 99),
    room=st.integers(16, 2000),
)
def test_a_profile_comes_back_as_the_sender_was_told(height, width, seed, room):
    packed = level_code.pack(random_profile(height, width, seed), room)
    if packed is None:
        return
    data, shown = packed
    assert 8 * len(data) <= room
    np.testing.assert_array_equal(level_code.unpack(data, height, width), shown)


def ideal_bits(levels):
    """-log2 of the model's probability of a profile at full resolution."""
    bits = 0.0
    for row, column in np.ndindex(levels.shape):
        share, _ = level_code._frequencies(1, level_code._prediction(levels, row, column))
        bits -= np.log2(share[levels[row, column] + LEVEL_MAX] / level_code.TOTAL)
    return bits


def test_with_room_enough_the_profile_is_told_as_it_is():
    levels = random_profile(8, 8, 3)
    data, shown = level_code.pack(levels, 1 << 12)
    np.testing.assert_array_equal(shown, levels)
    assert level_code.HEAD_BITS < 8 * len(data) <= ideal_bits(levels) + level_code.HEAD_BITS + 16


def test_less_room_gives_a_coarser_profile():
    levels = random_profile(8, 8, 4)
    errors = [
        np.abs(level_code.pack(levels, room)[1] - levels).mean() for room in (400, 160, 72, 32)
    ]
    assert errors == sorted(errors) and errors[0] == 0 and errors[-1] > 0


def test_a_flat_profile_costs_little_and_always_fits_two_bytes():
    data, _ = level_code.pack(np.zeros((8, 8), np.int64), 1 << 12)
    assert len(data) <= 16
    assert level_code.pack(np.zeros((8, 8), np.int64), 16) is not None


@settings(max_examples=300, deadline=None)
@given(data=st.binary(max_size=60), height=st.integers(1, 12), width=st.integers(1, 12))
def test_arbitrary_bytes_give_a_profile_or_none(data, height, width):
    found = level_code.unpack(data, height, width)
    if found is not None:
        assert found.shape == (height, width) and np.abs(found).max() <= LEVEL_MAX
