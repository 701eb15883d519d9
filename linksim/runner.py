"""Runs a scenario: points x shards of images = cells, each cell one part on disk.

A cell is content-addressed: its id hashes everything that determines its rows (point, images, realisations, root seed,
metrics, version). A cell that is on disk is never computed again, one that is not is computed in isolation, so a run
that was killed and resumed has the rows of one that was not. Results appear cell by cell; memory holds one shard.
"""

from __future__ import annotations

import hashlib
import json
import platform
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from linksim import __version__, registry
from linksim.errors import LinksimError, MissingAssetError, ScenarioError
from linksim.image.source import ImageSource, group_by_size
from linksim.link.system import LinkPoint, Outcome, System
from linksim.results import RunFolder
from linksim.scenario import Point, Scenario
from linksim.seeds import FrameSeeds, Seed
from linksim.types import ImageMetric, SetMetric, Status

Progress = Callable[[int, int, str], None]

MAX_KEYS = 10_000  # names of images kept in run.json


@dataclass(frozen=True)
class Shard:
    """Consecutive images of one size.

    Args: index: position in the run. items: positions in the source. keys, digests: of those images.
    """

    index: int
    items: tuple[int, ...]
    keys: tuple[str, ...]
    digests: tuple[str, ...]
    height: int
    width: int


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


@dataclass(frozen=True)
class Preview:
    """What a point would cost. ``error`` says why it cannot run."""

    point: Point
    text: str
    error: str | None
    cost_s: float


class _Components:
    """Builds each component of a scenario once."""

    def __init__(self, scenario: Scenario) -> None:
        self.base = scenario.folder
        self._built: dict[str, Any] = {}

    def get(self, kind: str, spec: Any) -> Any:
        key = f"{kind} {json.dumps(spec, sort_keys=True, default=str)}"
        if key not in self._built:
            self._built[key] = registry.create(kind, spec, base=self.base)
        return self._built[key]

    def system(self, point: Point) -> System:
        return self.get("systems", point.system_spec)

    def link_point(self, point: Point) -> LinkPoint:
        """The point as systems see it, its components built."""
        return LinkPoint(
            kind=point.link,
            channel=self.get("channels", point.channel_spec) if point.channel_spec else None,
            es_n0_db=_or_nan(point.es_n0_db),
            snr_amc_db=_or_nan(point.snr_amc_db),
            cbr=_or_nan(point.cbr),
            erasure=self.get("erasures", point.erasure_spec) if point.erasure_spec else None,
            bpp=_or_nan(point.bpp),
            csi_tx=point.csi_tx,
            failure=point.failure,
        )


def _reason(error: Exception) -> str:
    """One line: the message of linksim's own errors, and the kind of any other."""
    text = " ".join(str(error).split())
    return text if isinstance(error, LinksimError) else f"{type(error).__name__}: {text}"


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)


# ------------------------------------------------------------------------------------------------ preparation


def open_source(scenario: Scenario) -> ImageSource:
    """The scenario's images. Raises ScenarioError if there are none."""
    source: ImageSource = registry.create("images", scenario.image_spec, base=scenario.folder)
    if len(source) == 0:
        raise ScenarioError("there are no images", file=scenario.file, key="images")
    return source


def shards(source: ImageSource, batch: int) -> list[Shard]:
    """Cut the source into batches of at most ``batch`` images of one size."""
    return [
        _shard(source, index, items, source.size(items[0]))
        for index, items in enumerate(group_by_size(source, batch))
    ]


def _shard(source: ImageSource, index: int, items: list[int], size: tuple[int, int]) -> Shard:
    return Shard(
        index,
        tuple(items),
        tuple(source.key(i) for i in items),
        tuple(source.digest(i) for i in items),
        *size,
    )


def open_metrics(
    names: list[str],
) -> tuple[dict[str, ImageMetric], dict[str, SetMetric], dict[str, str]]:
    """Image metrics, set metrics, and the reasons for those that cannot be computed here, by name."""
    of_images: dict[str, ImageMetric] = {}
    of_sets: dict[str, SetMetric] = {}
    absent: dict[str, str] = {}
    for name in names:
        try:
            metric = registry.create("metrics", name)
        except (MissingAssetError, LinksimError) as error:
            if not isinstance(error, MissingAssetError) and not isinstance(
                error.__cause__, MissingAssetError
            ):
                raise
            absent[name] = str(error.__cause__ or error)
            continue
        if hasattr(metric, "extractor"):
            of_sets[name] = metric
        else:
            of_images[name] = metric
    return of_images, of_sets, absent


def cell_id(point: Point, shard: Shard, scenario: Scenario, metrics: list[str]) -> str:
    """Hash of everything that determines the rows of a cell."""
    parts = [
        __version__,
        point.id,
        shard.keys,
        shard.digests,
        scenario.realisations,
        scenario.seed,
        sorted(metrics),
    ]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def preview(scenario: Scenario) -> list[Preview]:
    """Every point with its budget and an estimate of its cost; simulates nothing and imports no heavy library."""
    source = open_source(scenario)
    parts = _Components(scenario)
    sizes: dict[tuple[int, int], int] = {}
    for i in range(len(source)):
        sizes[source.size(i)] = sizes.get(source.size(i), 0) + 1
    found = []
    for point in scenario.points():
        text, error, cost = "", None, 0.0
        for (height, width), count in sizes.items():
            try:
                system = parts.system(point)
                line = system.preview(parts.link_point(point), height, width)
                text = line if len(sizes) == 1 else f"{height}x{width}: {line}"
                cost += _cost_s(height, width) * count * scenario.realisations
            except Exception as problem:  # a plug-in may raise anything
                error = _reason(problem)
        found.append(Preview(point, text, error, cost))
    return found


# Measured on one 2-core x86-64 machine with warm source-codec caches: link and metrics of one 128x128 image.
_SECONDS_PER_128 = 0.02


def _cost_s(height: int, width: int) -> float:
    return _SECONDS_PER_128 * height * width / 128**2


# ---------------------------------------------------------------------------------------------------- the run


def run(
    scenario: Scenario,
    out: Path,
    *,
    progress: Progress | None = None,
    command: list[str] | None = None,
) -> RunSummary:
    """Run or resume a scenario.

    Args:
      out:      results folder; one that holds this scenario is resumed.
      progress: called with (cells done, cells in all, what is under way).
      command:  recorded in run.json.
    Raises:
      ScenarioError: if no point can be run; RunStateError: if the folder holds something else or the disk is full.
    """
    started = time.perf_counter()
    source = open_source(scenario)
    points = scenario.points()
    parts = _Components(scenario)
    runnable, failed = _preflight(scenario, source, points, parts)
    of_images, of_sets, absent = open_metrics(scenario.metrics)
    cut = shards(source, scenario.batch)
    names = [*of_images, *(f"features:{m.extractor}" for m in of_sets.values())]

    manifest = _manifest(scenario, source, command, absent, parts)
    summary = RunSummary(out, len(points), len(runnable) * len(cut), 0, 0.0, failed)
    summary.absent_metrics = absent
    with RunFolder.create_or_open(out, manifest) as folder:
        done = folder.done()
        bench = _Bench(scenario, parts, source, of_images, of_sets, folder)
        count = 0
        stopped: set[str] = set()
        broken: dict[str, str] = {}
        tally: dict[str, list[int]] = {}
        for shard in cut:
            bench.load(shard)
            for point in runnable:
                count += 1
                if point.id in stopped or point.id in broken:
                    continue
                cell = cell_id(point, shard, scenario, names)
                if progress:
                    progress(count - 1, summary.num_cells, point.title)
                if cell not in done:
                    try:
                        rows, features = bench.simulate(point, shard, cell)
                    except (KeyboardInterrupt, SystemExit, MemoryError):
                        raise
                    except Exception as error:
                        broken[point.id] = _reason(error)
                        continue
                    folder.write(cell, rows, features)
                    summary.num_computed += 1
                    failures = sum(row["failed"] for row in rows)
                else:
                    failures = folder.num_failed(cell)
                if _enough(
                    scenario, tally.setdefault(point.id, [0, 0]), failures, len(shard.items)
                ):
                    stopped.add(point.id)
        failed += [(point, broken[point.id]) for point in runnable if point.id in broken]
        cells = [cell_id(point, shard, scenario, names) for point in runnable for shard in cut]
        summary.notes += folder.notes
        folder.finish(
            cells=cells,
            failed_points=[(point.id, reason) for point, reason in failed],
            seconds=time.perf_counter() - started,
        )
    if progress:
        progress(summary.num_cells, summary.num_cells, "done")
    summary.seconds = time.perf_counter() - started
    return summary


def _preflight(
    scenario: Scenario, source: ImageSource, points: list[Point], parts: _Components
) -> tuple[list[Point], list[tuple[Point, str]]]:
    """Points whose budget can be met at some image size, and the others with the reason."""
    sizes = sorted({source.size(i) for i in range(len(source))})
    runnable: list[Point] = []
    failed: list[tuple[Point, str]] = []
    for point in points:
        reasons = []
        for height, width in sizes:
            try:
                parts.system(point).preview(parts.link_point(point), height, width)
            except Exception as error:  # a plug-in may raise anything; it fails its own points only
                reasons.append(_reason(error))
        if len(reasons) == len(sizes):
            failed.append((point, reasons[0]))
        else:
            runnable.append(point)
    if not runnable:
        raise ScenarioError(
            f"no point can be run; the first: {failed[0][0].title}: {failed[0][1]}"
            if failed
            else "the scenario has no points",
            file=scenario.file,
        )
    return runnable, failed


def _enough(scenario: Scenario, tally: list[int], failures: int, images: int) -> bool:
    """Whether the stopping rule ends a point. The tally (images, failures) grows shard by shard, in order."""
    tally[0] += images
    tally[1] += int(failures)
    limit = scenario.stop.max_failed
    return limit is not None and tally[1] >= limit and tally[0] >= scenario.stop.min_images


class _Bench:
    """The place where one shard at a time meets every point."""

    def __init__(
        self,
        scenario: Scenario,
        parts: _Components,
        source: ImageSource,
        of_images: dict[str, ImageMetric],
        of_sets: dict[str, SetMetric],
        folder: RunFolder,
    ) -> None:
        self.scenario, self.parts, self.source = scenario, parts, source
        self.of_images, self.folder = of_images, folder
        self.extractors = {metric.extractor: metric for metric in of_sets.values()}
        self.root = Seed.root(scenario.seed)
        self.images: np.ndarray | None = None
        self.seeds = FrameSeeds(())
        self._pending: Shard | None = None

    def load(self, shard: Shard) -> None:
        """Name the shard; its images are read when a cell first needs them."""
        self._pending, self.images = shard, None

    def _frames(self, shard: Shard) -> np.ndarray:
        """[B, H, W, 3]: every image, once for each realisation."""
        if self.images is None:
            stack = np.stack([self.source.load(i) for i in shard.items])
            repeats = self.scenario.realisations
            self.images = np.repeat(stack, repeats, axis=0)
            # The seed of a frame comes from the image's name and the realisation alone: every system, and every other
            # batch size, meets the same fades.
            self.seeds = FrameSeeds(
                tuple(
                    self.root.child("frame", key, r) for key in shard.keys for r in range(repeats)
                )
            )
            for name, metric in self.extractors.items():
                if not self.folder.has_reference(name, shard.index):
                    self.folder.write_reference(name, shard.index, metric.features(stack))
        return self.images

    def simulate(
        self, point: Point, shard: Shard, cell: str
    ) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
        """Rows and features of one cell."""
        images = self._frames(shard)
        system = self.parts.system(point)
        outcome = system.simulate(images, self.parts.link_point(point), self.seeds)
        scores = {
            name: np.asarray(metric(images, outcome.images), np.float64)
            for name, metric in self.of_images.items()
        }
        features = {
            name: metric.features(outcome.images) for name, metric in self.extractors.items()
        }
        self._keep_pictures(point, shard, outcome)
        return list(self._rows(point, shard, cell, system, outcome, scores)), features

    def _rows(
        self,
        point: Point,
        shard: Shard,
        cell: str,
        system: System,
        outcome: Outcome,
        scores: dict[str, np.ndarray],
    ) -> Iterator[dict[str, Any]]:
        pixels = shard.height * shard.width
        books = outcome.ledger.entries()
        total = outcome.ledger.total
        repeats = self.scenario.realisations
        phy = point.link == "phy"
        for b in range(len(outcome.images)):
            status = Status(outcome.status[b])
            yield {
                "point": point.id,
                "cell": cell,
                "system": point.system_label,
                "family": system.family,
                "link": point.link,
                "channel": point.channel_label,
                **point.axes,
                "image": shard.keys[b // repeats],
                "realisation": b % repeats,
                "status": status.name,
                "failed": status.failed,
                "cbr": float(total[b]) / (3 * pixels) if phy else float("nan"),
                "bpp": float("nan") if phy else float(total[b]) / pixels,
                "mcs": outcome.mcs[b],
                **{f"ledger_{name}": float(entry[b]) for name, entry in books.items()},
                **{f"metric_{name}": float(score[b]) for name, score in scores.items()},
            }

    def _keep_pictures(self, point: Point, shard: Shard, outcome: Outcome) -> None:
        """Save the reconstructions that the picture grid shows (first realisation)."""
        grid = self.scenario.figures.grid
        if grid is None:
            return
        for position, item in enumerate(shard.items):
            if item in grid.images and self.scenario.in_grid(point):
                b = position * self.scenario.realisations
                assert self.images is not None
                self.folder.write_picture("original", item, self.images[b])
                self.folder.write_picture(point.id, item, outcome.images[b])


def _manifest(
    scenario: Scenario,
    source: ImageSource,
    command: list[str] | None,
    absent: dict[str, str],
    parts: _Components,
) -> dict[str, Any]:
    """What run.json says of a run before it starts."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {"linksim": __version__, "python": platform.python_version()}
    for package in (
        "numpy",
        "scipy",
        "numba",
        "tensorflow",
        "keras",
        "sionna-no-rt",
        "pillow",
        "av",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None  # type: ignore[assignment]
    digests = hashlib.blake2b(digest_size=16)
    for i in range(len(source)):
        digests.update(f"{source.key(i)} {source.digest(i)}\n".encode())
    return {
        "scenario": scenario.resolved(),
        "scenario_digest": scenario.digest(),
        "images": {
            "count": len(source),
            "digest": digests.hexdigest(),
            "keys": [source.key(i) for i in range(min(len(source), MAX_KEYS))],
        },
        "seed": scenario.seed,
        "command": " ".join(command if command is not None else ["linksim", *sys.argv[1:]]),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}, {platform.processor() or 'unknown processor'}",
        "points": [
            {
                "id": point.id,
                "system": point.system_label,
                "family": parts.system(point).family,
                "link": point.link,
                "channel": point.channel_label,
                "axes": point.axes,
            }
            for point in scenario.points()
        ],
        "metric_notes": absent,
        "not_applicable": scenario.not_applicable,
    }
