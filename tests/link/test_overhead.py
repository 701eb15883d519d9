"""Pilots and prefix: budgets, ledger and what reaches a system, over channels that take a share for themselves."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from linksim import registry
from linksim.channel.awgn import Awgn
from linksim.channel.ofdm.grid import Grid
from linksim.channel.tdl import Tdl
from linksim.errors import BudgetError, ComponentError
from linksim.link import overhead
from linksim.link.system import LinkPoint
from linksim.seeds import FrameSeeds
from linksim.types import Frame, Ledger

SMALL = Grid(
    num_subcarriers=12, num_symbols=4, cyclic_prefix=2, pilot_symbols=(1,), pilot_spacing=3
)
IMAGES = np.random.default_rng(3).integers(0, 255, (2, 64, 64, 3)).astype(np.uint8)


def point(channel, cbr=1 / 8, **more):
    return LinkPoint("phy", channel, 15.0, 15.0, cbr, **more)


def test_the_budget_is_what_the_channel_leaves():
    assert point(Awgn()).uses(64, 64) == 1536
    assert point(Tdl()).uses(64, 64) == Grid().data_uses(1536) < 1536
    with pytest.raises(BudgetError, match=r"raise cbr by a factor of \d"):
        point(Tdl(), cbr=1 / 200).uses(64, 64)


def test_ledger_books_pilots_prefix_and_padding():
    counts = np.array([1, 8, 20, 44, 45])
    x = np.ones((5, 45), np.complex64) * (np.arange(45) < counts[:, None])
    frame = Frame(x.astype(np.complex64), counts, Ledger.zeros(5, payload=counts))
    channel = Tdl(delay_spread_ns=100, grid=SMALL)
    _, ledger = overhead.cross(channel, frame, 0.1, FrameSeeds.of(0, 5))
    # A pilot symbol holds 8 data places, another 12; each costs 14 uses; a slot holds 44 and costs 56.
    np.testing.assert_array_equal(ledger.payload, counts)
    np.testing.assert_array_equal(ledger.total, [14, 14, 28, 56, 56 + 14])
    np.testing.assert_array_equal(ledger.padding, [7, 0, 0, 0, 7])
    np.testing.assert_array_equal(ledger.pilots, [6, 6, 8, 12, 12 + 6])


@pytest.mark.parametrize("csi_tx", ["mean", "instantaneous"])
@pytest.mark.parametrize("system", ["jpeg", "softcast"])
def test_systems_run_within_their_all_in_budget(system, csi_tx):
    kind = {"jpeg": "separated", "softcast": "joint"}[system]
    spec = {"name": kind, {"separated": "codec", "joint": "joint"}[kind]: system}
    run = registry.create("systems", spec)
    for channel in (Tdl(csi_rx="lmmse"), Tdl(csi_rx="ls", num_rx=2)):
        at = point(channel, cbr=1 / 4, csi_tx=csi_tx)
        outcome = run.simulate(IMAGES, at, FrameSeeds.of(1, 2))
        total, uses = outcome.ledger.total, 64 * 64 * 3 // 4
        assert (total <= uses).all() and (total > uses - 2 * Grid().symbol_uses).all()
        assert (outcome.ledger.pilots > 0.1 * total).all()
        assert run.preview(at, 64, 64)


def test_without_declarations_every_use_carries_data():
    frame = Frame(np.ones((2, 5), np.complex64), np.array([5, 5]), Ledger.zeros(2, payload=[5, 5]))
    _, ledger = overhead.cross(Awgn(), frame, 0.1, FrameSeeds.of(0, 2))
    assert ledger.total.tolist() == [5, 5] and overhead.total_uses(Awgn(), 7) == 7


@dataclass(frozen=True)
class Liar(Awgn):
    """Claims what it is told to."""

    data: object = 0
    total: object = 0
    calls: list = field(default_factory=list, compare=False)

    def data_uses(self, total):
        return self.data

    def total_uses(self, data):
        return self.total


def test_a_channel_that_claims_nonsense_is_named():
    with pytest.raises(ComponentError, match=r"channel Liar: data_uses\(10\) is 11"):
        overhead.data_uses(Liar(data=11), 10)
    with pytest.raises(ComponentError, match=r"data_uses\(10\) is 2\.5"):
        overhead.data_uses(Liar(data=2.5), 10)
    with pytest.raises(ComponentError, match=r"total_uses\(10\) is 9"):
        overhead.total_uses(Liar(total=9), 10)
    frame = Frame(np.ones((1, 5), np.complex64), np.array([5]), Ledger.zeros(1, payload=[5]))
    with pytest.raises(ComponentError, match="one the other's inverse"):
        overhead.cross(Liar(data=3, total=8), frame, 0.1, FrameSeeds.of(0, 1))
