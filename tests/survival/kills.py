"""The long form of the survival tests as a command: kills of runs, with and without workers, counts kept as JSON.

    python tests/survival/kills.py --out results/survival/kills.json [--kills 25] [--only one workers]

After every kill the same command resumes the run; each run that comes to its end has the rows of one in peace, bit for
bit, or the campaign ends with an error. The kills are made in pieces of five; the file is written after each, counts
add up, and the same command goes on with the next piece until it has as many as asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from disturber import KILLS, KILLS_OF_WORKERS, Disturber

COMMAND = "python tests/survival/kills.py --out results/survival/kills.json"
FORMS = {"one": (1, KILLS), "workers": (2, KILLS_OF_WORKERS)}
SEED = 2024
PIECE = 5


def campaign(work: Path, form: str, count: int, seed: int = SEED) -> dict[str, Any]:
    """``count`` kills of a form, some damage between them. Raises AssertionError: a row differs, or a run ends ill."""
    start = time.monotonic()
    workers, kinds = FORMS[form]
    disturber = Disturber(work, seed=seed, workers=workers)
    expected = disturber.undisturbed()
    kills = [disturber.rng.choice(kinds) for _ in range(count)]
    disturber.campaign(
        [k for i, kill in enumerate(kills) for k in ([kill, "damage"] if i % 5 == 4 else [kill])],
        expected,
    )
    met = {f"{kind}, exit {status}": n for (kind, status), n in sorted(disturber.ended.items())}
    return {
        "workers": workers,
        "seeds": [seed],
        "kills": count,
        "rows": len(expected),
        "disturbances": met,
        "runs to the end": disturber.finished,
        "rows that differ": 0,
        "processes of ended runs": disturber.seen_gone,
        "of them left behind": 0,
        "minutes": round((time.monotonic() - start) / 60, 1),
    }


def _added(done: dict[str, Any], piece: dict[str, Any]) -> dict[str, Any]:
    """Counts of both. What describes the runs (workers, rows) is the piece's."""
    total = dict(piece)
    for key in ("seeds", "kills", "runs to the end", "processes of ended runs", "minutes"):
        if key in done:
            total[key] = done[key] + piece[key]
    met = Counter(done.get("disturbances", {})) + Counter(piece["disturbances"])
    return {
        **total,
        "minutes": round(total["minutes"], 1),
        "disturbances": dict(sorted(met.items())),
    }


def main() -> int:
    from linksim.atomic import write_atomically
    from linksim.bench.machine import describe

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25, help="of each form")
    parser.add_argument("--only", nargs="*", choices=list(FORMS), default=list(FORMS))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    report: dict[str, Any] = {"command": COMMAND, "machine": describe(), "forms": {}}
    if options.out is not None and options.out.exists():
        report = json.loads(options.out.read_text())
    for form in options.only:
        while (done := report["forms"].get(form, {"kills": 0}))["kills"] < options.kills:
            seed = max(done.get("seeds", [SEED - 1])) + 1
            with tempfile.TemporaryDirectory(prefix="linksim-survival-") as work:
                piece = campaign(Path(work), form, min(PIECE, options.kills - done["kills"]), seed)
            report["forms"][form] = _added(done, piece)
            print(f"{form}: {report['forms'][form]}", file=sys.stderr, flush=True)
            if options.out is not None:
                options.out.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())
    print(json.dumps(report, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
