"""What an oracle makes of a shared budget."""

from __future__ import annotations

import json

import numpy as np
import pytest
from synthetic_runs import make_run

from linksim.bench.allocation import bounds, main, share


def test_two_gaussians_get_what_reverse_water_filling_gives_them():
    variances, rates = np.array([16.0, 1.0]), np.linspace(0.0, 4.0, 4001)
    mse = variances[:, None] * 2.0 ** (-2 * rates)
    chosen = rates[share(-mse, rates, 1.5)]
    np.testing.assert_allclose(chosen, [2.5, 0.5], atol=2e-3)  # equal distortions
    few = rates[share(-mse, rates, 0.5)]
    np.testing.assert_allclose(few, [1.0, 0.0], atol=2e-3)


def test_an_oracle_is_never_worse_than_equal_shares(tmp_path):
    path = make_run(
        tmp_path / "run",
        systems=("jpeg",),
        snrs=(8,),
        channels=("awgn",),
        cbrs=(1 / 96, 1 / 24, 1 / 6),
        num_images=16,
    )
    (row,) = bounds(path, "jpeg", 1 / 24)
    assert row["pictures"] == 16
    assert row["psnr_for_psnr"] >= row["psnr_alike"] - 0.02
    assert row["psnr_of_mean_mse_for_mse"] >= row["psnr_of_mean_mse_alike"] - 0.02
    assert max(row["cbr_for_psnr"], row["cbr_for_mse"]) <= 1 / 24 + 1e-6


def test_command(tmp_path, capsys):
    path = make_run(tmp_path / "run", systems=("vvc",), snrs=(8,), channels=("awgn",))
    assert main([str(path), "--system", "vvc", "--cbr", "1/2"]) == 2
    assert "the mean CBR must lie" in capsys.readouterr().err
    assert main([str(path), "--system", "none"]) == 2
    many = make_run(
        tmp_path / "many", systems=("vvc",), snrs=(8,), channels=("awgn",), cbrs=(1 / 48, 1 / 12)
    )
    assert main([str(many), "--system", "vvc", "--cbr", "1/24"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["es_n0_db"] == pytest.approx(8)
