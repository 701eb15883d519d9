"""Block errors of the LDPC decoders on the same LLRs, down eight waterfalls, as JSON.

    uv run python tests/benchmarks/bench_link.py [--smoke] [--out FILE] [--points N]

With --out, points that the file holds already are not measured again, so that it can be made in pieces. Speed is in
bench_suite.py.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

from linksim.atomic import write_atomically
from linksim.bench.bler import POINTS, measure
from linksim.bench.link import QAM
from linksim.bench.machine import describe

COMMAND = "python tests/benchmarks/bench_link.py --out results/benchmarks/bler.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a size that CI can afford")
    parser.add_argument("--out", type=Path, help="keep the rows here, and go on with what is there")
    parser.add_argument("--points", type=int, default=len(POINTS), help="measure at most so many")
    options = parser.parse_args()
    report = {"command": COMMAND, "machine": describe(), "rows": []}
    if options.out is not None and options.out.exists():
        report = json.loads(options.out.read_text())
    done = {(r["k"], r["n"], r["modulation"], r["es_n0_db"]) for r in report["rows"]}
    todo = [p for p in POINTS if (p[0], p[1], QAM[p[2]], p[3]) not in done][: options.points]
    limits = {"errors": 1, "bits": 1 << 17} if options.smoke else {}
    for row in measure(todo, progress=lambda text: print(text, file=sys.stderr), **limits):
        report["rows"].append(row)
        if options.out is not None:
            write_atomically(options.out, (json.dumps(report, indent=1) + "\n").encode())
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
