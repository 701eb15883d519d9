"""Error rates over OFDM: the flat limit, and the order of the receivers."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from linksim.channel.cdl import Cdl
from linksim.channel.fading import Rayleigh
from linksim.channel.ofdm.grid import Grid
from linksim.channel.tdl import Tdl
from linksim.phy import modem
from linksim.phy.ldpc5g import Ldpc5G
from linksim.seeds import FrameSeeds
from linksim.units import n0_from_es_n0_db

GRID = Grid(num_subcarriers=24, num_symbols=7, cyclic_prefix=4, pilot_symbols=(1, 5))


def bit_errors(channel, es_n0_db, frames, symbols, order=2, seed=1):
    """Share of wrong bits of each frame, uncoded. Returns: [frames] float64."""
    bits = np.random.default_rng(seed).integers(0, 2, (frames, symbols * order), np.uint8)
    seeds = FrameSeeds.of(seed, frames)
    received = channel(modem.map_bits(bits, order), n0_from_es_n0_db(es_n0_db), seeds)
    llr = modem.demap(*received.full(), order)
    return ((llr > 0) != bits).mean(axis=1)


def block_errors(channel, es_n0_db, frames, symbols, seed=1):
    """Failed LDPC blocks, QPSK at rate 1/2. Returns: [frames] bool."""
    code = Ldpc5G()
    plan = code.plan(symbols, 2, 0.5)
    bits = np.random.default_rng(seed).integers(0, 2, (frames, plan.info_bits), np.uint8)
    x = modem.map_bits(code.encode(bits, plan), 2)
    received = channel(x, n0_from_es_n0_db(es_n0_db), FrameSeeds.of(seed, frames))
    decoded, _, _ = code.decode(modem.demap(*received.full(), 2), plan)
    return (decoded != bits).any(axis=1)


@pytest.mark.parametrize("es_n0_db", [0.0, 10.0])
@pytest.mark.parametrize("num_rx", [1, 2])
def test_uncoded_ber_on_one_tap_is_that_of_rayleigh_fading(es_n0_db, num_rx):
    """QPSK: Proakis & Salehi (2008), eq. 13.3-7 and 13.4-15."""
    frames = 12000
    channel = Tdl("C", 0, 0, num_rx=num_rx, grid=GRID)
    rate = bit_errors(channel, es_n0_db, frames, 16)
    gamma = 10 ** (es_n0_db / 10) / 2
    mu = np.sqrt(gamma / (1 + gamma))
    expected = (1 - mu) / 2 if num_rx == 1 else ((1 - mu) / 2) ** 2 * (2 + mu)
    assert rate.mean() == pytest.approx(expected, abs=4 * rate.std() / np.sqrt(frames))
    assert rate.sum() * 32 > 500, "enough errors to see something"


@pytest.mark.parametrize("es_n0_db", [2.0, 6.0, 12.0])
def test_ldpc_on_one_tap_fails_as_often_as_on_the_flat_channel(es_n0_db):
    frames = 1500
    one_tap = int(block_errors(Tdl("A", 0, 0, grid=GRID), es_n0_db, frames, 250, seed=2).sum())
    flat = int(block_errors(Rayleigh(), es_n0_db, frames, 250, seed=3).sum())
    table = [[one_tap, frames - one_tap], [flat, frames - flat]]
    assert fisher_exact(table).pvalue > 1e-3, table
    assert 30 < flat < frames - 30


def test_ldpc_waterfall_on_one_tap_is_the_flat_one_at_the_same_gain():
    """The same |h|^2 gives the same fate: the cliff is where |h|^2 Es/N0 crosses the code's threshold."""
    frames, es_n0_db = 1500, 8.0
    for make in (Tdl("A", 0, 0, grid=GRID), Rayleigh()):
        failed = block_errors(make, es_n0_db, frames, 500, seed=4)
        h = make(np.zeros((frames, 1), np.complex64), 0.0, FrameSeeds.of(4, frames)).h
        snr_db = 20 * np.log10(np.abs(h[:, 0])) + es_n0_db
        assert failed[snr_db < 0.3].all() and not failed[snr_db > 2.3].any()
        assert min((snr_db < 0.3).sum(), (snr_db > 2.3).sum()) > 100


@pytest.mark.parametrize("make", [Tdl, Cdl], ids=["tdl-c", "cdl-c"])
@pytest.mark.parametrize(("order", "es_n0_db"), [(2, 5.0), (4, 15.0)])
def test_perfect_beats_lmmse_beats_ls(make, order, es_n0_db):
    """Uncoded bit errors and LDPC block errors, on the same fades and noises."""
    frames, symbols = 600, 936
    channels = {kind: make("C", 300, 30, csi_rx=kind) for kind in ("perfect", "lmmse", "ls")}
    rates = {k: bit_errors(c, es_n0_db, frames, symbols, order) for k, c in channels.items()}
    for better, worse in (("perfect", "lmmse"), ("lmmse", "ls")):
        difference = rates[worse] - rates[better]  # paired: the same channel, bits and noise
        assert difference.mean() > 4 * difference.std() / np.sqrt(frames)
    if order == 2:
        failed = {k: int(block_errors(c, 1.0, 300, symbols).sum()) for k, c in channels.items()}
        assert failed["perfect"] <= failed["lmmse"] <= failed["ls"], failed
        assert failed["perfect"] < failed["ls"] and 20 < failed["lmmse"] < 280, failed


def test_two_antennas_and_selectivity_give_diversity():
    """Outages become rarer with antennas, and with delay spread over the same band."""
    frames, es_n0_db = 500, 6.0
    wide = Grid(
        num_subcarriers=72, num_symbols=7, spacing_khz=60, cyclic_prefix=14, pilot_symbols=(1, 5)
    )
    failed = {
        name: int(block_errors(channel, es_n0_db, frames, 400).sum())
        for name, channel in {
            "flat": Tdl("C", 0, 0, grid=wide),
            "selective": Tdl("B", 600, 0, grid=wide),
            "both": Tdl("B", 600, 0, num_rx=2, grid=wide),
        }.items()
    }
    assert failed["flat"] > 1.5 * failed["selective"] > 3 * failed["both"], failed
