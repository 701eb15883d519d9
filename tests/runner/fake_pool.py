"""Workers without processes: every job runs here, in an order and with accidents that a seed decides."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

from linksim.runner import work
from linksim.runner.pool import Lost


class FakePool:
    """Stands in for linksim.runner.pool.Pool.

    Args:
      seed:    of the order in which workers come back.
      count:   workers.
      deaths:  how many workers die at random moments; each is replaced.
      killers: titles of points whose cells end their worker whenever they run.
      slow:    names of workers that never come back with their first cell.
      lost:    how many results do not arrive though their workers live.
    """

    threads, wanted = 1, None

    def __init__(self, seed=0, count=3, deaths=0, killers=(), slow=(), lost=0) -> None:
        self.rng = random.Random(seed)
        self.run = f"fake-{seed}"
        self.alive = {f"w{i}": 1 for i in range(count)}
        self.born = count
        self.lost = lost
        self.deaths, self.killers, self.slow = deaths, set(killers), set(slow)
        self.queues: dict[str, list[tuple[int, Any, tuple]]] = defaultdict(list)
        self.results: dict[int, Any] = {}
        self.tickets = 0
        self.most = 0  # jobs that any worker had at a time
        self.ran: list[tuple[str, int, tuple[int, ...]]] = []  # worker, shard, points
        self.on_run = None

    def workers(self) -> dict[str, int]:
        return dict(self.alive)

    def submit(self, worker, function, *arguments) -> int:
        self.tickets += 1
        self.queues[worker].append((self.tickets, function, arguments))
        self.most = max(self.most, len(self.queues[worker]))
        return self.tickets

    def everywhere(self, function, *arguments) -> None:
        """Nothing to load: cells run in this process."""

    def finished(self, _seconds) -> list[int]:
        busy = [w for w in self.alive if self.queues[w] and not self._stuck(w)]
        if not busy:
            return []
        worker = self.rng.choice(busy)
        if self.deaths and self.rng.random() < 0.1:
            self.deaths -= 1
            self.die(worker)
            return []
        ticket, function, arguments = self.queues[worker].pop(0)
        if function is work.work:
            _, shard, cells, _ = arguments
            if any(cell[0] in self.killers for cell in cells):
                self.die(worker)
                return []
            self.ran.append((worker, shard.index, tuple(cell[0] for cell in cells)))
        result = function(*arguments)
        if self.lost and self.rng.random() < 0.2:
            self.lost -= 1
        else:
            self.results[ticket] = result
        return [ticket]

    def _stuck(self, worker) -> bool:
        return worker in self.slow and self.queues[worker][0][1] is work.work

    def die(self, worker) -> None:
        del self.alive[worker]
        self.queues.pop(worker, None)
        self.alive[f"w{self.born}"] = 1
        self.born += 1

    def result(self, ticket) -> Any:
        if ticket not in self.results:
            raise Lost("gone")
        return self.results.pop(ticket)

    def drop(self, ticket) -> None:
        for queue in self.queues.values():
            queue[:] = [entry for entry in queue if entry[0] != ticket]

    def __enter__(self):
        return self

    def __exit__(self, *_) -> None:
        pass
