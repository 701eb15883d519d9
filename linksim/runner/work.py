"""What runs in a worker process: one bench for each run it serves, one cell at a time."""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from linksim import __version__
from linksim.errors import LinksimError
from linksim.runner.board import Failure
from linksim.runner.cell import Bench, CellResult, Order
from linksim.runner.components import reason
from linksim.runner.images import Shard, open_metrics
from linksim.scenario import Point

# Whoever starts more than one process on a machine has to share its cores between them.
THREAD_VARIABLES = (
    "LINKSIM_THREADS",
    "LINKSIM_CODEC_JOBS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
# What rows or the place of data depend on, and is the same for all workers of a run.
SHARED_VARIABLES = ("LINKSIM_ASSETS", "LINKSIM_CACHE", "LINKSIM_VTM")

_benches: dict[str, Bench] = {}
_points: dict[str, tuple[Point, ...]] = {}
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Hello:
    """A worker's answer to :func:`prepare`. Args: pid: of its process. error: why it cannot serve, or None."""

    pid: int
    error: str | None = None


@dataclass(frozen=True)
class Halt:
    """A cell met something that ends the whole run: memory gone, or an exit that a component asked for."""

    kind: type[BaseException]
    text: str


@dataclass(frozen=True)
class Outcome:
    """What became of a job. Args: cells: one of each asked for, in order. seconds: it took. extra: see :func:`work`."""

    cells: tuple[CellResult | Failure | Halt, ...]
    seconds: float
    references: CellResult | None = None


def thread_settings(threads: int) -> dict[str, str]:
    """Environment of a process that may keep ``threads`` cores busy; what the user has set stays."""
    return {name: os.environ.get(name, _usual(name, threads)) for name in THREAD_VARIABLES}


def _usual(name: str, threads: int) -> str:
    return "1" if name in ("LINKSIM_CODEC_JOBS", "TF_NUM_INTRAOP_THREADS") else str(threads)


def warm(order: Order) -> None:
    """Load what the first cell would load: compiled kernels, and the libraries of the metrics. Failures show there."""
    with contextlib.suppress(Exception):
        for module in ("encoder", "mapper", "demap", "decoder"):
            importlib.import_module(f"linksim.phy.fast.{module}")
        dark = np.zeros((1, 64, 64, 3), np.uint8)
        for metric in open_metrics(order.metrics)[0].values():
            with contextlib.suppress(Exception):
                metric(dark, dark)


def prepare(
    run: str,
    version: str,
    order: Order,
    points: Sequence[Point],
    shared: Mapping[str, str],
    threads: int,
) -> Hello:
    """Make this process ready for a run.

    Args:
      run:     its token.
      version: of the linksim that asks.
      shared:  SHARED_VARIABLES as they are set there.
      threads: cores that this process may keep busy.
    """
    os.environ.update(shared)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    for name in THREAD_VARIABLES:
        os.environ.setdefault(name, _usual(name, threads))
    if version != __version__:
        return Hello(os.getpid(), f"linksim {__version__} is there, the run needs {version}")
    try:
        with _one_at_a_time:
            _benches.clear()  # a long-lived worker serves one run after the other
            _points.clear()
            _benches[run] = Bench(order)
            _points[run] = tuple(points)
    except (LinksimError, OSError) as error:
        return Hello(os.getpid(), reason(error))
    return Hello(os.getpid())


def work(
    run: str,
    shard: Shard,
    cells: Sequence[tuple[int, str, bool]],
    extractors: Sequence[str],
) -> Outcome | None:
    """Simulate cells of one shard.

    Args:
      cells:      (number of the point, cell's id, whether the point is in the picture grid).
      extractors: whose features of the shard's originals come with the first cell, or alone where there is none.
    Returns: None where this process was not prepared for the run.
    """
    with _one_at_a_time:
        if run not in _benches:
            return None
        start = time.perf_counter()
        bench, made = _benches[run], []
        alone = None
        if not cells:
            alone = CellResult(references=bench.references(shard, extractors))
        for number, (p, cell, in_grid) in enumerate(cells):
            made.append(
                _cell(bench, _points[run][p], shard, cell, in_grid, () if number else extractors)
            )
        return Outcome(tuple(made), time.perf_counter() - start, alone)


def _cell(
    bench: Bench,
    point: Point,
    shard: Shard,
    cell: str,
    in_grid: bool,
    extractors: Sequence[str],
) -> CellResult | Failure | Halt:
    try:
        return bench.simulate(point, shard, cell, pictures=in_grid, references=extractors)
    except (KeyboardInterrupt, SystemExit, MemoryError) as error:
        kind = next(k for k in (KeyboardInterrupt, SystemExit, MemoryError) if isinstance(error, k))
        return Halt(kind, str(error))
    except Exception as error:
        return Failure(reason(error))


def shared_settings() -> dict[str, str]:
    """SHARED_VARIABLES as they are set in this process."""
    return {name: os.environ[name] for name in SHARED_VARIABLES if os.environ.get(name)}
