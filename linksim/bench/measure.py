"""Times of several ways to do one thing, in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

Clock = Callable[[], float]


def interleaved(
    stages: Mapping[str, Callable[[], Any]],
    rounds: int,
    *,
    clock: Clock = time.process_time,
    least: float = 0.05,
) -> dict[str, float]:
    """Seconds of each stage: after a warm-up all take turns, ``rounds`` times; medians.

    Args:
      clock: CPU seconds by default: they count the same on a machine that others use too.
      least: seconds that a stage is repeated for in its turn; the clock's grain must not show.
    """
    seconds: dict[str, list[float]] = {name: [] for name in stages}
    for stage in stages.values():
        stage()
    for _ in range(rounds):
        for name, stage in stages.items():
            calls, start = 0, clock()
            while not calls or clock() - start < least:
                stage()
                calls += 1
            seconds[name].append((clock() - start) / calls)
    return {name: statistics.median(taken) for name, taken in seconds.items()}


def row(
    what: str,
    unit: str,
    ours: float,
    reference: str | None = None,
    theirs: float | None = None,
    *,
    lower_is_better: bool = False,
    **more: Any,
) -> dict[str, Any]:
    """One line of a report; ``ratio`` says how many times better ours is."""
    ratio = None
    if theirs is not None and ours > 0 and theirs > 0:
        ratio = theirs / ours if lower_is_better else ours / theirs
    return {
        "what": what,
        "unit": unit,
        "ours": _short(ours),
        "reference": reference,
        "theirs": _short(theirs),
        "ratio": _short(ratio),
        **more,
    }


def rates(
    what: str,
    unit: str,
    amount: float,
    seconds: Mapping[str, float],
    ours: str = "linksim",
    **more: Any,
) -> list[dict[str, Any]]:
    """A row for each reference of one measurement. Args: amount: of ``unit`` seconds that a call of each stage does."""
    return [
        row(what, unit, amount / seconds[ours], name, amount / taken, **more)
        for name, taken in seconds.items()
        if name != ours
    ]


def _short(value: float | None) -> float | None:
    """Four significant digits."""
    return None if value is None else float(f"{value:.4g}")
