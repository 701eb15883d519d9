"""What a larger sweep costs, from the times of a run that was done.

    python -m linksim.bench.projection RUN [--images 1000000] [--nodes 100] [--points N]

A run's cost is the sum over its cells: images x points x (link + metrics), and images x codecs x (coding the ladder)
the first time. Both grow linearly with the images, so the mean time of a frame (one image at one point) carries over to
more images of the same size, and to more machines, since cells share nothing. A node is a machine like the one of RUN,
used as RUN used it.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from linksim.errors import LinksimError
from linksim.results import RunFolder

_CELL = re.compile(r" cell \S+ point \S+ rows (\d+)$")
_FINISHED = re.compile(r" finished after ([\d.]+) s$")


@dataclass(frozen=True)
class Projection:
    """What a sweep costs.

    Args:
      frames:      images x points x realisations.
      frame_s:     seconds of one, measured.
      node_hours:  of the whole sweep.
      wall_hours:  on ``nodes`` machines, cells dealt evenly.
      results_gib: parts and features on disk.
    """

    images: int
    points: int
    nodes: int
    frames: int
    frame_s: float
    node_hours: float
    wall_hours: float
    results_gib: float


def measured(run: str | Path) -> tuple[int, float, int]:
    """Frames that a run computed, the seconds it took (starts included), and the bytes it keeps of them.

    Raises: LinksimError: if the log does not say; RunStateError: if it is no run.
    """
    folder = RunFolder(run)
    log = folder.path / "run.log"
    text = log.read_text(encoding="utf-8") if log.is_file() else ""
    frames = sum(int(m[1]) for line in text.splitlines() if (m := _CELL.search(line)))
    passes = [float(m[1]) for line in text.splitlines() if (m := _FINISHED.search(line))]
    if not frames or not passes or text.count(" opened") != len(passes):
        raise LinksimError(
            f"{log} does not tell the time of every pass; take a run that came to its end without being interrupted"
        )
    kept = sum(p.stat().st_size for d in ("parts", "features") for p in (folder.path / d).glob("*"))
    return frames, sum(passes), kept


def project(run: str | Path, images: int, nodes: int = 1, points: int | None = None) -> Projection:
    """The cost of the run's scenario with other numbers of images, points and machines.

    Args:   points: by default the run's.
    Raises: ValueError: if a number is below 1; LinksimError as ``measured``.
    """
    manifest = RunFolder(run).manifest
    scenario = manifest.get("scenario") or {}
    points = len(manifest.get("points") or ()) if points is None else points
    for name, value in (("images", images), ("nodes", nodes), ("points", points)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    done, seconds, kept = measured(run)
    frames = images * points * int(scenario.get("realisations") or 1)
    hours = seconds / done * frames / 3600
    return Projection(
        images,
        points,
        nodes,
        frames,
        seconds / done,
        hours,
        hours / nodes,
        kept / done * frames / 2**30,
    )


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=float, default=1e6)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--points", type=int)
    options = parser.parse_args()
    try:
        found = project(options.run, int(options.images), options.nodes, options.points)
    except (LinksimError, ValueError) as error:
        parser.exit(2, f"error: {error}\n")
    print(json.dumps(asdict(found), indent=1))


if __name__ == "__main__":
    main()
