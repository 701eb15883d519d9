"""The resource grid: places, order and price."""

import numpy as np
import pytest

from linksim.channel.ofdm.grid import Grid

GRIDS = [
    Grid(),
    Grid(num_subcarriers=12, num_symbols=4, cyclic_prefix=2, pilot_symbols=(1,), pilot_spacing=3),
    Grid(num_subcarriers=13, num_symbols=3, pilot_symbols=(0, 2), pilot_spacing=1, dc_null=True),
    Grid(num_subcarriers=16, num_symbols=5, pilot_symbols=(2,), guard=(3, 2)),
    Grid(num_subcarriers=8, num_symbols=2, pilot_symbols=(), cyclic_prefix=0),
]


def test_the_default_slot_is_what_the_documentation_says():
    grid = Grid()
    assert grid.num_data == 12 * 72 + 2 * 36 and len(grid.pilot_index) == 72
    assert grid.slot_uses == 14 * 77 and grid.symbol_s == pytest.approx(77 / (72 * 15e3))
    assert grid.prefix_s == pytest.approx(4.63e-6, abs=1e-8)  # 4.69 us in TS 38.211, 5.3.1


@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.num_symbols}x{g.num_subcarriers}")
def test_data_and_pilots_share_the_active_cells(grid):
    t, f = grid.num_symbols, grid.num_subcarriers
    cells = np.concatenate([grid.data_index, grid.pilot_index])
    assert len(np.unique(cells)) == len(cells) == grid.num_active * t
    assert set(cells % f) == set(grid.active)
    assert set(grid.pilot_index // f) == set(grid.pilot_symbols)
    assert grid.num_active == f - sum(grid.guard) - grid.dc_null
    np.testing.assert_allclose(np.abs(grid.pilots), 1, atol=1e-6)


@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.num_symbols}x{g.num_subcarriers}")
def test_price_and_room_are_inverse(grid):
    totals = [grid.total_uses(n) for n in range(3 * grid.num_data)]
    assert totals == sorted(totals) and totals[0] == 0
    for n, total in enumerate(totals):
        assert grid.data_uses(total) >= n
        assert grid.data_uses(total - 1) < n or n == 0
    for total in range(2 * grid.slot_uses + 5):
        data = grid.data_uses(total)
        assert grid.total_uses(data) <= total < grid.total_uses(data + 1)
    assert grid.data_uses(5 * grid.slot_uses) == 5 * grid.num_data


@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: f"{g.num_symbols}x{g.num_subcarriers}")
@pytest.mark.parametrize("share", [0.3, 1, 2.4])
def test_what_is_sent_is_what_is_charged(grid, share):
    """OFDM symbols that carry data or pilots of a begun slot are those that total_uses counts."""
    count = max(int(share * grid.num_data), 1)
    x = np.full((2, count), 3 + 4j, np.complex64)
    cells = grid.place(x)
    assert cells.shape == (2, grid.num_slots(count), grid.num_symbols, grid.num_subcarriers)
    np.testing.assert_array_equal(grid.data_of(cells, count), x)
    sent = int(cells[0].any(axis=-1).sum())
    assert sent * grid.symbol_uses == grid.total_uses(count)
    empty = np.setdiff1d(np.arange(grid.num_subcarriers), grid.active)
    assert not cells[..., empty].any()


def test_a_longer_frame_fills_the_same_places_first():
    grid = GRIDS[1]
    x = np.arange(1, 101, dtype=np.complex64)[None]
    long, short = grid.place(x), grid.place(x[:, :30])
    taken = np.isin(long[:, :1], x[:, :30])
    np.testing.assert_array_equal(long[:, :1][taken], short[taken])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"num_subcarriers": 0}, "num_subcarriers must be at least 1, got 0"),
        ({"cyclic_prefix": -1}, "cyclic_prefix must be at least 0"),
        ({"spacing_khz": 0.0}, "spacing_khz must be in"),
        ({"pilot_symbols": (3, 2)}, "pilot_symbols must be different OFDM symbols 0..13 in order"),
        ({"pilot_symbols": (14,)}, "pilot_symbols must be different OFDM symbols 0..13"),
        ({"guard": (40, 32)}, "leave 0 of 72 subcarriers"),
        ({"num_symbols": 1, "pilot_symbols": (0,), "pilot_spacing": 1}, "no subcarrier for data"),
    ],
)
def test_bad_grids(parameters, message):
    with pytest.raises(ValueError, match=message):
        Grid(**parameters)
