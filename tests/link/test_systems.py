"""The composed systems: fairness, the ledger, AMC and failure policies."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from linksim import registry
from linksim.errors import BudgetError, ComponentError
from linksim.link.amc import Amc, candidates, choose_for_target
from linksim.link.joint import check_power
from linksim.link.separated import Separated
from linksim.link.system import GREY, LinkPoint
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE
from linksim.seeds import FrameSeeds
from linksim.types import (
    Decoded,
    Delivered,
    Packet,
    Packets,
    Received,
    Status,
    Symbols,
    TxKnowledge,
)

SIZE = 16


@pytest.fixture(autouse=True)
def _codec():
    """A codec that spends exactly its budget and shows how many of its bytes arrived."""

    @registry.register("codecs", "counting")
    @dataclass(frozen=True)
    class Counting:
        """Test codec: the picture's level is what it was given, from random bytes."""

        least: int = 16

        def min_bits(self, height, width):
            return self.least

        def encode(self, images, budget_bits):
            return Packets(
                tuple(
                    (self._packet(int(image[0, 0, 0]), int(bits) // 8),)
                    if bits >= self.least
                    else ()
                    for image, bits in zip(images, budget_bits, strict=True)
                )
            )

        def _packet(self, level, size):
            return Packet(bytes([level]) + np.random.default_rng(level).bytes(size - 1), 1)

        def decode(self, delivered: Delivered):
            images, status = [], []
            for packets, ok in zip(delivered.packets, delivered.ok, strict=True):
                if not packets:
                    images.append(None)
                    status.append(Status.OUTAGE)
                elif not packets[0]:
                    images.append(None)
                    status.append(Status.FAILED)
                else:
                    images.append(np.full((SIZE, SIZE, 3), packets[0][0], np.uint8))
                    status.append(Status.OK if ok[0] else Status.CONCEALED)
            return Decoded(tuple(images), tuple(status))

        def distortion(self, images, budget_bits):
            return np.tile(1e4 * 0.5 ** (np.asarray(budget_bits) / 300), (len(images), 1))

    yield
    registry.unregister("codecs", "counting")


def images(count: int) -> np.ndarray:
    levels = np.arange(count, dtype=np.uint8) + 10
    return np.broadcast_to(levels[:, None, None, None], (count, SIZE, SIZE, 3)).copy()


def point(channel="awgn", snr=6.0, *, believed=None, cbr=1.0, **more) -> LinkPoint:
    return LinkPoint(
        "phy",
        registry.create("channels", channel),
        snr,
        snr if believed is None else believed,
        cbr,
        **more,
    )


def system(**more) -> Separated:
    return registry.create("systems", {"name": "separated", "codec": "counting", **more})


def failed(outcome) -> int:
    return sum(status.failed for status in outcome.status)


def test_the_ledger_is_what_was_sent_and_the_budget_is_spent():
    for snr in (-6, 0, 6, 20):
        outcome = system().simulate(images(3), point(snr=snr), FrameSeeds.of(0, 3))
        np.testing.assert_allclose(outcome.ledger.total, SIZE * SIZE * 3, rtol=1e-12)
        assert (outcome.ledger.parity > 0).all()
        assert all((entry >= 0).all() for entry in outcome.ledger.entries().values())


def test_what_arrives_is_what_was_sent_and_more_snr_means_a_better_mcs():
    chosen = []
    for snr in (-6, 0, 6, 12, 20):
        outcome = system().simulate(images(4), point(snr=snr), FrameSeeds.of(1, 4))
        assert failed(outcome) == 0
        np.testing.assert_array_equal(outcome.images, images(4))
        chosen.append(next(m.efficiency for m in TABLE if m.name == outcome.mcs[0]))
    assert chosen == sorted(chosen)
    assert chosen[-1] > 4 * chosen[0]


def test_amc_decides_on_what_it_believes_so_a_wrong_belief_fails():
    right = system().simulate(images(8), point(snr=0), FrameSeeds.of(2, 8))
    wrong = system().simulate(images(8), point(snr=0, believed=6), FrameSeeds.of(2, 8))
    assert failed(right) == 0
    assert failed(wrong) == 8
    assert (wrong.images == GREY).all()


def test_image_error_rate_meets_its_target():
    """1 % asked for: over 600 frames at most 2 % fail, and the next MCS up would fail more."""
    code = Ldpc5G()
    options = candidates(code, 512)
    pick = int(choose_for_target(options, code, TxKnowledge(np.array([3.0])), 0.01)[0])
    rates = [float(code.error_rate(np.array(3.0), o.plan)) for o in options]
    assert rates[pick] <= 0.01 < rates[pick + 1]
    tested = system(amc={"rule": "fixed", "mcs": options[pick].mcs.index})
    outcome = tested.simulate(images(200), point(snr=3.0, cbr=512 / 768), FrameSeeds.of(3, 200))
    assert failed(outcome) <= 8


def test_under_fading_mean_csi_signals_its_choice_in_band_and_instantaneous_need_not():
    mean = system().simulate(images(6), point("rayleigh", 10), FrameSeeds.of(4, 6))
    instant = system().simulate(
        images(6), point("rayleigh", 10, csi_tx="instantaneous"), FrameSeeds.of(4, 6)
    )
    assert (mean.ledger.headers > instant.ledger.headers + 40).all()
    assert len(set(instant.mcs)) > 1
    np.testing.assert_allclose(mean.ledger.total, instant.ledger.total)


def test_instantaneous_csi_fails_no_more_than_its_target_allows():
    outcome = system().simulate(
        images(100), point("rayleigh", 10, csi_tx="instantaneous"), FrameSeeds.of(5, 100)
    )
    assert failed(outcome) <= 6


def test_the_genie_is_never_worse_than_any_fixed_mcs():
    seeds = FrameSeeds.of(6, 20)
    genie = system(amc={"rule": "genie"}).simulate(images(20), point("rayleigh", 8), seeds)
    bits = genie.ledger.payload * np.array(
        [next(m.num_bits_per_symbol for m in TABLE if m.name == name) for name in genie.mcs]
    )
    for index in (3, 9, 14, 20):
        fixed = system(amc={"rule": "fixed", "mcs": index}).simulate(
            images(20), point("rayleigh", 8), seeds
        )
        got = np.array([not s.failed for s in fixed.status])
        theirs = fixed.ledger.payload * TABLE[index].num_bits_per_symbol * got
        ours = bits * np.array([not s.failed for s in genie.status])
        assert (ours >= theirs - 1e-9).all()


def test_all_systems_meet_the_same_fades():
    seen = {}

    class Spy:
        def __init__(self, channel):
            self.channel = channel

        def __call__(self, x, n0, seed) -> Received:
            received = self.channel(x, n0, seed)
            seen.setdefault(x.shape[1], []).append(np.asarray(received.h)[:, 0].copy())
            return received

    spy = Spy(registry.create("channels", "rayleigh"))
    at = LinkPoint("phy", spy, 8.0, 8.0, 1.0, csi_tx="instantaneous")
    for amc in ({}, {"amc": {"rule": "fixed", "mcs": 3}}):
        system(**amc).simulate(images(5), at, FrameSeeds.of(7, 5))
    fades = [h for of_size in seen.values() for h in of_size if len(h) == 5]
    assert len(fades) >= 3
    for h in fades[1:]:
        np.testing.assert_array_equal(h, fades[0])


def test_csi_none_needs_a_fixed_mcs():
    with pytest.raises(BudgetError, match="csi_tx: none"):
        system().simulate(images(1), point(csi_tx="none"), FrameSeeds.of(0, 1))
    outcome = system(amc={"rule": "fixed", "mcs": 2}).simulate(
        images(1), point(csi_tx="none"), FrameSeeds.of(0, 1)
    )
    assert outcome.mcs == (TABLE[2].name,)


def test_outage_is_counted_and_shown_grey():
    needy = system(codec={"name": "counting", "least": 100_000})
    with pytest.raises(BudgetError, match="below the 100000 that counting needs"):
        needy.preview(point(), SIZE, SIZE)
    outcome = needy.simulate(images(2), point(), FrameSeeds.of(0, 2))
    assert outcome.status == (Status.OUTAGE, Status.OUTAGE)
    assert (outcome.images == GREY).all()


def test_good_prefix_reaches_the_decoder_only_where_it_is_declared():
    """A large block in several code blocks at an SNR where some fail: a prefix is shown under good-prefix alone."""
    fixed = system(amc={"rule": "fixed", "mcs": 20})
    found = 0
    for snr in np.arange(6.7, 7.3, 0.1):  # across the waterfall of a block of 8,224 bits
        at = {"snr": float(snr), "cbr": 40.0}  # 30,720 uses: eight code blocks
        seeds = FrameSeeds.of(8, 8)
        shown = fixed.simulate(images(8), point(failure="good-prefix", **at), seeds)
        grey = fixed.simulate(images(8), point(**at), seeds)
        assert Status.CONCEALED not in grey.status
        concealed = [b for b, s in enumerate(shown.status) if s == Status.CONCEALED]
        np.testing.assert_array_equal(shown.images[concealed], images(8)[concealed])
        assert all(grey.status[b] == Status.FAILED for b in concealed)
        found += len(concealed)
    assert found


def test_a_wrong_power_or_too_many_symbols_are_refused():
    x = np.ones((2, 8), np.complex64)
    check_power(Symbols(x, np.array([8, 8])), 8)
    with pytest.raises(ComponentError, match="mean power 4"):
        check_power(Symbols(2 * x, np.array([8, 8])), 8)
    with pytest.raises(ComponentError, match="8 symbols for a budget of 7"):
        check_power(Symbols(x, np.array([8, 8])), 7)
    with pytest.raises(ComponentError, match="behind num_symbols"):
        check_power(Symbols(x, np.array([8, 4])), 8)
    with pytest.raises(ComponentError, match="mean power"):
        check_power(Symbols(np.nan * x, np.array([8, 8])), 8)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rule": "fixed"}, "go together"),
        ({"mcs": 3}, "go together"),
        ({"rule": "fixed", "mcs": 99}, "index 0"),
        ({"target": 0.0}, "error rate in"),
    ],
)
def test_amc_parameters(given, message):
    with pytest.raises(ValueError, match=message):
        Amc(**given)


def packet_point(rate: float, bpp: float = 8.0, **more) -> LinkPoint:
    process = registry.create("erasures", {"name": "iid", "rate": rate})
    return LinkPoint("packet", erasure=process, bpp=bpp, **more)


def test_the_packet_link_counts_every_bit_and_stays_in_its_budget():
    outcome = system(mtu=40).simulate(images(3), packet_point(0.0), FrameSeeds.of(0, 3))
    assert failed(outcome) == 0
    assert (outcome.ledger.total <= 8.0 * SIZE * SIZE).all()
    assert (outcome.ledger.total > 7.5 * SIZE * SIZE).all()
    assert (outcome.ledger.crc > 0).all()
    np.testing.assert_array_equal(outcome.images, images(3))


def test_any_lost_packet_loses_a_picture_in_one_piece():
    """P(picture) = (1 - p)^n for n network packets."""
    count = 400
    outcome = system(mtu=40).simulate(
        images(1).repeat(count, 0), packet_point(0.1), FrameSeeds.of(1, count)
    )
    packets = -(-8 * SIZE * SIZE // 8 // 40)
    expected = 1 - 0.9**packets
    spread = np.sqrt(expected * (1 - expected) / count)
    assert abs(failed(outcome) / count - expected) < 4 * spread
    kept = system(mtu=40).simulate(
        images(1).repeat(50, 0), packet_point(0.1, failure="good-prefix"), FrameSeeds.of(1, 50)
    )
    assert Status.CONCEALED in kept.status
    assert failed(kept) < failed(outcome)


def test_papr_is_in_the_rows():
    """QPSK has one amplitude, a linear joint coder's symbols have peaks; padding does not count."""
    from linksim.types import Frame, Ledger

    x = np.zeros((3, 8), np.complex64)
    x[0, :4] = [1, 1j, -1, -1j]
    x[1, :2] = [2, 0]
    frame = Frame(x, np.array([4, 2, 8]), Ledger.zeros(3, payload=[4, 2, 8]))
    np.testing.assert_allclose(frame.papr_db(), [0, 10 * np.log10(2), np.nan], atol=1e-6)
