"""A run on several worker processes: the loop between board, plan and pool."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from linksim import __version__
from linksim.errors import ClusterError
from linksim.runner import work
from linksim.runner.board import Board, Failure, Progress
from linksim.runner.cell import Order
from linksim.runner.components import reason
from linksim.runner.early import EarlyPool
from linksim.runner.plan import Job, Plan
from linksim.runner.pool import Lost, Pool, Ticket

_TICK = 0.2  # seconds between looks at the workers
_DOUBT_SECONDS = (
    15.0  # after which a result that was lost is asked for again, its worker being alive
)
_START_SECONDS = 300.0  # for local workers to come up


def run_on_workers(
    board: Board,
    order: Order,
    workers: int,
    cluster: str | None,
    progress: Progress | None,
    early: EarlyPool | None = None,
) -> list[str]:
    """Compute what ``board`` wants.

    Args:    early: workers that are coming up already.
    Returns: notes for people.
    Raises:  ClusterError; what ``board`` raises.
    """
    plan = Plan(board)
    if plan.finished():
        return []
    if progress is not None:
        progress(board.settled, board.total, "starting workers")
    with Pool.open(workers, cluster) if early is None else early.take() as pool:
        return _Crew(board, order, plan, pool, progress).finish()


@dataclass
class _Crew:
    """Sends jobs to workers and takes their results."""

    board: Board
    order: Order
    plan: Plan
    pool: Pool
    progress: Progress | None
    notes: list[str] = field(default_factory=list)
    waiting: dict[Ticket, Job | str] = field(
        default_factory=dict
    )  # a job, or who is being prepared
    refused: dict[str, str] = field(default_factory=dict)  # workers that cannot serve, and why
    preparing: set[str] = field(default_factory=set)
    doubtful: dict[Ticket, float] = field(default_factory=dict)  # lost, and since when
    deaths: int = 0

    def finish(self) -> list[str]:
        """The whole run."""
        self.began = self.looked = time.monotonic()
        self._look()
        while not self.plan.finished():
            for ticket in self.pool.finished(_TICK):
                self._take(ticket)
            if time.monotonic() - self.looked >= _TICK:
                self._look()
            self._send()
            self._tell()
        if self.deaths:
            self.notes.append(
                f"worker processes died {self.deaths} times; they were replaced and their cells computed again"
            )
        return self.notes

    def _look(self) -> None:
        """See which workers have come and gone."""
        self.looked = time.monotonic()
        alive = self.pool.workers()
        for worker in [w for w in self.plan.jobs if w not in alive]:
            self._gone(worker)
        self.preparing &= alive.keys()
        for ticket, since in list(self.doubtful.items()):
            if ticket not in self.waiting:
                del self.doubtful[ticket]
            elif self.looked - since > _DOUBT_SECONDS:
                what = self.waiting.pop(ticket)
                if isinstance(what, str):
                    self.preparing.discard(what)
                elif what.worker in self.plan.jobs:
                    self._gone(what.worker)  # it is alive, and will be made ready anew
        for worker in alive.keys() - self.plan.jobs.keys() - self.preparing - self.refused.keys():
            threads = self.pool.threads or alive[worker]
            ticket = self.pool.submit(
                worker,
                work.prepare,
                self.pool.run,
                __version__,
                self.order,
                self.board.points,
                work.shared_settings(),
                threads,
            )
            self.waiting[ticket] = worker
            self.preparing.add(worker)
        serving = self.plan.jobs or self.preparing
        if not serving and self.refused and self.refused.keys() >= alive.keys():
            worker, why = next(iter(self.refused.items()))
            raise ClusterError(f"no worker can serve; {worker}: {why}")
        local = self.pool.threads is not None
        if not serving and local and self.looked - self.began > _START_SECONDS:
            raise ClusterError("no worker process has come up; run without --workers to see why")
        if self.plan.jobs:
            self.began = self.looked

    def _gone(self, worker: str) -> None:
        self.deaths += 1
        for title in self.plan.remove_worker(worker):
            note = f"worker {worker} died during {title}"
            if note not in self.notes:
                self.notes.append(note)
        for ticket in [t for t, j in self.waiting.items() if _whose(j) == worker]:
            del self.waiting[ticket]
            self.pool.drop(ticket)

    def _send(self) -> None:
        self.plan.turn_over()
        for worker in list(self.plan.jobs):
            while (job := self.plan.next_for(worker)) is not None:
                points = self.board.points
                cells = [
                    (p, self.board.cell(p, job.shard), self.board.scenario.in_grid(points[p]))
                    for p in job.points
                ]
                shard = self.board.shards[job.shard]
                ticket = self.pool.submit(
                    worker, work.work, self.pool.run, shard, cells, job.extractors
                )
                self.waiting[ticket] = job

    def _take(self, ticket: Ticket) -> None:
        what = self.waiting.pop(ticket, None)
        if what is None:
            return
        try:
            result = self.pool.result(ticket)
        except Lost:
            # Mostly its worker has ended, which will be noticed.
            self.waiting[ticket] = what
            self.doubtful[ticket] = time.monotonic()
            return
        except Exception as error:
            if isinstance(what, str):
                result = work.Hello(
                    0, f"{reason(error)}; is linksim {__version__} installed there?"
                )
            else:
                result = None
                self._fail(what, error)
                return
        finally:
            if ticket not in self.waiting:
                self.pool.drop(ticket)
        if isinstance(what, str):
            self._greet(what, result)
        elif result is None:  # another process behind the same address
            self._gone(what.worker)
        else:
            self._accept(what, result)

    def _greet(self, worker: str, hello: work.Hello) -> None:
        self.preparing.discard(worker)
        if hello.error is None:
            self.plan.add_worker(worker)
        else:
            self.refused[worker] = hello.error
            self.notes.append(f"worker {worker} is not used: {hello.error}")

    def _accept(self, job: Job, outcome: work.Outcome) -> None:
        for p, result in zip(job.points, outcome.cells, strict=True):
            if isinstance(result, work.Halt):
                raise result.kind(result.text)
            self.board.offer(p, job.shard, result)
        if outcome.references is not None:
            self.board.keep_references(job.shard, outcome.references)
        for needless in self.plan.done(job, outcome.seconds):
            for ticket in [t for t, j in self.waiting.items() if j is needless]:
                del self.waiting[ticket]
                self.pool.drop(ticket)
            self.plan.forget(needless)

    def _fail(self, job: Job, error: Exception) -> None:
        """The job itself went wrong outside of its cells (it could not be sent, or Dask gave it up)."""
        for p in job.points:
            self.board.offer(p, job.shard, Failure(reason(error)))
        if not job.points:
            raise error
        self.plan.done(job, 0.0)

    def _tell(self) -> None:
        if self.progress is None:
            return
        alive, wanted = len(self.plan.jobs), self.pool.wanted
        if not alive:
            text = "waiting for workers"
        else:
            text = (
                f"{alive} of {wanted} workers" if wanted and alive < wanted else f"{alive} workers"
            )
            text += f": {title}" if (title := self.plan.title()) else ""
        self.progress(self.board.settled, self.board.total, text)


def _whose(what: Job | str) -> str:
    return what if isinstance(what, str) else what.worker
