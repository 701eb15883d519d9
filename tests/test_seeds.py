"""Named seeds."""

import numpy as np
import pytest

from linksim.seeds import FrameSeeds, Seed


def test_the_same_numbers_on_every_machine():
    seed = Seed.root(2024).child("channel", 3)
    assert seed.key.hex() == "3c304c4ab5e266f4838d8beb698c27f5"
    np.testing.assert_array_equal(seed.generator().integers(0, 1000, 5), [133, 36, 677, 352, 27])


def test_paths():
    root = Seed.root(1)
    assert root.child("a", "b") == root.child("a").child("b")
    assert root.child("a", "b") != root.child("b", "a")
    assert root.child("ab") != root.child("a", "b")
    assert root.child(1) == root.child("1"), "names are text"
    assert root.child() == root
    assert len({Seed.root(n).key for n in range(100)}) == 100


def test_a_generator_starts_over():
    seed = Seed.root(1)
    np.testing.assert_array_equal(seed.generator().random(9), seed.generator().random(9))


@pytest.mark.parametrize("bits", [1, 31, 32, 64])
def test_integers_have_the_bits_asked_for(bits):
    values = [Seed.root(n).integer(bits) for n in range(200)]
    assert all(0 <= v < 1 << bits for v in values)
    assert max(values) >= 1 << (bits - 1)


def test_frames_do_not_depend_on_their_batch():
    seeds = FrameSeeds.of(5, 6)
    whole = seeds.normal(7)
    np.testing.assert_array_equal(whole[2:4], seeds[2:4].normal(7))
    np.testing.assert_array_equal(whole[[4, 1]], seeds.take([4, 1]).normal(7))
    np.testing.assert_array_equal(whole, FrameSeeds.of(5, 9).normal(7)[:6])
    assert seeds[3] == FrameSeeds.of(Seed.root(5), 4)[3]
    assert len(seeds) == 6 and next(iter(seeds)) == seeds[0]


def test_children_of_all_frames():
    seeds = FrameSeeds.of(5, 3)
    assert seeds.child("noise")[1] == seeds[1].child("noise")
    assert not np.array_equal(seeds.child("noise").normal(3), seeds.child("fading").normal(3))


@pytest.mark.parametrize("draw", ["normal", "complex_normal", "uniform"])
def test_a_longer_draw_begins_with_the_shorter_one(draw):
    seeds = FrameSeeds.of(5, 3)
    for short in (1, 2, 31, 64):
        longer = getattr(seeds, draw)(100)
        np.testing.assert_array_equal(getattr(seeds, draw)(short), longer[:, :short])


def test_moments():
    seeds = FrameSeeds.of(5, 400)
    w = seeds.complex_normal(500)
    assert w.dtype == np.complex64 and w.shape == (400, 500)
    assert np.mean(np.abs(w) ** 2) == pytest.approx(1, abs=0.01)
    assert abs(np.mean(w**2)) < 0.01, "circular"
    assert abs(np.mean(w)) < 0.01
    assert seeds.uniform(500).mean() == pytest.approx(0.5, abs=0.005)
    across = np.corrcoef(seeds.normal(500)[:30])
    assert np.abs(across - np.eye(30)).max() < 0.25, "frames are independent"


def test_empty_batches():
    seeds = FrameSeeds.of(5, 0)
    assert seeds.normal(3).shape == (0, 3)
    assert seeds.complex_normal(3).shape == (0, 3)
    assert seeds.uniform(3).shape == (0, 3)
