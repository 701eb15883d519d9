"""Measure the block error rates that AMC decides on.

    uv run python -m linksim.phy.measure_bler [--sizes 150 500 1500 3500 7000] [--max-blocks 15000] [--mcs 0 1 ..]

For every MCS and block size: from well inside the waterfall upwards in steps of 0.25 dB, until fewer than 1.25 % of
the blocks fail. Every point has at least 100 block errors or ``--max-blocks`` blocks (so that BLER 1e-2 is seen
with 100 errors). The seed of a point follows from its settings; finished sizes are kept, so that the command can be
stopped and started again.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from linksim import __version__
from linksim.errors import BudgetError
from linksim.phy import modem, thresholds
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE, Mcs
from linksim.seeds import Seed
from linksim.types import BlockPlan
from linksim.units import n0_from_es_n0_db

STEP_DB = 0.25
MIN_ERRORS = 100


def count_errors(
    code: Ldpc5G, plan: BlockPlan, es_n0_db: float, seed: Seed, max_blocks: int
) -> tuple[int, int]:
    """Send random blocks over AWGN until MIN_ERRORS failed or ``max_blocks`` were sent. Returns: errors, blocks."""
    n0 = n0_from_es_n0_db(es_n0_db)
    errors = blocks = 0
    batch = int(np.clip(2_000_000 // plan.coded_bits, 32, 1024))
    while errors < MIN_ERRORS and blocks < max_blocks:
        rng = seed.child(blocks).generator()
        bits = rng.integers(0, 2, (batch, plan.info_bits), np.uint8)
        x = modem.map_bits(code.encode(bits, plan), plan.num_bits_per_symbol)
        noise = rng.standard_normal((*x.shape, 2), np.float32) * np.float32(np.sqrt(n0 / 2))
        y = x + noise.view(np.complex64)[..., 0]
        ones = np.ones((batch, 1), np.complex64)
        llr = modem.demap(
            y,
            np.broadcast_to(ones, y.shape),
            np.full(y.shape, n0, np.float32),
            plan.num_bits_per_symbol,
        )
        decoded, ok, _ = code.decode(llr, plan)
        errors += int((~ok | (decoded != bits).any(axis=1)).sum())
        blocks += batch
    return errors, blocks


def plan_of_size(code: Ldpc5G, mcs: Mcs, info_bits: int) -> BlockPlan | None:
    """The single code block of about ``info_bits`` bits at this MCS; None if it takes more than one."""
    symbols = max(round(info_bits / mcs.efficiency), 1)
    try:
        plan = code.plan(symbols, mcs.num_bits_per_symbol, mcs.target_rate)
    except BudgetError:
        return None
    return plan if plan.num_code_blocks == 1 else None


def measure_size(code: Ldpc5G, mcs: Mcs, info_bits: int, max_blocks: int) -> list[dict]:
    """The waterfall of one MCS at one size, as rows of counts."""
    plan = plan_of_size(code, mcs, info_bits)
    if plan is None:
        return []
    bits = code._layout(plan).block_bits
    seed = Seed.root(38214).child(mcs.name, info_bits)
    start = thresholds.capacity_db(bits / plan.num_symbols)
    step = int(np.ceil((start + 0.3) / STEP_DB))
    rows: list[dict] = []
    while True:
        snr = step * STEP_DB
        errors, blocks = count_errors(code, plan, snr, seed.child(step), max_blocks)
        if errors < blocks * 0.97:
            rows.append(
                {
                    "mcs": mcs.name,
                    "num_bits_per_symbol": mcs.num_bits_per_symbol,
                    "target_rate": mcs.target_rate,
                    "num_symbols": plan.num_symbols,
                    "block_bits": bits,
                    "es_n0_db": snr,
                    "errors": errors,
                    "blocks": blocks,
                }
            )
        if errors < 0.0125 * blocks:
            return rows
        step += 1


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=thresholds.DATA)
    parser.add_argument("--sizes", type=int, nargs="+", default=[150, 500, 1500, 3500, 7000])
    parser.add_argument("--max-blocks", type=int, default=15_000)
    parser.add_argument("--mcs", type=int, nargs="+", default=list(range(len(TABLE))))
    args = parser.parse_args()
    code = Ldpc5G()
    table = {
        "what": "block errors of single 5G LDPC code blocks with their CRC on AWGN, Es/N0 per complex symbol",
        "decoder": f"linksim {__version__}, backend fast, profile fast, at most {code.num_iter} iterations",
        "command": "python -m linksim.phy.measure_bler",
        "points": [],
    }
    if args.out.is_file():
        table["points"] = json.loads(args.out.read_text())["points"]
    done = {(p["mcs"], p["size"]) for p in table["points"]}
    for size in args.sizes:
        for index in args.mcs:
            mcs = TABLE[index]
            if (mcs.name, size) in done:
                continue
            rows = measure_size(code, mcs, size, args.max_blocks)
            table["points"] += [{"size": size, **row} for row in rows]
            text = json.dumps(table, indent=0).replace(",\n", ", ").replace(', {', ',\n{')
            scratch = args.out.with_suffix(".tmp")
            scratch.write_text(text + "\n")
            os.replace(scratch, args.out)
            if rows:
                last = rows[-1]
                print(
                    f"{mcs.name} K'={last['block_bits']}: {last['errors']}/{last['blocks']} at "
                    f"{last['es_n0_db']:.2f} dB",
                    file=sys.stderr,
                    flush=True,
                )


if __name__ == "__main__":
    main()
