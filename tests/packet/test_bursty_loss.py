"""Gilbert-Elliott and three-state losses: parameters, closed forms, presets."""

import dataclasses

import numpy as np
import pytest

from linksim.packet import chain
from linksim.packet.gilbert_elliott import GilbertElliott
from linksim.packet.markov import Markov
from linksim.seeds import FrameSeeds


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.3, 0.6])
@pytest.mark.parametrize("burst", [1.5, 2.5, 5.0])
def test_gilbert_is_solved_by_hand(rate, burst):
    process = GilbertElliott(rate=rate, mean_burst=burst)
    matrix, loss = process._chain
    assert matrix[1, 0] == pytest.approx(1 / burst)
    assert matrix[0, 1] == pytest.approx(rate / (1 - rate) / burst)
    assert process.loss_rate == pytest.approx(rate)
    assert chain.mean_burst(matrix, loss) == pytest.approx(burst)


def test_elliott_meets_rate_and_burst():
    process = GilbertElliott(rate=0.1, mean_burst=1.3, loss_good=0.02, loss_bad=0.6)
    assert process.loss_rate == pytest.approx(0.1)
    assert chain.mean_burst(*process._chain) == pytest.approx(1.3)


def test_a_given_chain_names_its_burst_and_survives_replace():
    process = GilbertElliott(good_to_bad=0.1, bad_to_good=0.4)
    assert process.loss_rate == pytest.approx(0.2) and process.mean_burst == pytest.approx(2.5)
    with pytest.raises(ValueError, match="give either rate"):
        dataclasses.replace(process, rate=0.1)


def test_the_burst_of_independent_losses_gives_independent_losses():
    matrix, _ = GilbertElliott(rate=0.25, mean_burst=1 / 0.75)._chain
    np.testing.assert_allclose(matrix[0], matrix[1], atol=1e-12)


def test_what_is_lost_at_one_rate_is_lost_at_every_higher_one():
    counts, seeds = [60] * 50, FrameSeeds.of(1, 50)
    low = np.concatenate(GilbertElliott(0.05, 2.5)(counts, seeds))
    high = np.concatenate(GilbertElliott(0.2, 2.5)(counts, seeds))
    assert low.any() and not (low & ~high).any() and high.sum() > low.sum()


def test_rate_zero_loses_nothing():
    assert not np.concatenate(GilbertElliott(0, 2.5)([100], FrameSeeds.of(1, 1))).any()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either rate"),
        ({"rate": 0.1}, "give either rate"),
        ({"rate": 0.1, "mean_burst": 2, "good_to_bad": 0.1}, "give either rate"),
        ({"rate": 1.0, "mean_burst": 2}, r"rate must be in \[0, 1\)"),
        ({"rate": float("nan"), "mean_burst": 2}, r"rate must be in \[0, 1\)"),
        ({"rate": 0.1, "mean_burst": 0.9}, "mean_burst must be at least 1 packet"),
        ({"rate": 0.8, "mean_burst": 2}, "mean_burst may be 4 or more"),
        ({"rate": 0.1, "mean_burst": 2, "loss_good": 0.2}, "rate must lie between"),
        ({"rate": 0.1, "mean_burst": 9, "loss_bad": 0.5}, "mean_burst may be .* to below 2"),
        ({"good_to_bad": 0.0, "bad_to_good": 0.5}, "good_to_bad must be a probability"),
        ({"good_to_bad": 0.1, "bad_to_good": 1.5}, "bad_to_good must be a probability"),
        ({"rate": 0.1, "mean_burst": 2, "loss_good": 0.5, "loss_bad": 0.5}, "loss_good < loss_bad"),
    ],
)
def test_gilbert_elliott_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        GilbertElliott(**given)


def test_the_bursts_offered_are_the_bursts_accepted():
    for burst in (4.0, 40.0):
        assert chain.mean_burst(*GilbertElliott(0.8, burst)._chain) == pytest.approx(burst)
    with pytest.raises(ValueError, match="may be 4 or more"):
        GilbertElliott(0.8, 3.99)


# Loss rate and mean burst that the source claims; EP2 to the digits that its rounded rows allow.
CLAIMED = {
    "EP1": (0.0021, 6.5),
    "EP2": (0.031, 1.6),
    "EP3": (0.0645, 5.0),
    "EP4": (0.138, 1.7),
    "EP5": (0.214, 10.0),
    "EP6": (0.324, 2.7),
}


@pytest.mark.parametrize("preset", CLAIMED)
def test_presets_meet_what_their_source_claims(preset):
    rate, burst = CLAIMED[preset]
    process = Markov(preset)
    digits = 4 if rate < 0.01 or preset == "EP3" else 3
    assert process.loss_rate == pytest.approx(rate, abs=0.51 * 10**-digits)
    assert process.mean_burst == pytest.approx(burst, abs=0.051)
    np.testing.assert_allclose(process._chain[0].sum(axis=1), 1, atol=1e-12)


def test_short_gaps_of_the_three_state_model_end_in_loss():
    """EP4's state 3: gaps are a mixture of long ones (mean 1 / P) and short ones (mean 1 / (1 - Q'))."""
    lost = np.concatenate(Markov("EP4")([4000] * 50, FrameSeeds.of(3, 50)))
    edges = np.flatnonzero(np.diff(lost.astype(int)))
    gaps = np.diff(edges)[
        ~lost[edges[1:]]
    ]  # runs of arrivals, between a burst's end and the next one's start
    short = 0.2297 / (0.2297 + 0.3631)
    assert gaps.mean() == pytest.approx(short / (1 - 0.5662) + (1 - short) / (1 - 0.9363), rel=0.02)


def test_published_matrices_that_do_not_sum_to_one_are_refused():
    with pytest.raises(ValueError, match=r"row 1 of transition sums to 1\.6"):
        Markov(transition=((0.95, 0.05, 0), (0.8, 0.8, 0), (0, 0.4, 0.6)), loss=(0, 1, 0))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "give either a preset"),
        ({"preset": "EP7"}, "preset must be one of EP1, EP2"),
        ({"preset": "EP1", "loss": (0, 1)}, "give either a preset"),
        ({"transition": ((1.0,),)}, "give either a preset"),
        ({"transition": ((0.5, 0.5), (1.0,)), "loss": (0, 1)}, "must be square"),
        ({"transition": ((0.5, 0.5), (0.5, 0.5)), "loss": (0, 2)}, "loss must hold 2"),
        ({"transition": ((0.5, 0.5), (0.5, 0.5)), "loss": (0,)}, "loss must hold 2"),
    ],
)
def test_markov_refuses(given, message):
    with pytest.raises(ValueError, match=message):
        Markov(**given)
