"""What side information could be worth to a Gaussian source."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.bench.correlation import distortion_at, main, measure, rate_and_distortion


def test_reverse_water_filling():
    variances = np.array([4.0, 1.0, 0.25])
    bits, error = rate_and_distortion(variances, 0.5)
    assert bits == pytest.approx(0.5 * np.log2(8) + 0.5) and error == pytest.approx(1.25)
    assert distortion_at(variances, bits) == pytest.approx(error, rel=1e-6)
    assert distortion_at(variances, 0.0) == pytest.approx(variances.sum(), rel=1e-6)


def test_halves_that_know_each_other_gain_and_others_do_not():
    rng = np.random.default_rng(0)
    upper = np.repeat(np.repeat(rng.integers(40, 216, (400, 4, 8, 3)), 2, 1), 2, 2)
    other = np.repeat(np.repeat(rng.integers(40, 216, (400, 4, 8, 3)), 2, 1), 2, 2)
    noisy = np.clip(upper + rng.normal(0, 10, upper.shape), 0, 255)
    gains = [
        [row["gain_db"] for row in measure(np.concatenate([upper, lower], 1).astype(np.uint8))]
        for lower in (noisy, other)
    ]
    assert min(gains[0]) > 0.9
    assert max(np.abs(gains[1])) < 0.5


def test_command(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("LINKSIM_ASSETS", str(tmp_path))
    assert main(["none/*.tar"]) == 2
    assert "no training images match" in capsys.readouterr().err
