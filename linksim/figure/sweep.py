"""Metric and failure rate against the swept axis: panels by channel and budget, one curve a system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.figure.curves import MAX_BUDGETS, Panel, curves, panels
from linksim.figure.draw import (
    HOLLOW_ABOVE,
    draw_curve,
    draw_failures,
    failure_rate,
    legend_line,
)
from linksim.figure.page import caption, finish_page, new_page
from linksim.figure.published import draw_published, published_note
from linksim.figure.style import house_style
from linksim.results.axes import LABELS, Sweep
from linksim.results.describe import MetricInfo, describe

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LOGARITHMIC = ("mse",)  # metrics that span decades
_LOG_FROM = 500  # frames a point, from which small failure rates are worth a logarithmic axis


def sweep_figure(
    table: pd.DataFrame, sweep: Sweep, metric: str, manifest: dict[str, Any]
) -> Figure:
    """One metric of one kind of link.

    Args:
      table: tidy table of that link, all metrics.
      sweep: its layout; ``sweep.x`` is not None.
    """
    assert sweep.x is not None
    info = describe(metric)
    rows = table[table["metric"] == metric]
    grid = _laid_out(panels(rows, sweep), manifest)
    entries: dict[str, Any] = {}
    with house_style():
        figure, axes = new_page(len(grid), len(grid[0]), panel_height(table))
        for line, row in zip(axes, grid, strict=True):
            for ax, panel in zip(line, row, strict=True):
                ax.set_title(panel.title)
                ax.set_yscale("log" if metric in LOGARITHMIC else "linear")
                for curve in curves(panel.rows, sweep.x, sweep.others, labels(table)):
                    if draw_curve(ax, curve, sweep.x):
                        entries.setdefault(curve.label, legend_line(curve.style))
                for label, (_, line) in draw_published(ax, manifest, sweep.x, metric).items():
                    entries.setdefault(label, line)
        label_axes(axes, LABELS.get(sweep.x, sweep.x), metric_label(info))
        text = interval_text(rows, info) + hidden_budgets(rows, sweep)
        if sweep.x in ("bpp_target", "cbr_target"):
            text += published_note(manifest)
        finish_page(figure, [(v, k) for k, v in entries.items()], caption(manifest, rows, text))
    return figure


def failure_figure(table: pd.DataFrame, sweep: Sweep, manifest: dict[str, Any]) -> Figure:
    """Share of images that failed (outages among them), with Clopper-Pearson intervals.

    Where nothing failed the interval alone is drawn, from zero to its upper end.
    """
    assert sweep.x is not None
    rows = table.drop_duplicates("point")
    grid = _laid_out(panels(rows, sweep), manifest)
    most = int(rows["num_frames"].max())
    log = most >= _LOG_FROM
    entries: dict[str, Any] = {}
    with house_style():
        figure, axes = new_page(len(grid), len(grid[0]), 1.9)
        for line, row in zip(axes, grid, strict=True):
            for ax, panel in zip(line, row, strict=True):
                ax.set_title(panel.title)
                if log:
                    ax.set_yscale("log")
                ax.set_ylim(*((0.3 / most, 1.5) if log else (-0.03, 1.05)))
                found = curves(panel.rows, sweep.x, sweep.others, labels(table))
                for curve, shift in zip(found, _shifts(rows[sweep.x], len(found)), strict=True):
                    if draw_failures(ax, curve, sweep.x, shift):
                        entries.setdefault(curve.label, legend_line(curve.style))
        label_axes(axes, LABELS.get(sweep.x, sweep.x), "failed images / images\n(lower is better)")
        text = "Bars: 95 % Clopper-Pearson interval; no marker where no image failed. Curves are set apart along x."
        text += hidden_budgets(rows, sweep)
        finish_page(figure, [(v, k) for k, v in entries.items()], caption(manifest, rows, text))
    return figure


def panel_height(table: pd.DataFrame) -> float:
    """Inches; many curves need room to be told apart."""
    return 2.1 if table["system"].nunique() <= 6 else 2.8


def labels(table: pd.DataFrame) -> list[str]:
    """The systems of a table, in its order."""
    return [str(s) for s in dict.fromkeys(table["system"])]


def label_axes(axes: list[list[Axes]], x: str, y: str) -> None:
    """Name the outer axes of shared panels."""
    for ax in axes[-1]:
        ax.set_xlabel(x)
    for line in axes:
        line[0].set_ylabel(y)


def metric_label(info: MetricInfo) -> str:
    """Title, unit and an arrow towards better, and below them how images are averaged."""
    unit = f" [{info.unit}]" if info.unit else ""
    arrow = {True: " \N{UPWARDS ARROW}", False: " \N{DOWNWARDS ARROW}", None: ""}
    return f"{info.title}{unit}{arrow[info.higher_is_better]}\n{info.averaging}".strip()


def interval_text(rows: pd.DataFrame, info: MetricInfo) -> str:
    """Which direction is good, and what bars and hollow markers mean, as far as they are there."""
    text = f"{info.hint.capitalize()}. " if info.hint else ""
    if rows["ci_low"].notna().any():
        text += "Bars: 95 % bootstrap interval over images. "
    if (failure_rate(rows) > HOLLOW_ABOVE).any():
        text += f"Hollow: more than {100 * HOLLOW_ABOVE:.0f} % of the images failed. "
    return text.strip()


def hidden_budgets(rows: pd.DataFrame, sweep: Sweep) -> str:
    """A sentence where not every budget has a panel."""
    count = rows[sweep.budget].nunique() if sweep.budget else 1
    return f" {MAX_BUDGETS} of {count} budgets are shown." if count > MAX_BUDGETS else ""


def _laid_out(grid: list[list[Panel]], manifest: dict[str, Any]) -> list[list[Panel]]:
    """One column of panels as one row where the scenario asks for figures of a page's width."""
    figures = (manifest.get("scenario") or {}).get("figures") or {}
    if figures.get("width") == "page" and len(grid[0]) == 1 and 1 < len(grid) <= 4:
        return [[line[0] for line in grid]]
    return grid


def _shifts(x: pd.Series, count: int) -> np.ndarray:
    """Small offsets along x that keep the bars of ``count`` curves apart."""
    values = np.unique(x.dropna().to_numpy(float))
    step = float(np.min(np.diff(values))) if len(values) > 1 else 1.0
    return (np.arange(count) - (count - 1) / 2) * min(0.1, 0.5 / max(count, 1)) * step
