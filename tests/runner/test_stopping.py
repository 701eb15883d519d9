"""The stopping rule: intervals against SciPy and by coverage, and runs with it against runs without."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fake_pool import FakePool
from scipy import stats

from linksim import runner, scenario
from linksim.errors import ScenarioError
from linksim.metric.interval import clopper_pearson
from linksim.results import RunFolder
from linksim.runner import parallel
from linksim.runner.stopping import Tally, needs
from linksim.scenario.schema import Stop


def columns(failed, psnr, images=None):
    """One shard, one frame for each image unless they are named."""
    names = images if images is not None else [f"{id(failed)}-{i}" for i in range(len(failed))]
    return {"image": names, "failed": list(failed), "metric_psnr": list(psnr)}


def stop(**rules) -> Stop:
    return Stop.model_validate(rules)


# ------------------------------------------------------------------------------------------------------- intervals


def test_without_a_rule_nothing_is_looked_at():
    assert needs(Stop()) == () == needs(stop(min_images=5))
    assert needs(stop(ci_width={"psnr": 1, "error-rate": 0.1})) == (
        "image",
        "failed",
        "metric_psnr",
    )


def test_the_width_of_a_mean_is_students():
    values = np.random.default_rng(1).normal(30, 2, 40)
    tally = Tally(stop(ci_width={"psnr": 1}))
    for part in (values[:16], values[16:32], values[32:]):
        tally.add(columns([False] * len(part), part))
    low, high = stats.t.interval(0.95, 39, values.mean(), stats.sem(values))
    assert tally.width("psnr") == pytest.approx(high - low, rel=1e-9)


def test_realisations_of_an_image_count_as_one():
    images = np.random.default_rng(2).normal(30, 2, 30)
    tally = Tally(stop(ci_width={"psnr": 1}))
    tally.add(
        columns([False] * 120, np.repeat(images, 4), np.repeat([f"i{i}" for i in range(30)], 4))
    )
    assert tally.images == 30
    low, high = stats.t.interval(0.95, 29, images.mean(), stats.sem(images))
    assert tally.width("psnr") == pytest.approx(high - low, rel=1e-9)


def test_excluded_frames_are_left_out_of_the_mean_and_not_of_the_count():
    tally = Tally(stop(ci_width={"psnr": 1}), exclude=True)
    tally.add(columns([False, False, True, False], [30, 31, 5, 35]))
    values = np.array([30, 31, 35])
    low, high = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert tally.width("psnr") == pytest.approx(high - low, rel=1e-9)
    assert (tally.images, tally.failed_images) == (4, 1)


@pytest.mark.parametrize("errors", [0, 1, 7, 50])
def test_the_width_of_an_error_rate_is_clopper_pearsons(errors):
    failed = [True] * errors + [False] * (50 - errors)
    tally = Tally(stop(ci_width={"error-rate": 0.1}))
    tally.add(columns(failed, [20.0] * 50))
    exact = clopper_pearson(errors, 50)
    # The sample variance has N - 1 where the binomial's has N: one image less.
    wider = clopper_pearson(errors, 49) if 0 < errors < 49 else exact
    width = exact.high - exact.low
    assert width - 1e-9 <= tally.width("error-rate") <= max(wider.high - wider.low, width) * 1.02


def test_an_interval_of_dependent_frames_covers_the_rate():
    """Eight realisations that fail together: counting frames would claim far too much."""
    generator = np.random.default_rng(3)
    names = np.repeat([f"i{i}" for i in range(60)], 8)
    widths = []
    for _ in range(20):
        failed = np.repeat(generator.random(60) < 0.2, 8)
        tally = Tally(stop(ci_width={"error-rate": 0.1}))
        tally.add(columns(failed, [20.0] * 480, names))
        widths.append(tally.width("error-rate"))
    exact = clopper_pearson(12, 60)
    assert np.median(widths) == pytest.approx(exact.high - exact.low, rel=0.1)


def test_infinite_and_missing_values_are_never_enough():
    tally = Tally(stop(ci_width={"psnr": 100}))
    tally.add(columns([False] * 20, [np.inf] + [30.0] * 19))
    assert tally.width("psnr") == np.inf and not tally.enough()
    tally = Tally(stop(ci_width={"psnr": 100}))
    tally.add(columns([False] * 20, [np.nan] * 20))
    assert tally.width("psnr") == np.inf and not tally.enough()


@pytest.mark.parametrize(
    ("rules", "seen", "failures", "enough"),
    [
        ({"max_failed": 3}, 20, 2, False),
        ({"max_failed": 3}, 20, 3, True),
        ({"max_failed": 3, "min_images": 30}, 20, 5, False),
        ({"max_images": 20}, 19, 0, False),
        ({"max_images": 20}, 20, 0, True),
        ({"ci_width": {"psnr": 0.01}}, 9, 0, False),  # too few to say, whatever their spread
        ({"ci_width": {"psnr": 0.01}}, 10, 0, True),
        ({"ci_width": {"psnr": 0.01, "error-rate": 0.2}}, 10, 0, False),  # both are asked for
        ({"ci_width": {"error-rate": 0.2}}, 20, 0, True),
    ],
)
def test_when_a_point_ends(rules, seen, failures, enough):
    tally = Tally(stop(**rules))
    tally.add(columns([i < failures for i in range(seen)], [30.0] * seen))
    assert tally.enough() is enough


def test_a_failed_image_counts_once_however_many_of_its_realisations_failed():
    tally = Tally(stop(max_failed=2))
    tally.add(columns([True, True, True, False], [9.0] * 4, ["a", "a", "a", "b"]))
    assert tally.failed_images == 1 and not tally.enough()


# ------------------------------------------------------------------------------------------------------------ runs

STUDY = {
    "name": "stopping",
    "seed": 8,
    "images": {"source": "samples", "size": 16, "limit": 16},
    "link": "phy",
    "channels": ["rayleigh"],
    "axes": {"es_n0_db": [0, 10], "cbr": 1},
    "systems": ["softcast"],
    "metrics": ["psnr"],
    "batch": 2,
}
RULE = {"ci_width": {"psnr": 4.0}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("whole") / "out"
    runner.run(scenario.from_mapping(STUDY), out)
    return RunFolder(out).rows()


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> pd.DataFrame:
    out = tmp_path_factory.mktemp("stopped") / "out"
    runner.run(scenario.from_mapping({**STUDY, "stop": RULE}), out)
    return RunFolder(out).rows()


def test_rows_are_a_prefix_of_those_without_the_rule(whole, stopped):
    counts = {}
    names = in_order(STUDY)
    for point, rows in stopped.groupby("point", sort=False):
        every = whole[whole["point"] == point].set_index("image")
        seen = names[: len(rows)]
        assert set(rows["image"]) == set(seen), "the first images, none left out"
        pd.testing.assert_frame_equal(
            rows.set_index("image").loc[seen], every.loc[seen], check_exact=True
        )
        counts[float(rows["es_n0_db"].iloc[0])] = len(rows)
        for n in range(10, len(rows) + 1, 2):
            values = every.loc[names[:n], "metric_psnr"].to_numpy()
            low, high = stats.t.interval(0.95, n - 1, values.mean(), stats.sem(values))
            assert (high - low <= 4.0) == (n == len(rows) < 16) or n == 16, (point, n)
    assert 10 <= min(counts.values()) < 16, counts


def in_order(study) -> list[str]:
    """Names of the images in the order of the run."""
    source = runner.open_source(scenario.from_mapping(study))
    return [source.key(i) for i in range(len(source))]


@pytest.mark.parametrize("seed", range(2))
def test_many_workers_stop_where_one_does(tmp_path, monkeypatch, stopped, seed):
    monkeypatch.setattr(parallel, "_TICK", 0.0)
    pool = FakePool(seed, count=3, deaths=seed)
    monkeypatch.setattr(parallel.Pool, "open", lambda workers, cluster: pool)
    out = tmp_path / "out"
    runner.run(scenario.from_mapping({**STUDY, "stop": RULE}), out, workers=2)
    pd.testing.assert_frame_equal(RunFolder(out).rows(), stopped, check_exact=True)


def test_a_resumed_run_stops_at_the_same_place(tmp_path, stopped):
    out = tmp_path / "out"
    study = scenario.from_mapping({**STUDY, "stop": RULE})
    runner.run(study, out)
    for part in sorted((out / "parts").glob("*.parquet"))[::2]:
        part.unlink()
    runner.run(study, out)
    pd.testing.assert_frame_equal(RunFolder(out).rows(), stopped, check_exact=True)


def test_max_images_ends_every_point(tmp_path, whole):
    runner.run(scenario.from_mapping({**STUDY, "stop": {"max_images": 3}}), tmp_path / "out")
    rows = RunFolder(tmp_path / "out").rows()
    assert set(rows.groupby("point").size()) == {4}, "the cell in which the third image lies"


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"ci_width": {"psrn": 1}}, "did you mean 'psnr'"),
        ({"ci_width": {"psnr": 0}}, "must be above 0"),
        ({"ci_width": {"psnr": "wide"}}, "wide"),
        ({"ci_width": {}}, "such as {psnr: 0.2}"),
        ({"ci_width": 3}, "such as {psnr: 0.2}"),
        ({"min_images": 5, "max_images": 4}, "above stop.max_images"),
        ({"max_images": 0}, "got 0"),
    ],
)
def test_rules_that_make_no_sense_are_refused(rule, says):
    with pytest.raises(ScenarioError, match=f"(?s){says}") as caught:
        scenario.from_mapping({**STUDY, "stop": rule})
    assert "stop" in str(caught.value) and "\n" not in str(caught.value)


def test_a_metric_that_cannot_be_computed_cannot_be_watched(tmp_path, monkeypatch):
    monkeypatch.delenv("LINKSIM_ASSETS", raising=False)
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path))
    study = {**STUDY, "metrics": ["psnr", "fid"], "stop": {"ci_width": {"fid": 1}}}
    with pytest.raises(ScenarioError, match=r"stop\.ci_width\.fid: cannot be watched"):
        runner.run(scenario.from_mapping(study), tmp_path / "out")


def test_a_rule_that_came_later_leaves_old_digests(tmp_path):
    plain = scenario.from_mapping(STUDY).digest()
    assert scenario.from_mapping({**STUDY, "stop": {"max_images": None}}).digest() == plain
    assert scenario.from_mapping({**STUDY, "stop": {"max_images": 4}}).digest() != plain
