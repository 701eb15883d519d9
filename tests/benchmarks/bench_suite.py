"""The suite of ``linksim bench``, all sections, as JSON: what CI runs so that it cannot rot.

uv run python tests/benchmarks/bench_suite.py [--smoke]
"""

from __future__ import annotations

import argparse
import json
import sys

from linksim.bench import suite

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a size that CI can afford")
    smoke = parser.parse_args().smoke
    report = suite(smoke=smoke, progress=lambda name: print(f"{name} ...", file=sys.stderr))
    print(json.dumps(report, indent=2))
