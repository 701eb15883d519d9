"""What a run would do and cost."""

from __future__ import annotations

from dataclasses import dataclass

from linksim.errors import ScenarioError
from linksim.image.source import ImageSource
from linksim.runner.components import Components, reason
from linksim.runner.images import open_source
from linksim.runner.side import check_side
from linksim.scenario import Point, Scenario

# Measured on one 2-core x86-64 machine with warm source-codec caches: link and metrics of one 128x128 image.
_SECONDS_PER_128 = 0.02


@dataclass(frozen=True)
class Preview:
    """What a point would cost. ``error`` says why it cannot run."""

    point: Point
    text: str
    error: str | None
    cost_s: float


def preview(scenario: Scenario) -> list[Preview]:
    """Every point with its budget and an estimate of its cost; simulates nothing and imports no heavy library."""
    source = open_source(scenario)
    parts = Components(scenario.folder)
    sizes: dict[tuple[int, int], int] = {}
    for i in range(len(source)):
        sizes[source.size(i)] = sizes.get(source.size(i), 0) + 1
    found = []
    for point in scenario.points():
        text, error, cost = "", None, 0.0
        for (height, width), count in sizes.items():
            try:
                system = parts.system(point)
                check_side(system, source)
                line = system.preview(parts.link_point(point), height, width)
                text = line if len(sizes) == 1 else f"{height}x{width}: {line}"
                cost += _cost_s(height, width) * count * scenario.realisations
            except Exception as problem:  # a plug-in may raise anything
                error = reason(problem)
        found.append(Preview(point, text, error, cost))
    return found


def _cost_s(height: int, width: int) -> float:
    return _SECONDS_PER_128 * height * width / 128**2


def preflight(
    scenario: Scenario, source: ImageSource, parts: Components
) -> tuple[list[Point], list[tuple[Point, str]]]:
    """Points whose budget can be met at some image size, and the others with the reason.

    Raises: ScenarioError: if there are none.
    """
    sizes = sorted({source.size(i) for i in range(len(source))})
    runnable: list[Point] = []
    failed: list[tuple[Point, str]] = []
    for point in scenario.points():
        reasons = []
        for height, width in sizes:
            try:
                check_side(parts.system(point), source)
                parts.system(point).preview(parts.link_point(point), height, width)
            except Exception as error:  # a plug-in may raise anything; it fails its own points only
                reasons.append(reason(error))
        if len(reasons) == len(sizes):
            failed.append((point, reasons[0]))
        else:
            runnable.append(point)
    if not runnable:
        raise ScenarioError(
            f"no point can be run; the first: {failed[0][0].title}: {failed[0][1]}"
            if failed
            else "the scenario has no points",
            file=scenario.file,
        )
    return runnable, failed
