"""Where the budget goes: the mean ledger of each system as a stacked bar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.figure.page import describe_images, finish_page
from linksim.figure.style import COLUMN_WIDTH, house_style

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

# In the order of the bar; light colours where nothing of the picture is carried.
COLORS = {
    "payload": "#0072B2",
    "side_information": "#56B4E9",
    "headers": "#CC79A7",
    "crc": "#D55E00",
    "padding": "#BBBBBB",
    "parity": "#E69F00",
    "pilots": "#009E73",
    "retransmissions": "#882255",
}


def ledger_figure(means: pd.DataFrame, link: str, manifest: dict[str, Any]) -> Figure | None:
    """One bar a system.

    Args:
      means: index system, columns of COLORS, in channel uses (phy) or bits (packet) a frame, of all points alike.
      link:  "phy" or "packet".
    Returns: None where nothing was sent.
    """
    from matplotlib.figure import Figure as MplFigure
    from matplotlib.patches import Patch

    total = means.sum(axis=1)
    means = means[total > 0]
    if means.empty:
        return None
    share = 100 * means.div(means.sum(axis=1), axis=0)
    with house_style():
        figure = MplFigure(figsize=(COLUMN_WIDTH, 0.55 + 0.24 * len(share)), layout="constrained")
        ax = figure.subplots()
        position = np.arange(len(share))
        left = np.zeros(len(share))
        entries = []
        for name, color in COLORS.items():
            if name not in share or not (share[name] > 0).any():
                continue
            width = share[name].to_numpy(float)
            ax.barh(position, width, left=left, height=0.7, color=color, label=name)
            for y, (start, size) in enumerate(zip(left, width, strict=True)):
                if size >= 8:
                    ax.text(
                        start + size / 2,
                        y,
                        f"{size:.0f}",
                        ha="center",
                        va="center",
                        fontsize=6,
                        color="white",
                    )
            left += width
            entries.append((Patch(color=color), name.replace("_", " ")))
        ax.set_yticks(position, list(share.index))
        ax.invert_yaxis()
        ax.set_xlim(0, 100)
        ax.grid(axis="y", visible=False)
        unit = "channel uses" if link == "phy" else "bits"
        ax.set_xlabel(f"share of the {unit} sent [%]")
        text = f"Mean over all points of the run. {describe_images(manifest)}. "
        if link == "phy":
            text += (
                "An information bit of a coded block is booked at its modulation's bits per symbol; what the channel "
                "code adds is parity."
            )
        finish_page(figure, entries, text.strip())
    return figure
