"""Batches made ahead in a thread, in order, while the device computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any

DEPTH = 4  # chunks ahead


class Prefetcher:
    """Calls ``make`` on each item in a thread of its own and hands over the results in the same order.

    Args:
      make:  item -> result.
      items: what to make, in order.
      depth: results that wait at most.
    """

    def __init__(
        self, make: Callable[[Any], Any], items: Iterator[Any], depth: int = DEPTH
    ) -> None:
        self._queue: queue.Queue[tuple[str, Any]] = queue.Queue(depth)
        self._stop = threading.Event()
        self._thread = threading.Thread(
            target=self._work, args=(make, items), name="prefetch", daemon=True
        )
        self._thread.start()

    def _work(self, make: Callable[[Any], Any], items: Iterator[Any]) -> None:
        try:
            for item in items:
                if not self._put(("made", make(item))):
                    return
            self._put(("end", None))
        except BaseException as error:
            self._put(("failed", error))

    def _put(self, entry: tuple[str, Any]) -> bool:
        while not self._stop.is_set():
            try:
                self._queue.put(entry, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[Any]:
        while True:
            kind, value = self._queue.get()
            if kind == "end":
                return
            if kind == "failed":
                raise value
            yield value

    def __enter__(self) -> Prefetcher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()
