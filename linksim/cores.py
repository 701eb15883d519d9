"""Sharing work among cores, by threads: of kernels and graphs, which release the GIL.

A part's result must depend on that part alone, and how work is cut must not depend on how many cores there are: then
numbers do not either.
"""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, TypeVar

from linksim.errors import RunStateError

Given = TypeVar("Given")
Found = TypeVar("Found")

_here = threading.local()  # .shared: this thread works on a part already


def available() -> int:
    """Threads to use: LINKSIM_THREADS, else the cores that this process may run on.

    Raises: RunStateError: LINKSIM_THREADS is no such number.
    """
    named = os.environ.get("LINKSIM_THREADS", "")
    if named:
        if not named.isdigit() or int(named) < 1:
            raise RunStateError(
                f"LINKSIM_THREADS must be a whole number of at least 1, got {named!r}"
            )
        return int(named)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    # keyed by the process: threads do not survive a fork
    return ThreadPoolExecutor(workers, thread_name_prefix="linksim-core")


def over_rows(work: Callable[[int, int], None], rows: int, least: int) -> None:
    """Call ``work(start, stop)`` on parts of range(rows), at least ``least`` rows each, on all threads.

    Inside a part of ``each`` on the thread that is there.
    """
    count = 1 if _busy() else min(available(), rows // max(least, 1))
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


def each(work: Callable[[Given], Found], parts: Sequence[Given]) -> list[Found]:
    """``work`` of every part, in order; as many at a time as there are threads, the calling one among them.

    Parts are taken as threads get free. An error of one part is raised once all that have begun are through.
    """
    count = 1 if _busy() else min(available(), len(parts))
    if count <= 1:
        return [work(part) for part in parts]
    found: list[Any] = [None] * len(parts)
    taken = iter(range(len(parts)))  # next() on it is atomic
    failed = threading.Event()

    def take() -> None:
        _here.shared = True
        try:
            for i in taken:
                if failed.is_set():
                    return
                found[i] = work(parts[i])
        except BaseException:
            failed.set()
            raise
        finally:
            _here.shared = False

    others = [_pool(count - 1, os.getpid()).submit(take) for _ in range(count - 1)]
    try:
        take()
    finally:
        errors = [other.exception() for other in others]  # waits
    for error in errors:
        if error is not None:
            raise error
    return found


def _busy() -> bool:
    return getattr(_here, "shared", False)
