"""What run.json says of a run before it starts."""

from __future__ import annotations

import hashlib
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from linksim import __version__
from linksim.image.source import ImageSource
from linksim.runner.components import Components
from linksim.scenario import Scenario

MAX_KEYS = 10_000  # names of images kept in run.json


def manifest(
    scenario: Scenario,
    source: ImageSource,
    command: list[str] | None,
    absent: dict[str, str],
    parts: Components,
    num_shards: int,
) -> dict[str, Any]:
    """The mapping that RunFolder.create_or_open takes."""
    versions = {"linksim": __version__, "python": platform.python_version()}
    for package in (
        "numpy",
        "scipy",
        "numba",
        "tensorflow",
        "keras",
        "sionna-no-rt",
        "pillow",
        "av",
    ):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None  # type: ignore[assignment]
    digests = hashlib.blake2b(digest_size=16)
    for i in range(len(source)):
        digests.update(f"{source.key(i)} {source.digest(i)}\n".encode())
    return {
        "scenario": scenario.resolved(),
        "scenario_digest": scenario.digest(),
        "images": {
            "count": len(source),
            "digest": digests.hexdigest(),
            "keys": [source.key(i) for i in range(min(len(source), MAX_KEYS))],
        },
        "num_shards": num_shards,
        "seed": scenario.seed,
        "command": shlex.join(command if command is not None else ["linksim", *sys.argv[1:]]),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}, {platform.processor() or 'unknown processor'}",
        "points": [
            {
                "id": point.id,
                "system": point.system_label,
                "family": parts.system(point).family,
                "link": point.link,
                "channel": point.channel_label,
                "axes": point.axes,
            }
            for point in scenario.points()
        ],
        "metric_notes": absent,
        "not_applicable": scenario.not_applicable,
    }
