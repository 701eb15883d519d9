"""Worker processes through dask.distributed: here, as SLURM jobs, or those of a scheduler that runs already."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing.resource_tracker
import os
import queue
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import dask
from distributed import Client, LocalCluster

from linksim.errors import ClusterError
from linksim.runner.reach import CONNECT_SECONDS, one_line, probe
from linksim.runner.work import thread_settings

_SILENCE_SECONDS = 20.0  # a scheduler that says nothing for so long is gone
_FETCH_SECONDS = 10.0
_RESTORE_SECONDS = 30.0  # after which jobs that have ended are asked for again

Ticket = Any  # a Dask future


class Lost(Exception):
    """A result that went down with its worker."""


class Pool:
    """Workers to submit to. Use as a context; leaving it on an error ends local workers at once.

    Args:
      client:  connected.
      cluster: to close at the end; None where it is not ours.
      wanted:  workers that there should be; None where that is not ours to say.
      threads: cores that a worker may keep busy; None for as many as it was started with.
    """

    def __init__(
        self, client: Client, cluster: Any, wanted: int | None, threads: int | None = None
    ) -> None:
        self.client, self.cluster, self.wanted, self.threads = client, cluster, wanted, threads
        self.run = uuid.uuid4().hex
        self._done: queue.SimpleQueue[Ticket] = queue.SimpleQueue()
        self._known: dict[str, int] = {}
        self._heard = time.monotonic()
        self._short_since: float | None = None

    # ------------------------------------------------------------------------------------------------- opening

    @classmethod
    def open(cls, workers: int, cluster: str | None) -> Pool:
        """See linksim.runner.run. Raises: ClusterError."""
        # What befalls workers the run tells in its own words.
        for name in ("distributed", "asyncio"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        if cluster is None:
            return cls.here(workers)
        return cls.slurm(workers) if cluster == "slurm" else cls.at(cluster)

    @classmethod
    def here(cls, workers: int) -> Pool:
        """Processes on this machine."""
        affinity = getattr(os, "sched_getaffinity", None)
        cores = len(affinity(0)) if affinity else os.cpu_count() or 1
        threads = max(1, cores // workers)
        settings = {**thread_settings(threads), "TF_CPP_MIN_LOG_LEVEL": "3"}
        config = {
            "distributed.nanny.pre-spawn-environ": settings,
            "distributed.scheduler.work-stealing": False,
        }
        with _without_interrupts(), dask.config.set(config):
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address=None,
                memory_limit=0,
                silence_logs=logging.CRITICAL,
                env=settings,
            )
            return cls(Client(cluster, set_as_default=False), cluster, workers, threads)

    @classmethod
    def slurm(cls, workers: int) -> Pool:
        """Jobs of a SLURM cluster, one worker each, as the user's Dask configuration describes them."""
        probe("slurm")
        from dask_jobqueue import SLURMCluster

        given = dask.config.get("jobqueue.slurm", default={})
        options: dict[str, Any] = {}
        if given.get("cores") is None:
            options["cores"] = 1
        if given.get("memory") is None:
            options["memory"] = "4GiB"
        try:
            with _without_interrupts():
                cluster = SLURMCluster(
                    **options, scheduler_options={"dashboard": False}, silence_logs="critical"
                )
                cluster.scale(jobs=workers)
                return cls(Client(cluster, set_as_default=False), cluster, workers)
        except (OSError, RuntimeError, ValueError, TypeError) as error:
            raise ClusterError(
                f"SLURM workers cannot be started: {one_line(error)}; the section jobqueue.slurm of Dask's "
                "configuration describes the jobs"
            ) from error

    @classmethod
    def at(cls, address: str) -> Pool:
        """The workers of a scheduler."""
        probe(address)
        with _without_interrupts():
            return cls(Client(address, timeout=CONNECT_SECONDS, set_as_default=False), None, None)

    # ------------------------------------------------------------------------------------------------- working

    def workers(self) -> dict[str, int]:
        """Address -> threads of the workers that are alive. Raises: ClusterError: if the scheduler is gone."""
        now = time.monotonic()
        try:
            self._known = dict(self.client.nthreads())
            self._heard = now
        except (OSError, TimeoutError, RuntimeError, TypeError) as error:
            if now - self._heard > _SILENCE_SECONDS:
                raise ClusterError(
                    f"the Dask scheduler no longer answers ({one_line(error)}); run the same command to resume"
                ) from error
        self._restore(now)
        return self._known

    def _restore(self, now: float) -> None:
        """Ask for SLURM jobs again that have ended (a nanny replaces processes by itself, but not jobs)."""
        if self.wanted is None or isinstance(self.cluster, LocalCluster):
            return
        if len(self._known) >= self.wanted:
            self._short_since = None
        elif self._short_since is None:
            self._short_since = now
        elif now - self._short_since > _RESTORE_SECONDS:
            self._short_since = now
            self.cluster.scale(jobs=self.wanted)

    def submit(self, worker: str, function: Callable[..., Any], *arguments: Any) -> Ticket:
        """Call a function on one worker and on no other."""
        ticket = self.client.submit(
            function,
            *arguments,
            workers=[worker],
            allow_other_workers=False,
            pure=False,
            key=f"linksim-{uuid.uuid4().hex}",
        )
        ticket.add_done_callback(self._done.put)
        return ticket

    def everywhere(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Call a function on each worker that is there, before anything else; nobody waits for what it brings."""
        self._kept = [  # Dask drops work that nobody holds
            self.client.submit(function, *arguments, workers=[worker], pure=False)
            for worker in self.client.nthreads()
        ]

    def finished(self, seconds: float) -> list[Ticket]:
        """Tickets that have come back; waits for one at most so long."""
        found = []
        with contextlib.suppress(queue.Empty):
            found.append(self._done.get(timeout=seconds))
            while True:
                found.append(self._done.get_nowait())
        return found

    def result(self, ticket: Ticket) -> Any:
        """What a ticket brought. Raises: Lost: if it was lost with its worker; else as the function did."""
        if ticket.status not in ("finished", "error"):
            raise Lost(ticket.status)
        try:
            return ticket.result(timeout=_FETCH_SECONDS)
        except (TimeoutError, OSError) as error:
            raise Lost(one_line(error)) from error

    def drop(self, ticket: Ticket) -> None:
        """Forget a ticket; a job that has not begun is not done."""
        ticket.release()

    # ------------------------------------------------------------------------------------------------- closing

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with _without_interrupts():
            if isinstance(self.cluster, LocalCluster):
                # What they compute now nobody waits for, and nothing of theirs is unsaved.
                _end_processes(self.cluster)
            with contextlib.suppress(Exception):
                self.client.close(timeout=2)
            if self.cluster is not None:
                with contextlib.suppress(Exception):
                    self.cluster.close(timeout=5)


def _end_processes(cluster: LocalCluster) -> None:
    """Kill the local workers, and see to it that they are not replaced."""
    for nanny in list(cluster.workers.values()):
        nanny.auto_restart = False
        process = getattr(nanny, "process", None)
        pid = getattr(process, "pid", None)
        if pid:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """Holds SIGINT back in this thread and, for good, in the threads and processes begun inside.

    Ctrl-C goes to every process of a terminal; it is for this one alone to end the run in order.
    """
    multiprocessing.resource_tracker.ensure_running()  # starting it would let SIGINT through again
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
