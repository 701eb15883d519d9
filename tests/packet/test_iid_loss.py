"""Independent losses."""

import numpy as np
import pytest

from linksim.packet.loss import Iid
from linksim.seeds import FrameSeeds


def test_what_is_lost_at_one_rate_is_lost_at_every_higher_one():
    counts, seeds = [40] * 20, FrameSeeds.of(1, 20)
    low = np.concatenate(Iid(0.1)(counts, seeds))
    high = np.concatenate(Iid(0.4)(counts, seeds))
    assert low.any() and not (low & ~high).any() and high.sum() > low.sum()


def test_losses_of_two_frames_differ():
    a, b = Iid(0.5)([64, 64], FrameSeeds.of(1, 2))
    assert 0.2 < np.mean(a != b) < 0.8


def test_rate_zero_loses_nothing_and_no_packets_are_fine():
    assert not np.concatenate(Iid(0.0)([100, 3], FrameSeeds.of(1, 2))).any()
    assert [v.shape for v in Iid(0.5)([0, 0], FrameSeeds.of(1, 2))] == [(0,), (0,)]
    assert Iid(0.5)([], FrameSeeds.of(1, 0)) == []


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5, float("nan")])
def test_bad_rates(rate):
    with pytest.raises(ValueError, match=r"rate must be in \[0, 1\)"):
        Iid(rate)


def test_wrong_number_of_seeds():
    with pytest.raises(ValueError, match="2 frames of packets but 3 seeds"):
        Iid(0.1)([1, 1], FrameSeeds.of(1, 3))
