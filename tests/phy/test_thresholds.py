"""The shipped error rates: complete, with enough counts, and true of blocks that were not measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from linksim.errors import BudgetError
from linksim.phy import thresholds
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE
from linksim.phy.measure_bler import count_errors
from linksim.phy.transport_block import layout
from linksim.seeds import Seed

CODE = Ldpc5G()


def entries() -> list[dict]:
    assert thresholds.DATA.is_file(), "the measured table is missing"
    return json.loads(thresholds.DATA.read_text())["entries"]


def plan_of(mcs, symbols):
    return CODE.plan(symbols, mcs.num_bits_per_symbol, mcs.target_rate)


def test_the_table_is_of_the_default_decoder():
    decoder = json.loads(thresholds.DATA.read_text())["decoder"]
    for name in ("backend", "profile", "num_iter"):
        assert decoder[name] == getattr(CODE, name)


def test_every_mcs_was_measured_at_several_sizes():
    sizes: dict[str, set[int]] = {}
    for entry in entries():
        sizes.setdefault(entry["mcs"], set()).add(entry["size"])
    assert set(sizes) == {mcs.name for mcs in TABLE}
    assert min(len(s) for s in sizes.values()) >= 2


def test_every_waterfall_has_100_errors_near_one_in_a_hundred():
    for entry in entries():
        near = [e for _, e, n in entry["points"] if 0.003 < e / n < 0.03]
        assert near, entry["mcs"]
        assert max(near) >= 100, (entry["mcs"], entry["block_bits"])


def test_entries_describe_blocks_that_the_code_makes():
    for entry in entries():
        block = layout(entry["num_symbols"], entry["num_bits_per_symbol"], entry["target_rate"])
        assert (block.block_bits, block.base_graph) == (entry["block_bits"], entry["base_graph"])
        assert block.num_code_blocks == 1


def test_the_fit_goes_through_the_counts():
    """Each count of 100 errors and more below 20 % lies within 0.15 dB of its line."""
    worst = 0.0
    from scipy.special import ndtri

    for entry in entries():
        middle, width = thresholds.fit(entry["points"])
        for snr, errors, blocks in entry["points"]:
            if errors >= 100 and errors < 0.2 * blocks:
                worst = max(worst, abs(middle - width * ndtri(errors / blocks) - snr))
    assert worst < 0.15


@pytest.mark.parametrize("symbols", [60, 512, 2048, 16384])
def test_rates_fall_with_snr_and_rise_with_the_mcs(symbols):
    snr = np.linspace(-15, 45, 601)
    curves = []
    for mcs in TABLE:
        try:
            plan = plan_of(mcs, symbols)
        except BudgetError:
            continue
        rate = CODE.error_rate(snr, plan)
        assert rate.shape == snr.shape
        assert (np.diff(rate) <= 0).all()
        assert rate[0] > 0.999
        assert rate[-1] < 1e-9
        curves.append((snr[np.argmax(rate < 0.01)], mcs))
    for order in (2, 4, 6, 8):
        needed = [need for need, m in curves if m.num_bits_per_symbol == order]
        assert needed, order
        if (
            symbols > 100
        ):  # below, table 5.1.3.2-1's steps and the base graph's change outweigh an MCS's
            assert (np.diff(needed) > -0.11).all(), order


@pytest.mark.parametrize(
    ("index", "symbols"), [(3, 4000), (9, 1300), (14, 2600), (20, 700), (31, 400)]
)
def test_a_block_that_was_not_measured_behaves_as_foretold(index, symbols):
    mcs = TABLE[index]
    plan = plan_of(mcs, symbols)
    grid = np.arange(-15, 40, 0.01)
    at = float(grid[np.argmax(CODE.error_rate(grid, plan) < 0.1)])
    seed = Seed.root(1).child(index)
    below, n_below = count_errors(CODE, plan, at - 0.15, seed.child("below"), 10**9, 400)
    above, n_above = count_errors(CODE, plan, at + 0.15, seed.child("above"), 10**9, 400)
    assert below / n_below > 0.1
    assert above / n_above < 0.1


def test_a_transport_block_fails_with_any_of_its_code_blocks():
    plan = plan_of(TABLE[20], 12288)
    block = layout(12288, plan.num_bits_per_symbol, plan.target_rate)
    assert block.num_code_blocks > 2
    single = replace(
        block,
        num_code_blocks=1,
        info_bits=block.info_bits / block.num_code_blocks,  # the same rate
        lengths=(sum(block.lengths) / block.num_code_blocks,),
    )
    snr = np.arange(6.0, 8.0, 0.1)
    one = thresholds.transport_block_error_rate(snr, single)
    all_of_them = thresholds.transport_block_error_rate(snr, block)
    np.testing.assert_allclose(all_of_them, 1 - (1 - one) ** block.num_code_blocks, atol=1e-12)


def test_one_waterfall_is_fitted_exactly_and_counts_without_one_are_refused():
    from scipy.special import ndtr

    snr = np.array([1.0, 1.2, 1.4])
    points = [(s, round(1e6 * ndtr((1.1 - s) / 0.2)), 10**6) for s in snr]
    assert thresholds.fit(points) == pytest.approx((1.1, 0.2), abs=1e-3)
    with pytest.raises(ValueError, match="no waterfall"):
        thresholds.fit([(1.0, 5, 10), (2.0, 0, 10)])
