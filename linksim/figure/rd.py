"""Metric against the measured rate (CBR or bits per pixel), where budgets are swept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linksim.figure.curves import curves, spread
from linksim.figure.draw import draw_curve, legend_line
from linksim.figure.page import caption, finish_page, new_page
from linksim.figure.published import draw_published, published_note
from linksim.figure.style import house_style
from linksim.figure.sweep import (
    LOGARITHMIC,
    interval_text,
    label_axes,
    labels,
    metric_label,
    panel_height,
)
from linksim.results.axes import LABELS, Sweep, say
from linksim.results.describe import describe

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MAX_CONDITIONS = 4  # panels beside each other


def rate_figure(table: pd.DataFrame, sweep: Sweep, metric: str, manifest: dict[str, Any]) -> Figure:
    """One metric of one kind of link; rows of panels are places, columns at most four values of ``sweep.x``.

    Args:
      table: tidy table of that link.
      sweep: its layout; both its x and its budget are swept.
    """
    assert sweep.x is not None and sweep.budget is not None
    rate = sweep.budget.removesuffix("_target")
    info = describe(metric)
    rows = table[table["metric"] == metric]
    values = spread(sorted(rows[sweep.x].dropna().unique()), MAX_CONDITIONS)
    places = list(rows[sweep.place].dropna().unique()) if sweep.place else [None]
    entries: dict[str, Any] = {}
    with house_style():
        figure, axes = new_page(len(places), len(values), panel_height(table))
        for line, place in zip(axes, places, strict=True):
            here = rows if sweep.place is None else rows[rows[sweep.place] == place]
            for ax, value in zip(line, values, strict=True):
                part = here[here[sweep.x] == value]
                title = (say(sweep.place or "", place), say(sweep.x, value))
                ax.set_title(", ".join(text for text in title if text))
                ax.set_yscale("log" if metric in LOGARITHMIC else "linear")
                for curve in curves(part, rate, sweep.others, labels(table)):
                    if draw_curve(ax, curve, rate):
                        entries.setdefault(curve.label, legend_line(curve.style))
                for label, (_, drawn) in draw_published(ax, manifest, rate, metric).items():
                    entries.setdefault(label, drawn)
        narrow = len(values) > 2
        label_axes(
            axes,
            {"cbr": "CBR", "bpp": "bpp"}[rate] if narrow else LABELS[rate],
            metric_label(info),
        )
        meaning = "CBR: channel uses per source sample" if rate == "cbr" else "bpp: bits per pixel"
        text = f"{meaning}, measured, all overhead included. {interval_text(rows, info)}"
        text += published_note(manifest)
        finish_page(figure, [(v, k) for k, v in entries.items()], caption(manifest, rows, text))
    return figure
