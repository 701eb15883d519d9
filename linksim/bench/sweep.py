"""Whole runs, each in a process of its own: caches cold and warm, both back ends, memory, start-up."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from linksim.bench.measure import row
from linksim.bench.pictures import write_photos

_RUN = """
import json, resource, sys, time
start = time.perf_counter()
from pathlib import Path
from linksim import runner, scenario
workers = int(sys.argv[3])
summary = runner.run(scenario.load(Path(sys.argv[1])), Path(sys.argv[2]), workers=workers)
peaks = [resource.getrusage(who).ru_maxrss / 1024
         for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
print(json.dumps({"seconds": time.perf_counter() - start, "cells": summary.num_computed,
                  "peak_mib": peaks[0], "peak_of_a_child_mib": peaks[1]}))
"""
_SIONNA = {"backend": "sionna", "channel_code": {"name": "ldpc-5g", "backend": "sionna"}}


def rows(smoke: bool) -> list[dict[str, Any]]:
    """The section's rows."""
    with tempfile.TemporaryDirectory(prefix="linksim-bench-") as folder:
        work = Path(folder)
        return [
            *_caches(work, smoke),
            *_backends(work, smoke),
            *_workers(work, smoke),
            *_memory(work, smoke),
            *_start(smoke),
        ]


def run(
    work: Path,
    name: str,
    images: Path,
    systems: list[Any],
    *,
    workers: int = 1,
    threads: int | None = None,
    metrics: Sequence[str] = ("mse", "psnr"),
    **axes: Sequence[float],
) -> dict[str, Any]:
    """One run: seconds with imports, cells, peak MiB of its process and of the largest child."""
    study = {
        "name": name,
        "images": {"source": "folder", "path": str(images)},
        "link": "phy",
        "channels": ["awgn"],
        "axes": {"cbr": ["1/24"], **axes},
        "systems": systems,
        "metrics": list(metrics),
        "batch": 16,
    }
    path = work / f"{name}.yaml"
    path.write_text(yaml.safe_dump(study))
    done = subprocess.run(
        [sys.executable, "-c", _RUN, str(path), str(work / name), str(workers)],
        env={
            **os.environ,
            "LINKSIM_CACHE": str(work / "cache"),
            **({} if threads is None else {"LINKSIM_THREADS": str(threads)}),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def _caches(work: Path, smoke: bool) -> list[dict[str, Any]]:
    count = 2 if smoke else 16
    images = write_photos(work / "photos", count)
    systems = ["jpeg"] if smoke else [{"name": "vvc", "preset": "fast"}, "jpeg"]
    cold = run(work, "cold", images, systems, es_n0_db=[0, 4, 8])
    coded = _ladders(work)
    warm = [
        run(work, f"warm{i}", images, systems, es_n0_db=[1 + i / 4, 5 + i / 4, 9 + i / 4])[
            "seconds"
        ]
        for i in range(1 if smoke else 3)
    ]
    if _ladders(work) != coded:
        raise SystemExit("a sweep over other SNRs coded pictures again; it must not")
    what = f"sweep, {count} pictures, 3 SNRs, {len(systems)} systems"
    return [
        row(f"{what}, caches cold", "s", cold["seconds"], lower_is_better=True),
        row(
            f"{what}, other SNRs, caches warm",
            "s",
            statistics.median(warm),
            "caches cold",
            cold["seconds"],
            lower_is_better=True,
        ),
    ]


def _ladders(work: Path) -> dict[str, int]:
    """The cache's files and when each was written."""
    return {str(p): p.stat().st_mtime_ns for p in (work / "cache").rglob("*.ladder")}


def _backends(work: Path, smoke: bool) -> list[dict[str, Any]]:
    """The same sweep with Sionna's blocks in the place of ours, pictures coded beforehand."""
    if smoke:
        return []
    images, snrs = work / "photos", [0, 2, 4, 6]
    run(work, "filled", images, ["jpeg"], es_n0_db=[0])
    seconds: dict[str, list[float]] = {"fast": [], "sionna": []}
    for turn in range(2):
        for name, more in (("fast", {}), ("sionna", _SIONNA)):
            system = {"name": "jpeg", **more}
            done = run(work, f"{name}{turn}", images, [system], es_n0_db=snrs)
            seconds[name].append(done["seconds"])
    fast, sionna = (min(seconds[name]) for name in ("fast", "sionna"))
    what = "sweep, 16 pictures, 4 SNRs, jpeg, caches warm"
    return [row(what, "s", fast, "with Sionna's blocks", sionna, lower_is_better=True)]


def _workers(work: Path, smoke: bool) -> list[dict[str, Any]]:
    """Two worker processes beside one process, with all threads and with one; rows must be equal.

    Twice: with metrics that cost next to nothing, so that the link and the way to disk are what is shared, and with
    those that people plot.
    """
    count, systems = (8, ["jpeg"]) if smoke else (1000, ["jpeg", "softcast"])
    images = write_photos(work / f"sweep{count}", count)
    run(work, "filled-sweep", images, systems[:1], es_n0_db=[2])
    light, plotted = ["mse", "psnr"], ["mse", "psnr", "ms-ssim", "lpips-alex"]
    return [
        _compared(work, smoke, images, systems, metrics)
        for metrics in ([light] if smoke else [light, plotted])
    ]


def _compared(
    work: Path, smoke: bool, images: Path, systems: list[Any], metrics: list[str]
) -> dict[str, Any]:
    from linksim.results import RunFolder

    rounds, snrs, name = 1 if smoke or len(metrics) > 2 else 2, [0, 4, 8], f"sweep-{len(metrics)}"
    ways: dict[str, dict[str, Any]] = {"workers": {"workers": 2}, "all": {}, "one": {"threads": 1}}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for turn in range(rounds):
        for way, options in ways.items():
            done = run(
                work,
                f"{name}-{way}{turn}",
                images,
                systems,
                metrics=metrics,
                es_n0_db=snrs,
                **options,
            )
            seconds[way].append(done["seconds"])
    rows = [RunFolder(work / f"{name}-{way}0").rows() for way in ways]
    if not all(rows[0].equals(other) for other in rows[1:]):
        raise SystemExit("two workers have other rows than one process")
    two, all_threads, one_thread = (statistics.median(seconds[way]) for way in ways)
    count = len(rows[0]) // len(snrs) // len(systems)
    what = (
        f"sweep, {count} pictures 128x128, 3 SNRs, {' and '.join(systems)}, {', '.join(metrics)}, "
        "caches warm"
    )
    return row(
        f"{what}, two workers",
        "s",
        two,
        "one process, its best setting",
        min(all_threads, one_thread),
        lower_is_better=True,
        one_process_all_threads=round(all_threads, 2),
        one_process_one_thread=round(one_thread, 2),
        rows=len(rows[0]),
    )


def _memory(work: Path, smoke: bool) -> list[dict[str, Any]]:
    """Peaks of few pictures and of ten times as many, in one process and with two workers."""
    few, many = (4, 16) if smoke else (1000, 10_000)
    peaks: dict[tuple[int, int], float] = {}
    for count in (few, many):
        images = write_photos(work / f"photos{count}", count)
        for workers in (1, 2):
            name = f"memory{count}-{workers}"
            done = run(work, name, images, ["softcast"], workers=workers, es_n0_db=[4])
            children = workers * done["peak_of_a_child_mib"] if workers > 1 else 0.0
            peaks[count, workers] = done["peak_mib"] + children
    return [
        row(
            f"peak memory, {many} pictures 128x128, softcast, {who}",
            "MiB",
            peaks[many, workers],
            f"{few} pictures",
            peaks[few, workers],
            lower_is_better=True,
        )
        for workers, who in ((1, "one process"), (2, "two workers and their parent, summed"))
    ]


def _start(smoke: bool) -> list[dict[str, Any]]:
    seconds: dict[str, list[float]] = {"linksim": [], "python": []}
    for _ in range(1 if smoke else 7):
        for name, what in (("linksim", ["-m", "linksim", "--help"]), ("python", ["-c", ""])):
            start = time.perf_counter()
            subprocess.run([sys.executable, *what], check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - start)
    ours, bare = (statistics.median(seconds[name]) for name in ("linksim", "python"))
    return [
        row("linksim --help", "s", ours, "python -c ''", bare, lower_is_better=True),
    ]
