"""One metric against another: what systems pay in the one for what they gain in the other."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from linksim.errors import RunStateError
from linksim.figure.curves import spread
from linksim.figure.draw import legend_line
from linksim.figure.page import caption, finish_page, new_page
from linksim.figure.style import Style, house_style, styles
from linksim.figure.sweep import label_axes, labels, metric_label
from linksim.results.axes import Sweep, say
from linksim.results.describe import describe

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

MAX_PANELS = 4
MARKERS = "osD^vP*Xhp<>8dH"
WIDEST = 30  # characters of a line beside the axes


def plane_figure(
    table: pd.DataFrame, sweep: Sweep, metrics: tuple[str, str], manifest: dict[str, Any]
) -> Figure:
    """A marker for every system; panels beside each other by the swept axis.

    Args:
      table:   tidy table of one kind of link.
      sweep:   its layout.
      metrics: along x and along y.
    Raises: RunStateError: the run has no values of one of them.
    """
    points = [
        table[(table["metric"] == name) & table["value"].notna()].set_index("point")
        for name in metrics
    ]
    for name, part in zip(metrics, points, strict=True):
        if part.empty:
            known = ", ".join(dict.fromkeys(table["metric"]))
            raise RunStateError(f"the run has no values of {name!r}, only of {known}")
    first, second = points
    both = first.assign(other=second["value"]).dropna(subset=["other"])
    levels = [None] if sweep.x is None else spread(sorted(both[sweep.x].unique()), MAX_PANELS)
    # without lines to tell systems apart, no two may share a marker
    looks = {
        name: Style(look.color, MARKERS[i % len(MARKERS)], "none")
        for i, (name, look) in enumerate(styles(labels(table)).items())
    }
    with house_style():
        figure, axes = new_page(1, len(levels), 2.4)
        for ax, level in zip(axes[0], levels, strict=True):
            here = both if level is None else both[both[sweep.x] == level]
            ax.set_title("" if level is None else say(str(sweep.x), level))
            for system, own in here.groupby("system", sort=False):
                look = looks[str(system)]
                ax.plot(own["value"], own["other"], look.marker, color=look.color, label=system)
        across, up = (metric_label(describe(name)) for name in metrics)
        label_axes(axes, across, "\n".join(textwrap.wrap(up.replace("\n", ", "), WIDEST)))
        entries = [(legend_line(looks[name]), name) for name in labels(both)]
        finish_page(figure, entries, caption(manifest, first, ""))
    return figure
