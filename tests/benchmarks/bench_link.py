"""Block errors of the LDPC decoders on the same LLRs, down eight waterfalls. Prints JSON.

    uv run python tests/benchmarks/bench_link.py [--smoke]

Ours (fast and quality profile) against Sionna's boxplus-phi with 20 flooding iterations. Speed is in bench_suite.py.
"""

from __future__ import annotations

import argparse
import json
import os

os.environ.update(TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1")

from linksim.bench.link import block_errors
from linksim.bench.machine import describe

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a size that CI can afford")
    smoke = parser.parse_args().smoke
    print(
        json.dumps({"machine": describe(), "rows": block_errors(64 if smoke else 2048)}, indent=2)
    )
