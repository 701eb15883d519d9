"""Many workers have the rows of one, whatever order they come back in and whatever befalls them.

Here with workers that are no processes, so that hundreds of accidents take seconds; test_workers.py has real ones.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from fake_pool import FakePool

from linksim import registry, runner, scenario
from linksim.results import RunFolder
from linksim.runner import parallel, plan

STUDY = {
    "name": "many",
    "seed": 5,
    "images": {"source": "samples", "size": 16, "limit": 6},
    "link": "phy",
    "channels": ["rayleigh"],
    "axes": {"es_n0_db": [0, 6], "cbr": 1},
    "systems": [
        {"name": "softcast"},
        {"name": "softcast", "label": "again", "allocation": "mmse"},
    ],
    "metrics": ["mse", "psnr"],
    "batch": 2,
}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(parallel, "_TICK", 0.0)
    monkeypatch.setattr(parallel, "_DOUBT_SECONDS", 0.0)
    monkeypatch.setattr(plan, "_PATIENCE", (0.0, 0.05))
    monkeypatch.setattr(plan, "_FIRST_PATIENCE", 0.0)


@pytest.fixture
def extractor():
    """A set metric that needs no weights."""

    @registry.register("metrics", "mean-colour")
    class MeanColour:
        """Distance of mean colours."""

        unit, higher_is_better, extractor, min_images = "", False, "mean-colour", 1

        def features(self, images):
            return images.mean(axis=(1, 2)).astype(np.float32)

        def distance(self, reference, features):
            return float(np.abs(reference.mean(0) - features.mean(0)).sum())

    yield "mean-colour"
    registry.unregister("metrics", "mean-colour")


def use(monkeypatch, pool: FakePool) -> FakePool:
    monkeypatch.setattr(parallel.Pool, "open", lambda workers, cluster: pool)
    return pool


def run(study, out, workers=1):
    return runner.run(scenario.from_mapping({**STUDY, **study}), out, workers=workers)


def same(a, b) -> None:
    pd.testing.assert_frame_equal(RunFolder(a).rows(), RunFolder(b).rows(), check_exact=True)


@pytest.mark.parametrize("seed", range(3))
def test_rows_features_and_pictures_do_not_depend_on_who_computes_them(
    tmp_path, monkeypatch, extractor, seed
):
    study = {
        "metrics": ["mse", "psnr", extractor],
        "figures": {"grid": {"images": [0, 3], "es_n0_db": 6}},
        "realisations": 2,
    }
    run(study, tmp_path / "one")
    pool = use(monkeypatch, FakePool(seed, count=1 + 2 * seed, deaths=2 * seed))
    summary = run(study, tmp_path / "many", workers=2)
    same(tmp_path / "one", tmp_path / "many")
    assert summary.num_computed == summary.num_cells == 4 * 3
    assert pool.most <= plan.DEPTH
    one, many = (
        {p.relative_to(d).as_posix(): p.read_bytes() for p in d.rglob("*.*") if p.suffix in kinds}
        for kinds in [{".npy", ".png", ".csv"}]
        for d in (tmp_path / "one", tmp_path / "many")
    )
    assert one == many
    assert sum("reference" in name for name in one) == 3
    assert sum("original" in name for name in one) == 2


def test_a_resumed_run_computes_what_is_missing_alone(tmp_path, monkeypatch):
    run({}, tmp_path / "one")
    out = tmp_path / "many"
    use(monkeypatch, FakePool(1))
    run({}, out, workers=2)
    parts = sorted((out / "parts").glob("*.parquet"))
    for part in parts[::3]:
        part.unlink()
    use(monkeypatch, FakePool(2))
    again = run({}, out, workers=2)
    assert again.num_computed == len(parts[::3])
    same(tmp_path / "one", out)
    assert run({}, out, workers=2).num_computed == 0


def test_a_cell_that_ends_every_worker_fails_its_point_and_no_other(tmp_path, monkeypatch):
    run({}, tmp_path / "one")
    pool = use(monkeypatch, FakePool(3, killers=[2]))
    summary = run({}, tmp_path / "many", workers=2)
    # At worst each of the three workers had cells of the point in all its jobs before it was suspected.
    assert 3 + plan.MAX_DEATHS <= pool.born <= 3 + 3 * plan.DEPTH + plan.MAX_DEATHS - 1
    ((point, why),) = summary.failed
    assert "died 3 times" in why and "\n" not in why
    expected = RunFolder(tmp_path / "one").rows()
    found = RunFolder(tmp_path / "many").rows()
    expected = expected[expected["point"] != point.id].reset_index(drop=True)
    pd.testing.assert_frame_equal(found, expected, check_exact=True)
    assert any("died" in note for note in summary.notes)


def test_a_straggler_holds_nothing_up(tmp_path, monkeypatch):
    run({}, tmp_path / "one")
    pool = use(monkeypatch, FakePool(4, slow=["w1"]))
    run({}, tmp_path / "many", workers=2)
    same(tmp_path / "one", tmp_path / "many")
    assert all(worker != "w1" for worker, _, _ in pool.ran)


@pytest.mark.parametrize("seed", range(2))
def test_results_that_are_lost_are_made_again(tmp_path, monkeypatch, seed):
    run({}, tmp_path / "one")
    pool = use(monkeypatch, FakePool(seed, count=2, lost=3))
    run({}, tmp_path / "many", workers=2)
    assert pool.lost < 3
    same(tmp_path / "one", tmp_path / "many")


@pytest.mark.parametrize("seed", range(2))
def test_one_worker_at_a_time_fills_the_ladders_of_a_shard(tmp_path, monkeypatch, seed):
    pool = use(monkeypatch, FakePool(seed, count=4))
    study = scenario.from_mapping(STUDY)
    runner.run(study, tmp_path / "many", workers=2)
    first: dict[tuple[int, str], str] = {}
    shards_of: dict[str, set[int]] = {}
    for worker, shard, points in pool.ran:
        for p in points:
            first.setdefault((shard, study.points()[p].system_label), worker)
        shards_of.setdefault(worker, set()).add(shard)
    assert len(first) == 3 * 2
    # Each worker keeps to shards it has loaded while there are others for the rest.
    assert sum(len(shards) for shards in shards_of.values()) <= 3 + 2 * 4


def test_a_group_is_closed_to_others_until_its_first_cell_is_back(tmp_path, monkeypatch):
    study = scenario.from_mapping(
        {
            **STUDY,
            "systems": ["softcast"],
            "images": {**STUDY["images"], "limit": 2},
            "axes": {"es_n0_db": [0, 2, 4, 6, 8, 10], "cbr": 1},
        }
    )

    class Watched(plan.Plan):
        def next_for(self, worker):
            job = super().next_for(worker)
            if job is not None and job.copy_of is None:
                others = [
                    j
                    for w, jobs in self.jobs.items()
                    for j in jobs
                    if w != worker and j.shard == job.shard and j.group == job.group
                ]
                assert not any(j.first for j in others)
            return job

    monkeypatch.setattr(plan, "_FIRST_PATIENCE", 600.0)
    monkeypatch.setattr(parallel, "Plan", Watched)
    pool = use(monkeypatch, FakePool(0, count=4))
    runner.run(study, tmp_path / "out", workers=2)
    assert len({worker for worker, _, _ in pool.ran}) > 1, "the others help once it is warm"


def test_what_waits_for_its_turn_is_bounded(tmp_path, monkeypatch):
    """One worker never comes back with the first shard's cells: the others stop at the end of the window."""
    monkeypatch.setattr(plan, "_FIRST_PATIENCE", 0.2)
    study = {"images": {"source": "samples", "size": 16, "limit": 20}, "batch": 1}
    pool = use(monkeypatch, FakePool(1, count=2, slow=["w0"]))
    held = []
    tell = parallel._Crew._tell

    def watch(crew):
        held.append(len(crew.board._held))
        tell(crew)

    monkeypatch.setattr(parallel._Crew, "_tell", watch)
    run(study, tmp_path / "many", workers=2)
    assert 0 < max(held) <= (2 * 2 + 2) * 4
    assert max(shard for _, shard, _ in pool.ran) == 19


def test_the_end_of_memory_ends_the_run_and_not_the_point(tmp_path, monkeypatch):
    (tmp_path / "hungry.py").write_text(
        "class Hungry:\n"
        "    '''Needs more than there is.'''\n"
        "    def __call__(self, x, n0, seed):\n"
        "        raise MemoryError('no room for y')\n"
    )
    use(monkeypatch, FakePool(0))
    study = scenario.from_mapping(
        {**STUDY, "channels": [{"plugin": "hungry.py:Hungry", "unchecked": True}]}, tmp_path
    )
    with pytest.raises(MemoryError, match="no room for y"):
        runner.run(study, tmp_path / "out", workers=2)


def test_workers_with_other_images_are_refused(tmp_path, monkeypatch):
    from PIL import Image

    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        level = 10 if name == "here" else 20
        Image.new("RGB", (16, 16), (level, 0, 0)).save(tmp_path / name / "a.png")
    from linksim.errors import ImageError
    from linksim.runner.cell import Bench, Order
    from linksim.runner.images import open_source, shards

    studies = [
        scenario.from_mapping({**STUDY, "images": {"source": "folder", "path": str(tmp_path / n)}})
        for n in ("here", "there")
    ]
    (shard,) = shards(open_source(studies[0]), 2)
    bench = Bench(Order.of(studies[1], ["mse"]))
    with pytest.raises(ImageError, match="give every machine the same images"):
        bench.simulate(studies[1].points()[0], shard, "c")
