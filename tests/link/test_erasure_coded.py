"""Packets with Reed-Solomon parity over both links: when pictures arrive, what is sent, and what it is booked under."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from linksim import registry
from linksim.channel.awgn import Awgn
from linksim.channel.fading import Rayleigh
from linksim.errors import BudgetError, ComponentError
from linksim.link import control
from linksim.link.amc import Amc
from linksim.link.erasure_coded import ErasureCoded
from linksim.link.separated import Separated
from linksim.link.slices import SliceLink
from linksim.link.system import LinkPoint
from linksim.packet.loss import Iid
from linksim.seeds import FrameSeeds
from linksim.types import Status

SIZE = (48, 64)
COUNT = 6
SEEDS = FrameSeeds.of(3, COUNT)


def pictures() -> np.ndarray:
    y, x = np.mgrid[0 : SIZE[0], 0 : SIZE[1]]
    planes = [128 + 90 * np.sin(x / (5 + b) + y / (9 - b)) for b in range(COUNT)]
    return np.clip(np.stack([np.stack([p, p[::-1], p], -1) for p in planes]), 0, 255).astype(
        np.uint8
    )


IMAGES = pictures()


@dataclass(frozen=True)
class Lose:
    """These packets are lost in every frame."""

    which: tuple[int, ...]

    def __call__(self, num_packets, seed):
        return [np.isin(np.arange(n), self.which) for n in num_packets]


def packet(erasure, bpp=4.0, **more) -> LinkPoint:
    return LinkPoint("packet", erasure=erasure, bpp=bpp, **more)


def phy(snr=12.0, cbr=0.8, channel=None, **more) -> LinkPoint:
    return LinkPoint(
        "phy", channel=channel or Awgn(), es_n0_db=snr, snr_amc_db=snr, cbr=cbr, **more
    )


SYSTEM = ErasureCoded({"name": "jpeg2000", "layers": 6}, packets=8, parity=3)


def test_any_five_of_eight_give_the_picture():
    whole = SYSTEM.simulate(IMAGES, packet(Lose(())), SEEDS)
    assert set(whole.status) == {Status.OK}
    for lost in ((0, 1, 2), (5, 6, 7), (0, 4, 7), (3,)):
        got = SYSTEM.simulate(IMAGES, packet(Lose(lost)), SEEDS)
        assert set(got.status) == {Status.OK} and np.array_equal(got.images, whole.images)
        assert np.array_equal(got.ledger.total, whole.ledger.total)


def test_beyond_the_code_the_picture_fails_or_its_prefix_is_used():
    lost = Lose((4, 5, 6, 7))
    failed = SYSTEM.simulate(IMAGES, packet(lost), SEEDS)
    assert set(failed.status) == {Status.FAILED} and (failed.images == 128).all()
    prefix = SYSTEM.simulate(IMAGES, packet(lost, failure="good-prefix"), SEEDS)
    assert set(prefix.status) == {Status.CONCEALED}, "four fifths of a progressive stream"
    error = np.abs(prefix.images.astype(int) - IMAGES).mean()
    assert error < 0.5 * np.abs(failed.images.astype(int) - IMAGES).mean()


def test_the_budget_is_kept_and_booked():
    for point in (packet(Iid(0.0), 2.0), packet(Iid(0.0), 4.0)):
        outcome = SYSTEM.simulate(IMAGES, point, SEEDS)
        total, budget = outcome.ledger.total, point.bits(*SIZE)
        assert (total <= budget).all() and (total > 0.5 * budget).all()
        assert (outcome.ledger.crc == 8 * 8 * 2).all()
        rest = outcome.ledger.payload + outcome.ledger.padding + outcome.ledger.headers - 8 * 8
        assert np.allclose(outcome.ledger.parity * 5, rest * 3), "three fifths of the five pieces"
        assert (outcome.ledger.padding < 5 * 8).all()


def test_without_parity_it_is_the_separated_system_in_pieces():
    plain = ErasureCoded("jpeg2000", packets=1, parity=0)
    outcome = plain.simulate(IMAGES, packet(Lose(()), 4.0), SEEDS)
    other = Separated("jpeg2000", mtu=65535).simulate(IMAGES, packet(Lose(()), 4.0), SEEDS)
    assert (outcome.ledger.parity == 0).all()
    # Three bytes of header, CRC and a length of two, against seven: the same quality or one more.
    assert (
        np.abs(outcome.ledger.payload - other.ledger.payload) < 0.2 * other.ledger.payload
    ).all()


@pytest.mark.parametrize("cbr", [0.5, 0.8])
def test_blocks_fill_the_channel_uses_and_the_ledger(cbr):
    point = phy(cbr=cbr)
    outcome = SYSTEM.simulate(IMAGES, point, SEEDS)
    assert (
        outcome.ledger.total == pytest.approx(point.uses(*SIZE))
    ) and outcome.papr_db is not None
    assert set(outcome.status) == {Status.OK} and len(set(outcome.mcs)) == 1
    assert (outcome.ledger.parity > 0).all() and (outcome.ledger.payload > 0).all()
    assert "in 8 blocks" in SYSTEM.preview(point, *SIZE)


def test_parity_lives_through_lost_blocks():
    """At an SNR where a fifth of the blocks fail, images without parity fail and those with it do not."""
    amc = Amc("fixed", mcs=10)
    safe, bare = (ErasureCoded("jpeg2000", 8, p, amc=amc) for p in (4, 0))
    point = phy(snr=0.0, cbr=1.5)
    plan = safe._link.rooms(point, *SIZE, SEEDS).options[0].plans[0]
    snrs = np.linspace(-3, 6, 400)
    rate = safe._link._code.error_rate(snrs, plan)
    near = float(snrs[int(np.argmin(np.abs(rate - 0.2)))])
    point = phy(snr=near, cbr=1.5)
    with_parity = safe.simulate(IMAGES, point, SEEDS).status
    without = bare.simulate(IMAGES, point, SEEDS).status
    assert with_parity.count(Status.OK) > without.count(Status.OK)


FADED = Rayleigh(block_length=1_000_000)  # an image's packets share their fade


def test_an_unknown_fade_is_met_by_the_picture():
    """Rayleigh, mean CSI: each image has the MCS that leaves least to expect, told in a control word."""
    many, seeds = np.concatenate([IMAGES] * 20), FrameSeeds.of(8, 20 * COUNT)
    point = phy(snr=14.0, cbr=0.8, channel=FADED)
    chosen = SYSTEM.simulate(many, point, seeds)
    assert chosen.ledger.total == pytest.approx(point.uses(*SIZE))
    assert (chosen.ledger.headers >= control.NUM_USES).all()
    assert "by the picture" in SYSTEM.preview(point, *SIZE)

    def error(outcome):
        return np.mean((outcome.images.astype(float) - many) ** 2)

    fixed = [
        error(replace(SYSTEM, amc=Amc("fixed", mcs=m)).simulate(many, point, seeds))
        for m in range(0, 27, 2)
    ]
    assert min(fixed) < 0.5 * max(fixed)
    assert error(chosen) < 1.1 * min(fixed)


def test_the_control_word_is_what_the_receiver_goes_by(monkeypatch):
    point = phy(snr=40.0, cbr=0.8, channel=FADED)
    good = SYSTEM.simulate(IMAGES, point, SEEDS)
    assert good.status.count(Status.OK) == COUNT
    read = control.demodulate

    def misread(received):
        return np.where(read(received) == 0, 1, 0)

    monkeypatch.setattr(control, "demodulate", misread)
    bad = SYSTEM.simulate(IMAGES, point, SEEDS)
    assert bad.status.count(Status.FAILED) == COUNT and bad.mcs == good.mcs
    # a word that names no MCS
    monkeypatch.setattr(control, "demodulate", lambda received: read(received) * 0 + 63)
    assert SYSTEM.simulate(IMAGES, point, SEEDS).status.count(Status.FAILED) == COUNT


def test_a_frame_does_not_depend_on_its_batch():
    for point in (
        packet(Iid(0.3)),
        phy(channel=Rayleigh(block_length=100), csi_tx="instantaneous"),
        phy(channel=FADED),
    ):
        together = SYSTEM.simulate(IMAGES, point, SEEDS)
        alone = SYSTEM.simulate(IMAGES[4:5], point, SEEDS.take([4]))
        assert np.array_equal(together.images[4], alone.images[0])
        assert together.ledger.total[4] == alone.ledger.total[0]


def test_budgets_too_small():
    with pytest.raises(BudgetError, match=r"leave the codec .* bits, below"):
        SYSTEM.preview(packet(Iid(0.0), 0.35), *SIZE)
    outcome = SYSTEM.simulate(IMAGES, packet(Iid(0.0), 0.35), SEEDS)
    assert set(outcome.status) == {Status.OUTAGE} and (outcome.ledger.total == 0).all()
    with pytest.raises(BudgetError, match="no MCS makes 8 blocks of"):
        SYSTEM.preview(phy(cbr=0.004), *SIZE)
    with pytest.raises(BudgetError, match="do not hold the 48 of the control word"):
        SYSTEM.preview(phy(cbr=0.005, channel=FADED), *SIZE)
    with pytest.raises(BudgetError, match="no MCS makes 8 blocks of"):
        SYSTEM.preview(phy(cbr=0.008, channel=FADED), *SIZE)
    with pytest.raises(ComponentError, match="budget: per_image"):
        SYSTEM.preview(packet(Iid(0.0), budget="mean"), *SIZE)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"packets": 0}, "packets must be 1..64"),
        ({"packets": 4, "parity": 4}, "parity must be 0..3, got 4"),
        ({"amc": {"rule": "genie"}}, "take amc rule auto, target or fixed, got 'genie'"),
        ({"mtu": 9}, "mtu must be 16..65535"),
    ],
)
def test_parameters_are_checked(given, match):
    with pytest.raises(ComponentError, match=match):
        registry.create("systems", {"name": "erasure-coded", "codec": "jpeg2000", **given})


# ---------------------------------------------------------------------------------------- several blocks an image


def link(lowered=(0, 0, 0, 0), shares=(1.0,) * 4, amc=None) -> SliceLink:
    return SliceLink("ldpc-5g", amc or Amc(), "fast", 1500, lowered, shares)


def test_protected_blocks_have_a_lower_mcs_and_about_the_same_room():
    point = phy(snr=8.0, cbr=0.5)
    rooms = link((6, 0, 6, 0)).rooms(point, *SIZE, SEEDS)
    option = rooms.options[rooms.choice[0]]
    assert option.plans[0].target_rate * option.plans[0].num_bits_per_symbol < (
        option.plans[1].target_rate * option.plans[1].num_bits_per_symbol
    )
    assert option.edges[-1] == point.uses(*SIZE)
    assert option.edges[1] > option.edges[2] - option.edges[1]
    low, high = rooms.each.min(), rooms.each.max()
    assert high < 1.15 * low
    assert rooms.total[0] < link().rooms(point, *SIZE, SEEDS).total[0], "protection costs room"


def test_shares_divide_the_uses():
    point = phy(snr=8.0, cbr=0.5)
    rooms = link(shares=(3.0, 1.0, 1.0, 1.0)).rooms(point, *SIZE, SEEDS)
    edges = np.array(rooms.options[0].edges)
    assert np.allclose(np.diff(edges) / edges[-1], [0.5, 1 / 6, 1 / 6, 1 / 6], atol=0.002)


def test_an_unknown_fade_is_met_by_what_arrives_most():
    """Rayleigh, mean CSI: the rule takes a lower MCS than at a known SNR, and a higher one at a higher mean."""
    fading = Rayleigh(block_length=100)

    def name(snr, **more):
        made = link().rooms(phy(snr=snr, cbr=0.5, **more), *SIZE, SEEDS)
        return made.options[made.choice[0]].mcs.index

    assert name(10.0, channel=fading) < name(10.0)
    assert name(4.0, channel=fading) < name(16.0, channel=fading)
