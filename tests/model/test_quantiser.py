"""Quantisers: what they code, what they pass on, and how a codebook follows its inputs."""

from __future__ import annotations

import numpy as np
import pytest

from linksim import quiet

quiet.load("keras")

from linksim.model.quantiser import (  # noqa: E402
    FiniteScalarQuantiser,
    ResidualQuantiser,
    VectorQuantiser,
    greatest,
)
from linksim.train.codebooks import start_quantiser  # noqa: E402


def test_nearest_code_wins():
    q = VectorQuantiser("vq", 5, 3)
    rng = np.random.default_rng(0)
    q.codebook.assign(rng.normal(size=(5, 3)))
    z = rng.normal(size=(2, 7, 3)).astype(np.float32)
    code, index = (np.asarray(t) for t in q(z))
    book = q.codebook.numpy()
    distances = ((z[..., None, :] - book) ** 2).sum(-1)
    assert np.array_equal(index, distances.argmin(-1))
    assert np.allclose(code, book[index], atol=1e-6)


def test_gradient_passes_straight_through_and_not_into_the_codebook():
    import tensorflow as tf

    q = VectorQuantiser("vq", 4, 2)
    z = tf.constant(np.random.default_rng(1).normal(size=(3, 2)), tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(z)
        value = tf.reduce_sum(3.0 * q(z)[0])
    assert np.allclose(tape.gradient(value, z), 3.0)
    assert not q.codebook.trainable


def test_codebook_goes_to_the_means_of_its_cells_and_dead_codes_revive():
    q = VectorQuantiser("vq", 3, 1)
    q.codebook.assign([[0.0], [10.0], [1000.0]])
    rng = np.random.default_rng(2)
    for _ in range(600):
        z = np.concatenate([rng.normal(1.0, 0.1, (50, 1)), rng.normal(7.0, 0.1, (50, 1))])
        z = z.astype(np.float32)
        _, index = q(z)
        revive = rng.integers(0, 1 << 30, 3).astype(np.int32)
        for path, new in q.updates(z, index, revive).items():
            (q.codebook if path == q.codebook.path else q.usage).assign(new)
    book = np.sort(q.codebook.numpy()[:, 0])
    assert book[-1] < 8, "the code that nothing chose has moved to where inputs are"
    assert abs(book[0] - 1.0) < 0.2 and abs(book[-1] - 7.0) < 0.2


def test_residual_parts_add_up_to_less_and_less_error():
    rng = np.random.default_rng(3)
    q = ResidualQuantiser("rq", 4, (16, 16, 16), (2, 1, 1))
    y = rng.normal(size=(2, 4, 6, 4)).astype(np.float32)
    for s, stage in enumerate(q.stages):
        stage.codebook.assign(rng.normal(size=(16, 4)) * 0.7 ** (s + 1))
    parts, inputs, codes, indices = q(y)
    assert [np.asarray(i).shape for i in indices] == [(2, 2, 3), (2, 4, 6), (2, 4, 6)]
    left = y
    for s in range(3):
        assert np.allclose(inputs[s], np.asarray(q.project(left, s)), atol=1e-5)
        assert np.allclose(parts[s], np.asarray(q.expand(codes[s], s)), atol=1e-5)
        left = left - np.asarray(parts[s])
    assert np.allclose(np.asarray(q.expand(q.project(parts[0], 0), 0)), parts[0], atol=1e-4), (
        "the map of a coarse stage and its inverse begin as a projection"
    )


def test_codes_weigh_bits_against_error():
    """Every choice has the least squared error + lambda * bits; with more lambda fewer bits and more error."""
    rng = np.random.default_rng(5)
    z = rng.normal(size=(500, 3)).astype(np.float32)
    book = np.concatenate([np.zeros((1, 3)), rng.normal(size=(15, 3))]).astype(np.float32)
    usage = np.array([20.0, *np.geomspace(8, 0.1, 15)], np.float32)
    bits = -np.log2(usage / usage.sum())
    spent, wrong = [], []
    for worth in (0.0, 0.1, 0.5, 2.0):
        q = VectorQuantiser("vq", 16, 3, lagrange=worth, rest=True)
        q.codebook.assign(book)
        q.usage.assign(usage)
        index = np.asarray(q(z)[1])
        error = ((z[:, None] - book) ** 2).sum(-1)
        assert np.array_equal(index, (error + worth * bits).argmin(-1))
        spent.append(bits[index].mean())
        wrong.append(error[np.arange(500), index].mean())
    assert spent == sorted(spent, reverse=True) and wrong == sorted(wrong)
    assert spent[-1] < 0.6 * spent[0]


def test_the_zero_code_stays_zero_whatever_uses_it():
    q = VectorQuantiser("vq", 4, 2, lagrange=0.5, rest=True)
    q.codebook.assign([[0, 0], [3, 0], [0, 3], [50, 50]])
    rng = np.random.default_rng(6)
    for _ in range(600):
        z = rng.normal(3, 0.5, (64, 2)).astype(np.float32)  # nothing near zero
        _, index = q(z)
        new = q.updates(z, index, rng.integers(0, 1 << 30, 4).astype(np.int32))
        q.codebook.assign(new[q.codebook.path])
        q.usage.assign(new[q.usage.path])
    book = q.codebook.numpy()
    assert not book[0].any() and book[1:].any(1).all()
    assert q.usage.numpy()[0] < 0.1, "and is not revived by an input"


def test_bands_code_their_own_coordinates_alone():
    rng = np.random.default_rng(7)
    bands = ((0, 6), (0, 2), (2, 6))
    q = ResidualQuantiser("rq", 6, (8, 8, 8), (1, 1, 1), bands, (0.3, 0.1, 0.02))
    assert [s.rest for s in q.stages] == [False, True, True]
    y = rng.normal(size=(40, 2, 2, 6)).astype(np.float32)
    start_quantiser(q, y, rng)
    left = y
    for s, ((a, b), part) in enumerate(zip(bands, q(y)[0], strict=True)):
        outside = np.delete(np.asarray(part), np.r_[a:b], -1)
        assert not outside.any()
        assert np.square(left - part).sum() < np.square(left).sum()
        left = left - np.asarray(part)
        assert np.asarray(q.stages[s].codebook)[0].any() == (s == 0)
    assert np.square(left).mean() < 0.6 * np.square(y).mean()


@pytest.mark.parametrize(("size", "count"), [(40, 3), (64, 1), (512, 8), (4096, 8), (640, 9)])
def test_the_greatest_are_found_whatever_their_chunks(size, count):
    rng = np.random.default_rng(size)
    x = rng.normal(size=(5, size)).astype(np.float32)
    x[0] = np.sort(x[0])  # all the greatest in one chunk
    values, places = (np.asarray(t) for t in greatest(x, count))
    assert np.array_equal(values, -np.sort(-x, 1)[:, :count])
    assert np.array_equal(np.take_along_axis(x, places, 1), values)


def cascade(seed: int) -> tuple[ResidualQuantiser, np.ndarray]:
    """A trained cascade and what it has not seen."""
    rng = np.random.default_rng(seed)
    bands = ((0, 6), (0, 4), (2, 6), (0, 6))
    q = ResidualQuantiser("rq", 6, (32,) * 4, (1,) * 4, bands, (0.1, 0.05, 0.02, 0.01))
    mix = rng.normal(size=(6, 6))
    start_quantiser(q, (rng.normal(size=(200, 2, 2, 6)) @ mix).astype(np.float32), rng)
    return q, (rng.normal(size=(30, 2, 2, 6)) @ mix).astype(np.float32)


def cost(q: ResidualQuantiser, y: np.ndarray, indices) -> np.ndarray:
    """Squared error + lambda * bits of the codes of all stages, lambda that of the last."""
    left, bits = y, np.zeros(y.shape[:3])
    for stage, index in zip(q.stages, indices, strict=True):
        left = left - np.asarray(stage.lookup(index))
        bits = bits + np.asarray(stage.bits())[np.asarray(index)]
    return (left**2).sum(-1) + q.stages[-1].lagrange * bits


def test_a_search_with_one_survivor_chooses_stage_by_stage():
    q, y = cascade(8)
    for one, two in zip(q.search(y, 1), q(y)[3], strict=True):
        assert np.array_equal(one, two)


def test_survivors_buy_less_error_at_the_same_worth_of_bits():
    q, y = cascade(9)
    found = [cost(q, y, q.search(y, n)).mean() for n in (1, 2, 8, 64)]
    assert found == sorted(found, reverse=True) and found[2] < 0.93 * found[0]
    parts, inputs, codes, indices = q(y, survivors=8)
    for one, two in zip(indices, q.search(y, 8), strict=True):
        assert np.array_equal(one, two)
    left = y
    for s, part in enumerate(parts):
        assert np.allclose(inputs[s], left, atol=1e-5) and np.allclose(part, codes[s], atol=1e-5)
        left = left - np.asarray(part)


def test_no_choice_of_two_stages_beats_a_search_that_keeps_all():
    """With every code of the first stage alive the pair is the best by the rank that the search states."""
    rng = np.random.default_rng(10)
    q = ResidualQuantiser("rq", 3, (8, 8), (1, 1), (), (0.2, 0.1))
    start_quantiser(q, rng.normal(size=(60, 2, 2, 3)).astype(np.float32), rng)
    for stage in q.stages:  # so that bits decide
        stage.usage.assign(rng.permutation(np.geomspace(1, 1e-6, 8)))
    y = rng.normal(size=(20, 1, 1, 3)).astype(np.float32)
    books = [stage.codebook.numpy() for stage in q.stages]
    bits = [np.asarray(stage.bits()) for stage in q.stages]
    for b, (i, j) in enumerate(zip(*q.search(y, 8), strict=True)):
        after_one = ((y[b, 0, 0] - books[0]) ** 2).sum(-1) + 0.2 * bits[0]
        left = y[b, 0, 0] - books[0][:, None] - books[1][None]
        rank = (left**2).sum(-1) + 0.1 * (bits[0][:, None] + bits[1]) + 0.5 * after_one[:, None]
        assert (int(i[0, 0]), int(j[0, 0])) == np.unravel_index(rank.argmin(), rank.shape)


@pytest.mark.parametrize("levels", [(8, 5, 5), (3,), (2, 2, 2, 2)])
def test_finite_scalars_count_through_their_codebook(levels):
    q = FiniteScalarQuantiser("fsq", levels)
    assert q.size == np.prod(levels)
    z = np.random.default_rng(4).normal(0, 1, (9000, len(levels))).astype(np.float32)
    value, index = (np.asarray(t) for t in q(z))
    assert set(index) == set(range(q.size)), "every code is used"
    assert np.allclose(np.asarray(q.lookup(index)), value, atol=1e-6)
    assert np.abs(value).max() <= 1 + 1e-6


def test_finite_scalars_refuse_a_single_level():
    with pytest.raises(ValueError, match="at least 2"):
        FiniteScalarQuantiser("fsq", (4, 1))
