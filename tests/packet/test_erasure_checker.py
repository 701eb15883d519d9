"""The checker of packet loss processes finds planted faults, and each under its own name."""

import numpy as np
import pytest

from linksim.packet.laws import check_erasure
from linksim.packet.loss import Iid
from linksim.seeds import FrameSeeds, Seed


def broken(process):
    return {r.name: r for r in check_erasure(process, frames=2000) if not r.passed}


def markov(start, stay=0.7, enter=0.1):
    """Two states; ``start`` is the probability of the lossy one at the first packet."""

    def process(num_packets, seed):
        draws = seed.child("erasure").uniform(max(num_packets, default=0))
        found = []
        for row, count in zip(draws, num_packets, strict=True):
            lost = np.zeros(count, bool)
            for i in range(count):
                chance = start if i == 0 else stay if lost[i - 1] else enter
                lost[i] = row[i] < chance
            found.append(lost)
        return found

    return process


class Gilbert:
    loss_rate, mean_burst = 0.25, 1 / 0.3

    def __init__(self, start=0.25, **claims):
        self.process = markov(start)
        self.__dict__.update(claims)

    def __call__(self, num_packets, seed):
        return self.process(num_packets, seed)


def seed_ignored(num_packets, seed):
    return Iid(0.2)(num_packets, FrameSeeds((Seed.root(1),) * len(num_packets)))


def global_stream(num_packets, seed):
    return [np.random.default_rng().random(n) < 0.2 for n in num_packets]


def batch_dependent(num_packets, seed):
    draws = seed.child("erasure").uniform(max(num_packets, default=0) + len(num_packets))
    return [row[-n:] < 0.2 if n else row[:0] < 0 for row, n in zip(draws, num_packets, strict=True)]


def from_the_end(num_packets, seed):
    return [s.generator().random(n)[::-1] < 0.2 for s, n in zip(seed, num_packets, strict=True)]


def as_numbers(num_packets, seed):
    return [lost.astype(float) for lost in Iid(0.2)(num_packets, seed)]


def one_short(num_packets, seed):
    return [lost[1:] for lost in Iid(0.2)(num_packets, seed)]


def raises(num_packets, seed):
    raise OSError("no trace")


@pytest.mark.parametrize(
    ("process", "law"),
    [
        (seed_ignored, "other seeds, other losses"),
        (global_stream, "same seed, same losses"),
        (batch_dependent, "batch and order invariance"),
        (from_the_end, "a longer frame begins like a shorter one"),
        (as_numbers, "shapes and dtypes"),
        (one_short, "shapes and dtypes"),
        (raises, "shapes and dtypes"),
        (lambda n, s: None, "shapes and dtypes"),
        (Gilbert(loss_rate=0.28), "loss rate follows its closed form"),
        (Gilbert(start=0.5), "stationary from the first packet on"),
        (Gilbert(mean_burst=2.9), "mean burst follows its closed form"),
        (Gilbert(start=0.5, loss_rate=None), "every position is lost alike"),
    ],
    ids=lambda v: v.replace(" ", "-") if isinstance(v, str) else None,
)
def test_planted_fault_is_found(process, law):
    assert law in broken(process)


def test_what_is_right_passes():
    results = check_erasure(Gilbert())
    assert not [r for r in results if not r.passed]
    assert all(r.applies for r in results)
    burst = next(r for r in results if r.name.startswith("mean burst"))
    assert burst.measured == pytest.approx(1 / 0.3, rel=0.03)


def test_declarations():
    started = {
        r.name: r for r in check_erasure(Gilbert(start=0.5, stationary=False, loss_rate=None))
    }
    assert not started["stationary from the first packet on"].applies
    assert "declares stationary" in started["stationary from the first packet on"].text
    assert "names no loss_rate" in started["loss rate follows its closed form"].text
    none = {r.name: r for r in check_erasure(Iid(0.0))}
    assert all(r.passed for r in none.values())
    assert "too few" in none["mean burst follows its closed form"].text
