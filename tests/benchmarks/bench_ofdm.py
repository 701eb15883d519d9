"""The wideband link beside Sionna's OFDM chain: grids per second, and LMMSE estimation. Prints JSON.

uv run python tests/benchmarks/bench_ofdm.py [--smoke]
"""

from __future__ import annotations

import argparse
import json

from linksim.bench import suite

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a size that CI can afford")
    print(json.dumps(suite(["ofdm"], smoke=parser.parse_args().smoke), indent=2))
