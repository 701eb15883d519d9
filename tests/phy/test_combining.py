"""Redundancy versions, coverage of the circular buffer, mutual information of QAM's bits."""

import numpy as np
import pytest

from linksim.phy import combining, modem
from linksim.phy import mutual_information as information
from linksim.phy import transport_block as tb
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE
from linksim.types import HybridCode

PLANS = [(4, 300), (12, 500), (19, 333), (24, 700), (33, 500), (38, 2600)]


def plan_of(mcs, symbols, code=None):
    entry = TABLE[mcs]
    return (code or Ldpc5G()).plan(symbols, entry.num_bits_per_symbol, entry.target_rate)


def llrs(coded, scale=4.0):
    return scale * (2 * coded.astype(np.float32) - 1)


def test_the_code_can_send_again():
    assert isinstance(Ldpc5G(), HybridCode)


@pytest.mark.parametrize(("mcs", "symbols"), PLANS)
@pytest.mark.parametrize("rvs", [(0,), (0, 2), (0, 2, 3, 1), (0, 0)], ids=str)
def test_noiseless_round_trip(mcs, symbols, rvs):
    code, plan = Ldpc5G(), plan_of(mcs, symbols)
    bits = np.random.default_rng(0).integers(0, 2, (3, plan.info_bits), np.uint8)
    soft = np.concatenate([llrs(code.encode(bits, plan, rv)) for rv in rvs], axis=1)
    decoded, ok, good = code.decode(soft, plan, rvs)
    np.testing.assert_array_equal(decoded, bits)
    assert ok.all() and (good == plan.info_bits).all()


def test_version_0_is_the_default():
    code, plan = Ldpc5G(), plan_of(19, 333)
    bits = np.random.default_rng(0).integers(0, 2, (2, plan.info_bits), np.uint8)
    np.testing.assert_array_equal(code.encode(bits, plan), code.encode(bits, plan, 0))
    assert (code.encode(bits, plan, 2) != code.encode(bits, plan)).mean() > 0.3
    soft = llrs(code.encode(bits, plan))
    for a, b in zip(code.decode(soft, plan), code.decode(soft, plan, (0,)), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow  # compiles Sionna's encoder and decoder
def test_sionna_sends_and_decodes_alike():
    plan = plan_of(12, 200)
    fast, sionna = Ldpc5G(), Ldpc5G(backend="sionna")
    bits = np.random.default_rng(0).integers(0, 2, (4, plan.info_bits), np.uint8)
    for rv in (0, 2):
        np.testing.assert_array_equal(fast.encode(bits, plan, rv), sionna.encode(bits, plan, rv))
    soft = np.concatenate([llrs(fast.encode(bits, plan, rv)) for rv in (0, 2)], axis=1)
    soft += np.random.default_rng(1).normal(0, 2, soft.shape).astype(np.float32)
    for code in (fast, sionna):
        decoded, ok, _ = code.decode(soft, plan, (0, 2))
        assert ok.all() and (decoded == bits).all()


def test_the_number_of_llrs_must_fit():
    code, plan = Ldpc5G(), plan_of(12, 200)
    with pytest.raises(ValueError, match=r"llr must be \[B, 800\]"):
        code.decode(np.zeros((1, 400), np.float32), plan, (0, 2))


@pytest.mark.parametrize(("mcs", "symbols"), PLANS)
@pytest.mark.parametrize("rvs", [(0,), (0, 2), (0, 2, 3), (0, 2, 3, 1), (0, 0)], ids=str)
def test_coverage_counts_what_the_code_sends(mcs, symbols, rvs):
    """Bit by bit, through the interleaver: each transmission is a row of labelled bits."""
    code = Ldpc5G()
    block = code._layout(plan_of(mcs, symbols))
    times, counts = combining.coverage(block, rvs)
    order, length = block.num_bits_per_symbol, block.lengths[0]
    slow = np.zeros((block.buffer_bits, len(rvs), order // 2), int)
    for t, rv in enumerate(rvs):
        where = np.concatenate([np.arange(p.start, p.stop) for _, p in tb.walk(block, length, rv)])
        symbols_of = tb.interleave(where[None], order)[0].reshape(-1, order)
        for level in range(order // 2):
            np.add.at(slow, (symbols_of[:, 2 * level], t, level), 1)
            np.add.at(slow, (symbols_of[:, 2 * level + 1], t, level), 1)
    expected, number = np.unique(
        slow[slow.any(axis=(1, 2))].reshape(-1, len(rvs) * (order // 2)), axis=0, return_counts=True
    )
    mine = {tuple(row.ravel().tolist()): int(n) for row, n in zip(times, counts, strict=True)}
    assert mine == {tuple(r.tolist()): int(n) for r, n in zip(expected, number, strict=True)}


def test_equal_transmissions_of_the_same_bits_add_their_snrs():
    code, plan = Ldpc5G(), plan_of(19, 333)
    snr = np.array([4.0, 5.0, 6.0])
    for count in (2, 3, 4):
        combined = code.combined_error_rate(
            np.repeat(snr[:, None] - 10 * np.log10(count), count, axis=1), plan, (0,) * count
        )
        np.testing.assert_allclose(combined, code.error_rate(snr, plan), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("mcs", "symbols"), PLANS)
def test_more_transmissions_fail_less(mcs, symbols):
    """At each SNR: P_1 >= P_2 >= ..., and redundancy is no worse than repetition but for the model's 0.3 dB."""
    code, plan = Ldpc5G(), plan_of(mcs, symbols)
    grid = np.arange(-14, 26, 0.05)

    def middle(rvs):
        rate = code.combined_error_rate(np.repeat(grid[:, None], len(rvs), axis=1), plan, rvs)
        assert (np.diff(rate) <= 1e-9).all()
        return grid[np.argmin(np.abs(rate - 0.5))]

    redundancy = [middle((0, 2, 3, 1)[:t]) for t in (1, 2, 3, 4)]
    repeated = [middle((0,) * t) for t in (1, 2, 3, 4)]
    assert (np.diff(redundancy) < -0.8).all()
    np.testing.assert_allclose(np.diff(repeated), -np.diff(10 * np.log10([1, 2, 3, 4])), atol=0.06)
    assert (np.array(redundancy) <= np.array(repeated) + 0.35).all()


def test_a_transmission_that_was_not_heard_adds_nothing():
    code, plan = Ldpc5G(), plan_of(12, 500)
    alone = code.error_rate(np.array([0.4]), plan)
    for rvs in ((0, 0), (0, 2)):
        silent = code.combined_error_rate(np.array([[0.4, -np.inf]]), plan, rvs)
        if rvs == (0, 0):
            assert silent == pytest.approx(alone)
        else:  # the bits that carry nothing count as a lower rate at less information: near, not equal
            shifted = code.error_rate(np.array([0.4 - 0.5]), plan)
            assert silent <= shifted


def test_shape_is_checked():
    plan = plan_of(12, 500)
    with pytest.raises(ValueError, match="one for each transmission"):
        Ldpc5G().combined_error_rate(np.zeros((3, 3)), plan, (0, 2))


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_information_of_each_level_against_the_demapper(order):
    """1 - I = E log2(1 + exp(-L)) with L the LLR in favour of the bit sent."""
    rng = np.random.default_rng(order)
    bits = rng.integers(0, 2, (1, 240_000 // order * order), np.uint8)
    x = modem.map_bits(bits, order)
    for snr in (-2.0, 6.0, 14.0):
        n0 = 10 ** (-snr / 10)
        noise = rng.standard_normal((*x.shape, 2), np.float32) * np.float32(np.sqrt(n0 / 2))
        y = x + noise.view(np.complex64)[..., 0]
        llr = modem.demap(y, np.ones_like(x), np.full(x.shape, n0, np.float32), order)
        favour = np.where(bits == 1, llr, -llr).astype(np.float64).reshape(-1, order)
        of_bit = np.logaddexp(0, -favour).mean(axis=0) / np.log(2)
        for level in range(order // 2):
            seen = of_bit[2 * level : 2 * level + 2].mean()
            mine = information.missing_of_bit(snr, order, level)
            assert mine == pytest.approx(seen, abs=0.012)


@pytest.mark.parametrize("order", [2, 4, 6, 8])
def test_information_at_low_snr_is_that_of_bicm(order):
    """QPSK carries snr / ln 2 a symbol, and Gray QAM 3 M / (4 (M - 1)) of it (Martinez et al. 2008)."""
    states = 2**order
    told = sum(2 * (1 - information.missing_of_bit(-30.0, order, j)) for j in range(order // 2))
    assert told == pytest.approx(0.001 / np.log(2) * 3 * states / (4 * (states - 1)), rel=0.01)


def test_qpsk_is_its_own_equivalent():
    snr = np.arange(-29, 10, 0.7)
    same = information.qpsk_snr_db(information.missing_of_bit(snr, 2, 0))
    np.testing.assert_allclose(same, snr, atol=0.02)
