"""The distributed system: who holds what, over both links, with every kind of side information."""

from __future__ import annotations

import numpy as np
import pytest
from dsc_small import SIZE, pictures, write

from linksim import registry
from linksim.channel.awgn import Awgn
from linksim.errors import BudgetError, ComponentError
from linksim.link.distributed import Distributed, SideLink
from linksim.link.system import LinkPoint
from linksim.packet.loss import Iid
from linksim.seeds import FrameSeeds
from linksim.types import Status

IMAGES, SIDE = pictures(4, 1), pictures(4, 2)
SEEDS = FrameSeeds.of(0, 4)
PHY = LinkPoint("phy", channel=Awgn(), es_n0_db=8.0, snr_amc_db=8.0, cbr=0.08)
PACKET = LinkPoint("packet", erasure=Iid(0.0), bpp=0.3)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("dsc"))


@pytest.mark.parametrize("point", [PHY, PACKET], ids=["phy", "packet"])
@pytest.mark.parametrize("mode", ["distributed", "joint", "separate"])
def test_all_modes_cross_both_links(weights, point, mode):
    system = Distributed(weights, mode)
    side = {} if mode == "separate" else {"side": SIDE}
    assert (system.side_offset is None) == (mode == "separate")
    outcome = system.simulate(IMAGES, point, SEEDS, **side)
    assert outcome.images.shape == IMAGES.shape and set(outcome.status) == {Status.OK}
    total = outcome.ledger.total
    if point is PHY:
        assert (total == point.uses(*SIZE)).all()
    else:
        assert (total <= point.bits(*SIZE)).all() and (total > 0.6 * point.bits(*SIZE)).all()
    assert "codec" in system.preview(point, *SIZE)


def test_a_frame_does_not_depend_on_its_batch(weights):
    system = Distributed(weights, packets=2)
    point = LinkPoint("packet", erasure=Iid(0.4), bpp=0.4)
    together = system.simulate(IMAGES, point, SEEDS, side=SIDE)
    alone = system.simulate(IMAGES[2:3], point, SEEDS.take([2]), side=SIDE[2:3])
    assert np.array_equal(together.images[2], alone.images[0])
    assert together.status[2] == alone.status[0]


def test_losses_are_concealed_with_side_information_and_fail_without(weights):
    point = LinkPoint("packet", erasure=Iid(0.9), bpp=0.4)
    helped = Distributed(weights, packets=2).simulate(IMAGES, point, SEEDS, side=SIDE)
    blind = Distributed(weights, "separate", packets=2).simulate(IMAGES, point, SEEDS)
    assert Status.CONCEALED in helped.status and Status.FAILED not in helped.status
    assert Status.FAILED in blind.status


def test_nothing_is_sent_at_rate_zero(weights):
    system = Distributed(weights, send=False)
    for point in (PHY, PACKET):
        outcome = system.simulate(IMAGES, point, SEEDS, side=SIDE)
        assert (outcome.ledger.total == 0).all()
        assert system.preview(point, *SIZE) == "nothing is sent"
    other = system.simulate(IMAGES[::-1].copy(), PHY, SEEDS, side=SIDE)
    assert np.array_equal(other.images, outcome.images), "the picture is not looked at"


def test_wrong_random_and_no_side_information(weights):
    wrong = Distributed(weights, side="wrong")
    assert wrong.side_offset == 1
    right = Distributed(weights).simulate(IMAGES, PACKET, SEEDS, side=SIDE)
    shown = [wrong.simulate(IMAGES, PACKET, SEEDS, side=np.roll(SIDE, -1, 0))]
    for kind in ("random", "none"):
        system = Distributed(weights, side=kind)
        assert system.side_offset is None
        shown.append(system.simulate(IMAGES, PACKET, SEEDS))
    for outcome in shown:
        assert np.array_equal(outcome.ledger.total, right.ledger.total), "the same bits are sent"
        assert (outcome.images != right.images).any()
    again = Distributed(weights, side="random").simulate(IMAGES[1:], PACKET, SEEDS[1:])
    assert np.array_equal(again.images, shown[1].images[1:])


def test_side_information_over_a_link_of_its_own(weights):
    plain = Distributed(weights).simulate(IMAGES, PHY, SEEDS, side=SIDE)
    shown = []
    for snr in (0.0, 25.0):
        carried = {"name": "joint", "joint": "softcast"}
        system = registry.create(
            "systems",
            {
                "name": "distributed",
                "weights": weights,
                "side_link": {"system": carried, "es_n0_db": snr, "cbr": 0.5},
            },
        )
        assert isinstance(system.side_link, SideLink)
        shown.append(system.simulate(IMAGES, PHY, SEEDS, side=SIDE).images.astype(float))
        system.preview(PHY, *SIZE)
    worse, better = (np.abs(s - plain.images).mean() for s in shown)
    assert better < worse, "good side information gives what undamaged one gives"
    with pytest.raises(BudgetError, match="needs `bpp`"):
        system.preview(PACKET, *SIZE)


def test_the_transmitter_does_not_get_it(weights, monkeypatch):
    system = Distributed(weights)
    seen = []
    cls = type(system._transmitter)
    encode = cls.encode
    monkeypatch.setattr(
        cls, "encode", lambda self, *given: (seen.append(given[2]), encode(self, *given))[1]
    )
    system.simulate(IMAGES, PACKET, SEEDS, side=SIDE)
    Distributed(weights, "joint").simulate(IMAGES, PACKET, SEEDS, side=SIDE)
    assert seen[0] is None and np.array_equal(seen[1], SIDE)


def test_side_information_missing_grey_or_of_another_size(weights):
    system = Distributed(weights)
    with pytest.raises(ValueError, match=r"needs side information .* got none"):
        system.simulate(IMAGES, PACKET, SEEDS)
    for bad in (SIDE[..., 0], SIDE[:, :16], SIDE[:2], SIDE.astype(np.float32)):
        with pytest.raises(ValueError, match="like the images"):
            system.simulate(IMAGES, PACKET, SEEDS, side=bad)
    with pytest.raises(ValueError, match="takes no side information"):
        Distributed(weights, "separate").simulate(IMAGES, PACKET, SEEDS, side=SIDE)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"mode": "separate", "send": False}, "has none"),
        ({"side": "none", "send": False}, "has none"),
        ({"mode": "joint", "side": "wrong"}, "joint needs side: paired"),
        ({"side": "random", "side_link": {"system": "vvc", "cbr": 1}}, "side_link carries"),
        ({"packets": 0}, "bands must be"),
        ({"mode": "both"}, "mode"),
        ({"side_link": {"system": "vvc", "cbr": -1}}, "cbr must be above 0"),
    ],
)
def test_parameters_are_checked(weights, given, match):
    with pytest.raises(ComponentError, match=match):
        registry.create("systems", {"name": "distributed", "weights": weights, **given})


def test_a_budget_too_small(weights):
    with pytest.raises(BudgetError, match="dsc needs"):
        Distributed(weights).preview(LinkPoint("packet", erasure=Iid(0.0), bpp=0.02), *SIZE)
