"""The token codec: budgets kept, any packets lost, pictures that depend on their own seed and packets alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pictures_small import pictures
from tokens_small import SMALL, write

from linksim.codec.token_coder import Read
from linksim.codec.token_fill import CONCEALMENTS, Filler, averaged
from linksim.codec.tokens import MOST_TRIES, Layout, TokenCodec, _Search, padded
from linksim.errors import ComponentError
from linksim.seeds import FrameSeeds

SIZE = (40, 60)
GRID = padded(*SIZE)
STAGES = SMALL["stages"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(scope="module")
def codec(weights) -> TokenCodec:
    return TokenCodec(weights)


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return pictures(3, *SIZE, seed=5)


def base(**more) -> Layout:
    more = {"packets": 4, "descriptions": 4, "tokens": 20, "stages": STAGES, **more}
    return Layout(*GRID, **more)


def test_pictures_of_any_size_become_tokens(codec, images):
    tokens = codec.tokenise(images)
    assert tokens.shape == (3, 3, 4, STAGES) and tokens.dtype == np.int16
    assert tokens.min() >= 0 and tokens.max() < SMALL["codes"] and len(np.unique(tokens)) > 8
    alone = codec.tokenise(images[1:2])
    assert np.array_equal(alone[0], tokens[1])
    wide = np.pad(images, ((0, 0), (0, 8), (0, 4), (0, 0)), "edge")
    assert np.array_equal(codec.tokenise(wide), tokens), "padding repeats the border"
    assert codec.tokenise(images[:0]).shape == (0, 3, 4, STAGES)


@pytest.mark.parametrize("prior", ["transformer", "order-0", "none"])
@pytest.mark.parametrize("descriptions", [1, 4])
def test_budgets_are_kept_and_used(weights, images, prior, descriptions):
    codec = TokenCodec(weights, prior)
    tokens = codec.tokenise(images)
    plan = base(descriptions=descriptions)
    budgets = [24, 30, 38]
    tokens[1:] = tokens[0]
    found = codec.fit(tokens, plan, budgets, overhead=3)
    assert all(layout is not None for layout in found)
    sent = codec.pack(tokens, found)
    for b, (layout, bodies) in enumerate(zip(found, sent, strict=True)):
        used = sum(len(data) + 3 for data in bodies.bodies)
        assert used <= budgets[b]
        assert used >= budgets[b] - 6 or layout.tokens == layout.most
        if layout.tokens < layout.most:
            more = min(layout.most, layout.tokens + 10)
            cost = codec.estimate(tokens[b : b + 1], [replace(layout, tokens=more)])[0]
            assert np.ceil(cost.sum(1) / 8).sum() + 12 > budgets[b]
    assert found[0].tokens < found[1].tokens <= found[2].tokens
    alone = codec.fit(tokens[1:2], plan, budgets[1:2], overhead=3)
    assert alone == found[1:2], "what fits a picture does not depend on its company"


def test_budgets_at_the_ends(codec, images):
    tokens = codec.tokenise(images)
    found = codec.fit(tokens, base(), [3, 10**6, 12], overhead=2)
    assert found[0] is None and found[1].tokens == found[1].most
    assert found[2] is None or codec.estimate(tokens[2:], found[2:])[0].sum() <= 32
    tight = codec.fit(tokens, base(), [10**6] * 3, largest=4)
    for layout, bodies in zip(tight, codec.pack(tokens, tight), strict=True):
        assert layout.tokens < layout.most and max(map(len, bodies.bodies)) <= 4


def test_the_same_tokens_give_the_same_picture_at_any_prior(weights, codec, images):
    tokens = codec.tokenise(images)
    plans = [base(tokens=48), base(tokens=30), base(tokens=30, descriptions=1)]
    seeds = FrameSeeds.of(1, 3)
    shown = []
    for prior in ("transformer", "order-0", "none"):
        end = TokenCodec(weights, prior)
        reads = end.unpack([one.bodies for one in end.pack(tokens, plans)], plans)
        shown.append(end.conceal(reads, plans, *SIZE, seeds))
        assert shown[-1].shape == images.shape and shown[-1].dtype == np.uint8
    assert np.array_equal(shown[0], shown[1]) and np.array_equal(shown[0], shown[2])
    for how in CONCEALMENTS:
        same = codec.conceal(reads, plans, *SIZE, seeds, how, steps=2, samples=2)
        assert np.abs(same.astype(int) - shown[0]).max() <= 1, (
            "nothing is lost, nothing is filled in"
        )


@pytest.mark.parametrize("how", CONCEALMENTS)
def test_a_picture_depends_on_its_own_packets_and_seed(codec, images, how):
    tokens = codec.tokenise(images)
    plans = [base(tokens=40), base(tokens=20), base(tokens=30, descriptions=2)]
    bodies = [
        [data if p != 1 else None for p, data in enumerate(row.bodies)]
        for row in codec.pack(tokens, plans)
    ]
    reads, seeds = codec.unpack(bodies, plans), FrameSeeds.of(3, 3)
    together = codec.conceal(reads, plans, *SIZE, seeds, how, steps=3, samples=2)
    for rows in ([2], [1, 0]):
        part = codec.conceal(
            [reads[b] for b in rows],
            [plans[b] for b in rows],
            *SIZE,
            seeds.take(rows),
            how,
            3,
            samples=2,
        )
        assert np.array_equal(part, together[rows])
    other = codec.conceal(reads, plans, *SIZE, FrameSeeds.of(4, 3), how, steps=3, samples=2)
    assert np.array_equal(other, together) == (how in ("none", "one-shot", "mean-token"))
    if how != "none":
        none = codec.conceal(reads, plans, *SIZE, seeds, "none")
        assert not np.array_equal(none, together), "something was filled in"


def test_with_everything_lost_there_is_still_a_picture(codec, images):
    plan = base(tokens=40)
    reads = codec.unpack([[None] * 4, [b"\xff" * 40] * 4], [plan] * 2)
    assert not reads[0].decodable.any() and not reads[1].decodable.any()
    for how in CONCEALMENTS:
        shown = codec.conceal(reads, [plan] * 2, *SIZE, FrameSeeds.of(1, 2), how, 2, samples=2)
        assert shown.shape == (2, *SIZE, 3)


def test_draws_fill_what_is_lost_and_nothing_else(codec, images):
    tokens = codec.tokenise(images)
    plan = base(tokens=42)
    index = np.where(np.arange(STAGES) < plan.depth[:, None], tokens.reshape(3, 12, STAGES), -1)
    lost = np.array([[i % 3 == b for i in range(12)] for b in range(3)])
    known = np.where(lost[..., None], -1, index)
    net = codec._engine.fixed
    for steps in (1, 3, 8, 30):
        drawn = Filler(net, known, [plan] * 3).draw(FrameSeeds.of(1, 3), steps, 1.0)
        assert np.array_equal(drawn[~lost], index[~lost])
        assert np.array_equal((drawn >= 0).sum(-1), np.broadcast_to(plan.depth, (3, 12)))
    surest = [Filler(net, known, [plan] * 3).draw(FrameSeeds.of(s, 3), 4, 0.0) for s in (1, 2)]
    assert np.array_equal(*surest), "without temperature nothing is left to chance"


def test_draws_follow_the_transformer(codec):
    """The first token of a lone lost position, drawn often, has the frequencies of its table."""
    rng = np.random.default_rng(0)
    plan = base(tokens=12, stages=STAGES)
    index = np.full((12, STAGES), -1)
    index[:, 0] = rng.integers(0, SMALL["codes"], 12)
    index[5] = -1
    count = 1500
    net = codec._engine.fixed
    filler = Filler(net, np.tile(index, (count, 1, 1)), [plan] * count)
    drawn = filler.draw(FrameSeeds.of(7, count), 1, 1.0)[:, 5, 0]
    one = Filler(net, index[None], [plan])
    state = one._started().ask(*one._asking())[0]
    share = net.counts(state, net.prefix(index[None, 5], 0), 0)[0] / 2.0**20
    seen = np.bincount(drawn, minlength=len(share)) / count
    spread = np.sqrt(share * (1 - share) / count) + 1 / count
    assert (np.abs(seen - share) < 5 * spread).all() and share.max() > 2 / len(share)


def test_the_mean_token_is_the_mean_of_the_codes_and_counts_as_there(codec):
    plan = base(tokens=30)
    index = np.where(np.arange(STAGES) < plan.depth[:, None], 3, -1)
    known = index.copy()
    known[[0, 5]] = -1
    machine = codec._engine
    codes = machine.fixed.code(known[None])
    (shown,) = averaged(codes, known[None], machine.mean, [plan])
    assert np.array_equal(shown.there.reshape(12, STAGES).sum(-1), plan.depth)
    y_hat = shown.y_hat.reshape(12, -1)
    assert y_hat[1:5] == pytest.approx(codes[0, 1:5])
    share = [u / u.sum() for u in machine.usage]
    mean = sum(share[s] @ machine.books[s] for s in range(plan.depth[0]))
    assert y_hat[0] == pytest.approx(mean, abs=1e-5)


def test_a_mean_of_draws_lies_between_them(codec, images):
    plan = base(tokens=12)
    reads = [Read(np.full((*GRID, STAGES), -1, np.int16), np.zeros(4, bool))]
    seeds = FrameSeeds.of(2, 1)
    mean = codec.conceal(reads, [plan], *SIZE, seeds, "posterior-mean", steps=2, samples=8)
    one = codec.conceal(reads, [plan], *SIZE, seeds, "iterative", steps=2)
    assert np.array_equal(
        one, codec.conceal(reads, [plan], *SIZE, seeds, "posterior-mean", 2, samples=1)
    )
    assert mean.astype(float).var() < one.astype(float).var(), (
        "what differs between draws averages out"
    )


def test_between_a_draw_and_its_expectation_lies_a_line(codec, images):
    tokens = codec.tokenise(images)
    plans = [base(tokens=42)] * 3
    index = np.where(np.arange(STAGES) < plans[0].depth[:, None], tokens.reshape(3, 12, STAGES), -1)
    index[:, ::3] = -1
    filler, seeds = Filler(codec._engine.fixed, index, plans), FrameSeeds.of(1, 3)
    ends = filler.one_shot(), filler.iterative(seeds, 3, 1.0)
    for mean, draw, half in zip(*ends, filler.iterative(seeds, 3, 1.0, 0.5), strict=True):
        assert half.y_hat == pytest.approx((mean.y_hat + draw.y_hat) / 2)
        assert np.array_equal(draw.there, mean.there) and np.array_equal(half.there, mean.there)
        assert not np.array_equal(draw.y_hat, mean.y_hat)
    none = filler.iterative(seeds, 3, 1.0, 0.0)
    assert all(np.array_equal(a.y_hat, b.y_hat) for a, b in zip(none, ends[0], strict=True))


def test_wrong_requests_say_what_would_do(codec, weights, tmp_path):
    plan, seeds = base(), FrameSeeds.of(1, 1)
    reads = codec.unpack([[None] * 4], [plan])
    with pytest.raises(
        ValueError, match="none, one-shot, iterative, posterior-mean, mean-token, got 'magic'"
    ):
        codec.conceal(reads, [plan], *SIZE, seeds, "magic")
    with pytest.raises(ValueError, match="at least 1"):
        codec.conceal(reads, [plan], *SIZE, seeds, "iterative", steps=0)
    with pytest.raises(ValueError, match="temperature at least 0"):
        codec.conceal(reads, [plan], *SIZE, seeds, "iterative", temperature=float("nan"))
    with pytest.raises(ValueError, match=r"blend must be in 0\.\.1, got 1.5"):
        codec.conceal(reads, [plan], *SIZE, seeds, "iterative", blend=1.5)
    other = write(tmp_path, "other", seed=1)
    with pytest.raises(ComponentError, match="other codebooks"):
        TokenCodec(weights, decoder=other).conceal(reads, [plan], *SIZE, seeds)
    same = TokenCodec(weights, decoder=weights).conceal(reads, [plan], *SIZE, seeds)
    assert np.array_equal(same, codec.conceal(reads, [plan], *SIZE, seeds))


@pytest.mark.parametrize("dear", [0.5, 0.8, 1.3])
def test_the_search_finds_what_fits_whatever_stages_cost(dear):
    """Stages of 8 and of 2 bits in turn, pictures cheaper and dearer than the mean one: 99 % of the budget is used."""
    worth = np.array([8.2, 7.5, 2.0, 6.0, 1.0, 5.0, 7.0, 2.5])
    plan = Layout(8, 8, 4, descriptions=4, tokens=4, stages=len(worth))
    each = dear * np.repeat(worth, plan.positions) * np.linspace(1.3, 0.8, plan.most)

    def cost(tokens):  # bits of the four bodies
        return np.array([each[i:tokens:4].sum() for i in range(4)])

    for budget in range(8, int(cost(plan.most).sum() / 8) + 40, 7):
        search = _Search(plan, worth, budget, None, None)
        for _ in range(MOST_TRIES):
            if not search.done:
                search.found(np.stack([cost(search.next), np.zeros(4)], 1))
        assert search.fits is not None
        used = np.ceil(cost(search.fits) / 8).sum()
        more = np.ceil(cost(min(search.fits + 1, plan.most)) / 8).sum()
        assert used <= budget
        assert used >= 0.97 * budget - 3 or search.fits == plan.most or more > budget, budget
