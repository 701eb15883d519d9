"""HARQ in the digital link: budget in the mean, ledger, seeds, throughput, what is refused."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from linksim import registry, scenario
from linksim.channel.awgn import Awgn
from linksim.channel.fading import Rayleigh
from linksim.errors import BudgetError, ComponentError, ScenarioError
from linksim.link import harq as planning
from linksim.link.amc import Amc
from linksim.link.digital import DigitalLink
from linksim.link.harq import Harq
from linksim.link.harq_link import HarqLink, add_up
from linksim.link.system import LinkPoint
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE
from linksim.seeds import FrameSeeds
from linksim.types import Packet, Packets, Received, TxKnowledge

CODE = Ldpc5G()


def point(channel=None, snr=6.0, cbr=1 / 12, **more):
    return LinkPoint("phy", channel or Rayleigh(), snr, snr, cbr, **more)


def link(kind="ir", most=4, **amc):
    return HarqLink(Harq(kind, most), Amc(**amc), DigitalLink(CODE))


def random_packets(frames, bits, seed=0):
    rng = np.random.default_rng(seed)
    return Packets(tuple((Packet(rng.bytes(bits // 8 - 4)),) for _ in range(frames)))


def crossed(made, at, mcs, frames=300, root=1):
    """Every image in the block of one MCS. Returns: the option, delivered, ledger, transmissions."""
    hybrid = replace(made, amc=Amc(rule="fixed", mcs=mcs))
    _, options = hybrid.options(at, 64, 64)
    packets = random_packets(frames, options[0].plan.info_bits)
    seeds = FrameSeeds.of(root, frames)
    choice = np.zeros(frames, np.int64)
    result = hybrid.cross(packets, options, choice, False, at, seeds)
    delivered, ledger, sent = result.delivered, result.ledger, result.transmissions
    right = [
        bool(ok and all(ok)) and data[0] == packets.of[b][0].data
        for b, (data, ok) in enumerate(zip(delivered.packets, delivered.ok, strict=True))
    ]
    return options[0], np.array(right), ledger, sent


@pytest.mark.parametrize("kind", ["ir", "chase"])
@pytest.mark.parametrize("mcs", [8, 16, 24])
def test_over_fading_prediction_and_simulation_agree(kind, mcs):
    """Mean uses within the interval of the budget, residual errors within that of their prediction."""
    at = point()
    chosen, right, ledger, sent = crossed(link(kind), at, mcs)
    budget = at.all_uses(64, 64)
    assert 0.97 * budget < chosen.uses <= budget
    total = ledger.total
    error = total.std() / np.sqrt(len(total))
    assert total.mean() == pytest.approx(budget, abs=4 * error + 0.03 * budget)
    spread = np.sqrt(max(chosen.residual * (1 - chosen.residual), 0.003) / len(right))
    assert (~right).mean() == pytest.approx(chosen.residual, abs=4 * spread + 0.02)
    np.testing.assert_array_equal(total, sent * chosen.plan.num_symbols)
    np.testing.assert_array_equal(ledger.retransmissions, (sent - 1) * chosen.plan.num_symbols)
    assert sent.min() == 1 and sent.max() <= 4
    assert right[sent < 4].all()


def test_over_awgn_the_budget_is_met_in_the_mean():
    at = point(Awgn(), snr=3.0)
    for mcs in (10, 14, 17):  # arrives at once; at the waterfall; after a second transmission
        chosen, _, ledger, _ = crossed(link("ir"), at, mcs, frames=200)
        # 0.3 dB on a waterfall is the model's error: it shows in the number of transmissions
        assert ledger.total.mean() == pytest.approx(chosen.uses, rel=0.12)


def goodput(made, snr, mcs, symbols, channel, frames=160):
    """Bits delivered for each channel use, when every transmission has ``symbols``."""
    plan = CODE.plan(symbols, TABLE[mcs].num_bits_per_symbol, TABLE[mcs].target_rate)
    options = [planning.HarqOption(TABLE[mcs], plan, (1.0,) * made.harq.max_transmissions, 0.0)]
    packets = random_packets(frames, plan.info_bits)
    seeds = FrameSeeds.of(3, frames)
    at = point(channel, snr)
    sent = made.cross(packets, options, np.zeros(frames, int), False, at, seeds)
    arrived = sum(bool(ok and all(ok)) for ok in sent.delivered.ok)
    return plan.info_bits * arrived / sent.ledger.total.sum()


@pytest.mark.parametrize("channel", [Awgn(), Rayleigh()], ids=["awgn", "rayleigh"])
def test_throughput_rises_with_snr_and_redundancy_beats_repetition_beats_nothing(channel):
    snrs = (-4.0, -1.0, 2.0, 5.0, 8.0, 12.0)
    curves = {
        name: np.array([goodput(made, s, 19, 200, channel) for s in snrs])
        for name, made in {
            "none": link("chase", 1),
            "chase": link("chase", 4),
            "ir": link("ir", 4),
        }.items()
    }
    efficiency = TABLE[19].efficiency
    slack = 0.03 * efficiency  # the same seeds, but other symbols: chance on the last frames
    for curve in curves.values():
        assert (np.diff(curve) >= -slack).all()
        assert curve[-1] > 0.7 * efficiency
    assert (curves["chase"] >= curves["none"] - slack).all()
    assert (curves["ir"] >= curves["chase"] - slack).all()
    assert curves["none"][1] < 0.25 * efficiency  # where one transmission fails ...
    assert curves["ir"][1] > curves["none"][1] + 0.1 * efficiency  # ... several deliver
    assert (curves["ir"] - curves["chase"]).max() > 0.05 * efficiency


def test_each_transmission_meets_a_fade_of_its_own_and_the_first_that_of_other_systems():
    seen = []

    def watched(x, n0, seed):
        received = Rayleigh()(x, n0, seed)
        seen.append(received.h[:, 0].copy())
        return received

    at = point(watched, snr=-20.0)
    options = [planning.HarqOption(TABLE[8], CODE.plan(100, 2, 0.3), (1.0,) * 4, 0.0)]
    seeds = FrameSeeds.of(3, 5)
    packets = random_packets(5, options[0].plan.info_bits)
    link().cross(packets, options, np.zeros(5, int), False, at, seeds)
    first = Rayleigh()(np.zeros((5, 1), np.complex64), 0.0, seeds).h[:, 0]
    assert len(seen) == 4
    np.testing.assert_array_equal(seen[0], first)
    fades = np.stack(seen)
    assert len(np.unique(fades)) == 20


def test_frames_do_not_depend_on_their_batch():
    system = registry.create("systems", {"name": "separated", "codec": "jpeg", "harq": {}})
    images = np.random.default_rng(0).integers(90, 150, (5, 32, 32, 3), np.uint8)
    at, seeds = point(snr=5.0, cbr=0.3), FrameSeeds.of(2, 5)
    whole = system.simulate(images, at, seeds)
    assert whole.note is not None and "not counted" in whole.note
    assert whole.transmissions is not None and whole.transmissions.max() > 1
    for b in (0, 3):
        alone = system.simulate(images[b : b + 1], at, seeds[b : b + 1])
        np.testing.assert_array_equal(alone.images[0], whole.images[b])
        assert alone.transmissions[0] == whole.transmissions[b]
        assert alone.ledger.total[0] == whole.ledger.total[b]
    turned = system.simulate(images[::-1], at, seeds.take([4, 3, 2, 1, 0]))
    np.testing.assert_array_equal(turned.images[::-1], whole.images)


def test_the_control_word_is_sent_once_and_counted():
    system = registry.create("systems", {"name": "separated", "codec": "jpeg", "harq": {}})
    images = np.random.default_rng(0).integers(90, 150, (4, 32, 32, 3), np.uint8)
    outcome = system.simulate(images, point(snr=5.0, cbr=0.3), FrameSeeds.of(2, 4))
    size = (outcome.ledger.total - 48) / outcome.transmissions
    np.testing.assert_array_equal(size, size.astype(int))
    expected = (outcome.transmissions - 1) * size
    np.testing.assert_array_equal(outcome.ledger.retransmissions, expected)


def test_one_transmission_is_a_system_without_harq():
    """Over AWGN with the target rule: the same block, the same pictures."""
    images = np.random.default_rng(0).integers(90, 150, (3, 32, 32, 3), np.uint8)
    at, seeds = point(Awgn(), snr=7.0, cbr=0.3), FrameSeeds.of(2, 3)
    plain = registry.create("systems", {"name": "separated", "codec": "jpeg"})
    once = registry.create(
        "systems", {"name": "separated", "codec": "jpeg", "harq": {"max_transmissions": 1}}
    )
    a, b = plain.simulate(images, at, seeds), once.simulate(images, at, seeds)
    np.testing.assert_array_equal(a.images, b.images)
    np.testing.assert_array_equal(a.ledger.total, b.ledger.total)
    assert a.mcs == b.mcs


def test_pilots_of_every_transmission_are_paid():
    class Piloted:
        """One pilot in front of every 4 symbols."""

        def data_uses(self, total):
            return total * 4 // 5

        def total_uses(self, data):
            return -(-data * 5 // 4)

        def __call__(self, x, n0, seed):
            return Rayleigh()(x, n0, seed)

    at = point(Piloted(), cbr=1 / 6)
    chosen, _, ledger, sent = crossed(link(), at, 12, frames=60)
    each = -(-chosen.plan.num_symbols * 5 // 4)
    np.testing.assert_array_equal(ledger.total, sent * each)
    np.testing.assert_array_equal(ledger.retransmissions, (sent - 1) * each)
    assert chosen.uses <= at.all_uses(64, 64)


def test_adding_up_adds_snrs_and_keeps_the_signal():
    rng = np.random.default_rng(0)
    x = rng.choice(np.array([1, -1, 1j, -1j]), (2, 50)).astype(np.complex64)
    parts = []
    for n0 in (0.5, 0.1):
        h = (rng.normal(size=(2, 1)) + 1j * rng.normal(size=(2, 1))).astype(np.complex64)
        parts.append(Received(h * x, h, np.float32(n0)))
    total = add_up(parts)
    np.testing.assert_allclose(total.y, x, atol=1e-5)
    snr = sum(np.abs(p.h[:, 0]) ** 2 / float(p.n0_eff) for p in parts)
    np.testing.assert_allclose(1 / total.n0_eff[:, 0], snr, rtol=1e-5)
    assert total.y.dtype == np.complex64 and total.n0_eff.dtype == np.float32
    assert add_up(parts[:1]) is parts[0]


def test_prediction_averages_over_independent_fades():
    gains = np.random.default_rng(0).exponential(1.0, 512)
    tx = TxKnowledge(np.array([6.0]), "mean", gains)
    draws = planning.snr_draws(tx, 3)
    assert draws.shape[1] == 3
    law_db = 6 + 10 * np.log10(gains)
    for t in range(3):
        quantiles = np.quantile(draws[:, t], [0.1, 0.3, 0.5, 0.9])
        np.testing.assert_allclose(quantiles, np.quantile(law_db, [0.1, 0.3, 0.5, 0.9]), atol=0.4)
        assert abs(np.corrcoef(draws[:, t], draws[:, t - 1])[0, 1]) < 0.08
    # all three in the lowest fifth: 1 in 125
    low = (draws < np.quantile(law_db, 0.2)).all(axis=1).mean()
    assert low == pytest.approx(0.008, abs=0.003)
    still = TxKnowledge(np.array([6.0, 6.0]), "mean", np.ones(9))
    np.testing.assert_array_equal(planning.snr_draws(still, 2), [[6.0, 6.0]])


@pytest.mark.parametrize(
    ("csi_tx", "message"), [("none", "csi_tx: none"), ("instantaneous", "csi_tx: mean")]
)
def test_too_little_knowledge_is_refused(csi_tx, message):
    with pytest.raises(BudgetError, match=message):
        link(rule="fixed", mcs=8).options(point(csi_tx=csi_tx), 64, 64)


def test_a_channel_that_does_not_fade_may_be_known_exactly():
    _, options = link().options(point(Awgn(), csi_tx="instantaneous"), 64, 64)
    assert len(options) > 20


def test_a_code_without_redundancy_versions_is_refused():
    system = registry.create(
        "systems", {"name": "separated", "codec": "jpeg", "channel_code": "gallager", "harq": {}}
    )
    with pytest.raises(ComponentError, match="has no redundancy versions; use ldpc-5g"):
        system.preview(point(), 64, 64)


def test_a_budget_that_holds_nothing_is_one_line():
    system = registry.create("systems", {"name": "separated", "codec": "jpeg", "harq": {}})
    with pytest.raises(BudgetError, match="raise"):
        system.preview(point(cbr=0.001), 64, 64)


@pytest.mark.parametrize(
    ("harq", "message"),
    [
        ({"kind": "hybrid"}, "kind"),
        ({"max_transmissions": 5}, r"max_transmissions must be 1\.\.4, got 5"),
        ({"max_transmissions": 0}, r"max_transmissions must be 1\.\.4, got 0"),
        ({"retries": 3}, "retries"),
    ],
)
def test_bad_parameters_in_a_scenario(harq, message):
    value = {
        "images": {"source": "samples", "size": 64, "limit": 1},
        "axes": {"es_n0_db": 3, "cbr": 0.1},
        "systems": [{"name": "jpeg", "harq": harq}],
    }
    with pytest.raises(ScenarioError, match=message) as caught:
        scenario.from_mapping(value)
    assert "\n" not in str(caught.value)


def test_genie_and_harq_do_not_go_together():
    with pytest.raises(ComponentError, match="leave `harq` out"):
        registry.create(
            "systems", {"name": "separated", "codec": "jpeg", "amc": {"rule": "genie"}, "harq": {}}
        )


def test_rows_and_table_report_mean_and_95th_percentile(tmp_path):
    from linksim import runner
    from linksim.results.table import table

    value = {
        "images": {"source": "samples", "size": 64, "limit": 2},
        "channels": ["rayleigh"],
        "axes": {"es_n0_db": 6, "cbr": 0.3},
        "systems": ["jpeg", {"name": "jpeg", "label": "ir", "harq": {"kind": "ir"}}],
        "realisations": 12,
        "metrics": ["psnr"],
    }
    runner.run(scenario.from_mapping(value), tmp_path / "out")
    from linksim.results import RunFolder

    tidy = table(tmp_path / "out").set_index("system")
    folder = RunFolder(tmp_path / "out")
    rows = folder.frame(tidy.loc["ir", "point"])
    assert rows["transmissions"].between(1, 4).all()
    assert tidy.loc["ir", "cbr"] == pytest.approx(rows["cbr"].mean())
    assert tidy.loc["ir", "cbr_p95"] == pytest.approx(np.quantile(rows["cbr"], 0.95))
    assert tidy.loc["ir", "cbr_p95"] > tidy.loc["ir", "cbr"]
    assert tidy.loc["jpeg", "cbr_p95"] == tidy.loc["jpeg", "cbr"]
    assert "feedback error-free and not counted" in tidy.loc["ir", "note"]
    assert pd.isna(tidy.loc["jpeg", "note"])
    assert "transmissions" not in tidy.columns
