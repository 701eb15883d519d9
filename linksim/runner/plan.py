"""Who computes what next: hands the cells of a board to workers, and keeps account of those under way.

Knows nothing of processes or networks; workers are names. The rules:

- One worker *owns* a shard's cells of one source codec: it loads the images once, and while the first of those cells
  fills the ladders of their pictures nobody else begins another. Afterwards others may help.
- Only a window of shards is open, so that neither this account nor results that wait for their turn grow with the run.
- Cells that take little time go in one job, so that the way there and back does not count.
- With a stopping rule the cells that are certain to be needed go first.
- A worker that has nothing to do repeats what another has had for far too long; the first result counts.
- The cells of a job during which a worker died are tried again one by one, each alone on its worker, so that it is
  known which of them it was, and before anything else of their points; one that has ended MAX_DEATHS workers fails.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from linksim.runner.board import Board, Failure
from linksim.runner.deal import coding_of

MAX_DEATHS = 3
DEPTH = 2  # jobs a worker holds: one that it does, and one that waits so that it need not
JOB_SECONDS = 0.5
JOB_CELLS = 32
_PATIENCE = 2.0, 2.0  # a job is late after so many times what it should take, plus so many seconds
_FIRST_PATIENCE = 600.0  # seconds, where nobody knows what it should take


@dataclass(eq=False)
class Job:
    """Cells of one shard for one worker.

    Args:
      worker:     whose it is.
      shard:      number.
      points:     numbers; none for a job that brings the features of originals alone.
      extractors: whose features of the originals are to be brought.
      group:      what the cells have in common; None where they are on probation.
      alone:      no other job may be on the worker.
      first:      the first of its group, which fills ladders.
      copy_of:    the job that it repeats.
    """

    worker: str
    shard: int
    points: tuple[int, ...]
    extractors: tuple[str, ...] = ()
    group: str | None = None
    alone: bool = False
    first: bool = False
    copy_of: Job | None = None
    began: float = 0.0
    copied: bool = False


@dataclass
class _Group:
    """Cells of one shard that share source coding."""

    pending: deque[int] = field(default_factory=deque)
    owner: str | None = None
    warm: bool = False


class Plan:
    """Jobs for the cells that ``board`` wants. Args: clock: seconds."""

    def __init__(self, board: Board, clock: Callable[[], float] = time.monotonic) -> None:
        self.board, self.clock = board, clock
        self.jobs: dict[str, list[Job]] = {}  # worker -> under way, in their order
        self._keys = [coding_of(point) for point in board.points]
        self._open: dict[int, dict[str, _Group]] = {}  # shard -> groups
        self._unopened = deque(range(len(board.shards)))
        self._suspects: list[tuple[int, int]] = []  # cells to be tried alone: (point, shard)
        self._deaths: dict[tuple[int, int], int] = {}
        self._pace: dict[tuple[str | None, bool], float] = {}  # seconds of a cell
        self._asked: set[int] = set()  # shards whose references are under way
        self._references: deque[int] | None = None  # shards left at the end

    # ------------------------------------------------------------------------------------------------- workers

    def add_worker(self, worker: str) -> None:
        """A worker is ready."""
        self.jobs.setdefault(worker, [])

    def remove_worker(self, worker: str) -> list[str]:
        """A worker is gone: what it had is to be done by others. Returns: titles of the points it may have died of."""
        lost = self.jobs.pop(worker, [])
        for groups in self._open.values():
            for group in groups.values():
                if group.owner == worker:
                    group.owner = None
        suspected = []
        for number, job in enumerate(lost):
            self._asked.discard(job.shard)
            if job.copy_of is not None:
                job.copy_of.copied = False
            if not job.points and self._references is not None:
                self._references.appendleft(job.shard)
            for p in self._missing(job):
                if number == 0:
                    suspected.append(self.board.points[p].title)
                    self._suspect(p, job.shard, worker)
                else:
                    self._pend(p, job.shard)
        return suspected

    def _suspect(self, p: int, s: int, worker: str) -> None:
        deaths = self._deaths[p, s] = self._deaths.get((p, s), 0) + 1
        if deaths < MAX_DEATHS:
            self._suspects.append((p, s))
            return
        self.board.offer(
            p,
            s,
            Failure(
                f"the worker process died {deaths} times while it simulated the images from "
                f"{self.board.shards[s].keys[0]} on (last: {worker}); where it is memory, fewer workers or a smaller "
                "batch help"
            ),
        )

    def _missing(self, job: Job) -> list[int]:
        """Points of a lost job that nobody else has under way."""
        elsewhere = {
            (p, j.shard) for jobs in self.jobs.values() for j in jobs for p in j.points
        } | set(self._suspects)
        return [
            p
            for p in job.points
            if (p, job.shard) not in elsewhere and self.board.undecided(p, job.shard)
        ]

    def _pend(self, p: int, s: int) -> None:
        groups = self._open.setdefault(s, {})
        groups.setdefault(self._keys[p], _Group(warm=True)).pending.appendleft(p)

    # ---------------------------------------------------------------------------------------------------- jobs

    def finished(self) -> bool:
        """Whether nothing is left to do."""
        if self.board.settled < self.board.total:
            return False
        if self._references is None:
            numbers = range(len(self.board.shards)) if self.board.extractors else ()
            self._references = deque(
                s for s in numbers if self.board.uses(s) and self.board.lacks_references(s)
            )
        return not self._references and not any(
            not job.points for jobs in self.jobs.values() for job in jobs
        )

    def next_for(self, worker: str) -> Job | None:
        """A job for a worker, or None: it has enough, or there is nothing for it now."""
        mine = self.jobs[worker]
        if len(mine) >= DEPTH or any(job.alone or job.copied for job in mine):
            return None
        job = self._make(worker, idle=not mine)
        if job is not None:
            job.began = self.clock()
            mine.append(job)
        return job

    def _make(self, worker: str, idle: bool) -> Job | None:
        if self._references:
            s = self._references.popleft()
            return Job(worker, s, (), self.board.lacks_references(s))
        if idle and (suspect := self._next_suspect()) is not None:
            p, s = suspect
            return Job(worker, s, (p,), self._ask(s), alone=True)
        found = self._best(worker)
        if found is None:
            return self._copy(worker) if idle else None
        s, key, group = found
        first = not group.warm and not self._under_way(s, key)
        chosen = tuple(itertools.islice(self._wanted(group, s), self._size(key, first)))
        for p in chosen:
            group.pending.remove(p)
        if group.owner is None:
            group.owner = worker
        return Job(worker, s, chosen, self._ask(s), group=key, first=first)

    def _next_suspect(self) -> tuple[int, int] | None:
        """A cell on probation, the first of its point; a point has one at a time."""
        self._suspects = [c for c in self._suspects if self.board.undecided(*c)]
        tried = {job.points[0] for jobs in self.jobs.values() for job in jobs if job.alone}
        found = min(
            (c for c in self._suspects if c[0] not in tried), key=lambda c: c[1], default=None
        )
        if found is not None:
            self._suspects.remove(found)
        return found

    def _wanted(self, group: _Group, s: int) -> Iterator[int]:
        """Points of a group whose cells are to be computed; with a stopping rule those that are certain, if any are."""
        on_probation = {p for p, t in self._deaths if self.board.undecided(p, t)}
        points = (p for p in group.pending if p not in on_probation and self.board.undecided(p, s))
        if not self.board.adaptive:
            return points
        listed = list(points)
        return iter([p for p in listed if self.board.decided(p) == s] or listed)

    def _ask(self, s: int) -> tuple[str, ...]:
        """Extractors whose features of the originals the next job on a shard shall bring."""
        if not self.board.extractors or s in self._asked:
            return ()
        self._asked.add(s)
        return self.board.lacks_references(s)

    def _size(self, key: str, first: bool) -> int:
        """Cells of a job: about JOB_SECONDS, fewer when little is left to share."""
        pace = self._pace.get((key, False))
        if first or pace is None:
            return 1
        left = sum(len(g.pending) for groups in self._open.values() for g in groups.values())
        fair = math.ceil(left / (2 * max(len(self.jobs), 1)))
        return max(1, min(int(JOB_SECONDS / max(pace, 1e-4)), JOB_CELLS, fair))

    def _window(self) -> int:
        return 2 * len(self.jobs) + 2

    def turn_over(self) -> None:
        """Close shards that are done, open those that follow; to be called between results."""
        busy = {
            job.shard
            for jobs in self.jobs.values()
            for job in jobs
            if any(self.board.undecided(p, job.shard) for p in job.points)
        }
        for s in [s for s in self._open if s not in busy]:
            groups = self._open[s]
            for key in list(groups):
                groups[key].pending = deque(
                    p for p in groups[key].pending if self.board.undecided(p, s)
                )
            if not any(g.pending for g in groups.values()) and not any(
                t == s for _, t in self._suspects
            ):
                del self._open[s]
                self._asked.discard(s)
        while self._unopened and self.jobs:
            oldest = min(self._open, default=self._unopened[0])
            if self._unopened[0] >= oldest + self._window():
                return
            self._open_one(self._unopened.popleft())

    def _open_one(self, s: int) -> None:
        groups: dict[str, _Group] = {}
        done: set[str] = set()
        for p, key in enumerate(self._keys):
            if self.board.wants(p, s):
                groups.setdefault(key, _Group()).pending.append(p)
            elif self.board.decided(p) > s:
                done.add(key)
        for key in done & groups.keys():
            groups[key].warm = True
        if groups:
            self._open[s] = groups

    def _best(self, worker: str) -> tuple[int, str, _Group] | None:
        """The group that suits a worker best: certain to be needed, its own, of a shard it has loaded, of a new one."""
        mine = {s for s, gs in self._open.items() if any(g.owner == worker for g in gs.values())}
        best: tuple[tuple[bool, int, int], tuple[int, str, _Group]] | None = None
        for s, groups in self._open.items():
            taken = any(group.owner is not None for group in groups.values())
            for key, group in groups.items():
                if not (group.warm or group.owner in (None, worker)):
                    continue
                head = next(self._wanted(group, s), None)
                if head is None:
                    continue
                if group.owner == worker:
                    distance = 0
                elif group.owner is None:
                    distance = 1 if s in mine else 3 if taken else 2
                else:
                    distance = 4
                late = self.board.adaptive and self.board.decided(head) != s
                rank = (late, distance, s)
                if best is None or rank < best[0]:
                    best = rank, (s, key, group)
        return None if best is None else best[1]

    def _under_way(self, s: int, key: str) -> bool:
        """Whether cells of a group are being computed."""
        return any(j.shard == s and j.group == key for jobs in self.jobs.values() for j in jobs)

    def _copy(self, worker: str) -> Job | None:
        """What another worker has had for too long."""
        now = self.clock()
        for jobs in self.jobs.values():
            should = 0.0
            for job in jobs:
                should += self._expected(job)
                points = tuple(p for p in job.points if self.board.undecided(p, job.shard))
                if job.worker == worker or job.copied or job.alone or not points:
                    continue
                times, more = _PATIENCE
                if now - job.began > times * should + more:
                    job.copied = True
                    missing = self.board.lacks_references(job.shard) if job.extractors else ()
                    return Job(
                        worker, job.shard, points, missing, job.group, first=job.first, copy_of=job
                    )
        return None

    def _expected(self, job: Job) -> float:
        pace = self._pace.get((job.group, job.first))
        return _FIRST_PATIENCE if pace is None else pace * max(len(job.points), 1)

    # ------------------------------------------------------------------------------------------------- results

    def done(self, job: Job, seconds: float) -> list[Job]:
        """A job has come back. Returns: jobs that need not be done any more and wait behind others."""
        mine = self.jobs.get(job.worker, [])
        if job in mine:
            mine.remove(job)
        if job.points:
            pace = seconds / len(job.points)
            key = job.group, job.first
            self._pace[key] = 0.7 * self._pace.get(key, pace) + 0.3 * pace
        if job.group is not None:
            group = self._open.get(job.shard, {}).get(job.group)
            if group is not None:
                group.warm = True
        return [
            other
            for jobs in self.jobs.values()
            for other in jobs[1:]
            if other.points and not any(self.board.undecided(p, other.shard) for p in other.points)
        ]

    def forget(self, job: Job) -> None:
        """A job was taken back before it began; what is still wanted of it goes to others."""
        mine = self.jobs.get(job.worker, [])
        if job in mine:
            mine.remove(job)
        self._asked.discard(job.shard)
        for p in self._missing(job):
            self._pend(p, job.shard)

    def under_way(self) -> Iterator[Job]:
        """Jobs, those begun first."""
        return itertools.chain.from_iterable(self.jobs.values())

    def title(self) -> str:
        """What is under way, for people."""
        job = next((j for jobs in self.jobs.values() for j in jobs if j.points), None)
        return self.board.points[job.points[0]].title if job is not None else ""
