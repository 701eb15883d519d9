"""Fading laws against their closed forms, at the channel's public face."""

import numpy as np
import pytest
from scipy.stats import beta, ncx2

from linksim.channel.fading import Rayleigh, Rician
from linksim.seeds import FrameSeeds
from linksim.units import db_to_linear, linear_to_db, n0_from_es_n0_db


def _interval(hits, trials, confidence=0.999):
    """Clopper-Pearson."""
    tail = (1 - confidence) / 2
    return (
        beta.ppf(tail, hits, trials - hits + 1),
        beta.ppf(1 - tail, hits + 1, trials - hits),
    )


def _outage(channel, mean_db, threshold_db, frames=30000):
    """Frames whose received SNR, |h|^2 / n0_eff, is below the threshold."""
    x = np.ones((frames, 1), np.complex64)
    received = channel(x, n0_from_es_n0_db(mean_db), FrameSeeds.of(11, frames))
    gain = np.abs(received.h[:, 0].astype(np.complex128)) ** 2
    return int((linear_to_db(gain / received.n0_eff) < threshold_db).sum()), frames


def test_rayleigh_outage_at_3_db_of_10_db_mean_is_0_181():
    hits, trials = _outage(Rayleigh(), 10.0, 3.0)
    low, high = _interval(hits, trials)
    assert low < 1 - np.exp(-(10**-0.7)) < high
    assert high - low < 0.02
    assert hits / trials == pytest.approx(0.181, abs=0.008)


@pytest.mark.parametrize("block_length", [1, 4])
def test_outage_of_blocks_inside_a_frame(block_length):
    x = np.ones((500, 160), np.complex64)
    h = Rayleigh(block_length)(x, 0.1, FrameSeeds.of(3, 500)).h[:, ::block_length]
    gains = np.abs(h) ** 2
    low, high = _interval(int((gains < 10**-0.7).sum()), gains.size)
    assert low < 1 - np.exp(-(10**-0.7)) < high


@pytest.mark.parametrize(
    ("k_db", "expected"), [(0.0, 0.145096), (6.0, 0.047384), (10.0, 0.0055466)]
)
def test_rician_outage_is_one_minus_marcum_q(k_db, expected):
    k = float(db_to_linear(k_db))
    closed = ncx2.cdf(2 * (k + 1) * 10**-0.7, 2, 2 * k)
    assert Rician(k_db).gain_cdf(10**-0.7) == pytest.approx(closed, rel=1e-6)
    assert closed == pytest.approx(expected, rel=2e-5)  # the density, integrated numerically
    low, high = _interval(*_outage(Rician(k_db), 10.0, 3.0))
    assert low < closed < high
