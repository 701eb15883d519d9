"""Published curves by name, from packages that bring some (entry points of the group ``linksim.published``).

An entry point names a function without arguments that returns name -> curve; a curve has ``label``, ``x`` (the quantity
on the abscissa: "bpp", "cbr", "es_n0_db") and ``line(metric) -> (x, y)``, as ``baselines.published`` has them.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points
from typing import Any

from linksim.errors import UnknownNameError
from linksim.registry import nearest

GROUP = "linksim.published"


@cache
def published() -> dict[str, Any]:
    """All curves, by name."""
    found: dict[str, Any] = {}
    for point in entry_points(group=GROUP):
        found |= point.load()()
    return found


def published_curve(name: str) -> Any:
    """The curve called ``name``. Raises UnknownNameError, which offers the nearest names."""
    if name not in published():
        raise UnknownNameError(
            f"unknown published curve {name!r}; {nearest(name, sorted(published()))}"
        )
    return published()[name]
