"""The projection is the run's own arithmetic: known times in, known hours out."""

from __future__ import annotations

import pytest
from synthetic_runs import manifest, rows

from linksim.bench.projection import measured, project
from linksim.errors import LinksimError, RunStateError
from linksim.results import RunFolder


@pytest.fixture
def run(tmp_path):
    about = manifest(points=[{"id": "p", "axes": {}}, {"id": "q", "axes": {}}])
    with RunFolder.create_or_open(tmp_path / "run", about) as folder:
        for cell in ("c1", "c2"):
            folder.write(cell, rows(cell, "p", "vvc", images=["a", "b", "c", "d", "e"]))
        folder.finish(cells=["c1", "c2"], seconds=20.0)
    return tmp_path / "run"


def test_a_run_projects_onto_itself_and_scales_linearly(run):
    assert measured(run)[:2] == (10, 20.0)
    same = project(run, images=5)
    assert same.frames == 10 and same.frame_s == 2.0
    assert same.node_hours == pytest.approx(20 / 3600)
    many = project(run, images=1_000_000, nodes=100, points=64)
    assert many.node_hours == pytest.approx(1e6 * 64 * 2.0 / 3600)
    assert many.wall_hours == pytest.approx(many.node_hours / 100)
    assert many.results_gib == pytest.approx(same.results_gib * 64e6 / 10)


def test_what_tells_no_time_is_refused(run, tmp_path):
    with pytest.raises(RunStateError, match="no run"):
        project(tmp_path, 5)
    with pytest.raises(ValueError, match="images must be at least 1"):
        project(run, 0)
    with open(run / "run.log", "a") as log:
        log.write("2026-01-01T00:00:00Z opened\n")  # and killed
    with pytest.raises(LinksimError, match="without being interrupted"):
        project(run, 5)
