"""Parity by what the transmitter believes: probabilities, choices, and the system that adopts them."""

from __future__ import annotations

from math import ceil, comb

import numpy as np
import pytest
from dsc_small import pictures
from tokens_small import write

from linksim import registry
from linksim.errors import ComponentError
from linksim.link.system import LinkPoint
from linksim.link.token_parity import (
    DEAREST,
    USED,
    Belief,
    Drawn,
    Protection,
    choose,
    expected,
    unread,
)
from linksim.link.token_quality import METRICS, shipped
from linksim.packet.base_layer import BaseLayer
from linksim.packet.gilbert_elliott import GilbertElliott
from linksim.packet.loss import Iid
from linksim.packet.trace import Trace
from linksim.seeds import FrameSeeds

SETTING = {"total": 512, "overhead": 4, "positions": 64}  # 0.25 bpp at 128x128
RATES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
GOLDEN = [0, 1, 2, 3, 5, 6, 6]
BASES = [(0, 0), (3, 2), (3, 3), (2, 4), (1, 6), (1, 6), (1, 7)]
BURSTS = [0] * 7  # of 2.5: parity for all tokens does not pay off


def memoryless(rate: float) -> Belief:
    return Belief(rate, 1 / (1 - rate))


# ------------------------------------------------------------------------------------------ what is believed


@pytest.mark.parametrize(("rate", "burst"), [(0.2, 1.25), (0.3, 2.5), (0.5, 5.0), (0.6, 1.5)])
def test_patterns_have_the_rate_and_the_bursts_believed_in(rate, burst):
    lost, chance = Belief(rate, burst).patterns(10)
    assert chance.sum() == pytest.approx(1) and (chance >= 0).all()
    assert chance @ lost.mean(1) == pytest.approx(rate)
    ends = chance @ (lost[:, :-1] & ~lost[:, 1:]).mean(1)  # P(lost, then not) = rate / burst
    assert ends == pytest.approx(rate / burst)


def test_many_packets_are_drawn_instead():
    lost, chance = Belief(0.3, 2.5).patterns(30)
    assert lost.shape[1] == 30 and chance.sum() == pytest.approx(1)
    assert lost.mean() == pytest.approx(0.3, abs=0.02)


def test_memoryless_losses_are_binomial():
    lost, chance = memoryless(0.3).patterns(10)
    found = np.bincount(lost.sum(1), chance)
    assert found == pytest.approx([comb(10, k) * 0.3**k * 0.7 ** (10 - k) for k in range(11)])


def test_what_is_declared_comes_before_what_the_process_says():
    process = GilbertElliott(rate=0.3, mean_burst=2.5)
    assert Belief.of(process, None, None) == Belief(0.3, 2.5)
    assert Belief.of(process, 0.1, None) == memoryless(0.1)
    assert Belief.of(process, None, 4.0) == Belief(0.3, 4.0)
    assert Belief.of(process, 0.1, 4.0) == Belief(0.1, 4.0)
    assert Belief.of(Iid(0.0), None, None) == Belief(0.0, 1.0)


def test_without_any_rate_it_is_an_error(tmp_path):
    (tmp_path / "trace.txt").write_text("0110010010")
    process = Trace(tmp_path / "trace.txt", start=0)  # which declares none
    with pytest.raises(ComponentError, match="believed_loss"):
        Belief.of(process, None, None)
    for loss, burst in ((1.0, 1.0), (-0.1, 1.0), (0.1, 0.5)):
        with pytest.raises(ValueError, match="believed"):
            Belief(loss, burst)


def test_what_cannot_be_read():
    lost = np.zeros((4, 6), bool)
    lost[1, 0], lost[2, [1, 5]], lost[3, [1, 2, 5]] = True, True, True
    assert unread(lost, 0, 6).tolist() == [0, 1, 2, 3]
    assert unread(lost, 2, 4).tolist() == [0, 0, 0, 2], "parity packets are no tokens"
    assert unread(lost, 2, 1).tolist() == [0, 0, 0, 3], "layered: everything after the first"
    assert unread(lost, 0, 2).tolist() == [0, 3, 3, 5]  # 0 2 4 | 1 3 5


# --------------------------------------------------------------------------------------------- what is known


def test_the_shipped_numbers_are_sensible():
    quality = shipped()
    assert (np.diff(quality.bits, axis=1) > 0).all(), "deeper costs more"
    assert (np.diff(quality.bits, axis=0) > 0).all(), "context saves"
    assert (np.diff(quality.metrics, axis=2) > 0).all(), "losses hurt"
    assert (np.diff(quality.metrics[:, :, 0], axis=1) < 0).all(), "depth helps"
    assert (quality.longest >= 1).all()
    assert (quality.nothing > quality.metrics.max((1, 2))).all()
    for d, row in zip(quality.descriptions, quality.bits, strict=True):
        assert quality.depth(row[2], int(d)) == pytest.approx(quality.stages[2])
    table = quality.at(4, quality.lost)
    assert table == pytest.approx(quality.metrics[:, list(quality.stages).index(4)])


def test_a_position_without_tokens_is_like_a_lost_one():
    quality = shipped()
    half = quality.at(0.5 * quality.stages[0], np.array([0.0, 1.0]))
    full = quality.at(quality.stages[0], np.array([0.5]))
    assert half[:, 0] == pytest.approx(full[:, 0])
    assert half[:, 1] == pytest.approx(quality.nothing)


# -------------------------------------------------------------------------------------------------- choices


def choose_for(belief, packets=10, *, total, **setting) -> Protection:
    """The protection for one way to send an image."""
    chosen, losses = choose(shipped(), [(total, belief)], packets, **setting)
    assert losses is belief
    return chosen


def test_of_several_ways_the_best_is_taken_with_each_protection():
    """A safe way with few bytes against a lossy one with many; drawn losses are as good as named ones."""
    drawn = np.random.default_rng(0).random((1 << 15, 10)) < 0.3
    safe, lossy = memoryless(0.0), Drawn(drawn)
    setting = {k: v for k, v in SETTING.items() if k != "total"}
    for bytes_safe, bytes_lossy, wins in ((300, 512, safe), (120, 2000, lossy)):
        ways = [(bytes_safe, safe), (bytes_lossy, lossy)]
        chosen, losses = choose(shipped(), ways, 10, **setting)
        assert losses is wins and (chosen.parity > 0) == (wins is lossy)
    exact = [
        expected(shipped(), b, 10, Protection(3, 7), **SETTING) for b in (memoryless(0.3), lossy)
    ]
    assert exact[0] == pytest.approx(exact[1], rel=0.02)


def test_golden_choices():
    """At 0.25 bpp; they change with the numbers in token_quality.json alone."""
    found = [choose_for(memoryless(rate), **SETTING).parity for rate in RATES]
    assert found == GOLDEN
    found = [choose_for(Belief(rate, 2.5), **SETTING).parity for rate in RATES]
    assert found == BURSTS
    modes = [choose_for(memoryless(rate), modes=True, **SETTING) for rate in (0.0, 0.2)]
    assert modes == [Protection(0, 1), Protection(3, 7)], "layered where nothing is lost"


def test_a_base_layer_is_chosen_where_it_pays():
    """Golden, as above: (stages, P) at 0.25 bpp; 0: no base layer."""
    found = [choose_for(memoryless(rate), modes=True, bases=None, **SETTING) for rate in RATES]
    assert [(one.base, one.parity) for one in found] == BASES
    for rate, one in zip(RATES, found, strict=True):
        plain = choose_for(memoryless(rate), modes=True, **SETTING)
        before, after = (
            expected(shipped(), memoryless(rate), 10, p, **SETTING) for p in (plain, one)
        )
        assert (after / before).max() <= 1.05 and (after / before).min() <= 1
    assert {choose_for(memoryless(0.2), bases=[2], **SETTING).base} == {2}
    with pytest.raises(ValueError, match=r"base layers of \(1, 2, 3, 5\) stages, got 4"):
        choose_for(memoryless(0.2), bases=[4], **SETTING)


def test_a_base_layer_leaves_room_for_pictures_that_cost_more():
    """Protection(5, 10, 3), three stages with any five lost, would fit the mean picture and no dearer one."""
    layer = BaseLayer(10, 5)
    room = USED * SETTING["total"] - 10 * SETTING["overhead"]
    mean = shipped().longest_head(3) * SETTING["positions"] / 10 / 8
    taken = [10 * (h + layer.added_bytes(h)) for h in (ceil(mean) + 1, ceil(DEAREST * mean) + 1)]
    assert taken[0] < room < taken[1]
    assert expected(shipped(), memoryless(0.5), 10, Protection(5, 10, 3), **SETTING) is None
    assert expected(shipped(), memoryless(0.5), 10, Protection(5, 10, 1), **SETTING) is not None


def test_expectations_with_a_base_layer():
    """Nothing lost: the depth that the bytes leave; beyond P losses what arrived is worth what it is without parity."""
    quality = shipped()
    found = [
        expected(quality, memoryless(0.0), 10, Protection(p, 10, 1), **SETTING) for p in range(7)
    ]
    assert (np.diff(np.array(found), axis=0) >= 0).all(), "parity costs depth"
    assert (found[6] > found[1]).all()
    depths = [quality.depth_with_base(bits, 1) for bits in (0.0, 10.0, 30.0)]
    assert depths[0] == 0 and 1 < depths[1] < depths[2]
    certain = Belief(0.999, 1e6)  # everything is lost at once, nearly always
    value = expected(quality, certain, 10, Protection(5, 10, 2), **SETTING)
    assert value == pytest.approx(quality.nothing, rel=0.01)
    assert expected(quality, certain, 10, Protection(9, 10, 3), **{**SETTING, "total": 200}) is None
    often = memoryless(
        0.7
    )  # of ten packets seven are lost, and parity makes up for one: it only costs
    with_it, without = (
        expected(quality, often, 10, p, **SETTING)
        for p in (Protection(1, 10, 1), Protection(0, 10))
    )
    assert (with_it >= without).all() and (with_it < 1.02 * without).all()


def test_parity_grows_with_the_loss():
    for packets in (6, 10, 20):
        rates = np.linspace(0, 0.5, 11)
        found = [choose_for(memoryless(r), packets, **SETTING).parity for r in rates]
        assert found == sorted(found) and found[0] == 0 and found[-1] > packets // 4


def test_the_choice_is_the_best_of_all():
    belief = Belief(0.3, 2.5)
    values = {}
    for parity in range(10):
        for mode in {10 - parity, min(2, 10 - parity), 1}:
            one = Protection(parity, mode)
            value = expected(shipped(), belief, 10, one, **SETTING)
            if value is not None:
                values[one] = value
    least = np.min(list(values.values()), axis=0)
    worst = {one: float((value / least).max()) for one, value in values.items()}
    assert choose_for(belief, modes=True, **SETTING) == min(worst, key=worst.get)
    fixed = choose_for(belief, parities=[3], modes=True, **SETTING)
    assert fixed.parity == 3
    assert choose_for(belief, descriptions=2, **SETTING).descriptions == 2


def test_expectations_of_certain_losses():
    """Nothing lost: the curve at the depth that the bytes pay for; more parity, less depth."""
    sure = memoryless(0.0)
    found = [expected(shipped(), sure, 10, Protection(p, 10 - p), **SETTING) for p in range(9)]
    assert (np.diff(np.array(found), axis=0) > 0).all()
    assert expected(shipped(), sure, 10, Protection(0, 10), **{**SETTING, "total": 41}) is None
    assert len(found[0]) == len(METRICS)


# --------------------------------------------------------------------------------------------------- system

SIZE = (64, 96)
IMAGES = pictures(4, 5, SIZE)
SEEDS = FrameSeeds.of(1, 4)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("tokens"))


def made(weights, **more):
    return registry.create("systems", {"name": "tokens", "weights": weights, "packets": 6, **more})


def packet(process, bpp=0.3) -> LinkPoint:
    return LinkPoint("packet", erasure=process, bpp=bpp)


def parity_of(outcome) -> int:
    return int(outcome.note.split()[0])


def test_the_system_does_as_one_with_the_numbers_it_chose(weights):
    point = packet(Iid(0.3))
    auto = made(weights, parity="auto", descriptions="auto").simulate(IMAGES, point, SEEDS)
    words = auto.note.split()
    numbers = {"parity": int(words[0]), "descriptions": int(words[5])}
    assert "for a believed loss of 0.3 in bursts of 1.43" in auto.note
    same = made(weights, **numbers).simulate(IMAGES, point, SEEDS)
    assert np.array_equal(auto.images, same.images) and auto.status == same.status
    assert np.array_equal(auto.ledger.total, same.ledger.total) and same.note is None


def test_a_base_layer_is_adopted_as_it_was_chosen(weights):
    point = packet(Iid(0.5))
    auto = made(weights, parity="auto", descriptions="auto", base="auto")
    outcome = auto.simulate(IMAGES, point, SEEDS)
    words = outcome.note.split()
    assert words[1:6] == ["stages", "of", "all", "from", "any"], outcome.note
    same = made(weights, base=int(words[0]), parity=6 - int(words[6]))
    assert np.array_equal(outcome.images, same.simulate(IMAGES, point, SEEDS).images)
    assert "of which give" in auto.preview(point, *SIZE)


def test_totals_stay_within_the_budget_whatever_is_believed(weights):
    for believed in (0.0, 0.2, 0.5):
        point = packet(Iid(0.3))
        system = made(weights, parity="auto", believed_loss=believed)
        outcome = system.simulate(IMAGES, point, SEEDS)
        assert (outcome.ledger.total <= point.bits(*SIZE)).all()
        assert (parity_of(outcome) > 0) == (believed > 0) == bool(outcome.ledger.parity.any())


def test_what_is_believed_decides_and_not_what_is_true(weights):
    for process in (Iid(0.05), Iid(0.5), GilbertElliott(rate=0.4, mean_burst=3.0)):
        system = made(weights, parity="auto", believed_loss=0.2)
        notes = {system.simulate(IMAGES[:1], packet(process), SEEDS[:1]).note}
        assert notes == {system.simulate(IMAGES[:1], packet(Iid(0.2)), SEEDS[:1]).note}
    system = made(weights, parity="auto")
    found = [
        parity_of(system.simulate(IMAGES[:1], packet(Iid(r)), SEEDS[:1])) for r in (0, 0.2, 0.5)
    ]
    assert found == sorted(found) and found[0] == 0 < found[-1]


def test_blocks_go_by_the_fading_law(weights):
    """Parity where packets fade one by one; none where a picture's packets share a fade, or the SNR is known."""

    def point(channel="awgn", **more) -> LinkPoint:
        made_channel = registry.create("channels", channel)
        return LinkPoint(
            "phy", channel=made_channel, es_n0_db=8.0, snr_amc_db=8.0, cbr=0.05, **more
        )

    system = made(weights, parity="auto")
    block = point().uses(*SIZE) // 6
    each = point({"name": "rayleigh", "block_length": block})
    outcomes = [system.simulate(IMAGES, p, SEEDS) for p in (point(), point("rayleigh"), each)]
    assert [parity_of(o) > 0 for o in outcomes] == [False, False, True], [o.note for o in outcomes]
    assert all("the losses that the fading law gives" in o.note for o in outcomes)
    with pytest.raises(ComponentError, match="csi_tx: none the transmitter knows of no fading law"):
        system.simulate(IMAGES, point(csi_tx="none"), SEEDS)
    with pytest.raises(
        ComponentError, match="need believed_loss here: blocks declare no loss rate"
    ):
        made(weights, parity="auto", believed_burst=2.0).simulate(IMAGES, point(), SEEDS)


def test_a_declared_belief_comes_first_on_blocks_too(weights):
    point = LinkPoint(
        "phy",
        channel=registry.create("channels", "awgn"),
        es_n0_db=8.0,
        snr_amc_db=8.0,
        cbr=0.05,
    )
    system = made(weights, parity="auto", believed_loss=0.3)
    outcome = system.simulate(IMAGES, point, SEEDS)
    assert parity_of(outcome) > 0 and "of them parity" in system.preview(point, *SIZE)
    assert outcome.ledger.total == pytest.approx(point.uses(*SIZE))


@pytest.mark.parametrize(
    "wrong",
    [
        {"parity": "auto", "descriptions": 1, "fraction": 0.5},
        {"parity": "auto", "descriptions": 1, "uep": {"packets": 1}},
        {"parity": 2, "believed_loss": 0.1},
        {"believed_burst": 2.0},
        {"parity": "auto", "believed_loss": 1.0},
        {"parity": "auto", "believed_burst": 0.5},
        {"parity": "some"},
    ],
    ids=str,
)
def test_what_does_not_go_together(weights, wrong):
    with pytest.raises(ComponentError):
        made(weights, **wrong)
