"""Dealing the cells of a run over machines that know nothing of each other: ``linksim run --part 3/10``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from linksim.errors import RunStateError
from linksim.scenario import Point


@dataclass(frozen=True)
class Share:
    """One machine's part of a run; all parts are the whole of it, and no cell is in two.

    Cells are dealt in units, in turn, by the scenario alone: every machine comes to the same deal. A unit is one shard
    of images with all points of one source codec, so that no picture is coded on two machines; codec after codec is
    dealt, so that all machines get as much of each. With a stopping rule a unit is one point with all its shards, since
    the rule looks at them in their order.

    Args:
      number: which, from 1.
      of:     how many there are.
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            raise RunStateError(
                f"--part must be K/N with 1 <= K <= N, such as 3/10, got {self.number}/{self.of}"
            )

    @classmethod
    def parse(cls, text: str) -> Share:
        """Of "3/10". Raises RunStateError."""
        found = re.fullmatch(r"\s*(\d{1,9})\s*/\s*(\d{1,9})\s*", text)
        if found is None:
            raise RunStateError(f"--part must be K/N, such as 3/10, got {text!r}")
        return cls(int(found[1]), int(found[2]))

    def deal(
        self, points: Sequence[Point], num_shards: int, adaptive: bool
    ) -> Callable[[int, int], bool]:
        """Which cells are this part's.

        Args:    adaptive: whether there is a stopping rule.
        Returns: (point, shard) -> bool.
        Raises:  RunStateError: if there are fewer units than parts.
        """
        coding = [coding_of(point) for point in points]
        groups = {key: i for i, key in enumerate(dict.fromkeys(coding))}
        units = len(points) if adaptive else num_shards * len(groups)
        if units < self.of:
            what = "points" if adaptive else "shards x codecs"
            raise RunStateError(
                f"--part {self.number}/{self.of}: the run has only {units} {what} to deal; take at most {units} parts"
                + ("" if adaptive else ", or a smaller batch")
            )

        def mine(p: int, s: int) -> bool:
            unit = p if adaptive else groups[coding[p]] * num_shards + s
            return unit % self.of == self.number - 1

        return mine


def coding_of(point: Point) -> str:
    """What points share whose source coding is the same."""
    spec = point.system_spec
    return json.dumps(spec.get("codec", spec), sort_keys=True, default=str)
