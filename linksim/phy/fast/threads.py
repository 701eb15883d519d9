"""Sharing rows of work among cores. The kernels release the GIL, and a row's result depends on that row alone."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def available() -> int:
    """Threads to use: LINKSIM_THREADS, else the cores that this process may run on."""
    named = os.environ.get("LINKSIM_THREADS", "")
    if named:
        if not named.isdigit() or int(named) < 1:
            raise ValueError(f"LINKSIM_THREADS must be a whole number of at least 1, got {named!r}")
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    # keyed by the process: threads do not survive a fork
    return ThreadPoolExecutor(workers, thread_name_prefix="linksim-phy")


def over_rows(work: Callable[[int, int], None], rows: int, least: int) -> None:
    """Call ``work(start, stop)`` on parts of range(rows), at least ``least`` rows each, on all threads."""
    count = min(available(), rows // max(least, 1))
    if count <= 1:
        work(0, rows)
        return
    edges = [rows * i // count for i in range(count + 1)]
    parts = list(itertools.pairwise(edges))
    # The calling thread takes a part too.
    others = [_pool(count - 1, os.getpid()).submit(work, *part) for part in parts[1:]]
    work(*parts[0])
    for other in others:
        other.result()
