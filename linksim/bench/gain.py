"""``python -m linksim.bench.gain RUN [--metric psnr] [--system A] [--against B]``: one system's gain over another.

The mean of A - B over the same images and realisations at every budget, with its paired bootstrap interval, and what
either used of the budget: a system with nothing more to send uses less. ``--equal-rate`` compares at the rate that A
used instead: B is interpolated, frame by frame, between its own budgets.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from linksim.bench.answer import answer

RATES = ("bpp", "cbr")
TARGETS = ("bpp_target", "cbr_target")
AXES = ("bpp_target", "cbr_target", "es_n0_db", "erasure_rate", "channel", "erasure")


def frames(folder: Path, systems: Sequence[str], columns: Sequence[str]) -> tuple[list[str], list]:
    """Rows of some systems of a run.

    Returns: the axes that the run has; per system a table with these axes, image, realisation and ``columns``.
    Raises:  LinksimError: no run; ValueError: no such system in it.
    """
    import pandas as pd

    from linksim.results import RunFolder, table

    run = RunFolder(folder)
    points = table(run).drop_duplicates("point")
    axes = [a for a in AXES if a in points.columns and points[a].notna().any()]
    found: list[pd.DataFrame] = []
    for label in systems:
        mine = points[points["system"] == label]
        if mine.empty:
            raise ValueError(
                f"{folder} has no system {label!r}, only {sorted(set(points['system']))}"
            )
        parts = []
        for _, point in mine.iterrows():
            frame = run.frame(point["point"], ["image", "realisation", *columns])
            parts.append(frame.assign(**{a: point[a] for a in axes}))
        found.append(pd.concat(parts))
    return axes, found


def gains(
    folder: Path, metric: str, system: str, against: str, equal_rate: bool = False
) -> list[dict[str, Any]]:
    """A row for every combination of the axes that both systems have.

    Args:   equal_rate: ``against`` is interpolated to the rate that ``system`` used; beyond its own rates it stays what
            it is at the nearest.
    Raises: LinksimError: no run; ValueError: no such system or metric in it.
    """
    import numpy as np

    from linksim.metric.interval import paired_difference

    column = f"metric_{metric}"
    axes, sides = frames(folder, (system, against), (column, *RATES))
    keys = [*axes, "image", "realisation"]
    both = sides[0].merge(sides[1], on=keys, suffixes=("_a", "_b"))
    if equal_rate:
        _interpolate(both, sides[1], keys, column)
    rows = []
    for values, part in both.groupby(axes, dropna=False):
        found = paired_difference(
            part[f"{column}_a"].to_numpy(float),
            part[f"{column}_b"].to_numpy(float),
            part["image"].to_numpy(),
        )
        named = {
            a: v.item() if isinstance(v, np.generic) else v
            for a, v in zip(axes, values, strict=True)
        }
        rows.append(
            {
                **named,
                "frames": len(part),
                "gain": found.value,
                "low": found.low,
                "high": found.high,
                **_used(part),
            }
        )
    return rows


def _interpolate(both: Any, against: Any, keys: Sequence[str], column: str) -> None:
    """Put ``against`` at the rates of the other system. In place; pictures without a rate or a value stay."""
    import numpy as np

    own = [key for key in keys if key not in TARGETS]
    rate = next(r for r in RATES if both[f"{r}_a"].notna().any())
    curves = {
        name: part.dropna(subset=[rate, column]).sort_values(rate)
        for name, part in against.groupby(own, dropna=False)
    }
    for row in both.index[both[f"{rate}_a"].notna()]:
        curve = curves[tuple(both.loc[row, own])]
        if len(curve):
            wanted = both.loc[row, f"{rate}_a"]
            value = np.interp(wanted, curve[rate], curve[column])
            used = float(np.clip(wanted, curve[rate].min(), curve[rate].max()))
            both.loc[row, [f"{column}_b", f"{rate}_b"]] = value, used


def _used(part: Any) -> dict[str, float]:
    """Mean bpp or cbr of both systems, whichever the link has."""
    return {
        f"{rate}{name}": float(part[f"{rate}_{side}"].mean())
        for rate in RATES
        for side, name in (("a", ""), ("b", "_against"))
        if part[f"{rate}_{side}"].notna().any()
    }


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m linksim.bench.gain", description=__doc__)
    parser.add_argument("run", type=Path, help="results folder")
    parser.add_argument("--metric", default="psnr")
    parser.add_argument("--system", default="Distributed")
    parser.add_argument("--against", default="Separate")
    parser.add_argument("--equal-rate", action="store_true", help="at the rate that A used")
    given = parser.parse_args(arguments)
    return answer(
        lambda: gains(given.run, given.metric, given.system, given.against, given.equal_rate),
        ValueError,
        KeyError,
    )


if __name__ == "__main__":
    sys.exit(main())
