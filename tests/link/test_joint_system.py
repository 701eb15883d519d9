"""The symbol branch: side information is sent for real, counted, and its loss is a failed image."""

from __future__ import annotations

import numpy as np
import pytest

from linksim import registry
from linksim.errors import BudgetError
from linksim.link.system import GREY, LinkPoint
from linksim.seeds import FrameSeeds
from linksim.types import Status


def photos(count: int) -> np.ndarray:
    source = registry.create("images", {"name": "samples", "size": 64})
    return np.stack([source.load(i) for i in range(count)])


def point(snr: float, cbr: float = 0.25, channel: str = "awgn", **more) -> LinkPoint:
    return LinkPoint("phy", registry.create("channels", channel), snr, snr, cbr, **more)


@pytest.fixture(scope="module")
def system():
    return registry.create("systems", {"name": "joint", "joint": "softcast"})


def mse(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.mean((a.astype(float) - b) ** 2))


def test_all_uses_are_booked_and_within_the_budget(system):
    images = photos(3)
    outcome = system.simulate(images, point(6.0), FrameSeeds.of(0, 3))
    budget = int(0.25 * 3 * 64 * 64)
    assert (outcome.ledger.total <= budget).all()
    assert (outcome.ledger.total > 0.98 * budget).all()
    assert (outcome.ledger.side_information > 0).all()
    np.testing.assert_allclose(
        outcome.ledger.total, outcome.ledger.payload + outcome.ledger.side_information
    )


def test_quality_follows_the_true_snr_without_a_cliff(system):
    """The sender believes 6 dB throughout; the receiver gets what the channel gives."""
    images = photos(4)
    errors = [
        mse(
            images,
            system.simulate(
                images,
                LinkPoint("phy", registry.create("channels", "awgn"), snr, 6.0, 0.25),
                FrameSeeds.of(1, 4),
            ).images,
        )
        for snr in (-4, -2, 0, 2, 4, 6, 8, 10, 12)
    ]
    assert errors == sorted(errors, reverse=True)
    steps = 10 * np.log10(np.array(errors[:-1]) / errors[1:])
    assert steps.max() < 3  # dB over 2 dB of SNR


def test_without_noise_more_symbols_are_a_better_picture(system):
    images = photos(2)
    errors = [
        mse(images, system.simulate(images, point(6, cbr, "ideal"), FrameSeeds.of(2, 2)).images)
        for cbr in (0.1, 0.25, 0.5)
    ]
    assert errors[0] > errors[1] > errors[2]


def test_a_lost_side_block_is_a_failed_image(system):
    images = photos(4)
    outcome = system.simulate(images, point(-14.0), FrameSeeds.of(3, 4))
    assert set(outcome.status) == {Status.FAILED}
    assert (outcome.images == GREY).all()


def test_the_side_block_holds_at_minus_5_db(system):
    images = np.repeat(photos(1), 150, axis=0)
    outcome = system.simulate(images, point(-5.0), FrameSeeds.of(4, 150))
    assert sum(s.failed for s in outcome.status) <= 2


def test_a_budget_below_the_side_information_names_the_least_cbr(system):
    with pytest.raises(BudgetError, match="raise cbr to at least"):
        system.preview(point(6, 0.005), 64, 64)


def test_a_weaker_promise_for_the_side_information_is_cheaper():
    images = photos(1)
    robust, fragile = (
        registry.create(
            "systems", {"name": "joint", "joint": "softcast", "side_snr_db": snr}
        ).simulate(images, point(10), FrameSeeds.of(5, 1))
        for snr in (-5.0, 5.0)
    )
    assert fragile.ledger.side_information[0] < 0.6 * robust.ledger.side_information[0]
