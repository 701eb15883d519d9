"""Layouts: every position in one packet, spread as promised, and what predicts what."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linksim.codec.token_layout import INTERLEAVES, Layout, dispersed, padded, tiles


@st.composite
def layouts(draw) -> Layout:
    rows, columns = draw(st.integers(1, 20)), draw(st.integers(1, 20))
    packets = draw(st.integers(1, min(30, rows * columns)))
    return Layout(
        rows,
        columns,
        packets,
        draw(st.sampled_from(INTERLEAVES)),
        draw(st.integers(1, packets)),
        draw(st.integers(packets, rows * columns * 8)),
        rounds=draw(st.integers(1, 4)),
    )


@settings(max_examples=60, deadline=None)
@given(layouts())
def test_laws_of_a_layout(layout):
    total = layout.positions
    assert sorted(layout.order.tolist()) == list(range(total))
    sizes = np.bincount(layout.packet_of, minlength=layout.packets)
    assert sizes.max() - sizes.min() <= 1, "packets have the same number of positions, or one less"
    assert layout.depth.sum() == layout.tokens
    assert layout.depth.max() - layout.depth.min() <= 1
    tokens = np.bincount(layout.packet_of, weights=layout.depth, minlength=layout.packets)
    assert tokens.min() >= 1, "no packet is empty"
    assert tokens.max() - tokens.min() <= 1 + layout.depth.max(), "and none much fuller"
    sent = layout.round_of >= 0
    assert np.array_equal(sent, layout.depth > 0)
    # rounds of a packet are its own in its description, in the order of its packets
    in_packet = layout.round_of[sent] // layout.rounds
    assert np.array_equal(in_packet, layout.packet_of[sent] // layout.descriptions)


@settings(max_examples=40, deadline=None)
@given(layouts(), st.randoms(use_true_random=False))
def test_a_packet_needs_the_earlier_ones_of_its_description(layout, rng):
    arrived = np.array([rng.random() < 0.7 for _ in range(layout.packets)])
    found = layout.decodable(arrived)
    for p in range(layout.packets):
        assert found[p] == (arrived[p] and all(arrived[q] for q in layout.context(p)))
        assert layout.rank(p) == len(layout.context(p))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (8, 8), (5, 13), (32, 48), (128, 128)])
def test_every_run_of_the_dispersed_order_is_spread(rows, columns):
    order = dispersed(rows, columns)
    assert sorted(order.tolist()) == list(range(rows * columns))
    if rows * columns >= 64:
        y, x = np.divmod(order, columns)
        for start in range(0, rows * columns - 16, 16):
            run = slice(start, start + 16)
            quarters = np.bincount(2 * (2 * y[run] // rows) + 2 * x[run] // columns, minlength=4)
            least = 4 if start < rows * columns // 2 else 3  # what is left at the end is less even
            assert (quarters > 0).sum() >= least, f"16 positions from {start}: {quarters}"


def test_lattices_keep_a_packet_apart_and_raster_keeps_it_together():
    def nearest(interleave):
        layout = Layout(10, 10, 10, interleave)
        found = []
        for p in range(10):
            y, x = np.divmod(np.flatnonzero(layout.packet_of == p), 10)
            apart = (y[:, None] - y) ** 2 + (x[:, None] - x) ** 2
            found.append(np.sort(apart[~np.eye(len(y), dtype=bool)])[0])
        return min(found)

    assert nearest("checker") == 10, "the best lattice of index 10 has distance sqrt(10)"
    assert nearest("raster") == 1
    assert np.array_equal(
        Layout(4, 4, 2, "checker", 2).packet_of.reshape(4, 4) % 2,
        (np.arange(4)[:, None] + np.arange(4)) % 2,
    )


def test_tiles_are_small_and_cover():
    assert np.unique(tiles(8, 16)).tolist() == [0]
    found = tiles(20, 48).reshape(20, 48)
    assert np.bincount(found.reshape(-1)).tolist() == [160] * 6
    assert found[9, 15] == 0 and found[10, 15] == 3 and found[9, 16] == 1
    assert padded(1, 17) == (1, 2)


@pytest.mark.parametrize(
    ("count", "wanted"), [(1, [0]), (6, [0, 1, 1, 2, 2, 2]), (7, [0, 1, 1, 2, 2, 2, 2])]
)
def test_rounds_grow(count, wanted):
    assert Layout(8, 8).steps(count).tolist() == wanted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rows": 0}, "1..16384 positions, got 0 x 8"),
        ({"rows": 200, "columns": 200}, "got 200 x 200"),
        ({"packets": 65}, "packets must be 1..64 for 64 positions, got 65"),
        ({"packets": 0}, "packets must be"),
        ({"interleave": "spiral"}, "interleave must be one of raster, checker, random"),
        ({"descriptions": 11}, "descriptions must be 1..10, got 11"),
        ({"tokens": 9}, "tokens must be 10..512 for 10 packets"),
        ({"tokens": 513}, "got 513"),
        ({"sent": 16}, "descriptions: 1"),
        ({"sent": 65, "descriptions": 1}, "sent must be 0..64"),
        ({"sent": 16, "descriptions": 1, "tokens": 15}, "tokens must be 16..128"),
        ({"rounds": 0}, "rounds"),
    ],
)
def test_a_wrong_layout_says_what_would_do(given, message):
    with pytest.raises(ValueError, match=message) as caught:
        Layout(**{"rows": 8, "columns": 8, **given})
    assert "\n" not in str(caught.value)
