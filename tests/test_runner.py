"""The runner: same rows whatever happens to the run, and a failing part fails alone."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import yaml

from linksim import runner, scenario
from linksim.errors import RunStateError, ScenarioError
from linksim.results import RunFolder, table

STUDY = {
    "name": "tiny",
    "seed": 3,
    "images": {"source": "samples", "size": 48, "limit": 5},
    "link": "phy",
    "channels": ["awgn", "rayleigh"],
    "axes": {"es_n0_db": [0, 8], "cbr": 0.5},
    "systems": ["jpeg", {"name": "softcast"}],
    "metrics": ["mse", "psnr"],
    "realisations": 2,
    "batch": 2,
}


def write(folder: Path, **changes) -> Path:
    path = folder / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **changes}))
    return path


def rows(folder: Path) -> pd.DataFrame:
    return RunFolder(folder).rows()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory) -> pd.DataFrame:
    folder = tmp_path_factory.mktemp("undisturbed")
    runner.run(scenario.load(write(folder)), folder / "out")
    return rows(folder / "out")


def test_a_run_has_every_row_once_and_spends_its_budget(undisturbed):
    assert len(undisturbed) == 2 * 2 * 2 * 5 * 2
    key = ["system", "channel", "es_n0_db", "image", "realisation"]
    assert not undisturbed.duplicated(key).any()
    assert undisturbed["cbr"].le(0.5 + 1e-9).all()
    assert undisturbed["cbr"].gt(0.45).all()
    good = undisturbed[(undisturbed["channel"] == "awgn") & (undisturbed["es_n0_db"] == 8)]
    assert good["metric_psnr"].mean() > 22
    # More SNR is better for every system on AWGN.
    mean = (
        undisturbed[undisturbed["channel"] == "awgn"]
        .groupby(["system", "es_n0_db"])["metric_mse"]
        .mean()
    )
    for system in ("jpeg", "softcast"):
        assert mean[system, 8] < mean[system, 0]


def test_collecting_twice_computes_nothing(tmp_path, undisturbed):
    study = scenario.load(write(tmp_path))
    first = runner.run(study, tmp_path / "out")
    again = runner.run(study, tmp_path / "out")
    assert first.num_computed == first.num_cells == 2 * 2 * 2 * 3
    assert again.num_computed == 0
    pd.testing.assert_frame_equal(rows(tmp_path / "out"), undisturbed)


def test_rows_survive_kills_bit_for_bit(tmp_path, undisturbed):
    """SIGKILL and SIGINT at arbitrary moments, then the same command again."""
    path = write(tmp_path)
    command = [
        sys.executable,
        "-m",
        "linksim",
        "run",
        str(path),
        "--out",
        str(tmp_path / "out"),
        "--no-figures",
    ]
    parts = tmp_path / "out" / "parts"
    for kills, kind in ((3, signal.SIGKILL), (9, signal.SIGINT)):
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            # where the tests themselves run in the background, a shell has left SIGINT ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and process.poll() is None:
            if len(list(parts.glob("*.parquet"))) >= kills:
                process.send_signal(kind)
                break
            time.sleep(0.002)
        process.wait(30)
        assert process.returncode != 0
        assert 0 < len(list(parts.glob("*.parquet"))) < 24
        if kind == signal.SIGINT:
            assert process.returncode == 130
            assert b"same command to resume" in process.stderr.read()
    one = next(iter(parts.glob("*.parquet")))  # and a part cut in half
    one.write_bytes(one.read_bytes()[: one.stat().st_size // 2])
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pd.testing.assert_frame_equal(rows(tmp_path / "out"), undisturbed)


def test_batch_size_changes_no_row(tmp_path, undisturbed):
    runner.run(scenario.load(write(tmp_path, batch=5)), tmp_path / "out")
    other = rows(tmp_path / "out")
    key = ["system", "channel", "es_n0_db", "image", "realisation"]
    a, b = (
        frame.sort_values(key).drop(columns=["cell"]).reset_index(drop=True)
        for frame in (undisturbed, other)
    )
    pd.testing.assert_frame_equal(a, b)


def test_a_failing_plug_in_fails_its_own_points_and_the_rest_finishes(tmp_path):
    (tmp_path / "bad.py").write_text(
        "class Raises:\n"
        "    '''Fails when it is used.'''\n"
        "    def __call__(self, x, n0, seed):\n"
        "        raise RuntimeError('antenna fell off')\n"
    )
    path = write(
        tmp_path,
        channels=["awgn", {"plugin": "bad.py:Raises", "unchecked": True}],
        systems=[{"name": "jpeg", "amc": {"rule": "fixed", "mcs": 25}}],
    )
    summary = runner.run(scenario.load(path), tmp_path / "out")
    assert {reason for _, reason in summary.failed} == {
        "channel Raises raised RuntimeError: antenna fell off (bad.py:4)"
    }
    assert len(summary.failed) == 2
    assert set(rows(tmp_path / "out")["channel"]) == {"awgn"}
    manifest = json.loads((tmp_path / "out" / "run.json").read_text())
    assert len(manifest["failed_points"]) == 2


def test_a_budget_below_the_minimum_is_a_failed_point_or_a_scenario_error(tmp_path):
    path = write(
        tmp_path, axes={"es_n0_db": 8, "cbr": [0.001, 0.5]}, channels=["awgn"], systems=["jpeg"]
    )
    summary = runner.run(scenario.load(path), tmp_path / "out")
    assert len(summary.failed) == 1
    assert "cbr" in summary.failed[0][1]
    with pytest.raises(ScenarioError, match="no point can be run"):
        runner.run(
            scenario.load(write(tmp_path, axes={"es_n0_db": 8, "cbr": 0.001}, systems=["jpeg"])),
            tmp_path / "none",
        )


def test_the_stopping_rule_ends_points_with_enough_failures(tmp_path):
    path = write(
        tmp_path,
        axes={"es_n0_db": [-4], "snr_amc_db": [12], "cbr": 0.5},
        channels=["awgn"],
        systems=["jpeg"],
        stop={"max_failed": 1, "min_images": 2},
    )
    runner.run(scenario.load(path), tmp_path / "out")
    found = rows(tmp_path / "out")
    assert found["failed"].all()
    assert found["image"].nunique() == 2


def test_the_folder_of_another_scenario_is_refused(tmp_path):
    runner.run(
        scenario.load(write(tmp_path, systems=["jpeg"], channels=["awgn"])), tmp_path / "out"
    )
    with pytest.raises(RunStateError, match="choose another --out"):
        runner.run(scenario.load(write(tmp_path, seed=4)), tmp_path / "out")


def test_missing_weights_give_a_null_with_its_reason(tmp_path, monkeypatch):
    monkeypatch.delenv("LINKSIM_ASSETS", raising=False)
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    path = write(
        tmp_path, metrics=["mse", "lpips-alex", "fid"], channels=["awgn"], systems=["softcast"]
    )
    summary = runner.run(scenario.load(path), tmp_path / "out")
    assert set(summary.absent_metrics) == {"lpips-alex", "fid"}
    assert summary.notes == []
    tidy = table(tmp_path / "out")
    absent = tidy[tidy["metric"] == "lpips-alex"]
    assert absent["value"].isna().all()
    assert absent["reason"].str.contains("linksim assets fetch").all()
    assert tidy[tidy["metric"] == "mse"]["value"].notna().all()


def test_preview_costs_nothing_and_names_each_budget(tmp_path):
    before = set(sys.modules)
    previews = runner.preview(scenario.load(write(tmp_path)))
    assert len(previews) == 8
    assert all(p.error is None and "uses" in p.text for p in previews)
    assert "tensorflow" not in set(sys.modules) - before


def test_one_operating_point_for_a_set_is_found_once_and_kept(tmp_path, monkeypatch):
    from linksim.link.separated import Separated

    images = {"source": "samples", "size": 64, "limit": 5}
    axes = {"es_n0_db": [8], "cbr": 0.4}
    path = write(tmp_path, budget="mean", channels=["awgn"], axes=axes, images=images)
    study = scenario.load(path)
    summary = runner.run(study, tmp_path / "out")
    assert [reason for _, reason in summary.failed] == [
        "softcast has no operating point that a set could share (method demand); use budget: per_image"
    ]
    first = rows(tmp_path / "out")
    assert len(first) == 10 and summary.num_cells == 3
    assert 0.3 < first["cbr"].mean() <= 0.4 + 1e-9 and first["cbr"].max() > 0.42
    kept = list((tmp_path / "out" / "operating").glob("*.json"))
    assert len(kept) == 1 and json.loads(kept[0].read_text())["operating"]["level"] > 0

    def never(*_):
        raise AssertionError("calibrated again")

    monkeypatch.setattr(Separated, "calibrate", never)
    for part in (tmp_path / "out" / "parts").glob("*.parquet"):
        part.unlink()
    again = runner.run(study, tmp_path / "out")
    assert again.num_computed == 3
    pd.testing.assert_frame_equal(first, rows(tmp_path / "out"))


def test_metrics_take_parameters(tmp_path):
    from dataclasses import dataclass

    import numpy as np

    from linksim import registry

    @dataclass(frozen=True)
    class Far:
        """Share of pixels that are far off."""

        levels: float = 10.0
        unit, higher_is_better = "", False

        def __call__(self, reference, image):
            return (np.abs(reference - image.astype(float)) > self.levels).mean((1, 2, 3))

    @dataclass(frozen=True)
    class Colour:
        """Distance of mean colours."""

        min_images: int = 500
        unit, higher_is_better, extractor = "", False, "mean-colour"

        def features(self, images):
            return images.mean(axis=(1, 2)).astype(np.float32)

        def distance(self, reference, features):
            return float(np.abs(reference.mean(0) - features.mean(0)).sum())

    registry.register("metrics", "far")(Far)
    registry.register("metrics", "colour")(Colour)
    try:
        seen = {}
        few = {"systems": ["softcast"], "channels": ["awgn"]}
        for levels, least in ((1.0, 3), (30.0, 50)):
            metrics = [{"name": "far", "levels": levels}, {"name": "colour", "min_images": least}]
            study = scenario.from_mapping({**STUDY, **few, "metrics": metrics})
            assert study.metrics == ["far", "colour"]
            assert study.resolved()["metrics"] == metrics
            out = tmp_path / str(least)
            runner.run(study, out)
            frame = table(out)
            seen[levels] = frame[frame["metric"] == "far"]["value"].to_numpy()
            colour = frame[frame["metric"] == "colour"]
            assert colour["value"].notna().all() == (least == 3)
            if least > 3:
                assert colour["reason"].str.contains("at least 50").all()
        assert (seen[1.0] > seen[30.0]).all()
        again = scenario.from_mapping({**STUDY, **few, "metrics": [{"name": "mse"}, "psnr"]})
        assert again.resolved()["metrics"] == ["mse", "psnr"]
    finally:
        registry.unregister("metrics", "far")
        registry.unregister("metrics", "colour")
