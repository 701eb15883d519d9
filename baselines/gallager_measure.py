"""Measure the Gallager codes' block error rates on AWGN: python -m baselines.gallager_measure

Counts, not rates: per code, modulation and Es/N0 it runs until ``--errors`` block errors or ``--blocks`` blocks, from
an SNR where most blocks fail up to one where less than ``--stop`` do. Curves are merged into the table next to the
codec, one by one as they are done, together with the command.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np

from baselines.gallager import COUNTS, Gallager, curve_name
from linksim.seeds import Seed
from linksim.units import n0_from_es_n0_db

# modulation -> degrees that the MCS table asks of it, and where the search starts: Es/N0 [dB] with many in error
STARTS = {
    (2, 3, 4): -1.0, (2, 3, 6): 1.0, (2, 3, 9): 3.0,
    (4, 3, 6): 6.5, (4, 3, 9): 8.5,
    (6, 3, 6): 10.5, (6, 3, 9): 13.0, (6, 3, 12): 14.5,
    (8, 3, 9): 17.5, (8, 3, 12): 19.0,
}  # fmt: skip
_CHUNK = 50
_MOST = 0.8


def pam_levels(bits_per_axis: int) -> np.ndarray:
    """Amplitudes of the Gray labels 0..2^m-1 of 38.211, clause 5.1, one axis, at half the power of a QAM symbol."""
    levels = np.zeros(1 << bits_per_axis)
    for label in range(1 << bits_per_axis):
        signs = [1 - 2 * (label >> k & 1) for k in range(bits_per_axis - 1, -1, -1)]
        value = 1.0
        for step, sign in enumerate(reversed(signs[1:])):
            value = 2 ** (step + 1) - sign * value
        levels[label] = signs[0] * value
    return levels / np.sqrt(2 * np.mean(levels**2))


def soft_bits(y: np.ndarray, levels: np.ndarray, n0: float) -> np.ndarray:
    """Exact LLRs of one axis. Args: y [...]; n0 per complex symbol. Returns: [..., m], ln p(1)/p(0)."""
    metric = -((y[..., None] - levels) ** 2) / n0
    ones = [np.arange(len(levels)) >> k & 1 for k in range(len(levels).bit_length() - 2, -1, -1)]
    return np.stack(
        [
            np.logaddexp.reduce(metric[..., one == 1], axis=-1)
            - np.logaddexp.reduce(metric[..., one == 0], axis=-1)
            for one in ones
        ],
        axis=-1,
    )


def count(
    code: Gallager, d_v: int, d_c: int, qm: int, es_n0_db: float, errors: int, blocks: int
) -> tuple[int, int]:
    """Block errors and blocks on AWGN, the all-zero word sent under a random scrambler."""
    levels, n0 = pam_levels(qm // 2), n0_from_es_n0_db(es_n0_db)
    weights = 1 << np.arange(qm // 2 - 1, -1, -1)
    seen = wrong = 0
    while wrong < errors and seen < blocks:
        rng = Seed.root(1963).child(d_v, d_c, qm, es_n0_db, seen).generator()
        mask = rng.integers(0, 2, (_CHUNK, code.block_bits // (qm // 2), qm // 2))
        sent = levels[mask @ weights]
        y = sent + np.sqrt(n0 / 2) * rng.standard_normal(sent.shape)
        llr = soft_bits(y, levels, n0) * (1 - 2 * mask)
        words = code.decode_words(llr.reshape(_CHUNK, -1), d_v, d_c)
        wrong += int(words.any(axis=1).sum())
        seen += _CHUNK
    return wrong, seen


def measure(code: Gallager, args: argparse.Namespace) -> None:
    """All curves, each written as soon as it is done."""
    options = ("block_bits", "num_iter", "errors", "blocks", "stop", "step")
    command = "python -m baselines.gallager_measure " + " ".join(
        f"--{name.replace('_', '-')} {getattr(args, name):g}" for name in options
    )
    for (qm, d_v, d_c), start in STARTS.items():
        if code.block_bits % (qm // 2):
            continue
        name = curve_name(code.block_bits, code.num_iter, d_v, d_c, qm)
        points: list[list[float]] = []
        while not points or points[0][1] < _MOST * points[0][2]:  # down to where most blocks fail
            at = round(start - args.step * len(points), 3)
            points.insert(0, [at, *count(code, d_v, d_c, qm, at, args.errors, args.blocks)])
        while points[-1][1] > args.stop * points[-1][2]:  # and up
            at = round(points[-1][0] + args.step, 3)
            points.append([at, *count(code, d_v, d_c, qm, at, args.errors, args.blocks)])
        print(f"{name}: {points}", file=sys.stderr, flush=True)
        _merge(args.out, name, points, command)


def _merge(path: Path, name: str, points: list[list[float]], command: str) -> None:
    table = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"curves": {}}
    table["about"] = (
        "[Es/N0 dB, block errors, blocks] on AWGN, exact demapping, sum-product, no CRC"
    )
    table["command"] = command
    table["curves"][name] = points
    lines = ",\n".join(f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in table["curves"].items())
    head = {k: table[k] for k in ("about", "command")}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(head)[:-1] + ',\n"curves": {\n' + lines + "\n}}\n", encoding="utf-8")
    os.replace(part, path)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--block-bits", type=int, default=576)
    parser.add_argument("--num-iter", type=int, default=20)
    parser.add_argument("--errors", type=int, default=100)
    parser.add_argument("--blocks", type=int, default=12000)
    parser.add_argument("--stop", type=float, default=0.02)
    parser.add_argument("--step", type=float, default=0.4)
    parser.add_argument("--out", type=Path, default=COUNTS)
    args = parser.parse_args()
    measure(Gallager(args.block_bits, args.num_iter), args)


if __name__ == "__main__":
    main()
