"""Paired gains of a run's systems."""

from __future__ import annotations

import json

import pytest
from synthetic_runs import make_run

from linksim.bench.gain import gains, main


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
