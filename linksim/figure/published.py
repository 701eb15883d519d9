"""Published curves beside measured ones: thin grey lines, told apart by their markers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from linksim.errors import UnknownNameError
from linksim.figure.style import Style
from linksim.results.published import published_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes

GREYS = ("#555555", "#777777", "#999999", "#333333")
MARKERS = ("P", "X", "*", "p", "h", "<")


def draw_published(
    ax: Axes, manifest: dict[str, Any], x: str, metric: str
) -> dict[str, tuple[Style, Any]]:
    """The curves that the scenario names (``figures.published``), as far as they have this metric over this axis.

    Returns: label -> style and the line drawn.
    """
    figures = (manifest.get("scenario") or {}).get("figures") or {}
    drawn: dict[str, tuple[Style, Any]] = {}
    for i, name in enumerate(figures.get("published") or ()):
        try:
            curve = published_curve(name)
            at, value = curve.line(metric)
        except UnknownNameError:  # of another package, or without this metric
            continue
        if curve.x != x.removesuffix("_target"):
            continue
        style = Style(GREYS[i % len(GREYS)], MARKERS[i % len(MARKERS)], ":")
        line = ax.plot(
            at,
            value,
            color=style.color,
            linestyle=style.linestyle,
            marker=style.marker,
            linewidth=0.9,
            markersize=4,
            label=curve.label,
            zorder=1,
        )
        drawn[curve.label] = (style, line[0])
    return drawn


def published_note(manifest: dict[str, Any]) -> str:
    """A sentence for the caption: data and settings of each published curve."""
    figures = (manifest.get("scenario") or {}).get("figures") or {}
    notes = []
    for name in figures.get("published") or ():
        try:
            curve = published_curve(name)
        except UnknownNameError:
            continue
        notes.append(f"{curve.label}: {curve.data}, {curve.settings}")
    return f" Published, as their authors count the rate: {'; '.join(notes)}." if notes else ""
