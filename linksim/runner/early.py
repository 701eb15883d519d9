"""Worker processes that come up while the run is still being prepared."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from linksim.runner.cell import Order
    from linksim.runner.pool import Pool


class EarlyPool:
    """Local workers, begun at once in a thread of their own. Use as a context, which closes them if nobody took them.

    Args: workers: how many. order: what they will compute; they load the libraries for it.
    """

    def __init__(self, workers: int, order: Order) -> None:
        self._workers, self._order = workers, order
        self._pool: Pool | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._open, name="linksim-early-pool", daemon=True)
        self._thread.start()

    def _open(self) -> None:
        try:
            from linksim.runner.pool import Pool  # imports Dask
            from linksim.runner.work import warm

            self._pool = Pool.open(self._workers, None)
            self._pool.everywhere(warm, self._order)
        except Exception as error:
            self._error = error

    def take(self) -> Pool:
        """The pool, to be closed by whoever takes it. Raises: what opening it raised."""
        self._thread.join()
        if self._error is not None:
            raise self._error
        pool, self._pool = self._pool, None
        assert pool is not None, "taken twice"
        return pool

    def __enter__(self) -> EarlyPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._thread.join()
        if self._pool is not None:
            with contextlib.suppress(Exception):
                self._pool.__exit__(kind)
