"""A run from its beginning to its end."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linksim import cores
from linksim.errors import ScenarioError
from linksim.results import RunFolder
from linksim.runner.ahead import preflight
from linksim.runner.board import Board, Progress
from linksim.runner.cell import Bench, Order
from linksim.runner.components import Components
from linksim.runner.deal import Share
from linksim.runner.early import EarlyPool
from linksim.runner.images import open_metrics, open_source, shards
from linksim.runner.manifest import manifest
from linksim.runner.operating import settle
from linksim.runner.reach import probe
from linksim.runner.serial import run_here
from linksim.runner.stopping import needs
from linksim.scenario import Point, Scenario


@dataclass
class RunSummary:
    """What a run did.

    ``failed`` holds (point, reason) of the points that could not be simulated, ``absent_metrics`` why a metric was not
    computed (tables say it too), ``notes`` what else people should know.
    """

    folder: Path
    num_points: int
    num_cells: int
    num_computed: int
    seconds: float
    failed: list[tuple[Point, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    absent_metrics: dict[str, str] = field(default_factory=dict)


def run(
    scenario: Scenario,
    out: Path,
    *,
    progress: Progress | None = None,
    command: list[str] | None = None,
    workers: int = 1,
    cluster: str | None = None,
    part: Share | None = None,
    timeout_s: float | None = None,
) -> RunSummary:
    """Run or resume a scenario.

    Args:
      out:      results folder; one that holds this scenario is resumed.
      progress: called with (cells done, cells in all, what is under way).
      command:  recorded in run.json.
      workers:  processes to use: 1 is this one alone; more are started on this machine, or as jobs of ``cluster``.
      timeout_s: that one cell (a point on one batch of images) may take; a longer one fails its point.
      cluster:  None; "slurm"; or the address of a Dask scheduler, whose workers are used.
      part:     compute only these cells; `linksim merge` joins the folders of all parts.
    Raises:
      ScenarioError: if no point can be run; RunStateError: if the folder holds something else, the disk is full, or
      there is less to deal than parts, or LINKSIM_THREADS is no number; ClusterError: if the workers cannot be had.
    """
    started = time.perf_counter()
    cores.available()  # raises for an environment that no cell could run in
    if cluster is not None:
        probe(cluster)
    source = open_source(scenario)
    parts = Components(scenario.folder)
    notes: list[str] = []
    of_images, of_sets, absent = open_metrics(scenario.metric_forms)
    for column in needs(scenario.stop):
        name = column.removeprefix("metric_")
        if name != column and name not in of_images:
            why = absent.get(name, "it is not a metric of single images")
            raise ScenarioError(
                f"cannot be watched: {why}", file=scenario.file, key=f"stop.ci_width.{name}"
            )
    forms = dict(zip(scenario.metrics, scenario.metric_forms, strict=True))
    order = Order.of(scenario, [forms[name] for name in (*of_images, *of_sets)], timeout_s)
    # a folder that is there may hold every cell already, and then no worker is needed
    here = workers > 1 and cluster is None and not out.exists()
    with EarlyPool(workers, order) if here else contextlib.nullcontext() as early:
        runnable, failed = preflight(scenario, source, parts, notes)
        cut = shards(source, scenario.batch)
        extractors = list(dict.fromkeys(m.extractor for m in of_sets.values()))
        names = [
            *(_identity(forms[name]) for name in of_images),
            *(f"features:{m.extractor}" for m in of_sets.values()),
        ]
        mine = (
            part.deal(runnable, len(cut), bool(needs(scenario.stop))) if part else lambda p, s: True
        )
        summary = RunSummary(out, len(scenario.points()), len(runnable) * len(cut), 0, 0.0, failed)
        summary.absent_metrics = absent
        summary.notes += notes
        about = manifest(scenario, source, command, absent, parts, len(cut))
        with RunFolder.create_or_open(out, about) as folder:
            if scenario.budget == "mean":
                runnable = settle(runnable, cut, Bench(order, source), folder, failed, progress)
            board = Board(scenario, runnable, cut, names, extractors, folder, mine)
            summary.num_cells = board.total
            if workers == 1 and cluster is None:
                run_here(board, Bench(order, source), progress)
            else:
                from linksim.runner.parallel import run_on_workers  # imports Dask

                summary.notes += run_on_workers(board, order, workers, cluster, progress, early)
            failed += [(runnable[p], board.broken[p]) for p in sorted(board.broken)]
            summary.num_computed = board.num_computed
            summary.notes += folder.notes
            folder.finish(
                cells=range(board.total),
                failed_points=[(point.id, why) for point, why in failed],
                seconds=time.perf_counter() - started,
            )
    if progress:
        progress(summary.num_cells, summary.num_cells, "done")
    summary.seconds = time.perf_counter() - started
    return summary


def _identity(form: str | Mapping[str, Any]) -> str:
    """A metric in the ids of cells: its name, and its parameters where it is given some."""
    return form if isinstance(form, str) else json.dumps(form, sort_keys=True)
