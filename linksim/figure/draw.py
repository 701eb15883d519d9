"""Drawing one curve, and the legend entry that stands for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from linksim.figure.curves import Curve
from linksim.figure.style import Style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

HOLLOW_ABOVE = 0.05  # failure rate


def failure_rate(rows: pd.DataFrame) -> np.ndarray:
    """[rows] float64; 0 where nothing was sent."""
    total = rows["num_frames"].to_numpy(float)
    return rows["num_failed"].to_numpy(float) / np.maximum(total, 1)


def legend_line(style: Style) -> Line2D:
    """What the legend shows of a style."""
    from matplotlib.lines import Line2D

    return Line2D([], [], color=style.color, linestyle=style.linestyle, marker=style.marker)


def draw_curve(ax: Axes, curve: Curve, x: str) -> bool:
    """A line through the values, their intervals as bars, and markers: hollow where many images failed.

    Returns: whether there was anything to draw.
    """
    rows = curve.rows[np.isfinite(curve.rows["value"].to_numpy(float))]
    if rows.empty:
        return False
    style = curve.style
    at, value = rows[x].to_numpy(float), rows["value"].to_numpy(float)
    low, high = rows["ci_low"].to_numpy(float), rows["ci_high"].to_numpy(float)
    ax.plot(at, value, color=style.color, linestyle=style.linestyle, label=curve.label, zorder=2)
    known = np.isfinite(low) & np.isfinite(high)
    if known.any():
        # Percentile intervals may leave the mean out by rounding: a bar's length is never negative.
        reach = np.maximum([value - low, high - value], 0)[:, known]
        ax.errorbar(
            at[known],
            value[known],
            yerr=reach,
            fmt="none",
            ecolor=style.color,
            elinewidth=0.8,
            capsize=1.5,
            capthick=0.8,
            alpha=0.7,
            label="_interval " + curve.label,
            zorder=1.5,
        )
    hollow = failure_rate(rows) > HOLLOW_ABOVE
    for mask, face in ((~hollow, style.color), (hollow, "white")):
        if mask.any():
            ax.plot(
                at[mask],
                value[mask],
                linestyle="none",
                marker=style.marker,
                color=style.color,
                markerfacecolor=face,
                markeredgewidth=0.9,
                label="_marks " + curve.label,
                zorder=3,
            )
    return True


def draw_failures(ax: Axes, curve: Curve, x: str, shift: float) -> bool:
    """Failure rates with Clopper-Pearson intervals; where nothing failed there is the interval and no marker.

    Args:    shift: of the whole curve along x, so that bars do not hide each other.
    Returns: whether there was anything to draw.
    """
    from linksim.metric.interval import clopper_pearson

    rows = curve.rows[curve.rows["num_frames"].to_numpy(int) > 0]
    if rows.empty:
        return False
    style = curve.style
    log = ax.get_yscale() == "log"
    at = rows[x].to_numpy(float) + shift
    count = rows["num_failed"].to_numpy(int)
    total = rows["num_frames"].to_numpy(int)
    ends = np.array([clopper_pearson(int(k), int(n)) for k, n in zip(count, total, strict=True)])
    some = count > 0
    bottom = np.maximum(ends[:, 0], ax.get_ylim()[0] if log else 0)
    ax.vlines(
        at,
        bottom,
        ends[:, 1],
        color=style.color,
        linewidth=0.9,
        alpha=0.8,
        zorder=1.5,
        label="_interval " + curve.label,
    )
    ax.plot(
        at[~some],
        ends[~some, 1],
        linestyle="none",
        marker="_",
        color=style.color,
        label="_upper " + curve.label,
        zorder=2,
    )
    ax.plot(
        at,
        np.where(some, count / total, np.nan if log else 0.0),
        color=style.color,
        linestyle=style.linestyle,
        marker=style.marker,
        markevery=list(np.flatnonzero(some)),
        label=curve.label,
        zorder=3,
    )
    return True
