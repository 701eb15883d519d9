"""The tokeniser and its masked transformer: nested tokens, maps true to pixels, and who may know what."""

from __future__ import annotations

import numpy as np
import pytest

from linksim import quiet

quiet.load("keras")

import keras  # noqa: E402

from linksim.model.token_grid import (  # noqa: E402
    TokenPriorConfig,
    first_biases,
    place_buckets,
    relative_entries,
)
from linksim.model.token_net import TokenConfig, TokenNet, there_at  # noqa: E402
from linksim.train.tokens_task import start_maps  # noqa: E402

WIDTHS = {"width4": 8, "width8": 8, "width16": 8, "hidden4": 8, "hidden8": 8, "hidden16": 8}
TRANSFORMS = {**WIDTHS, "blocks8": 1, "latent": 12, "slices": [12]}
PRIOR = {"dim": 12, "heads": 2, "layers": 2, "hidden": 16, "rows": 4, "columns": 4}
SMALL = {"dim": 5, "stages": 3, "codes": 16, "transforms": TRANSFORMS, "prior": PRIOR}
GRID = (3, 4)


@pytest.fixture(scope="module")
def net() -> TokenNet:
    keras.utils.set_random_seed(1)
    made = TokenNet(TokenConfig(**SMALL))
    rng = np.random.default_rng(0)
    for layer in made.parts.values():
        for weight in layer.weights:
            if not np.any(weight.numpy()):  # what starts at nothing would hide mistakes
                weight.assign(rng.normal(0, 0.2, weight.shape))
    return made


def pictures(count: int = 2, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (count, 16 * GRID[0], 16 * GRID[1], 3)).astype(np.float32)


def tokens(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 16, (1, 12, 3))


def test_a_picture_becomes_tokens_of_every_stage_and_back(net):
    x = pictures()
    index = np.asarray(net.encode(x))
    assert index.shape == (2, *GRID, 3) and index.dtype == np.int32
    assert index.min() >= 0 and index.max() < 16
    there = np.ones(index.shape, np.float32)
    y_hat = np.asarray(net.codes_of(index, there))
    books = [book.numpy() for book in net.books()]
    assert np.allclose(y_hat, sum(b[index[..., s]] for s, b in enumerate(books)), atol=1e-5)
    # each stage codes what those before it left over: the first codes alone are the nearest
    y = np.asarray(net.analyse(x))
    distance = ((y[..., None, :] - books[0]) ** 2).sum(-1)
    assert np.array_equal(distance.argmin(-1), index[..., 0])
    x_hat, again, summed, _, indices = net(x, there)
    assert np.allclose(again, y, atol=1e-4) and np.allclose(summed, y_hat, atol=1e-4)
    assert np.array_equal(np.stack([np.asarray(i) for i in indices], -1), index)
    assert np.allclose(x_hat, net.synthesise(y_hat, there), atol=1e-2)


def test_what_is_lost_says_nothing_but_that_it_is_lost(net):
    index = np.asarray(net.encode(pictures(1)))
    there = there_at(3, 1.5, np.arange(12).reshape(GRID))[None]
    there[0, 1, 1] = 0.0
    other = np.where(there > 0, index, (index + 5) % 16)
    shown, same = (net.synthesise(net.codes_of(i, there), there) for i in (index, other))
    assert np.array_equal(shown, same)
    unknown = np.where(there > 0, index, -1)
    assert np.array_equal(shown, net.synthesise(net.codes_of(unknown, there), there))
    all_there = np.ones_like(there)
    assert not np.allclose(shown, net.synthesise(net.codes_of(index, there), all_there), atol=0.1)


def test_attention_before_the_decoder_starts_as_little_and_then_sees_where_tokens_are_lost():
    wide = {**TRANSFORMS, "latent": 20, "slices": [20]}
    made = TokenNet(TokenConfig(**{**SMALL, "transforms": wide, "prior": None, "mend": 2}))
    rng = np.random.default_rng(0)
    grid = (1, 9, 11)  # more than a window, and no whole number of them
    latents = rng.normal(0, 1, (*grid, 20)).astype(np.float32)
    there = np.ones((*grid, 3), np.float32)
    assert np.sqrt(np.mean((made.mend(latents, there) - latents) ** 2)) < 0.2
    for weight in made.mend.weights:
        weight.assign(weight.numpy() + rng.normal(0, 0.2, weight.shape))
    hole = there.copy()
    hole[0, 2, 2] = 0
    shown = [np.asarray(made.mend(latents, where)) for where in (there, hole)]
    assert (np.abs(shown[0] - shown[1]).max(-1)[0, :4, :4] > 1e-4).all(), "all of its window"
    y_hat = rng.normal(0, 1, (*grid, 5)).astype(np.float32)
    pictures = [np.asarray(made.synthesise(y_hat, where)) for where in (there, hole)]
    assert pictures[0].shape == (1, 16 * 9, 16 * 11, 3)
    assert not np.allclose(*pictures, atol=0.1)


def test_levels_fill_stages_in_order():
    order = np.array([[3, 0], [2, 1]])
    counts = [there_at(4, level, order).sum(-1).tolist() for level in (0, 0.5, 1, 2.25, 4)]
    assert counts[0] == [[0, 0], [0, 0]]
    assert counts[1] == [[0, 1], [0, 1]]
    assert counts[2] == [[1, 1], [1, 1]]
    assert counts[3] == [[2, 3], [2, 2]]
    assert counts[4] == [[4, 4], [4, 4]]


def test_the_quantisers_error_is_that_of_the_picture():
    cfg = {**SMALL, "dim": 12, "prior": None}
    keras.utils.set_random_seed(2)
    whole = TokenNet(TokenConfig(**cfg))
    rng = np.random.default_rng(3)
    whole.g_s.linear.log_scale.assign(rng.normal(0, 1, 12))
    latents = rng.normal(0.3, 1, (400, 12)) @ rng.normal(0, 1, (12, 12))
    start_maps(whole, latents.astype(np.float32))
    down, up = whole.down.kernel.numpy()[0, 0], whole.up.kernel.numpy()[0, 0]
    y = latents @ down + whole.down.bias.numpy()
    assert np.allclose(y @ up + whole.up.bias.numpy(), latents, atol=1e-2)
    linear = whole.g_s.linear
    pixels = latents * np.exp(linear.log_scale.numpy()) @ linear.matrix.numpy()
    shifts = ((pixels[1:] - pixels[:-1]) ** 2).sum(1)
    assert np.allclose(((y[1:] - y[:-1]) ** 2).sum(1), shifts, rtol=1e-3)
    # and the first coordinates hold the most of it
    assert np.all(np.diff(y.var(0)) <= 1e-6 * y.var(0)[0])
    assert abs(y.mean(0)).max() < 1e-2


def states(net, index, rounds, groups=None, known=True):
    prior = net.prior
    pieces = prior.pieces(index if known else np.full_like(index, -1), net.books())
    content = sum(pieces[1:], pieces[0])
    query = np.zeros((1, 12, 12), np.float32) + prior.absent.numpy().sum(0)
    groups = np.zeros((1, 12), int) if groups is None else groups
    return np.asarray(prior.states(content, query, rounds, groups, *GRID))


def test_a_position_is_predicted_from_earlier_rounds_of_its_group_alone(net):
    rng = np.random.default_rng(5)
    rounds, groups = rng.integers(0, 4, (1, 12)), rng.integers(0, 2, (1, 12))
    index = tokens()
    base = states(net, index, rounds, groups)
    seen = 0
    for j in range(12):
        changed = index.copy()
        changed[0, j] = (changed[0, j] + 7) % 16
        moved = np.abs(states(net, changed, rounds, groups) - base).max(-1)[0] > 1e-5
        may = (groups[0] == groups[0, j]) & (rounds[0] > rounds[0, j])
        assert not np.any(moved & ~may)
        assert np.array_equal(moved, may), "and from all of these"
        seen += may.sum()
    assert seen > 5


def test_one_pass_is_what_a_decoder_sees_round_by_round(net):
    rounds = np.random.default_rng(6).integers(0, 3, (1, 12))
    index = tokens(1)
    together = states(net, index, rounds)
    for r in range(3):
        known = np.where(rounds[..., None] < r, index, -1)
        alone = states(net, known, np.where(rounds < r, 0, 1))
        # what a known position hears of its own round differs; what is asked in round r must not when r <= 1
        if r <= 1:
            assert np.allclose(alone[rounds == r], together[rounds == r], atol=1e-5)
        kept = states(net, np.where(rounds[..., None] < r, index, 3), rounds)
        assert np.allclose(kept[rounds == r], together[rounds == r], atol=1e-5)


def test_a_stage_is_predicted_from_the_stages_before_it(net):
    index = tokens(2)
    prior, books = net.prior, net.books()
    state = states(net, index, np.zeros((1, 12), int))

    def logits(index):
        prefixes = prior.prefixes(prior.pieces(index, books))
        return [np.asarray(prior.logits(state, p, books[s], s)) for s, p in enumerate(prefixes)]

    base = logits(index)
    for s in range(3):
        changed = index.copy()
        changed[..., s] = (changed[..., s] + 1) % 16
        moved = [
            not np.allclose(a, b, atol=1e-5) for a, b in zip(base, logits(changed), strict=True)
        ]
        assert moved == [t > s for t in range(3)]


def test_a_prior_begins_at_how_often_codes_are_used_and_with_vectors_that_hold_the_latents(net):
    prior = net.prior
    rng = np.random.default_rng(7)
    usage = [rng.uniform(0, 5, 16) for _ in range(3)]
    books = [book.numpy() for book in net.books()]
    prior.start(books, usage, rng)
    share = usage[1] / usage[1].sum()
    bias = prior.bias.numpy()[1]
    assert np.allclose(np.exp(bias) / np.exp(bias).sum(), share, atol=2e-3)
    index = rng.integers(0, 16, (1, 300, 3))
    vector = np.asarray(sum(prior.pieces(index, net.books())))[0, :, :6]
    y_hat = sum(book[index[0, :, s]] for s, book in enumerate(books))
    back = np.linalg.lstsq(vector, y_hat, rcond=None)[0]
    assert np.allclose(vector @ back, y_hat, atol=1e-2), "the first half is a map of y_hat"
    assert 0.3 < vector.std() < 3


def test_places():
    cfg = TokenPriorConfig(rows=4, columns=4, reach_y=1, reach_x=2)
    y, x = place_buckets(cfg, 2, 8)
    assert y.tolist() == [1] * 8 + [3] * 8
    assert x[:8].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    entries = relative_entries(cfg, 2, 3)
    assert entries.max() < cfg.entries
    assert (np.diag(entries) == cfg.entries // 2).all()
    assert entries[0, 4] != entries[4, 0]
    assert entries[0, 1] == entries[1, 2] == entries[3, 4]


def test_heads_begin_by_looking_at_neighbours():
    cfg = TokenPriorConfig(dim=12, heads=6, reach_y=2, reach_x=2)
    entries = relative_entries(cfg, 3, 3)[4]  # of the middle
    best = [[int(v) for v in first_biases(cfg, b)[entries].argmax(0)] for b in (0, 1)]
    assert best == [[3, 5, 1, 7, 4, 4], [0, 2, 6, 8, 4, 4]]
    assert first_biases(cfg, 2).shape == (25, 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codes": 100}, "power of two"),
        ({"dim": 13}, "at most the transforms' latent"),
        ({"stages": 0}, "at least 1"),
        ({"mend": 1}, "multiple of 5"),
        ({"mend": -1}, "0 blocks"),
        ({"survivors": 0}, "survivors must be at least 1"),
        ({"prior": {**PRIOR, "heads": 5}}, "multiple of heads"),
    ],
)
def test_bad_sizes_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TokenConfig(**{**SMALL, **change})
