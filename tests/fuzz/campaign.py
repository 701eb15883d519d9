"""The long form of the fuzzing as a command: many inputs into every target, counts kept as JSON.

    python tests/fuzz/campaign.py --out results/fuzz/long.json [--inputs 20000] [--jobs 2] [--only NAME ...]

Each target runs in a process of its own. With --out, targets that the file has with as many inputs are not run again:
it can be made in pieces.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from mutants import mutant
from test_fuzz import GROWTH_MIB, LONG, PAUSE, WARM, feed, grown, guarded, resident_mib

COMMAND = "python tests/fuzz/campaign.py --out results/fuzz/long.json"


def one(name: str, inputs: int) -> dict[str, Any]:
    """All inputs of one target in this process."""
    from targets import TARGETS

    target = TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["LINKSIM_CACHE"] = str(Path(folder) / "cache")
        seeds = target.seeds()
        levels: list[float] = []
        slowest, failures, failed = 0.0, Counter[str](), []
        start = time.process_time()
        with guarded():
            for number in range(inputs):
                if number % PAUSE == 0:
                    levels.append(resident_mib())
                before = time.process_time()
                try:
                    feed(target, mutant(seeds, number), number, Path(folder))
                except Exception as error:
                    failures[type(error).__name__] += 1
                    failed.append(number)
                slowest = max(slowest, time.process_time() - before)
    more = grown(levels) if inputs > 2 * WARM else None
    return {
        "inputs": inputs,
        "failures": dict(failures),
        "failed_inputs": failed[:20],
        "slowest_s": round(slowest, 3),
        "memory_growth_mib": None if more is None else round(more, 1),
        "memory_flat": more is None or more < GROWTH_MIB,
        "cpu_s": round(time.process_time() - start, 1),
    }


def _elsewhere(name: str, inputs: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--inputs", str(inputs)]
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode:
        last = next(iter(done.stderr.strip().splitlines()[-1:]), "")
        return {"inputs": 0, "failures": {f"exit {done.returncode}": 1}, "last_line": last[:200]}
    return json.loads(done.stdout.splitlines()[-1])


def main() -> int:
    from targets import TARGETS

    from linksim.atomic import write_atomically
    from linksim.bench.machine import describe

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=LONG)
    parser.add_argument("--jobs", type=int, default=2, help="targets side by side")
    parser.add_argument("--only", nargs="*", choices=list(TARGETS), help="these targets")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", choices=list(TARGETS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(one(options.one, options.inputs)))
        return 0
    report: dict[str, Any] = {"command": COMMAND, "machine": describe(), "targets": {}}
    if options.out is not None and options.out.exists():
        report = json.loads(options.out.read_text())
    have = report["targets"]
    todo = [n for n in options.only or TARGETS if have.get(n, {}).get("inputs", 0) < options.inputs]
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(_elsewhere, name, options.inputs): name for name in todo}
        for future in as_completed(futures):
            have[futures[future]] = found = future.result()
            print(f"{futures[future]}: {found}", file=sys.stderr, flush=True)
            report["targets"] = {n: have[n] for n in TARGETS if n in have}
            if options.out is not None:
                write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())
    print(json.dumps(report, indent=1))
    bad = [n for n, t in have.items() if t["failures"] or not t.get("memory_flat", True)]
    if bad:
        print(f"failed: {', '.join(bad)}", file=sys.stderr)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
