"""One section of the suite in this process: ``python -m linksim.bench SECTION [--smoke]`` prints its rows as JSON."""

from __future__ import annotations

import argparse
import importlib
import json

from linksim.bench import SECTIONS

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("section", choices=SECTIONS)
    parser.add_argument("--smoke", action="store_true", help="sizes that take seconds")
    options = parser.parse_args()
    rows = importlib.import_module(f"linksim.bench.{options.section}").rows(options.smoke)
    print(json.dumps(rows))
