"""Measure the block error rates that AMC decides on.

    uv run python -m linksim.phy.measure_bler [--sizes 1000 160 ..] [--mcs 0 1 ..] [--workers 2]

For every MCS and block size (a single code block with its CRC, decoded by the default ``Ldpc5G``): find the waterfall
with batches of 128 blocks, then count where the fit so far expects a block error rate of 0.1, then of 0.01, each until
100 blocks failed, and of 0.001 where that is cheap. The seed of a count follows from its settings. Finished entries are
kept, so the command can be stopped and started again; delete the file to begin anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from linksim import __version__
from linksim.atomic import write_atomically
from linksim.errors import BudgetError
from linksim.phy import modem, thresholds
from linksim.phy.ldpc5g import Ldpc5G
from linksim.phy.mcs import TABLE, Mcs
from linksim.phy.transport_block import Layout, layout
from linksim.seeds import Seed
from linksim.types import BlockPlan
from linksim.units import n0_from_es_n0_db

# Bits of the code block. Most useful first, so that a table cut short serves too.
SIZES = (1000, 160, 8216, 3840, 64, 280, 3900, 400, 2400)
MIN_ERRORS = 100
SEARCH_BLOCKS = 128
MAX_SYMBOLS = 20_000  # of a block: no frame of interest is longer
LOW_RATE_SYMBOLS = 3_000_000  # spent at most on the count near 1e-3


def count_errors(
    code: Ldpc5G, plan: BlockPlan, es_n0_db: float, seed: Seed, min_errors: int, max_blocks: int
) -> tuple[int, int]:
    """Send random blocks over AWGN until ``min_errors`` failed or ``max_blocks`` were sent.

    Returns: errors, blocks.
    """
    n0 = n0_from_es_n0_db(es_n0_db)
    errors = blocks = 0
    batch = int(np.clip(1_000_000 // plan.num_symbols, 64, 1024))
    while errors < min_errors and blocks < max_blocks:
        size = min(batch, max_blocks - blocks)
        rng = seed.child(blocks).generator()
        bits = rng.integers(0, 2, (size, plan.info_bits), np.uint8)
        x = modem.map_bits(code.encode(bits, plan), plan.num_bits_per_symbol)
        noise = rng.standard_normal((*x.shape, 2), np.float32) * np.float32(np.sqrt(n0 / 2))
        y = x + noise.view(np.complex64)[..., 0]
        one, level = np.ones((1, 1), np.complex64), np.full((1, 1), n0, np.float32)
        llr = modem.demap(
            y,
            np.broadcast_to(one, y.shape),
            np.broadcast_to(level, y.shape),
            plan.num_bits_per_symbol,
        )
        decoded, ok, _ = code.decode(llr, plan)
        errors += int((~ok | (decoded != bits).any(axis=1)).sum())
        blocks += size
    return errors, blocks


def plan_of_size(code: Ldpc5G, mcs: Mcs, block_bits: int) -> tuple[BlockPlan, Layout] | None:
    """The single code block of about K' = ``block_bits`` at this MCS, or None if there is none within 12 %."""
    crc_bits = 24 if block_bits > 3840 else 16
    symbols = round((block_bits - crc_bits) / mcs.efficiency)
    try:
        plan = code.plan(symbols, mcs.num_bits_per_symbol, mcs.target_rate)
        block = layout(symbols, mcs.num_bits_per_symbol, mcs.target_rate)
    except BudgetError:
        return None
    fits = plan.num_code_blocks == 1 and abs(block.block_bits / block_bits - 1) < 0.12
    return (plan, block) if fits and symbols <= MAX_SYMBOLS else None


def measure(mcs: Mcs, size: int) -> dict[str, Any]:
    """The waterfall of one MCS at one size, as counts.

    Raises: BudgetError: if there is no such block.
    """
    code = Ldpc5G()
    planned = plan_of_size(code, mcs, size)
    if planned is None:
        raise BudgetError(f"{mcs.name} makes no single code block of about {size} bits")
    plan, block = planned
    seed = Seed.root(38214).child(mcs.name, size)
    points: list[tuple[float, int, int]] = []

    def count(snr: float, min_errors: int, max_blocks: int) -> float:
        snr = round(snr, 2)
        errors, blocks = count_errors(
            code, plan, snr, seed.child(f"{snr:.2f}", max_blocks), min_errors, max_blocks
        )
        points.append((snr, errors, blocks))
        return errors / blocks

    capacity_db = thresholds.capacity_db(block.block_bits / plan.num_symbols)
    _find_waterfall(count, points, capacity_db, block)

    def expected_at(rate: float) -> float:
        from scipy.special import ndtri

        middle, width = thresholds.fit(points)
        return middle - width * float(ndtri(rate))

    count(expected_at(0.1), MIN_ERRORS, 4_000)
    for _ in range(3):  # until the count lies near 1e-2 (the fit sharpens with every one)
        if 0.005 < count(expected_at(0.01), MIN_ERRORS, 40_000) < 0.02:
            break
    blocks = LOW_RATE_SYMBOLS // plan.num_symbols
    if blocks * 0.001 > 10:
        count(expected_at(0.001), MIN_ERRORS, blocks)
    return {
        "mcs": mcs.name,
        "num_bits_per_symbol": mcs.num_bits_per_symbol,
        "target_rate": mcs.target_rate,
        "size": size,
        "base_graph": block.base_graph,
        "block_bits": block.block_bits,
        "num_symbols": plan.num_symbols,
        "points": sorted(points),
    }


def _find_waterfall(
    count: Callable[[float, int, int], float],
    points: thresholds.Counts,
    capacity_db: float,
    block: Layout,
) -> None:
    """Count SEARCH_BLOCKS at a time until ``points`` have a waterfall in them."""
    step = max(0.12, 8 / block.block_bits**0.5)
    low, high = -np.inf, np.inf  # all fail, none fails
    snr, stride = capacity_db + 0.8 + 20 / block.block_bits**0.5, step
    while True:
        rate = count(snr, SEARCH_BLOCKS, SEARCH_BLOCKS)
        if 0.05 <= rate <= 0.95:
            break
        low, high = (snr, high) if rate > 0.5 else (low, snr)
        if np.isfinite(low) and np.isfinite(high):
            snr = (low + high) / 2
        else:
            snr, stride = (snr + stride if rate > 0.5 else snr - stride), 2 * stride
    sign = 1 if rate > 0.3 else -1
    while True:
        count(snr + sign * step, SEARCH_BLOCKS, SEARCH_BLOCKS)
        try:
            thresholds.fit(points)
            return
        except ValueError:  # all or none failed there, or chance made the rate rise
            sign, step = -sign, max(0.7 * step, 0.05)


def _task(index: int, size: int) -> dict[str, Any]:
    return measure(TABLE[index], size)


def _save(path: Path, entries: list[dict[str, Any]]) -> None:
    code = Ldpc5G()
    order = {mcs.name: mcs.index for mcs in TABLE}
    rows = sorted(entries, key=lambda e: (order[e["mcs"]], e["block_bits"]))
    head = {
        "what": "block errors of single 5G LDPC code blocks on AWGN; points are [es_n0_db, errors, blocks]",
        "decoder": {
            "backend": code.backend,
            "profile": code.profile,
            "num_iter": code.num_iter,
            "schedule": "layered, stop on syndrome",
            "linksim": __version__,
        },
        "command": "python -m linksim.phy.measure_bler",
    }
    lines = ",\n".join(json.dumps(row) for row in rows)
    text = json.dumps(head, indent=1)[:-2] + ',\n "entries": [\n' + lines + "\n]}\n"
    write_atomically(path, text.encode())


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description="Measure the block error rates that AMC uses.")
    parser.add_argument("--out", type=Path, default=thresholds.DATA)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES))
    parser.add_argument("--mcs", type=int, nargs="+", default=list(range(len(TABLE))))
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    entries = json.loads(args.out.read_text())["entries"] if args.out.is_file() else []
    done = {(e["mcs"], e["block_bits"]) for e in entries}
    tasks = []
    for size in args.sizes:
        for mcs in (TABLE[i] for i in args.mcs):
            planned = plan_of_size(Ldpc5G(), mcs, size)
            block = (mcs.name, planned[1].block_bits) if planned else None
            if block and block not in done:  # two sizes may come to one block
                done.add(block)
                tasks.append((mcs.index, size))
    with ProcessPoolExecutor(args.workers, mp_context=get_context("spawn")) as pool:
        for future in as_completed([pool.submit(_task, *task) for task in tasks]):
            entry = future.result()
            entries.append(entry)
            _save(args.out, entries)
            near = min(entry["points"], key=lambda p: abs(np.log(max(p[1], 0.1) / p[2] / 0.01)))
            print(
                f"{entry['mcs']} K'={entry['block_bits']}: {near[1]}/{near[2]} at {near[0]:.2f} dB",
                file=sys.stderr,
                flush=True,
            )


if __name__ == "__main__":
    main()
