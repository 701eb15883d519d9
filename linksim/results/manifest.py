"""run.json: what a run is, and whether a folder may go on with it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from linksim.atomic import write_atomically
from linksim.errors import RunStateError

FORMAT = 1  # of everything in the folder; raised when an older linksim could misread it


def read(path: Path) -> dict[str, Any]:
    """run.json of a folder. Raises RunStateError: if it is absent, unreadable or of another format."""
    try:
        manifest = json.loads((path / "run.json").read_text(encoding="utf-8"))
        found = manifest["format"]
        if found == FORMAT:
            _check_form(manifest)
    except FileNotFoundError:
        raise RunStateError(f"{path} holds no run: there is no run.json in it") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise RunStateError(
            f"{path / 'run.json'} cannot be read ({error}); choose another --out"
        ) from None
    if found != FORMAT:
        raise RunStateError(
            f"{path} holds results of format {found}, this linksim reads and writes format {FORMAT}; "
            "choose another --out, or use the linksim that made it"
        )
    return manifest


def _check_form(manifest: Mapping[str, Any]) -> None:
    """Raises KeyError or TypeError where a key that readers rely on is absent or of another kind."""
    for key, kind in (("rows_key", str), ("scenario_digest", str)):
        if not isinstance(manifest[key], kind):
            raise TypeError(f"{key} is {manifest[key]!r}")
    for point in manifest.get("points") or ():
        if not isinstance(point["id"], str):
            raise TypeError(f"a point's id is {point['id']!r}")


def check_same(path: Path, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Raises RunStateError: if the folder at ``path`` holds another scenario; names both."""
    if old["scenario_digest"] != new["scenario_digest"]:
        raise RunStateError(
            f"{path} holds scenario {_title(old)}, not {_title(new)}; choose another --out or empty the folder"
        )


def _title(manifest: Mapping[str, Any]) -> str:
    scenario = manifest.get("scenario")
    name = scenario.get("name") if isinstance(scenario, Mapping) else None
    digest = str(manifest["scenario_digest"])[:12]
    return f"{name!r} ({digest})" if name else digest


def rows_key(manifest: Mapping[str, Any]) -> str:
    """Digest of what rows depend on that the scenario's digest may not cover.

    Cells of another linksim, of images that have changed under the same names, of another batch size, or of a run that
    could not compute the same metrics, are not mixed with this run's.
    """
    scenario = manifest.get("scenario")
    relevant = [
        manifest["scenario_digest"],
        (manifest.get("images") or {}).get("digest"),
        (manifest.get("versions") or {}).get("linksim"),
        scenario.get("batch") if isinstance(scenario, Mapping) else None,
        sorted(manifest.get("metric_notes") or {}),
    ]
    return hashlib.blake2b(json.dumps(relevant).encode(), digest_size=8).hexdigest()


def begin(path: Path, manifest: Mapping[str, Any]) -> None:
    """Write run.json for a new run, or for an old one whose rows will be others."""
    key = rows_key(manifest)
    old = read(path) if (path / "run.json").exists() else None
    if old is not None and old["rows_key"] == key:
        return
    for stale in (path / "features").glob("reference.*.npy"):
        stale.unlink()  # of other images, or cut into other shards
    started = old.get("started") if old is not None else None
    data = {"format": FORMAT, **manifest, "rows_key": key, "started": started or now()}
    write_atomically(path / "run.json", to_json({**data, "finished": None}))


def now() -> str:
    """UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_json(value: Any) -> bytes:
    """``value`` as JSON text that every reader takes."""
    return (json.dumps(_plain(value), indent=2, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    """``value`` in JSON's own types; numbers that JSON lacks become text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if isinstance(value, Iterable):
        return [_plain(v) for v in value]
    return str(value)


@contextlib.contextmanager
def guarded(path: Path, doing: str) -> Iterator[None]:
    """Turn a system error into one clear line: "cannot DOING PATH: ..." (RunStateError)."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        fix = "make room" if full else "see to that"
        reason = error.strerror or str(error)
        raise RunStateError(
            f"cannot {doing} {path}: {reason}; {fix} and run again, finished cells are kept"
        ) from error
