"""Published rate-distortion points, as data with their source and settings, to draw beside measured curves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from linksim.errors import UnknownNameError
from linksim.registry import nearest

_FILE = Path(__file__).with_name("curves.yaml")


@dataclass(frozen=True)
class PublishedCurve:
    """One curve of a publication.

    Args:
      name:      key, e.g. "ntscc-kodak-awgn10".
      label:     for a legend.
      source:    where the numbers stand: authors, venue, figure or table.
      data:      the image set.
      settings:  what a reader must know to compare: channel, SNR, training, how the values were read.
      x:         quantity on the abscissa, "cbr", "bpp" or "es_n0_db".
      points:    rising in x: (x, {metric: value}).
      tolerance: metric -> half-width of the reading error.
    """

    name: str
    label: str
    source: str
    data: str
    settings: str
    x: str
    points: tuple[tuple[float, dict[str, float]], ...]
    tolerance: dict[str, float]

    def line(self, metric: str) -> tuple[list[float], list[float]]:
        """x and y of one metric. Raises UnknownNameError if the curve does not have it."""
        known = sorted({name for _, values in self.points for name in values})
        if metric not in known:
            raise UnknownNameError(
                f"{self.name} has no metric {metric!r}; {nearest(metric, known)}"
            )
        chosen = [(x, values[metric]) for x, values in self.points if metric in values]
        return [x for x, _ in chosen], [y for _, y in chosen]


@cache
def curves() -> dict[str, PublishedCurve]:
    """All published curves, by name."""
    import yaml

    document: dict[str, dict[str, Any]] = yaml.safe_load(_FILE.read_text(encoding="utf-8"))
    return {name: _curve(name, entry) for name, entry in document.items()}


def curve(name: str) -> PublishedCurve:
    """The curve called ``name``. Raises UnknownNameError, which offers the nearest names."""
    if name not in curves():
        raise UnknownNameError(f"unknown published curve {name!r}; {nearest(name, list(curves()))}")
    return curves()[name]


def _curve(name: str, entry: dict[str, Any]) -> PublishedCurve:
    columns = entry["columns"]
    points = tuple(
        (
            float(row[0]),
            {c: float(v) for c, v in zip(columns[1:], row[1:], strict=True) if v is not None},
        )
        for row in entry["points"]
    )
    return PublishedCurve(
        name=name,
        label=entry["label"],
        source=entry["source"],
        data=entry["data"],
        settings=entry["settings"],
        x=columns[0],
        points=points,
        tolerance={k: float(v) for k, v in entry.get("tolerance", {}).items()},
    )
