"""From the tidy table to curves in panels, before anything is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from linksim.figure.style import Style, styles, variant
from linksim.results.axes import Sweep, say

if TYPE_CHECKING:
    import pandas as pd


MAX_BUDGETS = 4  # panels beside each other


@dataclass(frozen=True)
class Panel:
    """One pair of axes. Args: title: what holds in it. rows: its part of the table."""

    title: str
    rows: pd.DataFrame


@dataclass(frozen=True)
class Curve:
    """One line. Args: label, style. rows: its points, by rising x."""

    label: str
    style: Style
    rows: pd.DataFrame


def panels(table: pd.DataFrame, sweep: Sweep) -> list[list[Panel]]:
    """Panels as rows (places) of columns (budgets, at most MAX_BUDGETS of them)."""
    places = _values(table, sweep.place)
    budgets = spread(_values(table, sweep.budget), MAX_BUDGETS)
    grid = []
    for place in places:
        line = []
        for budget in budgets:
            rows = table
            if sweep.place is not None:
                rows = rows[rows[sweep.place] == place]
            if sweep.budget is not None:
                rows = rows[rows[sweep.budget] == budget]
            line.append(Panel(_title(rows, sweep), rows))
        grid.append(line)
    return grid


def curves(
    rows: pd.DataFrame, x: str, others: Sequence[str], all_labels: Sequence[str]
) -> list[Curve]:
    """The curves of a panel, one per system and per value of the other axes.

    Args: all_labels: the systems of the whole run, so that a system looks the same in all of its figures.
    """
    looks = styles(list(dict.fromkeys(all_labels)))
    found: list[Curve] = []
    for system, own in rows.groupby("system", sort=False):
        split = [a for a in others if a in own.columns and own[a].nunique() > 1]
        if not split:
            found.append(Curve(str(system), looks[str(system)], own.sort_values(x)))
            continue
        for i, (values, part) in enumerate(own.groupby(split, dropna=False)):
            extra = ", ".join(
                text for a, v in zip(split, values, strict=True) if (text := say(a, v))
            )
            label = f"{system} ({extra})" if extra else str(system)
            found.append(Curve(label, variant(looks[str(system)], i), part.sort_values(x)))
    return found


def spread(values: Sequence[Any], most: int) -> list[Any]:
    """At most ``most`` of the values, evenly from end to end."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def _values(table: pd.DataFrame, axis: str | None) -> list[Any]:
    if axis is None:
        return [None]
    values = list(table[axis].dropna().unique())
    return sorted(values) if axis.endswith("_target") else values


def _title(rows: pd.DataFrame, sweep: Sweep) -> str:
    """What is the same for all points of a panel: place, then budget, swept or not."""
    parts = []
    for axis in ("channel", "erasure", "cbr_target", "bpp_target"):
        if axis in rows.columns and axis != sweep.x and rows[axis].nunique() == 1:
            parts.append(say(axis, rows[axis].dropna().iloc[0]))
    return ", ".join(parts)
