"""Closed forms of Markov loss chains against hand-worked cases."""

import numpy as np
import pytest

from linksim.packet import chain
from linksim.seeds import FrameSeeds

TWO = np.array([[0.9, 0.1], [0.4, 0.6]])


def test_two_states_by_hand():
    np.testing.assert_allclose(chain.stationary(TWO), [0.8, 0.2], atol=1e-12)
    assert chain.loss_rate(TWO, [0, 1]) == pytest.approx(0.2)
    assert chain.mean_burst(TWO, [0, 1]) == pytest.approx(1 / 0.4)
    # lost in the bad state half of the time: P(lost, lost) = 0.2 * 0.6 / 4, so a burst ends with 1 - 0.3
    assert chain.mean_burst(TWO, [0, 0.5]) == pytest.approx(1 / 0.7)


def test_an_independent_chain_is_iid():
    same = np.tile([0.7, 0.2, 0.1], (3, 1))
    assert chain.loss_rate(same, [0, 1, 1]) == pytest.approx(0.3)
    assert chain.mean_burst(same, [0, 1, 1]) == pytest.approx(1 / 0.7)


def test_states_that_are_left_for_good_have_no_weight():
    leaving = np.array([[0.5, 0.5, 0], [0, 0.2, 0.8], [0, 0.4, 0.6]])
    np.testing.assert_allclose(chain.stationary(leaving), [0, 1 / 3, 2 / 3], atol=1e-12)


def test_no_losses_and_losses_without_end():
    assert np.isnan(chain.mean_burst(TWO, [0, 0]))
    assert chain.mean_burst(TWO, [1, 1]) == np.inf


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[0.5, 0.4], [0.5, 0.5]], "row 0 of transition sums to 0.9"),
        ([[1.2, -0.2], [0.5, 0.5]], "probabilities in"),
        ([[1, 0], [0, 1]], "more than one stationary distribution"),
        ([[0.5, 0.5]], "square"),
        ([[float("nan"), 0.5], [0.5, 0.5]], "probabilities in"),
    ],
)
def test_no_transition_matrix(matrix, message):
    with pytest.raises(ValueError, match=message):
        chain.stationary(np.array(matrix, float))


def test_states_follow_the_matrix():
    """Pairs of losses of a chain whose states lose always or never are its transition counts."""
    lost = np.stack(chain.walk(TWO, [0, 1], [200] * 500, FrameSeeds.of(2, 500)))
    good = ~lost[:, :-1]
    assert (good & lost[:, 1:]).sum() / good.sum() == pytest.approx(0.1, abs=0.006)
    assert (lost[:, :-1] & ~lost[:, 1:]).sum() / lost[:, :-1].sum() == pytest.approx(0.4, abs=0.02)


def test_wrong_number_of_seeds():
    with pytest.raises(ValueError, match="2 frames of packets but 3 seeds"):
        chain.walk(TWO, [0, 1], [1, 1], FrameSeeds.of(1, 3))
