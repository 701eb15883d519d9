"""What a run would do and cost."""

from __future__ import annotations

from dataclasses import dataclass

from linksim.errors import ScenarioError, TimeLimitError
from linksim.image.source import ImageSource
from linksim.link import smoke
from linksim.runner.components import Components, reason
from linksim.runner.images import open_source
from linksim.runner.limit import time_limit
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


def test_plugins(
    scenario: Scenario, parts: Components, notes: list[str] | None = None
) -> dict[str, str]:
    """Put channels and loss processes that linksim does not ship through a quick form of their laws.

    Args:    notes: what people should know of those that were not tested is added here.
    Returns: label -> why its points may not run.
    """
    faults: dict[str, str] = {}
    seen: set[str] = set()
    for point in scenario.points():
        kind, label, spec = "channels", point.channel_label, point.channel_spec
        if spec is None:
            kind, label, spec = "erasures", point.erasure_label, point.erasure_spec
        if label is None or spec is None or label in faults or not smoke.is_foreign(spec):
            continue
        key = f"{label} {smoke.command_form(spec)}"
        if key in seen:
            continue
        seen.add(key)
        why, note = None, None
        if label in scenario.unchecked:
            note = f"{label} runs untested, as the scenario asks"
        else:
            try:
                with time_limit(smoke.SECONDS):
                    why = smoke.verdict(kind, parts.get(kind, spec), spec)
            except TimeLimitError as problem:
                note = f"{label}: its test {problem} and was ended; it runs untested"
            except Exception as problem:
                why = reason(problem)
        if why is not None:
            faults[label] = f"{label} {why}"
        if note is not None and notes is not None and note not in notes:
            notes.append(note)
    return faults


def preview(scenario: Scenario) -> list[Preview]:
    """Every point with its budget and an estimate of its cost; simulates nothing and imports no heavy library."""
    source = open_source(scenario)
    parts = Components(scenario.folder)
    sizes: dict[tuple[int, int], int] = {}
    for i in range(len(source)):
        sizes[source.size(i)] = sizes.get(source.size(i), 0) + 1
    found = []
    faults = test_plugins(scenario, parts)
    for point in scenario.points():
        text, error, cost = "", None, 0.0
        error = faults.get(point.channel_label or point.erasure_label or "")
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
    scenario: Scenario, source: ImageSource, parts: Components, notes: list[str] | None = None
) -> tuple[list[Point], list[tuple[Point, str]]]:
    """Points whose budget can be met at some image size, and the others with the reason.

    Args:   notes: see :func:`test_plugins`.

    Raises: ScenarioError: if there are none.
    """
    sizes = sorted({source.size(i) for i in range(len(source))})
    runnable: list[Point] = []
    failed: list[tuple[Point, str]] = []
    faults = test_plugins(scenario, parts, notes)
    for point in scenario.points():
        fault = faults.get(point.channel_label or point.erasure_label or "")
        if fault is not None:
            failed.append((point, fault))
            continue
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
