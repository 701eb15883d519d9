"""Paired gains of a run's systems."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import make_run

from linksim.bench.gain import _interpolate, gains, main


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    return make_run(path, systems=("vvc", "jpeg"), snrs=(8, 10), channels=("awgn",), num_images=16)


def test_gain_is_the_mean_of_paired_differences(run):
    rows = gains(run, "psnr", "vvc", "jpeg")
    assert [row["es_n0_db"] for row in rows] == [8, 10]
    for row in rows:
        assert row["frames"] == 16
        assert row["low"] < row["gain"] < row["high"]
        assert row["high"] - row["low"] < 1.0, "pairing takes the images' own spread out"
        assert abs(row["gain"] - 5.0) < 0.5
        assert 0 < row["cbr"] <= row["cbr_target"] and 0 < row["cbr_against"] <= row["cbr_target"]
    back = gains(run, "psnr", "jpeg", "vvc")
    assert back[0]["gain"] == pytest.approx(-rows[0]["gain"])


def test_command(run, capsys):
    assert main([str(run), "--system", "vvc", "--against", "jpeg"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 2
    assert main([str(run), "--system", "vvc", "--against", "ntc"]) == 2
    assert "no system 'ntc'" in capsys.readouterr().err
    assert main([str(run.parent / "none")]) == 2


def test_equal_rate_follows_the_other_systems_own_curve(tmp_path):
    """Both use about the same of each budget here, so little changes; a system against itself gains nothing."""
    budgets = (1 / 48, 1 / 24)
    run = make_run(
        tmp_path / "run",
        systems=("vvc", "hevc"),
        snrs=(10,),
        channels=("awgn",),
        cbrs=budgets,
        num_images=40,
    )
    plain = gains(run, "psnr", "vvc", "hevc")
    equal = gains(run, "psnr", "vvc", "hevc", equal_rate=True)
    for a, b in zip(plain, equal, strict=True):
        assert b["cbr_against"] == pytest.approx(b["cbr"], rel=0.02)
        assert b["gain"] == pytest.approx(a["gain"], abs=0.6)
    same = gains(run, "psnr", "vvc", "vvc", equal_rate=True)
    assert all(row["gain"] == pytest.approx(0) for row in same), "its own curve at its own rate"


def test_equal_rate_does_not_extrapolate():
    curve = pd.DataFrame(
        {"image": ["a", "a"], "bpp": [0.1, 0.3], "metric_psnr": [20.0, 30.0], "bpp_target": [1, 2]}
    )
    both = pd.DataFrame(
        {"image": "a", "bpp_a": [0.05, 0.2, 0.4, np.nan], "bpp_b": 0.1, "metric_psnr_b": 20.0}
    )
    _interpolate(both, curve, ["bpp_target", "image"], "metric_psnr")
    assert both["metric_psnr_b"].tolist() == [20.0, 25.0, 30.0, 20.0]
    assert both["bpp_b"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.1])
