"""AMC over channels that are selective within a frame meets its target, estimation loss included."""

import numpy as np
import pytest

from linksim.channel.fading import Rayleigh
from linksim.channel.ofdm.grid import Grid
from linksim.channel.tdl import Tdl
from linksim.link import amc, csi
from linksim.link.system import LinkPoint
from linksim.phy import modem
from linksim.phy.ldpc5g import Ldpc5G
from linksim.seeds import FrameSeeds

WIDE = Grid(num_subcarriers=72, spacing_khz=60, cyclic_prefix=14)
CODE = Ldpc5G()
FRAMES = 150


def send(channel, es_n0_db, choose):
    """Failed frames and information bits under the MCS that ``choose(options, tx)`` gives."""
    point = LinkPoint("phy", channel, es_n0_db, es_n0_db, 1 / 24, csi_tx="instantaneous")
    uses, seeds = point.uses(128, 128), FrameSeeds.of(7, FRAMES)
    options = amc.candidates(CODE, uses)
    choice = choose(options, csi.knowledge(point, uses, seeds))
    rng, sent = np.random.default_rng(1), {}
    x = np.zeros((FRAMES, uses), np.complex64)
    for m in np.unique(choice):
        rows, plan = np.flatnonzero(choice == m), options[m].plan
        sent[m] = rng.integers(0, 2, (len(rows), plan.info_bits), np.uint8)
        symbols = modem.map_bits(CODE.encode(sent[m], plan), plan.num_bits_per_symbol)
        x[rows, : plan.num_symbols] = symbols
    received, failed, bits = channel(x, point.n0, seeds), 0, 0
    for m, block in sent.items():
        rows, plan = np.flatnonzero(choice == m), options[m].plan
        part = received.take(rows).slice(0, plan.num_symbols)
        decoded, ok, _ = CODE.decode(modem.demap(*part.full(), plan.num_bits_per_symbol), plan)
        assert (decoded[ok] == block[ok]).all()
        failed, bits = failed + int((~ok).sum()), bits + block.size
    return failed, bits / FRAMES


def by_target(options, tx):
    return amc.choose_for_target(options, CODE, tx, 0.01)


@pytest.mark.parametrize("csi_rx", ["perfect", "lmmse", "ls"])
@pytest.mark.parametrize("es_n0_db", [8.0, 20.0])
def test_the_target_is_met(csi_rx, es_n0_db):
    failed, _ = send(Tdl("C", 300, 30, csi_rx=csi_rx, grid=WIDE), es_n0_db, by_target)
    assert failed <= 6  # 1.5 expected; more than 6 has probability 1e-3


def test_less_knowledge_carries_fewer_bits():
    bits = {
        csi_rx: send(Tdl("C", 300, 30, csi_rx=csi_rx, grid=WIDE), 10.0, by_target)[1]
        for csi_rx in ("perfect", "lmmse", "ls")
    }
    assert bits["perfect"] > 1.02 * bits["lmmse"] > 1.02**2 * bits["ls"] > 1000


def test_an_effective_snr_by_capacity_would_not_meet_it():
    """What the modulation's own information is for: the same choice by mean capacity fails often."""

    def by_capacity(options, tx):
        blind = type(tx)(tx.snr_amc_db, tx.csi_tx)
        return amc.choose_for_target(options, CODE, blind, 0.01)

    failed, _ = send(Tdl("C", 300, 30, grid=WIDE), 20.0, by_capacity)
    assert failed > 20


def test_flat_frames_need_no_table():
    point = LinkPoint("phy", Rayleigh(), 5.0, 5.0, 1 / 24, csi_tx="instantaneous")
    assert not csi.knowledge(point, 500, FrameSeeds.of(1, 8)).by_order
    point = LinkPoint("phy", Rayleigh(block_length=50), 5.0, 5.0, 1 / 24)
    tx = csi.knowledge(point, 500, FrameSeeds.of(1, 8))
    assert set(tx.by_order) == {2, 4, 6, 8} and tx.snr_db(4).shape == (csi.LAW_DRAWS,)
