"""Figures. The only room that imports matplotlib, and only when something is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from linksim.results import RunFolder, Sweep


def plot_run(folder: str | Path, plane: tuple[str, str] | None = None) -> list[Path]:
    """Draw everything that applies to a run, as PNG and SVG in its ``figures`` folder.

    For each kind of link: every metric against the swept axis, the failure rate where images failed, every metric
    against the rate where budgets are swept, where the channel uses went, and a grid of the reconstructions kept.

    Args:    plane: two metrics: draw the second against the first, and nothing else.
    Returns: the files written, PNG before SVG.
    Raises:  RunStateError: if there is no run, the run lacks a metric of ``plane``, or the figures cannot be written.
    """
    from linksim.figure.page import save
    from linksim.figure.plane import plane_figure
    from linksim.results import RunFolder, sweep_of, table
    from linksim.results.axes import with_offset
    from linksim.results.table import axes_of

    run = RunFolder(folder)
    tidy = table(run)
    target = run.path / "figures"
    paths: list[Path] = []
    for link, part in tidy.groupby("link", sort=False):
        rows = with_offset(part.dropna(axis="columns", how="all"))
        for column in set(part.columns) - set(rows.columns):
            if column in ("channel", "value", "ci_low", "ci_high", "cbr", "bpp"):
                rows = rows.assign(**{str(column): part[column]})
        sweep = sweep_of(rows, axes_of(rows))
        if plane is not None:
            name = "-against-".join(plane[::-1]) + ("" if link == "phy" else f"-{link}")
            paths += save(plane_figure(rows, sweep, plane, run.manifest), target, name)
            continue
        for name, figure in _figures(run, str(link), rows, sweep):
            paths += save(figure, target, name)
    return paths


def _figures(
    run: RunFolder, link: str, rows: pd.DataFrame, sweep: Sweep
) -> Iterator[tuple[str, Any]]:
    """(file name, figure) of one kind of link."""
    from linksim.figure.curves import panels
    from linksim.figure.grid import grid_figure, items
    from linksim.figure.ledger import ledger_figure
    from linksim.figure.rd import rate_figure
    from linksim.figure.sweep import failure_figure, sweep_figure
    from linksim.results.describe import PSNR_OF_MEAN_MSE

    suffix = "" if link == "phy" else f"-{link}"
    groups = rows.groupby("metric", sort=False)
    drawn = [str(m) for m, own in groups if own["value"].notna().any() and m != PSNR_OF_MEAN_MSE]
    if sweep.x is not None:
        for metric in drawn:
            yield f"{metric}{suffix}", sweep_figure(rows, sweep, metric, run.manifest)
        if (rows["num_failed"] > 0).any():
            yield f"failures{suffix}", failure_figure(rows, sweep, run.manifest)
    if sweep.budget is not None:
        for metric in drawn:
            yield f"{metric}-rate{suffix}", rate_figure(rows, sweep, metric, run.manifest)
    bars = ledger_figure(_ledger(run, rows), link, run.manifest)
    if bars is not None:
        yield f"ledger{suffix}", bars
    if sweep.x is None:
        return
    for item in items(run):
        for line in panels(rows.drop_duplicates("point"), sweep):
            for panel in line:
                grid = grid_figure(run, panel.rows, sweep, item, panel.title)
                if grid is not None:
                    yield f"grid{suffix}-{item}{_slug(panel.title)}", grid


def _ledger(run: RunFolder, rows: pd.DataFrame) -> pd.DataFrame:
    """Mean ledger [systems x entries] over the points of a link."""
    import pandas as pd

    from linksim.figure.ledger import COLORS

    columns = [f"ledger_{name}" for name in COLORS]
    found = []
    for system, points in rows.drop_duplicates("point").groupby("system", sort=False):
        means = [
            run.frame(point, columns).mean() for point in points[points["num_frames"] > 0]["point"]
        ]
        if means:
            found.append(pd.DataFrame(means).mean().rename(str(system)))
    frame = pd.DataFrame(found).fillna(0.0)
    return frame.rename(columns=lambda c: c.removeprefix("ledger_"))


def _slug(text: str) -> str:
    """A panel's title as the end of a file name."""
    words = "".join(c if c.isalnum() or c == "." else " " for c in text).split()
    return "".join(f"-{word}" for word in words).lower()
