"""Packet losses of a coded link: against counts of the same blocks, the fading law, and each other."""

import numpy as np
import pytest
from scipy.stats import fisher_exact

from linksim import registry, scenario
from linksim.errors import ComponentError, ScenarioError
from linksim.link.phy_loss import PhyLoss
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.measure_bler import count_errors
from linksim.seeds import FrameSeeds, Seed

SMALL = {"mcs": 10, "packet_bytes": 16}


def losses(process, frames=200, packets=8, root=1):
    return np.stack(process([packets] * frames, FrameSeeds.of(root, frames)))


@pytest.mark.parametrize("snr", [-0.6, 0.0])
def test_over_awgn_it_is_the_block_error_rate(snr):
    """Against blocks sent by the tool that measured AMC's error rates, with other seeds."""
    process = PhyLoss(es_n0_db=snr, **SMALL)
    lost = losses(process)
    errors, blocks = count_errors(Ldpc5G(), process.plan, snr, Seed.root(3), 10**9, 1600)
    table = [[int(lost.sum()), int((~lost).sum())], [errors, blocks - errors]]
    assert lost.sum() > 10
    assert fisher_exact(table).pvalue > 1e-4, table
    assert process.predicted_loss_rate == pytest.approx(lost.mean(), abs=0.04)


def test_over_rayleigh_it_is_the_outage_of_the_code():
    """A waterfall is steep beside the fading law: P(lost) = 1 - exp(-threshold / mean SNR)."""
    process = PhyLoss(es_n0_db=8.0, channel="rayleigh", **SMALL)
    lost = losses(process)
    snr = np.arange(-4, 4, 0.01)
    threshold_db = snr[np.argmin(np.abs(Ldpc5G().error_rate(snr, process.plan) - 0.5))]
    closed = 1 - np.exp(-(10 ** ((threshold_db - 8.0) / 10)))
    error = np.sqrt(closed * (1 - closed) / lost.size)
    assert lost.mean() == pytest.approx(closed, abs=4 * error + 0.005)
    # independent from packet to packet
    after = lost[:, 1:][lost[:, :-1]]
    assert after.mean() == pytest.approx(closed, abs=4 * np.sqrt(closed / len(after)))


def test_in_one_stretch_of_the_channel_losses_come_in_bursts():
    """A fade of four packets: the first four share their fate, and the rate is that of single packets."""
    size = PhyLoss(es_n0_db=4.0, **SMALL).plan.num_symbols
    slow = {"name": "rayleigh", "block_length": 4 * size}
    lost = losses(PhyLoss(es_n0_db=4.0, channel=slow, fading="frame", **SMALL), frames=300)
    alone = losses(PhyLoss(es_n0_db=4.0, channel="rayleigh", **SMALL), frames=300)
    rate = alone.mean()
    assert lost.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate * (1 - rate) / 600))
    together = (lost[:, 0] == lost[:, 3]).mean()
    assert together > 0.9 and 1 - 2 * rate * (1 - rate) < 0.85
    assert (lost[:, 3] == lost[:, 4]).mean() < 0.85  # the next fade is another one


def test_frames_that_were_simulated_are_remembered_and_prolonged():
    process, seeds = PhyLoss(es_n0_db=-0.5, **SMALL), FrameSeeds.of(4, 3)
    first = process([2, 5, 0], seeds)
    longer = process([6, 4, 3], seeds)
    fresh = PhyLoss(es_n0_db=-0.5, **SMALL)([6, 5, 3], seeds)
    np.testing.assert_array_equal(longer[0], fresh[0])
    np.testing.assert_array_equal(first[1], fresh[1])
    np.testing.assert_array_equal(longer[2], fresh[2])


def test_the_same_frame_twice_in_a_batch():
    seed = FrameSeeds.of(4, 1)[0]
    lost = PhyLoss(es_n0_db=-0.5, **SMALL)([3, 6], FrameSeeds((seed, seed)))
    np.testing.assert_array_equal(lost[0], lost[1][:3])


def test_the_smallest_block_that_holds_a_packet():
    process = PhyLoss(es_n0_db=0, mcs=12, packet_bytes=256)
    code, plan = Ldpc5G(), process.plan
    assert plan.info_bits >= 2048
    less = code.plan(plan.num_symbols - 1, plan.num_bits_per_symbol, plan.target_rate)
    assert less.info_bits < 2048


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"es_n0_db": float("nan"), "mcs": 3}, "es_n0_db must be within"),
        ({"es_n0_db": 3, "mcs": 99}, "mcs must be an index"),
        ({"es_n0_db": 3, "mcs": 3, "packet_bytes": 0}, "packet_bytes must be"),
        ({"es_n0_db": 3, "mcs": 3, "fading": "slow"}, "fading must be|fading: "),
    ],
)
def test_bad_parameters(given, message):
    with pytest.raises((ValueError, ComponentError), match=message):
        registry.create("erasures", {"name": "phy", **given})


def test_a_scenario_places_mistakes_inside_the_channel():
    value = {
        "images": {"source": "samples", "size": 64, "limit": 1},
        "link": "packet",
        "erasures": [{"name": "phy", "es_n0_db": 3, "mcs": 8, "channel": {"name": "rayleihg"}}],
        "axes": {"bpp": 1},
        "systems": ["jpeg"],
    }
    with pytest.raises(ScenarioError, match="did you mean 'rayleigh'") as caught:
        scenario.from_mapping(value)
    assert caught.value.key == "erasures.0.channel.name"


def test_a_system_crosses_it():
    from linksim.link.system import LinkPoint

    process = PhyLoss(es_n0_db=30.0, mcs=12, packet_bytes=64)
    system = registry.create("systems", {"name": "separated", "codec": "jpeg", "mtu": 64})
    images = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    point = LinkPoint("packet", erasure=process, bpp=6.0)
    outcome = system.simulate(images, point, FrameSeeds.of(1, 2))
    assert not any(s.failed for s in outcome.status)
    outcome = system.simulate(
        images,
        LinkPoint("packet", erasure=PhyLoss(-20.0, 12, packet_bytes=64), bpp=6.0),
        FrameSeeds.of(1, 2),
    )
    assert all(s.failed for s in outcome.status)
