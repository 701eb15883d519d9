"""What of a run is decided, what is not, and the one way in which results reach the disk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from linksim.results import RunFolder
from linksim.runner.cell import CellResult, cell_id
from linksim.runner.images import Shard
from linksim.runner.stopping import Tally, needs
from linksim.scenario import Point, Scenario


@dataclass(frozen=True)
class Failure:
    """A cell that could not be simulated. Args: reason: one line."""

    reason: str


class Progress(Protocol):
    """Told (cells done, cells in all, what is under way)."""

    def __call__(self, done: int, total: int, text: str, /) -> None: ...


class Board:
    """The cells of a run, point by point in the order of the shards.

    A result that comes before its turn waits here; it is written when everything before it has been. So the rows of a
    point on disk are always its first shards, and its stopping rule and its errors are met in their order.

    Args:
      points:     those that can be run.
      shards:     of the source.
      names:      of the metrics, for the cells' ids.
      extractors: whose features of the originals are kept.
      folder:     open for writing.
      mine:       whether (point, shard) is to be looked at at all; the others are another machine's.
    """

    def __init__(
        self,
        scenario: Scenario,
        points: Sequence[Point],
        shards: Sequence[Shard],
        names: list[str],
        extractors: Sequence[str],
        folder: RunFolder,
        mine: Callable[[int, int], bool] = lambda p, s: True,
    ) -> None:
        self._mine = mine
        self.scenario, self.points, self.shards = scenario, points, shards
        self.names, self.extractors, self.folder = names, tuple(extractors), folder
        self.on_disk = folder.done()
        self.broken: dict[int, str] = {}  # point -> why
        self.num_computed = 0
        self.settled = 0  # cells that need no work any more
        self._stopped: set[int] = set()
        self._next = [0] * len(points)  # first shard that is not decided
        self._held: dict[tuple[int, int], CellResult | Failure] = {}
        self._columns = needs(scenario.stop)
        exclude = scenario.failure == "exclude"
        self._tallies = [Tally(scenario.stop, exclude) for _ in points] if self._columns else []
        self._total = sum(self._left(p, 0) for p in range(len(points)))
        for p in range(len(points)):
            self._advance(p)

    @property
    def total(self) -> int:
        """Cells of the run, or of this machine's part of it."""
        return self._total

    def _left(self, p: int, start: int) -> int:
        """A point's cells from a shard on."""
        return sum(self._mine(p, s) for s in range(start, len(self.shards)))

    @property
    def adaptive(self) -> bool:
        """Whether there is a stopping rule."""
        return bool(self._columns)

    def cell(self, p: int, s: int) -> str:
        """Id of the cell of point p and shard s."""
        return cell_id(self.points[p], self.shards[s], self.scenario, self.names)

    def is_open(self, p: int) -> bool:
        """Whether point p goes on."""
        return p not in self.broken and p not in self._stopped and self._next[p] < len(self.shards)

    def decided(self, p: int) -> int:
        """How many of a point's shards are decided; the next one is certain to be needed while it is open."""
        return self._next[p]

    def wants(self, p: int, s: int) -> bool:
        """Whether the cell has to be computed, as far as is known."""
        return self.undecided(p, s) and self.cell(p, s) not in self.on_disk

    def undecided(self, p: int, s: int) -> bool:
        """The same of a cell that is known not to be on disk; it costs nothing to ask."""
        return (
            self._next[p] <= s and (p, s) not in self._held and self._mine(p, s) and self.is_open(p)
        )

    def lacks_references(self, s: int) -> tuple[str, ...]:
        """Extractors whose features of the shard's originals are not on disk."""
        index = self.shards[s].index
        return tuple(e for e in self.extractors if not self.folder.has_reference(e, index))

    def uses(self, s: int) -> bool:
        """Whether some point has rows of the shard already."""
        return any(decided > s and self._mine(p, s) for p, decided in enumerate(self._next))

    def offer(self, p: int, s: int, result: CellResult | Failure) -> None:
        """A cell is done. Raises RunStateError: if it cannot be written."""
        if not self.undecided(p, s):
            return  # a second copy, or beyond the end of its point
        self._held[p, s] = result
        self._advance(p)

    def keep_references(self, s: int, result: CellResult) -> None:
        """Write the features of a shard's originals."""
        for extractor, values in result.references.items():
            if not self.folder.has_reference(extractor, self.shards[s].index):
                self.folder.write_reference(extractor, self.shards[s].index, values)

    def _advance(self, p: int) -> None:
        """Decide the shards of a point as far as results go."""
        while self.is_open(p):
            s = self._next[p]
            if not self._mine(p, s):
                self._next[p] += 1
                continue
            result = self._held.pop((p, s), None)
            if result is None:
                cell = self.cell(p, s)
                if cell not in self.on_disk:
                    return
                if self._tallies:
                    self._tallies[p].add(self.folder.columns(cell, self._columns))
            elif isinstance(result, Failure):
                self.broken[p] = result.reason
                self._close(p)
                return
            else:
                self._write(self.cell(p, s), s, result)
                if self._tallies:
                    rows = result.rows
                    self._tallies[p].add({c: [r.get(c) for r in rows] for c in self._columns})
            self._next[p] += 1
            self.settled += 1
            if self._tallies and self._next[p] < len(self.shards) and self._tallies[p].enough():
                self._stopped.add(p)
                self._close(p)

    def _close(self, p: int) -> None:
        """Nothing of the point is wanted any more."""
        self.settled += self._left(p, self._next[p])
        for key in [key for key in self._held if key[0] == p]:
            del self._held[key]

    def _write(self, cell: str, s: int, result: CellResult) -> None:
        self.keep_references(s, result)
        for (point, item), png in result.pictures.items():
            self.folder.write_png(point, item, png)
        self.folder.write(cell, result.rows, result.features)
        self.num_computed += 1
