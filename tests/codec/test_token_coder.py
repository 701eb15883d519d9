"""Tokens in packets: exact at both ends, as long as their information, safe against any bytes and any loss."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from test_fixed_tokens import CODES, STAGES, fixed
from tokens_small import arrays

from linksim.codec.token_coder import TokenCoder
from linksim.codec.token_layout import INTERLEAVES, Layout


def coder(prior: str = "transformer", seed: int = 0) -> TokenCoder:
    usage = [arrays(seed)[f"q.stage{s}/usage"].astype(np.float64) for s in range(STAGES)]
    return TokenCoder(fixed(seed), usage, prior)


def tokens(count: int, rows: int = 4, columns: int = 5, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, CODES, (count, rows, columns, STAGES)).astype(np.int16)


def layout(tokens=45, descriptions=4, packets=4, rows=4, columns=5, **more) -> Layout:
    more = {"stages": STAGES, **more}
    return Layout(rows, columns, packets, descriptions=descriptions, tokens=tokens, **more)


def packed(end: TokenCoder, index: np.ndarray, plans: list[Layout]) -> list[list[bytes]]:
    return [list(one.bodies) for one in end.pack(index, plans)]


def expected(
    index: np.ndarray, plan: Layout, arrived: np.ndarray, heads: np.ndarray | None = None
) -> np.ndarray:
    """What must be read."""
    read = plan.decodable(arrived)
    heads = np.zeros_like(read) if heads is None else heads
    deep = np.where(read[plan.packet_of], plan.depth, np.where(heads[plan.packet_of], plan.base, 0))
    sent = np.arange(STAGES) < deep.reshape(plan.rows, plan.columns, 1)
    return np.where(sent, index, -1)


@pytest.mark.parametrize("prior", ["transformer", "order-0", "none"])
@pytest.mark.parametrize("descriptions", [1, 2, 3, 4])
def test_round_trip_with_any_packets_lost(prior, descriptions):
    here, there = coder(prior), coder(prior)
    plans = [
        layout(t, descriptions, interleave=i)
        for t, i in zip((80, 45, 23, 7), (*INTERLEAVES, "raster"), strict=True)
    ]
    index = tokens(4)
    bodies = packed(here, index, plans)
    rng = np.random.default_rng(descriptions)
    for lost in (0.0, 0.3, 1.0):
        arrived = rng.random((4, 4)) >= lost
        got = there.unpack(
            [
                [data if ok else None for data, ok in zip(row, oks, strict=True)]
                for row, oks in zip(bodies, arrived, strict=True)
            ],
            plans,
        )
        for b in range(4):
            assert np.array_equal(got[b].decodable, plans[b].decodable(arrived[b]))
            assert np.array_equal(got[b].index, expected(index[b], plans[b], arrived[b]))
            assert got[b].index.dtype == np.int16


@pytest.mark.parametrize("prior", ["transformer", "order-0", "none"])
def test_a_base_layer_is_what_bodies_begin_with(prior):
    """Whole bodies give all, heads the first stages of their positions, whatever else is lost."""
    here, there = coder(prior), coder(prior)
    plans = [
        layout(t, base=base, interleave=i)
        for t, base, i in zip((80, 45, 26, 79), (3, 2, 1, 1), (*INTERLEAVES, "raster"), strict=True)
    ]
    index = tokens(4)
    found = here.pack(index, plans)
    costs = here.bits(index, plans)
    for one, cost in zip(found, costs, strict=True):
        assert cost.shape == (4, 2)
        for data, need in zip(one.bodies, cost.sum(1), strict=True):
            assert abs(8 * len(data) - need) <= 16
        assert cost[:, 0].max() / 8 - 1 <= one.head <= cost[:, 0].max() / 8 + 3
    rng = np.random.default_rng(2)
    for lost, cut in ((0.0, 0.0), (0.3, 0.3), (0.0, 1.0), (0.5, 0.5)):
        state = rng.random((4, 4))
        gone, heads = state < lost, (state >= lost) & (state < lost + cut)
        kept = [
            [
                None if gone[b, p] else data[: one.head] if heads[b, p] else data
                for p, data in enumerate(one.bodies)
            ]
            for b, one in enumerate(found)
        ]
        for b, read in enumerate(there.unpack(kept, plans, heads)):
            assert np.array_equal(read.decodable, ~gone[b] & ~heads[b])
            wanted = expected(index[b], plans[b], read.decodable, heads[b])
            assert np.array_equal(read.index, wanted)
    mixed = [plans[0], layout(45), layout(60, 1), plans[3]]
    together = here.pack(index, mixed)
    assert together[0] == found[0] and together[3] == found[3]
    assert [one.head > 0 for one in together] == [True, False, False, True]
    for b in range(4):
        assert here.pack(index[b : b + 1], mixed[b : b + 1])[0] == together[b]
        read = there.unpack([one.bodies for one in together], mixed)[b]
        assert np.array_equal(read.index, expected(index[b], mixed[b], np.ones(4, bool)))


@pytest.mark.parametrize("prior", ["transformer", "order-0", "none"])
def test_bodies_are_as_long_as_their_information(prior):
    here = coder(prior)
    index = tokens(6, 8, 8, seed=1)
    plans = [
        layout(t, d, 4, 8, 8) for t, d in ((256, 4), (256, 1), (200, 2), (130, 4), (64, 1), (20, 4))
    ]
    bits = here.bits(index, plans)
    bodies = packed(here, index, plans)
    total, wanted = 0, 0.0
    for row, cost in zip(bodies, bits, strict=True):
        for data, need in zip(row, cost.sum(1), strict=True):
            assert need - 16 <= 8 * len(data) <= 8 * math.ceil(need / 8) + 8
            total, wanted = total + 8 * len(data), wanted + need
    assert wanted <= total <= 1.02 * wanted
    if prior == "none":
        fixed_length = [p.tokens * math.log2(CODES) for p in plans]
        assert np.allclose([b.sum() for b in bits], fixed_length, atol=1e-3)


def test_costs_of_sequences_are_kept():
    here = coder()
    index = tokens(2)
    known: dict = {}
    first = here.bits(index, [layout(45), layout(45)], known)
    assert len(known) == 8
    # one token more concerns one packet
    more = here.bits(index, [layout(46), layout(45)], known)
    assert len(known) == 9
    assert (more[0] != first[0]).any(1).sum() == 1 and np.array_equal(more[1], first[1])
    assert all(
        np.array_equal(a, b)
        for a, b in zip(more, here.bits(index, [layout(46), layout(45)]), strict=True)
    )


def test_a_picture_does_not_depend_on_its_company():
    here = coder()
    index = tokens(3)
    plans = [layout(45), layout(60, 1), layout(33, 2)]
    together = packed(here, index, plans)
    reads = here.unpack(together, plans)
    for b in (2, 0, 1):
        assert packed(here, index[b : b + 1], plans[b : b + 1])[0] == together[b]
        alone = here.unpack(together[b : b + 1], plans[b : b + 1])[0]
        assert np.array_equal(alone.index, reads[b].index)


def test_pictures_of_other_sizes_side_by_side():
    here = coder()
    big, small = tokens(1, 3, 40, seed=2), tokens(1, 4, 5)
    plans = [layout(300, 2, 6, 3, 40), layout(45)]
    bodies = [packed(here, part, [plan])[0] for part, plan in zip((big, small), plans, strict=True)]
    got = here.unpack(bodies, plans)
    assert np.array_equal(got[0].index, expected(big[0], plans[0], np.ones(6, bool)))
    assert np.array_equal(got[1].index, expected(small[0], plans[1], np.ones(4, bool)))


@pytest.mark.parametrize(("rows", "columns", "lost"), [(4, 5, 9), (4, 5, 2), (3, 20, 9)])
def test_chosen_positions_need_no_signal(rows, columns, lost):
    here, there = coder(), coder()
    index = tokens(2, rows, columns)
    plans = [layout(t, 1, 3, rows, columns, sent=n) for t, n in ((21, 9), (8, 8))]
    bodies = packed(here, index, plans)
    got = there.unpack(
        [[d if p < lost else None for p, d in enumerate(row)] for row in bodies], plans
    )
    for b, plan in enumerate(plans):
        known = got[b].index >= 0
        assert np.array_equal(got[b].index[known], index[b][known])
        if lost > plan.packets:
            assert known.any(-1).sum() == plan.sent and known.sum() == plan.tokens
        else:
            assert 0 < known.sum() < plan.tokens
        assert got[b].decodable.tolist() == [p < lost for p in range(3)]
    places = [tuple(np.flatnonzero(read.index[..., 0].reshape(-1) >= 0)) for read in got]
    assert places[0] != places[1], "what is chosen depends on the picture and the number"
    costs = here.bits(index, plans)
    assert all(
        abs(8 * len(d) - c) <= 16
        for row, cost in zip(bodies, costs, strict=True)
        for d, c in zip(row, cost.sum(1), strict=True)
    )


def test_another_process_reads_the_same():
    here, index, plan = coder(), tokens(1, seed=7), layout(70, 2)
    bodies = packed(here, index, [plan])[0]
    script = (
        "import sys; sys.path[:0] = sys.argv[1:3];"
        "from test_token_coder import coder, layout; import numpy as np;"
        "read = coder().unpack([[bytes.fromhex(d) for d in sys.argv[3:]]], [layout(70, 2)])[0];"
        "print(*read.index.reshape(-1))"
    )
    folder = Path(__file__).parent
    run = subprocess.run(
        [sys.executable, "-c", script, str(folder), str(folder.parent), *(d.hex() for d in bodies)],
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stderr
    wanted = expected(index[0], plan, np.ones(4, bool))
    assert np.array_equal(np.array(run.stdout.split(), int), wanted.reshape(-1))


@pytest.mark.parametrize("prior", ["transformer", "order-0"])
def test_any_bytes_give_a_read(prior):
    here, plans = coder(prior), [layout(45), layout(45, 1), layout(21, 1, 3, sent=9)]
    plans = plans[: 3 if prior == "transformer" else 2]
    rng = np.random.default_rng(3)
    for _ in range(12):
        bodies = [[rng.bytes(int(n)) for n in rng.integers(0, 40, 4)] for _ in plans]
        for read, plan in zip(here.unpack(bodies, plans), plans, strict=True):
            assert read.index.shape == (4, 5, STAGES)
            assert read.index.min() >= -1 and read.index.max() < CODES
            known = (read.index[..., 0] >= 0).reshape(-1)
            if not plan.sent:
                assert np.array_equal(known, read.decodable[plan.packet_of] & (plan.depth > 0))
    # far too long, far too short, too few and too many packets
    good = packed(here, tokens(1), [plans[0]])[0]
    read = here.unpack([[good[0] + bytes(99), b"", good[2]]], [plans[0]])[0]
    assert read.decodable.tolist() == [False, False, True, False]
    assert here.unpack([[*good, *good]], [plans[0]])[0].decodable.all()


def test_a_wrong_request_says_what_would_do():
    with pytest.raises(ValueError, match="4 stages, the layout asks for 8"):
        coder().pack(tokens(1), [layout(45, stages=8)])
    with pytest.raises(ValueError, match="needs prior: transformer, got 'order-0'"):
        coder("order-0").pack(tokens(1), [layout(9, 1, 3, sent=9)])
    bare = TokenCoder(None, [np.ones(CODES)] * STAGES, "transformer")
    with pytest.raises(ValueError, match="these weights have no prior"):
        bare.pack(tokens(1), [layout()])
