"""The table as CSV, JSON and text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from linksim.atomic import write_atomically
from linksim.results.axes import LABELS, Sweep, sweep_of, with_offset
from linksim.results.describe import describe
from linksim.results.folder import RunFolder
from linksim.results.manifest import guarded
from linksim.results.table import axes_of, failure_policy, table

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Group
    from rich.table import Table

_DIGITS = {"value": 6, "ci_low": 6, "ci_high": 6, "papr_db": 4}
_DIGITS |= dict.fromkeys(("cbr", "cbr_p95", "cbr_payload", "bpp"), 5)  # significant ones
_MISSING = "-"


def to_csv(tidy: pd.DataFrame) -> str:
    """CSV text; null is an empty field."""
    return _rounded(tidy).to_csv(index=False, lineterminator="\n")


def to_json(tidy: pd.DataFrame) -> str:
    """A JSON list with one object per row; null where there is no value, "inf" for an infinite one."""
    rows = [
        {str(k): _json_value(v) for k, v in row.items()}
        for row in _rounded(tidy).to_dict("records")
    ]
    return json.dumps(rows, indent=1, allow_nan=False)


def save_csv(folder: RunFolder | str | Path, tidy: pd.DataFrame | None = None) -> Path:
    """Write the folder's table.csv. Returns: its path. Raises RunStateError: if it cannot be written."""
    run = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    path = run.path / "table.csv"
    data = to_csv(table(run) if tidy is None else tidy).encode()
    with guarded(run.path, "write table.csv to"):
        write_atomically(path, data)
    return path


def to_text(folder: RunFolder | str | Path, *, width: int = 100, color: bool = False) -> str:
    """:func:`table_for_people` as text of ``width`` columns."""
    from io import StringIO

    from rich.console import Console

    buffer = StringIO()
    console = Console(file=buffer, width=width, force_terminal=color, no_color=not color)
    console.print(table_for_people(folder))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


def table_for_people(
    folder: RunFolder | str | Path,
    metrics: Sequence[str] = ("psnr",),
    *,
    tidy: pd.DataFrame | None = None,
    columns: int = 8,
) -> Group:
    """Compact tables for a terminal: a row per system, channel and budget, the swept axis along the columns.

    Args:
      metrics: one table each, and one of the failures where there were any; those the run has not are left out, and if
               it has none of them its first metric is shown.
      tidy:    the run's table, if it is at hand.
      columns: at most so many values of the swept axis beside each other.
    """
    from rich.console import Group
    from rich.text import Text

    run = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    tidy = table(run) if tidy is None else tidy
    present = list(dict.fromkeys(tidy["metric"]))
    shown = [m for m in metrics if m in present] or present[:1]
    parts: list[Any] = []
    for link, rows in tidy.groupby("link", sort=False):
        rows = with_offset(rows.dropna(axis="columns", how="all"))
        sweep = sweep_of(rows, axes_of(rows))
        for metric in shown:
            info = describe(metric)
            title = f"{info.label} ({link} link{', ' + info.hint if info.hint else ''})"
            chosen = rows[rows["metric"] == metric]
            parts += _tables(chosen, sweep, title, "value", columns)
        if (rows["num_failed"] > 0).any():
            chosen = rows[rows["metric"] == shown[0]]
            title = f"failed images [%] ({link} link; policy: {failure_policy(run.manifest)})"
            parts += _tables(chosen, sweep, title, "failures", columns)
    parts += [Text(f"note: {line}", style="yellow") for line in _notes(tidy, run)]
    return Group(*parts)


def _tables(
    rows: pd.DataFrame, sweep: Sweep, title: str, what: str, columns: int
) -> Iterator[Table]:
    """Tables of at most ``columns`` values of the swept axis each."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    keys = [a for a in (sweep.place, sweep.budget, "system", *sweep.others) if a is not None]
    values = sorted(rows[sweep.x].dropna().unique()) if sweep.x else [None]
    groups = [group for group, _ in rows.groupby(keys, sort=False, dropna=False)]
    groups.sort(key=lambda group: [str(v) for v in group[: keys.index("system")]])
    lines = {g: r for g, r in rows.groupby(keys, sort=False, dropna=False)}
    if sweep.x and what == "value":
        title += f" against {LABELS.get(sweep.x, sweep.x)}"
    for start in range(0, len(values), columns):
        part = values[start : start + columns]
        grid = Table(title=Text(title), title_justify="left", title_style="bold", box=box.SIMPLE)
        for key in keys:
            grid.add_column(Text("CBR" if key == "cbr_target" else key.removesuffix("_target")))
        for value in part:
            grid.add_column("" if value is None else f"{value:g}", justify="right", no_wrap=True)
        before = None
        for group in groups:
            place = group[: keys.index("system")]
            if before is not None and place != before:
                grid.add_section()
            before = place
            cells = [_cell(lines[group], sweep.x, value, what) for value in part]
            names = [Text(_label(k, v)) for k, v in zip(keys, group, strict=True)]
            grid.add_row(*names, *cells)
        yield grid


def _label(key: str, value: Any) -> str:
    if value is None or value != value:
        return _MISSING
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _cell(rows: pd.DataFrame, x: str | None, value: Any, what: str) -> str:
    here = rows if x is None else rows[rows[x] == value]
    if here.empty:
        return _MISSING
    row = here.iloc[0]
    if what == "failures":
        if not row["num_frames"]:
            return _MISSING
        return f"{100 * row['num_failed'] / row['num_frames']:.0f}"
    return _short(row.get("value", math.nan))  # no column where every point failed


def _short(value: float) -> str:
    """Four significant digits at most, two decimals at most for large numbers."""
    if math.isnan(value):
        return _MISSING
    return f"{value:.2f}" if abs(value) >= 10 else f"{value:.3f}"


def _notes(tidy: pd.DataFrame, run: RunFolder) -> list[str]:
    """Why values are null, once each, and what storage had to say."""
    lines = []
    null = tidy[tidy["value"].isna() & tidy["reason"].notna()]
    for (metric, reason), rows in null.groupby(["metric", "reason"], sort=False):
        every = len(rows) == int((tidy["metric"] == metric).sum())
        where = "" if every else f" at {len(rows)} points"
        lines.append(f"{metric} is null{where}: {reason}")
    return lines + list(run.notes)


def _rounded(tidy: pd.DataFrame) -> pd.DataFrame:
    digits = {c: n for c, n in _DIGITS.items() if c in tidy.columns}
    return tidy.assign(**{c: [_significant(v, n) for v in tidy[c]] for c, n in digits.items()})


def _significant(value: float, digits: int) -> float:
    return value if not math.isfinite(value) else float(f"{value:.{digits}g}")


def _json_value(value: Any) -> Any:
    import pandas as pd

    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and math.isinf(value):
        return str(value)
    return value.item() if hasattr(value, "item") else value
