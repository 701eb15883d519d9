"""The masked transformer in exact arithmetic: as the network, the same in one pass and round by round."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tokens_small import SMALL, arrays

from linksim import quiet
from linksim.codec.exact import PRECISION, exp_table
from linksim.codec.fixed_tokens import BOOK_LIMIT, FixedTokens, Rounds
from linksim.errors import ComponentError
from linksim.model.token_grid import TokenPriorConfig

GRID = (4, 5)
STAGES, CODES = SMALL["stages"], SMALL["codes"]


def fixed(seed: int = 0) -> FixedTokens:
    weights = arrays(seed)
    books = [weights[f"q.stage{s}/codebook"] for s in range(STAGES)]
    return FixedTokens(weights, TokenPriorConfig(**SMALL["prior"]), books)


def sequences(count: int, seed: int = 0):
    """Positions [n,m], rounds [n,m] and tokens [n,m,S] of sequences of several lengths."""
    rng = np.random.default_rng(seed)
    most = 9
    position = np.full((count, most), -1)
    rounds = np.zeros((count, most), np.int64)
    index = np.full((count, most, STAGES), -1)
    for b in range(count):
        m = most - b % 3
        position[b, :m] = rng.permutation(GRID[0] * GRID[1])[:m]
        rounds[b, :m] = np.sort(rng.integers(0, 4, m))
        depth = rng.integers(1, STAGES + 1, m)
        tokens = rng.integers(0, CODES, (m, STAGES))
        index[b, :m] = np.where(np.arange(STAGES) < depth[:, None], tokens, -1)
    return position, rounds, index


def test_float_and_exact_transformer_agree():
    quiet.load("keras")
    from keras import ops

    from linksim.model.store import assign
    from linksim.model.token_net import TokenConfig, TokenNet

    net = TokenNet(TokenConfig(**SMALL))
    assign(net, arrays())
    exact = fixed()
    rng = np.random.default_rng(1)
    total = GRID[0] * GRID[1]
    index = rng.integers(0, CODES, (2, total, STAGES))
    index[rng.random((2, total)) < 0.3, 2:] = -1
    order = rng.permutation(total)
    rounds = np.empty((2, total), np.int64)
    rounds[:, order] = np.arange(total) // 4
    pieces = net.prior.pieces(index, net.books())
    content = sum(pieces)
    prefixes = net.prior.prefixes(pieces)
    state = net.prior.states(content, prefixes[0], rounds, np.zeros_like(rounds), *GRID)
    got = np.empty((2, total, exact.cfg.dim))
    got[:, order] = exact.states(np.tile(order, (2, 1)), rounds[:, order], index[:, order], GRID)
    assert np.abs(np.asarray(state)).max() > 1
    assert np.abs(got / 1024 - np.asarray(state)).max() < 0.02
    peaks = []
    for s in range(STAGES):
        logits = net.prior.logits(state, prefixes[s], net.books()[s], s)
        wanted = np.asarray(ops.softmax(logits, -1))
        prefix = exact.prefix(index, s)
        counts = exact.counts(got.reshape(-1, exact.cfg.dim), prefix.reshape(-1, exact.cfg.dim), s)
        assert (counts.sum(-1) == 1 << PRECISION).all() and counts.min() >= 1
        assert np.abs(counts.reshape(wanted.shape) / 2.0**PRECISION - wanted).max() < 0.02
        peaks.append(wanted.max())
        token = np.maximum(index[..., s], 0).reshape(-1)
        bits = exact.bits(
            got.reshape(-1, exact.cfg.dim), prefix.reshape(-1, exact.cfg.dim), s, token
        )
        real = PRECISION - np.log2(np.take_along_axis(counts, token[:, None], 1)[:, 0])
        # the floor of a count and its rounding show where it is small
        assert np.abs(bits - real)[real < 12].max() < 0.01 and np.abs(bits - real).max() < 1
    assert min(peaks) > 4 / CODES, "the tables are not flat"
    estimate = np.asarray(net.prior.estimate(state))
    assert np.abs(exact.estimate(got) - estimate).max() < 0.01 * np.abs(estimate).max()
    there = (index >= 0).astype(np.float32)
    codes = np.asarray(net.codes_of(index[:, None], there[:, None]))[:, 0]
    assert np.abs(exact.code(index) - codes).max() < 1e-5


def test_round_by_round_gives_the_same_states_as_one_pass():
    exact = fixed()
    position, rounds, index = sequences(7)
    whole = exact.states(position, rounds, index, GRID)
    steps = Rounds(exact, len(position), position.shape[1], GRID)
    seen = 0
    for r in range(4):
        rows = np.flatnonzero(((rounds == r) & (position >= 0)).any(1))
        mine = np.where(rounds[rows] == r, position[rows], -1)
        found = steps.ask(rows, mine)
        here = mine >= 0
        assert np.array_equal(found[here], whole[rows][here]), f"round {r}"
        seen += here.sum()
        steps.tell(rows, mine, index[rows])
    assert seen == (position >= 0).sum()


def test_neither_company_nor_chunks_nor_what_nobody_sees_matter(monkeypatch):
    exact = fixed()
    position, rounds, index = sequences(7)
    whole = exact.states(position, rounds, index, GRID)
    for b in range(7):
        m = int((position[b] >= 0).sum())
        alone = exact.states(
            position[b : b + 1, :m], rounds[b : b + 1, :m], index[b : b + 1, :m], GRID
        )
        assert np.array_equal(alone[0], whole[b, :m])
    monkeypatch.setattr("linksim.codec.fixed_tokens.CHUNK", 400)
    assert np.array_equal(exact.states(position, rounds, index, GRID), whole)
    # a later round's tokens change nothing for those before
    other = np.where((rounds >= 2)[..., None] & (index >= 0), (index + 1) % CODES, index)
    changed = exact.states(position, rounds, other, GRID)
    early = (rounds <= 2) & (position >= 0)
    assert np.array_equal(changed[early], whole[early])
    assert not np.array_equal(changed, whole)


@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_and_other_threads_give_the_same(threads):
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3];"
        "from test_fixed_tokens import fixed, sequences, GRID; import hashlib;"
        "print(hashlib.sha256(fixed().states(*sequences(40), GRID).tobytes()).hexdigest())"
    )
    here = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", script, str(here), str(here.parent)],
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads, "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stderr
    import hashlib

    states = fixed().states(*sequences(40), GRID)
    assert run.stdout.split()[-1] == hashlib.sha256(states.tobytes()).hexdigest()


def test_values_stay_where_sums_are_exact():
    from linksim.codec import exact

    # the longest sums: a layer of 1024 inputs, a convolution of 9 x 128, attention over 512 places
    assert 1152 * exact.LIMIT * exact.WEIGHT_LIMIT < 2.0**53
    assert 512 * exp_table()[0] * exact.LIMIT < 2.0**53
    # codes: into vectors, and under the heads' outputs
    assert 64 * BOOK_LIMIT * max(exact.LIMIT, exact.WEIGHT_LIMIT) < 2.0**53


def test_codes_too_large_are_refused():
    weights = arrays()
    books = [40 * weights[f"q.stage{s}/codebook"] for s in range(STAGES)]
    with pytest.raises(ComponentError, match="exact arithmetic reaches to 32"):
        FixedTokens(weights, TokenPriorConfig(**SMALL["prior"]), books)
