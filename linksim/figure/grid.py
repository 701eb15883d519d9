"""The grid of reconstructions: systems x values of the swept axis, the original first, scores under each picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.figure.curves import spread
from linksim.figure.page import describe_images, finish_page
from linksim.figure.style import PAGE_WIDTH, house_style
from linksim.results.axes import LABELS, Sweep, say

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from linksim.results import RunFolder

_SCORES = ("psnr", "lpips-alex", "lpips-squeeze", "ms-ssim")  # the first two that the rows have
_SHORT = {"psnr": "{:.1f} dB", "lpips-alex": "LPIPS {:.2f}", "lpips-squeeze": "LPIPS {:.2f}"}
_SHORT |= {"ms-ssim": "MS-SSIM {:.3f}"}
_MAX_COLUMNS = 8


def items(folder: RunFolder) -> list[int]:
    """Numbers of the images whose reconstructions were kept."""
    originals = (folder.path / "reconstructions" / "original").glob("[!.]*.png")
    return sorted(int(path.stem) for path in originals if path.stem.isdigit())


def grid_figure(
    folder: RunFolder, rows: pd.DataFrame, sweep: Sweep, item: int, where: str
) -> Figure | None:
    """One image at one place and budget.

    Args:
      rows:  tidy rows of that place and budget, one per point (any metric).
      sweep: layout of the run; ``sweep.x`` is not None.
      item:  number of the image in the source.
      where: the place and budget, for the caption.
    Returns: None where no reconstruction was kept.
    """
    from matplotlib.figure import Figure as MplFigure
    from matplotlib.image import imread

    assert sweep.x is not None
    names = ["system", *(a for a in sweep.others if a in rows and rows[a].nunique() > 1)]
    kept = rows[[folder.picture(p, item).exists() for p in rows["point"]]]
    if kept.empty:
        return None
    values = spread(sorted(kept[sweep.x].dropna().unique()), _MAX_COLUMNS)
    lines = list(kept.groupby(names, sort=False, dropna=False))
    original = imread(folder.picture("original", item))
    height, width = original.shape[:2]
    cell = min(1.25, (PAGE_WIDTH - 0.9) / (len(values) + 1))
    page = max(3.5, 0.9 + cell * (len(values) + 1))
    line_height = cell * height / width + 0.3
    with house_style():
        figure = MplFigure(figsize=(page, 0.3 + line_height * len(lines)), layout="constrained")
        axes = figure.subplots(len(lines), len(values) + 1, squeeze=False)
        for row, (group, own) in zip(axes, lines, strict=True):
            _bare(row[0])
            row[0].imshow(original)
            name = "\n".join(
                str(v) if a == "system" else say(a, v) for a, v in zip(names, group, strict=True)
            )
            row[0].set_ylabel(name.strip(), fontsize=7)
            for ax, value in zip(row[1:], values, strict=True):
                _bare(ax)
                here = own[own[sweep.x] == value]
                if here.empty:
                    _say(ax, "not shown")
                    continue
                _cell(ax, folder, str(here["point"].iloc[0]), item)
        axes[0][0].set_title("original")
        for ax, value in zip(axes[0][1:], values, strict=True):
            ax.set_title(say(sweep.x, value))
        key = _key(folder, item)
        text = f"{describe_images(folder.manifest)}, image {item}{f' ({key})' if key else ''}; {where}. "
        text += f"Columns: {LABELS.get(sweep.x, sweep.x)}; first realisation."
        finish_page(figure, [], text)
    return figure


def _cell(ax: Axes, folder: RunFolder, point: str, item: int) -> None:
    """One reconstruction with its scores; a failed one says so."""
    from matplotlib.image import imread

    path = folder.picture(point, item)
    if not path.exists():
        _say(ax, "not kept")
        return
    ax.imshow(imread(path))
    row = _row(folder, point, item)
    if row is None:
        return
    if row["failed"]:
        word = "nothing sent" if row["status"] == "OUTAGE" else "failed"
        ax.text(
            0.5,
            0.5,
            word,
            ha="center",
            va="center",
            transform=ax.transAxes,
            fontsize=7,
            weight="bold",
            color="white",
        )
    scores = [m for m in _SCORES if np.isfinite(row.get(f"metric_{m}", np.nan))][:2]
    said = [_SHORT[m].format(row[f"metric_{m}"]) for m in scores]
    ax.set_xlabel("\n".join(said), fontsize=6, labelpad=2)


def _row(folder: RunFolder, point: str, item: int) -> dict[str, Any] | None:
    key = _key(folder, item)
    if key is None:
        return None
    frame = folder.frame(point)
    found = frame[(frame["image"] == key) & (frame["realisation"] == 0)]
    return None if found.empty else dict(found.iloc[0])


def _key(folder: RunFolder, item: int) -> str | None:
    keys = (folder.manifest.get("images") or {}).get("keys") or ()
    return str(keys[item]) if item < len(keys) else None


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)


def _say(ax: Axes, text: str) -> None:
    ax.text(
        0.5, 0.5, text, ha="center", va="center", transform=ax.transAxes, fontsize=6, color="0.5"
    )
