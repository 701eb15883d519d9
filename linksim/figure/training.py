"""The figure of a training run: its loss, its last validation as a curve, and how validations went."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.errors import RunStateError
from linksim.figure.style import PAGE_WIDTH, house_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "training"
LABELS = {
    "step": "training step",
    "loss": "loss",
    "bpp": "rate [bits per pixel]",
    "psnr": "PSNR [dB]",
    "snr_db": "SNR [dB]",
    "lpips": "LPIPS (squeeze)",
    "lpips_alex": "LPIPS (alex)",
    "k": "channel uses of an embedding",
}
LATEST, EARLIER = "#009E73", "0.72"
_COLORS = ("#009E73", "#0072B2", "#D55E00", "#CC79A7", "#E69F00", "#56B4E9", "#999933", "#332288")
_SMOOTH = 40  # windows that the drawn loss has at most


def plot_training(folder: str | Path, axes: Sequence[str] = ("step", "loss")) -> list[Path]:
    """Draw ``training.png`` and ``.svg`` in a training run's output folder.

    Args:
      folder: with ``log.csv``, and ``validation.csv`` if there has been one.
      axes:   columns of ``validation.csv``: abscissa, ordinate, and what tells curves apart, if anything.
    Returns: the files written.
    Raises:  RunStateError: there is no log, or the figure cannot be written.
    """
    from linksim.figure.page import save

    folder = Path(folder)
    log = read(folder / "log.csv")
    if not log:
        raise RunStateError(f"{folder} has no log.csv with lines; train first")
    validation = read(folder / "validation.csv")
    with house_style():
        figure = training_figure(log, validation, axes)
    return save(figure, folder, NAME)


def read(path: Path) -> list[dict[str, float]]:
    """Rows of a CSV of numbers; what is not a number, and a line cut short, is left out."""
    if not path.is_file():
        return []
    rows = []
    with path.open(newline="") as file:
        for line in csv.DictReader(file):
            row = {k: _number(v) for k, v in line.items() if k is not None}
            if None not in row.values():
                rows.append({k: v for k, v in row.items() if v is not None})
    return rows


def _number(text: str | None) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        return None


def training_figure(
    log: list[dict[str, float]], validation: list[dict[str, float]], axes: Sequence[str]
) -> Figure:
    """Args: as ``plot_training`` reads them. Returns: one to three panels."""
    from matplotlib.figure import Figure

    x, y = axes[0], axes[1]
    shown = bool(validation) and {x, y, "step"} <= set(validation[0])
    count = 1 if not shown else 3
    figure = Figure(figsize=(PAGE_WIDTH * (0.45 if count == 1 else 1), 2.2), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False)[0]
    _loss(panels[0], log)
    if shown:
        _latest(panels[1], validation, axes)
        _course(panels[2], validation, axes)
    return figure


def _loss(panel: Axes, log: list[dict[str, float]]) -> None:
    step = np.array([row["step"] for row in log])
    loss = np.array([row["loss"] for row in log])
    panel.plot(step, loss, color=EARLIER, linewidth=0.6)
    window = max(1, len(loss) // _SMOOTH)
    if window > 1:
        kernel = np.ones(window) / window
        panel.plot(
            np.convolve(step, kernel, "valid"), np.convolve(loss, kernel, "valid"), color=LATEST
        )
    else:
        panel.lines[0].set(color=LATEST, linewidth=1.2)
    panel.set(xlabel=LABELS["step"], ylabel=LABELS["loss"])
    panel.set_title(f"Loss ({int(step[-1])} steps)")


def _latest(panel: Axes, rows: list[dict[str, float]], axes: Sequence[str]) -> None:
    """The last validation's curves, the first one's in grey."""
    x, y = axes[0], axes[1]
    steps = sorted({row["step"] for row in rows})
    for step in dict.fromkeys((steps[0], steps[-1])):
        last = step == steps[-1]
        for i, (name, own) in enumerate(_groups([r for r in rows if r["step"] == step], axes)):
            own = sorted(own, key=lambda row: row[x])
            color = _COLORS[i % len(_COLORS)] if last else EARLIER
            label = name if last and name else None
            panel.plot(
                [r[x] for r in own], [r[y] for r in own], marker="o", color=color, label=label
            )
    if panel.get_legend_handles_labels()[1]:
        panel.legend(frameon=False)
    panel.set(xlabel=LABELS.get(x, x), ylabel=LABELS.get(y, y))
    first = f"; grey: step {int(steps[0])}" if len(steps) > 1 else ""
    panel.set_title(f"Validation at step {int(steps[-1])}{first}")


def _course(panel: Axes, rows: list[dict[str, float]], axes: Sequence[str]) -> None:
    """Mean of the ordinate over each validation's rows against the step."""
    y = axes[1]
    steps = sorted({row["step"] for row in rows})
    mean = [float(np.mean([r[y] for r in rows if r["step"] == step])) for step in steps]
    panel.plot(steps, mean, marker="o", color=LATEST)
    panel.set(xlabel=LABELS["step"], ylabel=f"mean {LABELS.get(y, y)}")
    panel.set_title("Course of the validations")


def _groups(
    rows: list[dict[str, float]], axes: Sequence[str]
) -> list[tuple[str, list[dict[str, float]]]]:
    if len(axes) < 3:
        return [("", rows)]
    key = axes[2]
    found: dict[Any, list[dict[str, float]]] = {}
    for row in rows:
        found.setdefault(row[key], []).append(row)
    return [(f"{key} {value:g}", own) for value, own in sorted(found.items())]
