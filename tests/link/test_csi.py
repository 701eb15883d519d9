"""What a transmitter knows of a fading law: of frames, and of the parts of one frame."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from linksim.channel.awgn import Awgn
from linksim.channel.fading import Rayleigh
from linksim.link import csi

EDGES = (0, 100, 250, 400)


def test_parts_of_a_frame_with_one_fade_are_alike():
    parts = csi.law_of_parts(Rayleigh(), EDGES, 6.0, 4)
    assert parts.shape == (csi.LAW_DRAWS, 3)
    whole = csi.law(Rayleigh(), EDGES[-1], 6.0)
    assert np.allclose(parts, whole[:, None])
    # Rayleigh: |h|^2 is exponential, so a fraction 1 - exp(-1) of the draws is below the mean
    assert np.mean(parts < 6.0) == pytest.approx(1 - np.exp(-1), abs=0.05)


def test_parts_with_fades_of_their_own_are_independent_and_each_has_the_law():
    channel = Rayleigh(block_length=50)  # two, three and three blocks
    parts = csi.law_of_parts(channel, EDGES, 6.0, 4)
    assert np.abs(np.corrcoef(parts.T) - np.eye(3)).max() < 0.15
    for n, (a, b) in enumerate(itertools.pairwise(EDGES)):
        alone = csi.law(channel, b - a, 6.0, 4)
        assert np.mean(parts[:, n]) == pytest.approx(np.mean(alone), abs=0.4)
        assert np.std(parts[:, n]) == pytest.approx(np.std(alone), rel=0.15)
    assert np.std(parts[:, 1]) < np.std(parts[:, 0]), "more blocks, less spread"


def test_without_fading_every_part_has_the_snr():
    assert np.allclose(csi.law_of_parts(Awgn(), EDGES, 6.0, 4), 6.0)
