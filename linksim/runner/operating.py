"""``budget: mean``: the operating point of each point, found on the whole set before its first cell.

It is kept in the run folder, under a name that hashes all it depends on, and goes into the ids of the point's cells: a
resumed run, and every worker, has the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from linksim import __version__
from linksim.atomic import write_atomically
from linksim.errors import RunStateError
from linksim.results import RunFolder
from linksim.results.folder import guarded
from linksim.runner.cell import Bench
from linksim.runner.components import reason
from linksim.runner.images import Shard
from linksim.scenario import Point

if TYPE_CHECKING:
    from linksim.runner.board import Progress


def settle(
    points: Sequence[Point],
    shards: Sequence[Shard],
    bench: Bench,
    folder: RunFolder,
    failed: list[tuple[Point, str]],
    progress: Progress | None = None,
) -> list[Point]:
    """The points with their operating points; those that have none are added to ``failed`` and left out."""
    found = []
    for number, point in enumerate(points):
        path = folder.path / "operating" / f"{operating_id(point, shards, bench)}.json"
        try:
            value = _read(path)
            if value is None:
                if progress is not None:
                    progress(0, len(points) * len(shards), f"operating point: {point.title}")
                value = bench.calibrate(point, shards)
                with guarded(folder.path, f"write operating point {number} to"):
                    entry = {"point": point.id, "title": point.title, "operating": value}
                    write_atomically(path, (json.dumps(entry, indent=1) + "\n").encode())
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except RunStateError:
            raise
        except Exception as error:  # a plug-in may raise anything; it fails its own points only
            failed.append((point, reason(error)))
            continue
        found.append(replace(point, operating=value))
    return found


def operating_id(point: Point, shards: Sequence[Shard], bench: Bench) -> str:
    """Hash of everything that an operating point depends on."""
    order = bench.order
    images = [[shard.keys, shard.digests] for shard in shards]
    parts = [__version__, point.id, order.realisations, order.seed, images]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


def _read(path: Path) -> dict[str, float] | None:
    """What was found before; None if it is not there or damaged."""
    try:
        value = json.loads(path.read_text())["operating"]
        return {str(k): float(v) for k, v in value.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
