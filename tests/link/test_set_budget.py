"""``budget: mean``: one operating point for a set, its mean within the budget, every image its own channel uses."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from linksim import registry
from linksim.errors import BudgetError, ComponentError
from linksim.link import set_budget
from linksim.link.set_budget import best_level
from linksim.link.sizing import plan_for, smallest_plan
from linksim.link.system import Calibrated, LinkPoint
from linksim.phy.mcs import TABLE
from linksim.seeds import FrameSeeds
from linksim.types import Decoded, Demand, Payload, Received, Status, Symbols

CBR = 0.4


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path))


def pictures() -> np.ndarray:
    """Six photographs and a flat picture, which asks for next to nothing: [7, 64, 64, 3]."""
    source = registry.create("images", {"name": "samples", "size": 64})
    flat = np.full((1, 64, 64, 3), 90, np.uint8)
    return np.concatenate([np.stack([source.load(i) for i in range(6)]), flat])


def frames(images: np.ndarray, batch: int = 3):
    seeds = FrameSeeds.of(0, len(images))
    parts = [slice(i, i + batch) for i in range(0, len(images), batch)]
    return lambda: ((images[part], seeds[part]) for part in parts)


def point(channel: str = "awgn", **more) -> LinkPoint:
    made = registry.create("channels", channel)
    given = {"es_n0_db": 8.0, "snr_amc_db": 8.0, "cbr": CBR, "budget": "mean", **more}
    return LinkPoint("phy", made, **given)


def run(system, images: np.ndarray, at: LinkPoint):
    found = system.calibrate(frames(images), at)
    outcome = system.simulate(images, replace(at, operating=found), FrameSeeds.of(0, len(images)))
    return found, outcome


@pytest.mark.parametrize("channel", ["awgn", "rayleigh"])
def test_the_set_meets_the_budget_and_the_next_level_would_not(channel):
    system = registry.create("systems", {"name": "separated", "codec": "jpeg"})
    assert isinstance(system, Calibrated)
    images, at = pictures(), point(channel)
    found, outcome = run(system, images, at)
    cbr = outcome.ledger.total / (3 * 64 * 64)
    assert 0.85 * CBR < cbr.mean() <= CBR
    assert cbr[-1] < 0.9 * cbr[:-1].min() and np.ptp(cbr[:-1]) > 0.05
    assert (outcome.ledger.headers >= set_budget.NUM_USES).all()
    more = system.simulate(
        images,
        replace(at, operating={**found, "level": found["level"] + 1}),
        FrameSeeds.of(0, len(images)),
    )
    assert more.ledger.total.mean() / (3 * 64 * 64) > CBR
    if channel == "awgn":
        assert set(outcome.status) == {Status.OK}
        assert "mcs" not in found
    else:
        assert {m for m in outcome.mcs} == {TABLE[int(found["mcs"])].name}


def test_batches_and_their_order_change_nothing():
    system = registry.create("systems", {"name": "separated", "codec": "jpeg"})
    images, at = pictures(), point("rayleigh")
    found, outcome = run(system, images, at)
    assert found == system.calibrate(frames(images, 2), at)
    alone = system.simulate(
        images[2:3], replace(at, operating=found), FrameSeeds.of(0, len(images))[2:3]
    )
    assert np.array_equal(alone.images[0], outcome.images[2])
    assert alone.ledger.total[0] == outcome.ledger.total[2]


def test_a_fixed_mcs_and_instantaneous_knowledge():
    images = pictures()
    fixed = registry.create(
        "systems",
        {"name": "separated", "codec": "jpeg", "amc": {"rule": "fixed", "mcs": 16}},
    )
    _, outcome = run(fixed, images, point())
    assert set(outcome.mcs) == {TABLE[16].name}
    system = registry.create("systems", {"name": "separated", "codec": "jpeg"})
    _, outcome = run(system, images, point("rayleigh", csi_tx="instantaneous"))
    assert len(set(outcome.mcs)) > 2
    # two frames face fades so deep that nothing but their control words goes out
    deep = [b for b, name in enumerate(outcome.mcs) if name is None]
    assert len(deep) == 2 and all(outcome.status[b].failed for b in deep)
    assert (outcome.ledger.total[deep] == set_budget.NUM_USES).all()
    assert outcome.ledger.total.mean() <= CBR * 3 * 64 * 64
    genie = registry.create(
        "systems", {"name": "separated", "codec": "jpeg", "amc": {"rule": "genie"}}
    )
    with pytest.raises(BudgetError, match="genie"):
        run(genie, images, point())


def test_on_the_packet_link():
    system = registry.create("systems", {"name": "separated", "codec": "jpeg"})
    at = LinkPoint(
        "packet",
        erasure=registry.create("erasures", {"name": "iid", "rate": 0.0}),
        bpp=1.5,
        budget="mean",
    )
    _, outcome = run(system, pictures(), at)
    bpp = outcome.ledger.total / 64**2
    assert 1.3 < bpp.mean() <= 1.5 and np.ptp(bpp) > 0.5


def test_too_small_a_budget_says_what_it_takes():
    system = registry.create("systems", {"name": "separated", "codec": "jpeg"})
    with pytest.raises(BudgetError, match=r"cbr=0.06 is below the 0\.\d+ that the set takes"):
        system.calibrate(frames(pictures()), point(cbr=0.06))


def test_a_set_budget_without_an_operating_point_is_refused():
    system = registry.create("systems", {"name": "separated", "codec": "jpeg"})
    with pytest.raises(ComponentError, match="calibrate"):
        system.simulate(pictures(), point(), FrameSeeds.of(0, 7))


def test_a_joint_coder_without_operating_points_is_refused():
    system = registry.create("systems", {"name": "joint", "joint": "softcast"})
    with pytest.raises(ComponentError, match="softcast has no operating point"):
        system.calibrate(frames(pictures()), point())


@dataclass(frozen=True)
class Busy:
    """A joint coder that asks for uses by how busy a picture is; sends noise."""

    def min_uses(self, height, width):
        return 4

    def side_bits(self, height, width):
        return 0

    def demand(self, images, tx):
        grid = np.linspace(0.0, 2.0, 9)
        asked = images.astype(np.float64).std((1, 2, 3)) * 80
        return Demand(grid, np.floor(asked[:, None] * grid).astype(np.int64))

    def encode(self, images, uses, tx, *, side_bits=None):
        x = np.zeros((len(images), int(uses.max())), np.complex64)
        for b, count in enumerate(uses):
            x[b, :count] = 1.0
        return Payload(symbols=Symbols(x, np.asarray(uses, np.int64)))

    def decode(self, delivered):
        count = len(delivered)
        return Decoded((np.zeros((64, 64, 3), np.uint8),) * count, (Status.OK,) * count)


def busy():
    from linksim.link.joint import JointSystem

    system = JointSystem(joint="softcast")
    vars(system)["_encoder"] = vars(system)["_decoder"] = Busy()
    return system


def test_a_joint_coder_shares_one_eta():
    found, outcome = run(busy(), pictures(), point())
    cbr = outcome.ledger.total / (3 * 64 * 64)
    assert 0.98 * CBR < cbr.mean() <= CBR
    assert (outcome.ledger.headers == set_budget.NUM_USES).all()
    step = set_budget.step_of(int(CBR * 3 * 64 * 64))
    flat = set_budget.NUM_USES + step  # the least that is at least 4 and can be told
    assert outcome.ledger.total[-1] == flat and np.ptp(cbr) > 0.1
    assert 0 < found["eta"] < 2
    with pytest.raises(BudgetError, match="leave 0 after 0 of side information and 96 of its len"):
        busy().calibrate(frames(pictures()), point(cbr=1e-4))


@dataclass(frozen=True)
class Listener(Busy):
    """Notes what the receiver is handed."""

    heard: list = field(default_factory=list)

    def decode(self, delivered):
        self.heard.append(delivered)
        return super().decode(delivered)


def test_the_receiver_of_symbols_reads_their_number_in_band():
    system, listener = busy(), Listener()
    vars(system)["_decoder"] = listener
    images, at = pictures(), point(es_n0_db=-4.0)
    found, outcome = run(system, images, at)
    sent = (outcome.ledger.total - set_budget.NUM_USES).astype(int)
    (delivered,) = listener.heard
    assert [delivered.length(b) for b in range(7)] == sent.tolist()
    assert len(set(sent)) > 3
    # behind its end a frame is silence, however long the others are; alone it is what it is among others
    symbols = delivered.symbols
    assert not symbols.y[-1, sent[-1] :].any() and symbols.y[-1, : sent[-1]].all()
    system.simulate(images[-1:], replace(at, operating=found), FrameSeeds.of(0, 7)[6:7])
    alone = listener.heard[-1].symbols
    assert np.array_equal(alone.y[0, : sent[-1]], symbols.y[-1, : sent[-1]])


def test_a_misread_number_of_symbols_harms_its_own_frame_alone(monkeypatch):
    system, listener = busy(), Listener()
    vars(system)["_decoder"] = listener
    images, at = pictures(), point()
    read = set_budget.demodulate
    monkeypatch.setattr(set_budget, "demodulate", lambda r: np.r_[4095, read(r)[1:]])
    _, outcome = run(system, images, at)
    (delivered,) = listener.heard
    step = set_budget.step_of(int(CBR * 3 * 64 * 64))
    assert delivered.length(0) == 4095 * step  # more than was sent: silence at the end
    assert delivered.length(1) == outcome.ledger.total[1] - set_budget.NUM_USES
    assert not delivered.symbols.y[0, int(outcome.ledger.total[0]) :].any()


@dataclass(frozen=True)
class Steady(Busy):
    """Every picture at the same rate."""

    constant_rate = True
    demand = None


def test_a_coder_of_constant_rate_takes_the_budget_and_tells_nothing():
    system = busy()
    vars(system)["_encoder"] = Steady()
    found, outcome = run(system, pictures(), point())
    assert found == {}
    assert (outcome.ledger.total == int(CBR * 3 * 64 * 64)).all()
    assert not outcome.ledger.headers.any()


def test_ntscc_under_a_set_budget():
    """Shipped weights: the mean fits, pictures differ in length, and all arrive from what was received."""
    system = registry.create("systems", {"name": "joint", "joint": "ntscc"})
    images, at = pictures()[4:], point(cbr=0.08)
    found, outcome = run(system, images, at)
    cbr = outcome.ledger.total / (3 * 64 * 64)
    assert 0.97 * 0.08 < cbr.mean() <= 0.08 and cbr[-1] < 0.7 * cbr[:-1].min()
    assert set(outcome.status) == {Status.OK}
    error = np.mean((outcome.images.astype(float) - images) ** 2, (1, 2, 3))
    assert (error[:-1] < 0.5 * images[:-1].astype(float).var((1, 2, 3))).all() and error[-1] < 50
    seeds = FrameSeeds.of(0, 3)
    again = system.simulate(images[1:2], replace(at, operating=found), seeds[1:2])
    assert again.ledger.total[0] == outcome.ledger.total[1]
    assert np.abs(again.images[0].astype(int) - outcome.images[1]).max() <= 2


def test_demands_are_checked():
    demand = Demand(np.array([0.0, 1.0]), np.array([[0, 10], [4, 4]]))
    assert demand.at(0.55).tolist() == [5, 4]
    with pytest.raises(ValueError, match="must not fall"):
        Demand(np.array([0.0, 1.0]), np.array([[10, 0]]))
    with pytest.raises(ValueError, match="increasing"):
        Demand(np.array([1.0, 1.0]), np.array([[0, 1]]))


def test_sizes_are_told_in_band():
    words = np.array([0, 1, 63, 64, 2048, 4095])
    symbols = set_budget.modulate(words)
    assert np.allclose(np.abs(symbols), 1, atol=1e-6)
    ones = np.ones((len(words), 1), np.complex64)
    assert np.array_equal(set_budget.demodulate(Received(symbols, ones, 0.1)), words)


def test_the_smallest_block_is_the_smallest():
    code = registry.create("channel_codes", "ldpc-5g")
    for mcs, bits, step in ((TABLE[4], 400, 1), (TABLE[20], 5000, 1), (TABLE[9], 3000, 4)):
        plan = smallest_plan(code, mcs, bits, step)
        assert plan is not None and plan.num_symbols % step == 0
        assert plan_for(code, mcs, bits, plan.num_symbols) == plan
        assert plan_for(code, mcs, bits, plan.num_symbols - step) is None


def test_levels_are_searched_tier_by_tier():
    assert best_level((3, 5), lambda level: level <= 6) == 6
    assert best_level((3, 5), lambda level: level <= 7) == 7
    assert best_level((3, 5), lambda level: level < 2) == 1
    assert best_level((3, 5), lambda level: False) is None
