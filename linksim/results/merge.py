"""Joining run folders of one scenario: what several machines computed becomes one run.

    run A  cells 1 2 3 .      linksim merge OUT A B      OUT  cells 1 2 3 4
    run B  cells . 2 . 4      ------------------->            table, plot and `linksim run` go on from here

Nothing is averaged or chosen: a cell that two runs have must be the same in both. Numbers of metrics and features that
other processors round otherwise count as the same (to TOLERANCE); any other difference is a conflict, and nothing is
written before all inputs have been looked through.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from linksim.atomic import write_atomically
from linksim.errors import RunStateError
from linksim.results import parts
from linksim.results.folder import RunFolder
from linksim.results.manifest import guarded
from linksim.results.parts import PartInfo

TOLERANCE = (
    1e-5  # relative, of metrics across machines; features, sums of many terms, get ten times it
)

# Beside the scenario itself, what rows depend on: where it stands in run.json, and its name for people.
_SAME = (
    (("versions", "linksim"), "linksim's version"),
    (("images", "digest"), "the images (their digest)"),
    (("scenario", "batch"), "batch"),
    (("metric_notes",), "the metrics that could not be computed"),
)


@dataclass
class MergeReport:
    """What a merge did.

    Args:
      folder:    the joined run.
      num_cells: that it holds now.
      num_new:   of them, how many were not there before.
      num_all:   cells of the whole run, None where older run folders do not say.
      missing:   one line for each point that lacks cells.
      resume:    the command that computes what is missing; None where nothing is.
      notes:     what else people should know.
    """

    folder: Path
    num_cells: int
    num_new: int
    num_all: int | None = None
    missing: list[str] = field(default_factory=list)
    resume: str | None = None
    notes: list[str] = field(default_factory=list)


def merge(out: str | Path, runs: Sequence[str | Path]) -> MergeReport:
    """Join ``runs`` into ``out``; doing it twice changes nothing.

    Args:
      out:  a new or empty folder, or a run folder of the same scenario, whose cells stay.
      runs: run folders, whole or partly done.
    Raises:
      RunStateError: an input that is no run folder, runs of different scenarios or versions (which key differs), the
        same cell with different rows (the cell, its point and both files), or an ``out`` that holds something else.
    """
    target = Path(out)
    inputs = _opened(target, runs)
    notes: list[str] = []
    for other in inputs[1:]:
        _same_run(inputs[0], other)
        notes += _versions(inputs[0], other)
    cells = _gathered(inputs, notes)
    references = _references(inputs, notes)
    with RunFolder.create_or_open(target, _fresh(inputs)) as folder:
        before = folder.done()
        with guarded(target, "write the merged run to"):
            for path in references:
                _copy(path, target / "features" / path.name)
            for run in inputs:
                for picture in sorted(run.path.glob("reconstructions/*/[!.]*.png")):
                    _copy(picture, target / picture.relative_to(run.path))
        for info, path in cells.values():
            if info.cell not in before:
                folder.adopt(info, path)
        report = MergeReport(target, len(cells), len(cells.keys() - before), notes=notes)
        _finish(folder, inputs, cells, report)
        report.notes += [note for note in folder.notes if note not in report.notes]
    return report


# -------------------------------------------------------------------------------------------------- looking through


def _opened(target: Path, runs: Sequence[str | Path]) -> list[RunFolder]:
    """Inputs, the target first where it holds a run already; each folder once."""
    paths = [Path(run) for run in runs]
    for path in paths:
        if not path.is_dir():
            what = "is a file" if path.exists() else "does not exist"
            raise RunStateError(f"{path} {what}; name results folders of `linksim run`")
    if (target / "run.json").exists():
        paths.insert(0, target)
    elif target.is_dir() and any(target.iterdir()):
        raise RunStateError(f"{target} holds other files than a run; choose a new or empty folder")
    elif target.exists() and not target.is_dir():
        raise RunStateError(f"{target} is a file; choose a new or empty folder")
    distinct = {path.resolve(): path for path in reversed(paths)}
    found = [RunFolder(path) for path in reversed(distinct.values())]
    if not found:
        raise RunStateError("nothing to merge; name at least one results folder")
    return found


def _same_run(first: RunFolder, other: RunFolder) -> None:
    """Raises RunStateError: with the first key in which two runs differ."""
    a, b = first.manifest, other.manifest
    where = f"{first.path} and {other.path} cannot be joined"
    if a["scenario_digest"] != b["scenario_digest"]:
        skip = ("name", "description", "batch", "figures")
        one, two = (
            {k: v for k, v in (m.get("scenario") or {}).items() if k not in skip} for m in (a, b)
        )
        key, left, right = _difference(one, two) or (
            "the content of a plug-in or of the picture grid",
            a["scenario_digest"][:12],
            b["scenario_digest"][:12],
        )
        raise RunStateError(
            f"{where}: {key} is {_short(left)} in one and {_short(right)} in the other"
        )
    if a["rows_key"] == b["rows_key"]:
        return
    for path, name in _SAME:
        left, right = _at(a, path), _at(b, path)
        if left != right:
            hint = "; fetch the same weights on both" if path == ("metric_notes",) else ""
            raise RunStateError(
                f"{where}: {name} is {_short(left)} in one and {_short(right)} in the other{hint}"
            )
    raise RunStateError(f"{where}: their rows_key differs ({a['rows_key']}, {b['rows_key']})")


def _difference(a: Any, b: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """The first key, in the order of ``a``, under which two plain values differ."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in dict.fromkeys([*a, *b]):
            found = _difference(a.get(key), b.get(key), f"{path}.{key}".lstrip("."))
            if found is not None:
                return found
        return None
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            found = _difference(x, y, f"{path}.{i}")
            if found is not None:
                return found
        return None
    return None if a == b else (path, a, b)


def _at(manifest: Mapping[str, Any], path: tuple[str, ...]) -> Any:
    value: Any = manifest
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _versions(first: RunFolder, other: RunFolder) -> list[str]:
    """Libraries that differ: rows are the same but for rounding, and people should know."""
    a, b = first.manifest.get("versions") or {}, other.manifest.get("versions") or {}
    differ = [
        f"{k} {a.get(k)} and {b.get(k)}" for k in dict.fromkeys([*a, *b]) if a.get(k) != b.get(k)
    ]
    if not differ:
        return []
    return [f"{first.path} and {other.path} were made with different versions: {', '.join(differ)}"]


def _gathered(inputs: Sequence[RunFolder], notes: list[str]) -> dict[str, tuple[PartInfo, Path]]:
    """Every whole cell once. Raises RunStateError: two runs have it with different rows."""
    found: dict[str, tuple[PartInfo, Path]] = {}
    rounded = 0
    for run in inputs:
        for path, info in run.whole_parts():
            if info.cell not in found:
                found[info.cell] = (info, path)
                continue
            rounded += _compare(found[info.cell], (info, path))
        notes += [note for note in run.notes if note not in notes]
    if rounded:
        notes.append(
            f"{rounded} cells that two runs have differ in rounding (up to {TOLERANCE:g}); the first run's are kept"
        )
    return found


def _compare(one: tuple[PartInfo, Path], two: tuple[PartInfo, Path]) -> bool:
    """Whether two copies of a cell differ in rounding. Raises RunStateError: if they differ otherwise."""
    (a, path_a), (b, path_b) = one, two

    def conflict(what: str) -> RunStateError:
        return RunStateError(
            f"cell {a.cell} of point {a.point} has other {what} in {path_a} than in {path_b}; one of them is wrong: "
            "remove it, or merge the others alone"
        )

    rounded = False
    if a.digest != b.digest:
        left, right = parts.read(path_a).to_pydict(), parts.read(path_b).to_pydict()
        for name in dict.fromkeys([*left, *right]):
            x, y = left.get(name), right.get(name)
            if repr(x) == repr(y):
                continue
            if not (name.startswith("metric_") and x and y and len(x) == len(y)):
                raise conflict(name)
            if not np.allclose(x, y, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
                raise conflict(name)
            rounded = True
    if a.extractors != b.extractors:
        raise conflict("features")
    for extractor in a.extractors:
        files = [p.parents[1] / "features" / f"{a.cell}.{extractor}.npy" for p in (path_a, path_b)]
        same = _alike(*files)
        if same is None:
            raise conflict(f"{extractor} features")
        rounded |= not same
    return rounded


def _alike(one: Path, two: Path) -> bool | None:
    """True where two feature files are equal, False where they differ in rounding, None where they are others."""
    if one.read_bytes() == two.read_bytes():
        return True
    a, b = (np.lib.format.open_memmap(path, mode="r") for path in (one, two))
    if a.shape != b.shape:
        return None
    scale = float(np.max(np.abs(a), initial=0.0))
    return False if np.allclose(a, b, rtol=0, atol=10 * TOLERANCE * scale, equal_nan=True) else None


def _references(inputs: Sequence[RunFolder], notes: list[str]) -> list[Path]:
    """Feature files of the originals, each once. Raises RunStateError: if two runs have others for a shard."""
    found: dict[str, Path] = {}
    for run in inputs:
        for path in sorted((run.path / "features").glob("reference.*.npy")):
            try:
                np.lib.format.open_memmap(path, mode="r")
            except Exception:  # damaged headers raise nearly every kind
                notes.append(f"{path} is damaged and left out; running again makes it anew")
                continue
            kept = found.setdefault(path.name, path)
            if kept is not path and _alike(kept, path) is None:
                raise RunStateError(
                    f"the features of the originals in {kept} and in {path} are not the same; "
                    "were both computed with the same weights?"
                )
    return list(found.values())


# ---------------------------------------------------------------------------------------------------------- writing


def _fresh(inputs: Sequence[RunFolder]) -> dict[str, Any]:
    """run.json of the joined run."""
    own = ("format", "rows_key", "started", "finished", "num_cells", "failed_points")
    base = {k: v for k, v in inputs[0].manifest.items() if k not in own}
    if base.get("num_shards") is None:
        counts = (run.manifest.get("num_shards") for run in inputs)
        base["num_shards"] = next((n for n in counts if n is not None), None)
    return base


def _copy(source: Path, place: Path) -> None:
    if not place.exists():
        write_atomically(place, source.read_bytes())


def _finish(
    folder: RunFolder,
    inputs: Sequence[RunFolder],
    cells: Mapping[str, tuple[PartInfo, Path]],
    report: MergeReport,
) -> None:
    """Say what is missing, and finish the folder."""
    failed: dict[str, str] = {}
    origins: list[Any] = list(folder.manifest.get("merged_from") or ())
    for run in inputs:
        failed |= dict(run.manifest.get("failed_points") or ())
        if run.path.resolve() != folder.path.resolve():
            origins.append({k: run.manifest.get(k) for k in ("command", "machine", "versions")})
    folder.manifest["merged_from"] = [o for i, o in enumerate(origins) if o not in origins[:i]]
    points = [p for p in folder.manifest.get("points") or () if p["id"] not in failed]
    shards = folder.manifest.get("num_shards")
    if isinstance(shards, int):
        report.num_all = len(points) * shards
        held = Counter(info.point for info, _ in cells.values())
        report.missing = [
            f"{_title(point)}: {shards - held[point['id']]} of {shards} cells"
            for point in points
            if held[point["id"]] < shards
        ]
    if report.missing or report.num_all is None:
        report.resume = _resume(folder.manifest, folder.path)
        stop = (folder.manifest.get("scenario") or {}).get("stop") or {}
        if any(stop.get(rule) is not None for rule in _RULES):
            report.notes.append(
                "the scenario has a stopping rule: points that it has ended lack cells and are done; running on tells"
            )
    folder.finish(
        cells=range(len(cells)), failed_points=list(failed.items()), whole=report.resume is None
    )


_RULES = ("max_failed", "max_images", "ci_width")


def _title(point: Mapping[str, Any]) -> str:
    axes = (
        f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in point["axes"].items()
    )
    return " ".join(
        [str(point["system"]), *([str(point["channel"])] if point.get("channel") else []), *axes]
    )


def _resume(manifest: Mapping[str, Any], out: Path) -> str:
    """The command that made the first run, for the joined folder and without what was its own."""
    words = shlex.split(str(manifest.get("command") or ""))
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in ("--out", "--part", "--workers", "--cluster"):
            skip = True
        elif not word.startswith(("--out=", "--part=", "--workers=", "--cluster=")):
            kept.append(word)
    if "run" not in kept:
        kept = ["linksim", "run", "SCENARIO.yaml"]
    return f"{shlex.join(kept)} --out {shlex.quote(str(out))}"
