"""The benchmark suite behind ``linksim bench``: speed and memory, each beside a reference in the same run.

    link     phy/ beside Sionna's blocks, one core each      sources  ladders of the source codecs
    ofdm     the wideband link beside Sionna's, likewise
    joint    analog coders                                   metrics  LPIPS, SSIM, MS-SSIM
    tokens   the token codec with losses, beside ntc
    sweep    whole runs: caches cold and warm, memory, start-up

Each section runs in a process of its own, so that threads, caches and memory of one do not disturb the next; within it
ours and the reference take turns, and medians are kept. A row is ours, theirs and the ratio, above 1 where ours is
better.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

from linksim.errors import LinksimError, UnknownNameError

SECTIONS = ("link", "ofdm", "sources", "joint", "tokens", "metrics", "sweep")

# One thread for both sides where speed per core is compared.
_ONE_THREAD = {
    "LINKSIM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}


def suite(
    only: Sequence[str] = (),
    *,
    smoke: bool = False,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run the suite.

    Args:
      only:     sections; by default all of them.
      smoke:    sizes that take seconds, whose numbers mean nothing: to see that everything runs.
      progress: called with the name of each section when it begins.
    Returns: "machine", "smoke" and "rows"; each row has section, what, unit, ours, reference, theirs and ratio (the
             last three None where there is no reference), and maybe more.
    Raises:
      UnknownNameError: no such section. LinksimError: a section that failed, with its last line.
    """
    from linksim.bench.machine import describe

    for name in only:
        if name not in SECTIONS:
            raise UnknownNameError(f"unknown benchmark {name!r}; known: {', '.join(SECTIONS)}")
    report: dict[str, Any] = {"machine": describe(), "smoke": smoke, "seconds": {}, "rows": []}
    for name in only or SECTIONS:
        if progress is not None:
            progress(name)
        start = time.perf_counter()
        report["rows"] += [{"section": name, **row} for row in _section(name, smoke)]
        report["seconds"][name] = round(time.perf_counter() - start, 1)
    return report


def _section(name: str, smoke: bool) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "linksim.bench", name, *(["--smoke"] if smoke else [])]
    with tempfile.TemporaryDirectory(prefix="linksim-bench-") as cache:
        threads = _ONE_THREAD if name in ("link", "ofdm") else {}
        env = {**os.environ, **_QUIET, **threads}
        if name != "link":  # the compiled decoders may be kept; ladders and rows may not
            env["LINKSIM_CACHE"] = cache
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), f"exit {done.returncode}")
        raise LinksimError(f"benchmark {name} failed: {last}; {' '.join(command[1:])} shows all")
    return json.loads(done.stdout.splitlines()[-1])
