"""Parts of a run on several machines, joined: the rows of one run, and refusals of what does not belong together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from synthetic_runs import manifest, rows

from linksim import runner, scenario
from linksim.cli import app
from linksim.errors import RunStateError
from linksim.results import RunFolder, merge, table
from linksim.runner import Share

STUDY = {
    "name": "split",
    "images": {"source": "samples", "size": 32, "limit": 6},
    "link": "phy",
    "channels": ["awgn"],
    "axes": {"es_n0_db": [0, 8], "cbr": 0.4},
    "systems": ["jpeg", "softcast"],
    "metrics": ["mse", "psnr"],
    "batch": 2,
}


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> scenario.Scenario:
    path = tmp_path_factory.mktemp("study") / "split.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return scenario.load(path)


@pytest.fixture(scope="module")
def whole(study, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    runner.run(study, out, command=["linksim", "run", "a study.yaml", "--out", "whole"])
    return out


@pytest.fixture(scope="module")
def thirds(study, whole, tmp_path_factory) -> list[Path]:
    place = tmp_path_factory.mktemp("thirds")
    for k in (1, 2, 3):
        command = ["linksim", "run", "a study.yaml", "--part", f"{k}/3", "--out", f"part{k}"]
        runner.run(study, place / str(k), command=command, part=Share(k, 3))
    return [place / str(k) for k in (1, 2, 3)]


@pytest.mark.parametrize("num_shards, of", [(3, 1), (3, 4), (3, 5), (3, 6), (50, 7)])
@pytest.mark.parametrize("adaptive", [False, True])
def test_every_cell_is_dealt_once_and_no_part_is_empty(study, num_shards, of, adaptive):
    points = study.points()
    if adaptive and of > len(points):
        with pytest.raises(RunStateError, match=f"only {len(points)} points"):
            Share(1, of).deal(points, num_shards, adaptive)
        return
    dealt = [Share(k, of).deal(points, num_shards, adaptive) for k in range(1, of + 1)]
    counts = np.zeros(of, int)
    for p in range(len(points)):
        for s in range(num_shards):
            owners = [k for k, mine in enumerate(dealt) if mine(p, s)]
            assert len(owners) == 1
            counts[owners[0]] += 1
            if adaptive:
                assert dealt[owners[0]](p, 0)
    assert counts.min() > 0
    if num_shards == 50 and not adaptive:
        assert counts.max() - counts.min() <= 4


@pytest.mark.parametrize("text", ["", "3", "0/3", "4/3", "a/b", "1/3/5", "-1/3"])
def test_a_part_that_is_none(text):
    with pytest.raises(RunStateError, match="must be K/N"):
        Share.parse(text)


def test_more_parts_than_there_is_to_deal(study, tmp_path):
    with pytest.raises(RunStateError, match="take at most 6 parts"):
        runner.run(study, tmp_path / "x", part=Share(1, 7))
    assert not (tmp_path / "x").exists()


def test_parts_joined_are_the_whole(whole, thirds, tmp_path):
    expected = RunFolder(whole).rows()
    sizes = [len(RunFolder(third).rows()) for third in thirds]
    assert sum(sizes) == len(expected) and min(sizes) > 0
    report = merge(tmp_path / "out", thirds)
    assert (report.num_cells, report.num_new, report.num_all) == (12, 12, 12)
    assert report.missing == [] and report.resume is None
    pd.testing.assert_frame_equal(RunFolder(report.folder).rows(), expected, check_exact=True)
    pd.testing.assert_frame_equal(table(report.folder), table(whole))
    assert RunFolder(report.folder).manifest["finished"]
    assert len(RunFolder(report.folder).manifest["merged_from"]) == 3


def test_merging_again_changes_nothing(thirds, tmp_path):
    merge(tmp_path / "out", thirds)
    before = {
        p: p.read_bytes()
        for p in sorted((tmp_path / "out").rglob("*"))
        if p.suffix != ".log" and p.is_file()
    }
    report = merge(tmp_path / "out", [*thirds, tmp_path / "out", thirds[0]])
    assert report.num_new == 0
    assert {p: p.read_bytes() for p in before} == before


def test_what_is_missing_is_said_and_the_command_finishes_it(study, whole, thirds, tmp_path):
    out = tmp_path / "out"
    report = merge(out, thirds[:2])
    assert (report.num_cells, report.num_all) == (8, 12)
    assert len(report.missing) == 4 and "jpeg awgn" in report.missing[0]
    assert report.missing[0].endswith("1 of 3 cells")
    assert report.resume == f"linksim run 'a study.yaml' --out {out}"
    assert RunFolder(out).manifest["finished"] is None
    done = runner.run(study, out)
    assert done.num_computed == 4
    expected = RunFolder(whole).rows()
    pd.testing.assert_frame_equal(RunFolder(out).rows(), expected, check_exact=True)


def test_the_command_line(thirds, tmp_path):
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["merge", str(tmp_path / "out"), *map(str, thirds[1:])])
    assert done.exit_code == 0
    assert "8 of 12 cells, 8 of them new" in done.output and "missing: jpeg awgn" in done.output
    done = CliRunner().invoke(app, ["merge", str(tmp_path / "out"), str(tmp_path / "nowhere")])
    assert done.exit_code == 2 and "does not exist" in done.output


# ---------------------------------------------------------------------------------------------- made-up runs


def made(path: Path, cells: tuple[str, ...], features: float | None = None, **changes) -> Path:
    """A run folder with these cells of one point; ``features`` shifts its feature files."""
    with RunFolder.create_or_open(path, manifest(num_shards=3, **changes)) as folder:
        for i, cell in enumerate(cells):
            own = rows(cell, "p", "vvc", images=[f"{cell}-{n}" for n in range(4)], snr=0.0)
            given = None
            if features is not None:
                given = {"pooled": np.full((len(own), 3), 1.0 + features, np.float32)}
                folder.write_reference("pooled", i, np.full((4, 3), 2.0 + features))
            folder.write(cell, own, given)
        folder.finish(cells=cells)
    return path


def rewritten(run: Path, cell: str, column: str, change) -> None:
    """Give a cell other values, as another machine would have written them."""
    with RunFolder.create_or_open(run, RunFolder(run).manifest) as folder:
        frame = folder.frame("p")
        frame[column] = change(frame[column])
        folder.write(cell, frame[frame["cell"] == cell])


def test_a_cell_with_other_rows_is_refused(tmp_path):
    a, b = made(tmp_path / "a", ("c1", "c2")), made(tmp_path / "b", ("c2",))
    rewritten(b, "c2", "metric_psnr", lambda v: v + 0.01)
    with pytest.raises(RunStateError) as error:
        merge(tmp_path / "out", [a, b])
    for word in (
        "cell c2",
        "point p",
        "metric_psnr",
        str(a / "parts/c2.parquet"),
        str(b / "parts"),
    ):
        assert word in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("column, other", [("status", "FAILED"), ("cbr", 0.25), ("image", "z")])
def test_facts_are_not_rounding(tmp_path, column, other):
    a, b = made(tmp_path / "a", ("c1",)), made(tmp_path / "b", ("c1",))
    rewritten(b, "c1", column, lambda v: [other] * len(v))
    with pytest.raises(RunStateError, match=f"has other {column}"):
        merge(tmp_path / "out", [a, b])


def test_metrics_that_another_processor_rounds_otherwise_are_the_same(tmp_path):
    a, b = made(tmp_path / "a", ("c1",)), made(tmp_path / "b", ("c1",))
    rewritten(b, "c1", "metric_psnr", lambda v: v * (1 + 1e-7))
    report = merge(tmp_path / "out", [a, b])
    assert any("1 cells" in note and "rounding" in note for note in report.notes)
    pd.testing.assert_frame_equal(RunFolder(tmp_path / "out").rows(), RunFolder(a).rows())


def test_features_come_along_and_are_compared(tmp_path):
    a, b = made(tmp_path / "a", ("c1",), 0.0), made(tmp_path / "b", ("c1", "c2"), 1e-6)
    report = merge(tmp_path / "out", [a, b])
    assert report.num_cells == 2
    run = RunFolder(tmp_path / "out")
    assert run.features("p", "pooled").shape[1] == 3
    assert run.reference("pooled").shape == (8, 3)
    other = made(tmp_path / "other", ("c1",), 0.5)
    with pytest.raises(RunStateError, match="pooled features"):
        merge(tmp_path / "out2", [a, other])
    far = made(tmp_path / "far", ("c9",), 0.5)
    with pytest.raises(RunStateError, match="features of the originals"):
        merge(tmp_path / "out3", [a, far])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"scenario_digest": "f" * 32}, "plug-in"),
        ({"versions": {"linksim": "0.2.0"}}, "linksim's version is '0.1.0' in one and '0.2.0'"),
        ({"images": {"count": 12, "digest": "beef", "keys": []}}, "images"),
        ({"metric_notes": {"lpips-alex": "no weights"}}, "could not be computed"),
    ],
)
def test_runs_that_do_not_belong_together(tmp_path, changes, words):
    a, b = made(tmp_path / "a", ("c1",)), made(tmp_path / "b", ("c2",), **changes)
    with pytest.raises(RunStateError, match=words):
        merge(tmp_path / "out", [a, b])
    assert not (tmp_path / "out").exists()


def test_another_scenario_is_named_by_its_key(tmp_path):
    a = made(tmp_path / "a", ("c1",))
    other = {**manifest()["scenario"], "failure": "exclude"}
    b = made(tmp_path / "b", ("c2",), scenario=other, scenario_digest="f" * 32)
    with pytest.raises(
        RunStateError, match="failure is 'mean-grey' in one and 'exclude' in the other"
    ):
        merge(tmp_path / "out", [a, b])


def test_other_libraries_are_noted(tmp_path):
    a = made(tmp_path / "a", ("c1",), versions={"linksim": "0.1.0", "numpy": "2.1.0"})
    b = made(tmp_path / "b", ("c2",), versions={"linksim": "0.1.0", "numpy": "2.2.0"})
    report = merge(tmp_path / "out", [a, b])
    assert any("numpy 2.1.0 and 2.2.0" in note for note in report.notes)


def test_a_damaged_part_is_left_out_and_counts_as_missing(tmp_path):
    a, b = made(tmp_path / "a", ("c1", "c2")), made(tmp_path / "b", ("c2", "c3"))
    damaged = b / "parts" / "c3.parquet"
    data = damaged.read_bytes()[:-200]
    damaged.write_bytes(data)
    report = merge(tmp_path / "out", [a, b])
    assert report.num_cells == 2 and any("c3.parquet is damaged" in n for n in report.notes)
    shutil.copy(made(tmp_path / "again", ("c3",)) / "parts/c3.parquet", damaged)
    assert merge(tmp_path / "out", [b]).num_new == 1
    damaged.write_bytes(data)
    assert merge(tmp_path / "out", [b]).num_new == 0  # whole in one place is enough


def test_bad_folders(tmp_path):
    a = made(tmp_path / "a", ("c1",))
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("x")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    for bad, words in (
        ("nowhere", "does not exist"),
        ("file", "is a file"),
        ("empty", "holds no run"),
    ):
        with pytest.raises(RunStateError, match=words):
            merge(tmp_path / "out", [a, tmp_path / bad])
    for bad, words in (("full", "other files"), ("file", "is a file")):
        with pytest.raises(RunStateError, match=words):
            merge(tmp_path / bad, [a])
    with pytest.raises(RunStateError, match="nothing to merge"):
        merge(tmp_path / "out", [])
    assert merge(tmp_path / "empty", [a]).num_cells == 1


def test_an_out_that_holds_another_run(tmp_path):
    a, b = made(tmp_path / "a", ("c1",)), made(tmp_path / "b", ("c2",), scenario_digest="f" * 32)
    with pytest.raises(RunStateError, match="cannot be joined"):
        merge(b, [a])


def test_out_is_locked_while_somebody_writes(tmp_path):
    a, b = made(tmp_path / "a", ("c1",)), made(tmp_path / "b", ("c2",))
    with (
        RunFolder.create_or_open(a, RunFolder(a).manifest),
        pytest.raises(RunStateError, match="being written"),
    ):
        merge(a, [b])
