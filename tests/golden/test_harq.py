"""HARQ at the channel code: combining against theory, the lower-rate code, and the model that AMC decides on."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import beta

from linksim.link.harq_link import add_up
from linksim.phy import modem
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE
from linksim.types import Received
from linksim.units import n0_from_es_n0_db

CODE = Ldpc5G()


def fails(plan, es_n0_db, rvs, blocks, seed=0, chase=False):
    """[blocks] bool: whether T transmissions of a block at one Es/N0 do not deliver it."""
    rng = np.random.default_rng(seed)
    n0 = n0_from_es_n0_db(es_n0_db)
    bits = rng.integers(0, 2, (blocks, plan.info_bits), np.uint8)
    received = []
    for rv in rvs:
        x = modem.map_bits(CODE.encode(bits, plan, rv), plan.num_bits_per_symbol)
        noise = rng.standard_normal((*x.shape, 2), np.float32) * np.float32(np.sqrt(n0 / 2))
        y = x + noise.view(np.complex64)[..., 0]
        received.append(Received(y, np.ones((blocks, 1), np.complex64), np.float32(n0)))
    if chase:
        received, rvs = [add_up(received)], (0,)
    llrs = [modem.demap(*one.full(), plan.num_bits_per_symbol) for one in received]
    decoded, ok, _ = CODE.decode(np.concatenate(llrs, axis=1), plan, rvs)
    return ~ok | (decoded != bits).any(axis=1)


def interval(count, blocks, confidence=0.999):
    tail = (1 - confidence) / 2
    return (
        beta.ppf(tail, count, blocks - count + 1) if count else 0.0,
        beta.ppf(1 - tail, count + 1, blocks - count) if count < blocks else 1.0,
    )


def plan_of(mcs, symbols):
    return CODE.plan(symbols, TABLE[mcs].num_bits_per_symbol, TABLE[mcs].target_rate)


@pytest.mark.parametrize(("mcs", "symbols"), [(12, 600), (19, 500), (26, 400)])
def test_two_equal_transmissions_added_up_gain_3_db(mcs, symbols):
    """Chase combining: the error rates of two transmissions at x dB and one at x + 3.01 dB agree within intervals."""
    plan, blocks = plan_of(mcs, symbols), 400
    grid = np.arange(-10, 25, 0.01)
    at = grid[np.argmin(np.abs(CODE.error_rate(grid, plan) - 0.3))]
    one = int(fails(plan, at, (0,), blocks).sum())
    two = int(fails(plan, at - 10 * np.log10(2), (0, 0), blocks, seed=1, chase=True).sum())
    assert 40 < one < 240
    low, high = interval(one, blocks)
    other_low, other_high = interval(two, blocks)
    assert low < other_high and other_low < high, (one, two)
    # and the gain is 3 dB, not 2.8 or 3.2: 0.2 dB are far apart on a waterfall
    off = int(fails(plan, at - 3.01 - 0.4, (0, 0), blocks, seed=2, chase=True).sum())
    assert interval(off, blocks)[0] > high


@pytest.mark.parametrize(("mcs", "symbols"), [(12, 600), (13, 400)])
def test_redundancy_gives_the_lower_rate_code_within_0_2_db(mcs, symbols):
    """Two redundancy versions against one block of twice the symbols that carries the same bits."""
    plan, blocks = plan_of(mcs, symbols), 400
    double = CODE.plan(2 * symbols, plan.num_bits_per_symbol, plan.target_rate / 2)
    assert abs(double.info_bits / plan.info_bits - 1) < 0.02
    grid = np.arange(-12, 10, 0.01)
    at = grid[np.argmin(np.abs(CODE.error_rate(grid, double) - 0.3))]
    better = fails(double, at + 0.2, (0,), blocks).mean()
    worse = fails(double, at - 0.2, (0,), blocks).mean()
    combined = fails(plan, at, (0, 2), blocks, seed=1).mean()
    spread = 4 * np.sqrt(0.25 / blocks)
    assert better - spread < combined < worse + spread
    assert better + 0.2 < worse  # the bounds say something


@pytest.mark.parametrize(
    ("mcs", "symbols"), [(12, 500), (19, 500), (24, 400), (33, 400), (38, 500), (20, 120)]
)
@pytest.mark.parametrize("rvs", [(0, 2), (0, 2, 3), (0, 2, 3, 1)], ids=str)
def test_the_model_of_redundancy_is_within_0_4_db(mcs, symbols, rvs):
    """QPSK to 256-QAM: where the model says 1/2, 0.4 dB less is mostly lost and 0.4 dB more mostly arrives."""
    plan, blocks = plan_of(mcs, symbols), 96
    grid = np.arange(-15, 30, 0.02)
    rate = CODE.combined_error_rate(np.repeat(grid[:, None], len(rvs), axis=1), plan, rvs)
    at = grid[np.argmin(np.abs(rate - 0.5))]
    assert fails(plan, at - 0.4, rvs, blocks).mean() > 0.5 - 2.5 * np.sqrt(0.25 / blocks)
    assert fails(plan, at + 0.4, rvs, blocks, seed=1).mean() < 0.5 + 2.5 * np.sqrt(0.25 / blocks)


def test_unequal_transmissions_are_told_by_their_mean_information():
    """Rayleigh block fading: residual error rates over draws of fades, model against simulation."""
    plan, rvs, frames = plan_of(14, 400), (0, 2), 600
    rng = np.random.default_rng(3)
    gains = rng.exponential(1.0, (frames, 2))
    mean_db = 4.0
    n0 = n0_from_es_n0_db(mean_db)
    bits = rng.integers(0, 2, (frames, plan.info_bits), np.uint8)
    llrs = []
    for t, rv in enumerate(rvs):
        x = modem.map_bits(CODE.encode(bits, plan, rv), plan.num_bits_per_symbol)
        h = np.sqrt(gains[:, t : t + 1]).astype(np.complex64)
        noise = rng.standard_normal((*x.shape, 2), np.float32) * np.float32(np.sqrt(n0 / 2))
        y = h * x + noise.view(np.complex64)[..., 0]
        full = Received(y, h, np.float32(n0)).full()
        llrs.append(modem.demap(*full, plan.num_bits_per_symbol))
    _, ok, _ = CODE.decode(np.concatenate(llrs, axis=1), plan, rvs)
    predicted = CODE.combined_error_rate(mean_db + 10 * np.log10(gains), plan, rvs)
    # block by block: few are near the waterfall, and those that are not must agree
    sure = (predicted < 0.02) | (predicted > 0.98)
    assert sure.mean() > 0.8
    assert ((predicted > 0.5) != ~ok)[sure].mean() < 0.03
    assert predicted.mean() == pytest.approx((~ok).mean(), abs=3 * np.sqrt(0.25 / frames))
    assert 0.03 < predicted.mean() < 0.6
