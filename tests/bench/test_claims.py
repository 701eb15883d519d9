"""The claims are read off the tables as they say."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
import claims


def rows(metric, values, **where):
    given = {
        "channel": "awgn",
        "cbr_target": 1 / 24,
        "cbr": 1 / 24,
        "num_failed": 0,
        "num_outage": 0,
    }
    base = {**given, "num_frames": 100, "metric": metric, **where}
    return [{**base, "es_n0_db": snr, "value": value} for snr, value in values.items()]


def test_a_step_too_large_and_a_cliff_are_told():
    smooth = {snr: 20 + 0.5 * snr for snr in range(-4, 15)}
    falling = {snr: 0.3 - 0.01 * snr for snr in range(-4, 15)}
    found = []
    for system in ("ntscc, matched", "ntscc, stuck at 6 dB"):
        found += rows("psnr", smooth, system=system) + rows("lpips-alex", falling, system=system)
    found += rows("psnr", {-4: 13.9, 6: 27.0}, system="vvc, stuck at 6 dB")
    table = pd.DataFrame(found).astype({"es_n0_db": float})
    assert all(holds for holds, _ in claims.degradation(table))
    jump = (
        (table["metric"] == "psnr")
        & (table["es_n0_db"] >= 3)
        & (table["system"] == "ntscc, matched")
    )
    table.loc[jump, "value"] += 2
    assert [holds for holds, _ in claims.degradation(table)].count(False) == 1
    table.loc[table["system"] == "vvc, stuck at 6 dB", "value"] = 25.0
    assert [holds for holds, _ in claims.degradation(table)].count(False) == 2


def test_vvc_may_lose_images_at_the_smallest_budget_alone():
    found = []
    for cbr, failed in ((1 / 48, 10), (1 / 24, 0)):
        for system, lpips, psnr in (
            ("ntscc", 0.3, 25.0),
            ("ntscc-perceptual", 0.2, 24.0),
            ("vvc", 0.1, 26.0),
        ):
            where = {"system": system, "cbr_target": cbr, "num_failed": failed}
            found += rows("lpips-alex", {0.0: lpips}, **where) + rows("psnr", {0.0: psnr}, **where)
    said = list(claims.consistency(pd.DataFrame(found)))
    assert [holds for holds, _ in said] == [None, True, False, True]
    assert "VVC loses 10 %" in said[0][1]


def test_every_joint_coder_is_held_to_vvc_at_its_rate_up_to_6_db():
    found = rows("psnr", {4.0: 27.0, 6.0: 28.0, 8.0: 29.0}, system="ntscc")
    found += rows("psnr", {4.0: 28.0, 6.0: 29.5, 8.0: 30.0}, system="ntscc, refined")
    found += rows("psnr", {4.0: 27.5, 6.0: 29.0, 8.0: 31.0}, system="vvc")
    said = list(claims.distortion(pd.DataFrame(found)))
    assert [holds for holds, _ in said] == [False, False, True, True]
    more = rows("psnr", {4.0: 28.5, 6.0: 30.0, 8.0: 32.0}, system="vvc", cbr_target=0.0475)
    said = list(claims.distortion(pd.DataFrame(found + more)))
    assert [holds for holds, _ in said] == [False, False, None, None, True, True, None, None]
    assert said[6][1] == "4 dB: ntscc, refined 28.00 dB, VVC with 14 % more rate 28.50 dB, -0.50 dB"
    fewer = rows("psnr", {4.0: 29.0, 6.0: 28.0}, system="ntscc, one update")
    said = list(claims.distortion(pd.DataFrame(found + fewer)))
    assert [holds for holds, _ in said] == [False, False, True, True, None, None]


def test_refined_coders_are_held_to_the_same_claims():
    found = []
    for cbr, ours in ((1 / 24, 25.5), (1 / 12, 24.0)):
        for system, psnr, lpips in (
            ("ntscc", 25.0, 0.2),
            ("ntscc, refined", ours, 0.19),
            ("ntscc-perceptual", 24.5, 0.12),
            ("ntscc-perceptual, refined", 24.8, 0.09),
            ("vvc", 25.2, 0.1),
        ):
            where = {"system": system, "cbr_target": cbr}
            found += rows("psnr", {6.0: psnr, 8.0: 20.0}, **where)
            found += rows("lpips-alex", {6.0: lpips, 8.0: 0.1}, **where)
    said = list(claims.refined(pd.DataFrame(found)))
    assert [holds for holds, _ in said] == [True, True, None, False, None, True, None, False]
    assert "+0.50 dB" in said[0][1]


@pytest.mark.parametrize(
    ("gain", "cbr", "holds"), [(0.6, 1 / 12, True), (0.4, 1 / 12, False), (0.6, 0.09, False)]
)
def test_half_a_decibel_at_no_more_rate(gain, cbr, holds):
    found = []
    for metric in ("psnr", "psnr-of-mean-mse"):
        found += rows(metric, {6.0: 30.0}, system="deepjscc", cbr=1 / 12)
        found += rows(metric, {6.0: 30.0 + gain}, system="ntscc", cbr=cbr)
    assert all(h == holds for h, _ in claims.rate_pays(pd.DataFrame(found)))


def test_curves_are_compared_at_the_rate_that_was_sent():
    found = []
    for bpp, ntc, vvc in ((0.1, 25.0, 24.0), (0.2, 28.0, 27.0), (0.4, 30.0, 30.5)):
        found += [{"metric": "psnr", "system": "ntc", "bpp": bpp, "value": ntc}]
        found += [{"metric": "psnr", "system": "vvc", "bpp": 1.1 * bpp, "value": vvc}]
    assert [holds for holds, _ in claims.ntc_rd(pd.DataFrame(found))] == [True, True, False]
