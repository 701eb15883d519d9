"""Laws of dependence: a frame's fate follows from its own seed, and from nothing else."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from linksim.channel.lawbook.bench import ROUNDING, Bench, noise
from linksim.laws import Broken, NotApplicable, Outcome, yes
from linksim.seeds import FrameSeeds
from linksim.types import Received


def shapes(bench: Bench) -> Outcome:
    """Any number of frames and symbols gives arrays of the declared kind; x is left alone."""
    for frames, symbols in ((3, bench.symbols), (1, bench.symbols + 1), (2, 1)):
        x = bench.x(frames, symbols)
        before = x.copy()
        bench.send(x, bench.n0, bench.seeds(frames))
        if not np.array_equal(x, before):
            raise Broken("the channel writes into its input x")
    return yes(True, "y, h complex64; n0_eff float32; finite")


def fade_of_input(bench: Bench) -> Outcome:
    """h is the same whatever is sent and however loud the noise; an estimate may know the noise, never x."""
    estimated = bool(bench.imperfect) and not bench.distorts
    if bench.distorts:
        bench = bench.strict
    frames = min(bench.frames, 200)
    x, seeds, n0 = bench.x(frames), bench.seeds(frames), bench.n0
    h = bench.send(x, n0, seeds).h
    others = {
        "x": bench.send(2 * bench.x(frames, name="other x"), n0, seeds).h,
        "x (at 0)": bench.send(0 * x, n0, seeds).h,
    }
    if not estimated:
        others["n0"] = bench.send(x, 10 * n0, seeds).h
        others["n0 (at 0)"] = bench.send(x, 0.0, seeds).h
    broken = [name for name, other in others.items() if not np.array_equal(h, other)]
    declared = f"; declares {bench.imperfect}, so h may know n0" if estimated else ""
    return yes(
        not broken, f"changes with {', '.join(broken)}" if broken else "bit for bit" + declared
    )


def same_seed(bench: Bench) -> Outcome:
    """Two calls give the same bits."""
    frames = min(bench.frames, 64)
    x, seeds = bench.x(frames), bench.seeds(frames)
    first = bench.send(x, bench.n0, seeds)
    bench.send(x, bench.n0, bench.seeds(frames, "between"))
    again = bench.send(x, bench.n0, seeds)
    same = all(np.array_equal(p, q) for p, q in zip(first.full(), again.full(), strict=True))
    return yes(same, "bit for bit" if same else "two calls with the same arguments differ")


def other_seed(bench: Bench) -> Outcome:
    """Every seed has a noise of its own."""
    bench.demand_noise()
    frames = min(bench.frames, 64)
    x = np.repeat(bench.x(1), 2 * frames, axis=0)
    seeds = FrameSeeds((*bench.seeds(frames), *bench.seeds(frames, "other").seeds))
    w = noise(bench.send(x, bench.n0, seeds), x) / math.sqrt(bench.n0)
    # rounded: y - h x of one and the same w differs by float32 rounding from fade to fade
    distinct = len(np.unique(np.round(w, 3), axis=0))
    text = f"{distinct} different noises from {2 * frames} seeds"
    return distinct == 2 * frames, distinct, 2 * frames, text


def batch(bench: Bench) -> Outcome:
    """A frame does not depend on which others share its batch."""
    x, seeds = bench.x(5), bench.seeds(5)
    whole = bench.send(x, bench.n0, seeds)
    parts = [bench.send(x[a:b], bench.n0, seeds[a:b]) for a, b in ((0, 1), (1, 3), (3, 5))]
    apart = Received(*map(np.concatenate, zip(*(p.full() for p in parts), strict=True)))
    return _compare(whole, apart, "a frame depends on which others share its batch")


def order(bench: Bench) -> Outcome:
    """A frame does not depend on its place in the batch."""
    x, seeds, turned = bench.x(6), bench.seeds(6), np.array([4, 0, 5, 2, 1, 3])
    straight = bench.send(x, bench.n0, seeds).take(turned)
    other = bench.send(x[turned], bench.n0, seeds.take(turned))
    return _compare(straight, other, "a frame depends on its place in the batch")


def prefix(bench: Bench) -> Outcome:
    """Systems whose frames have different lengths meet the same fades and noise."""
    x, seeds = bench.x(4, bench.symbols + 37), bench.seeds(4)
    long = bench.send(x, bench.n0, seeds).slice(0, bench.symbols)
    short = bench.send(np.ascontiguousarray(x[:, : bench.symbols]), bench.n0, seeds)
    outcome = _compare(
        long, short, "systems with frames of different lengths would meet other fades"
    )
    if outcome[0] or not bench.distorts:
        return outcome
    # What is sent besides may disturb a symbol, as subcarriers do each other; fades and noise must stay.
    passed, worst, expected, text = prefix(bench.strict)
    return passed, worst, expected, f"{text}; on perfect(): declares {bench.imperfect}"


def _compare(a: Received, b: Received, otherwise: str) -> Outcome:
    worst = 0.0
    for one, other in zip(a.full(), b.full(), strict=True):
        scale = max(float(np.sqrt(np.mean(np.abs(one) ** 2))), 1e-30)
        worst = max(worst, float(np.abs(one - other).max()) / scale)
    if worst == 0:
        return yes(True, "bit for bit")
    if worst <= ROUNDING:
        text = f"largest difference over the rms, rounding of float32 (at most {ROUNDING:g})"
        return True, worst, 0.0, text
    return False, worst, 0.0, f"{otherwise} (largest difference over the rms)"


_ELSEWHERE = """
import json, sys
from pathlib import Path
from linksim import registry
from linksim.channel.lawbook import sameness
spec, base, symbols, n0 = json.loads(sys.argv[1])
print(sameness.fingerprint(registry.create("channels", spec, base=Path(base)), symbols, n0))
"""


def fingerprint(channel: Any, symbols: int, n0: float) -> str:
    """Digest of what a channel gives for fixed seeds and symbols."""
    import hashlib

    seeds = FrameSeeds.of(17, 4)
    x = seeds.child("x").complex_normal(symbols)
    found = hashlib.blake2b(digest_size=16)
    for array in channel(x, n0, seeds).full():
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()


def another_process(bench: Bench) -> Outcome:
    """A fresh process, with other hashes of strings, gives the same bits: a run can be resumed anywhere."""
    if bench.spec is None:
        raise NotApplicable(
            "measured by `linksim check channel` alone, which can build the channel again"
        )
    here = fingerprint(bench.channel, bench.symbols, bench.n0)
    arguments = json.dumps(
        [dict(bench.spec), str(bench.base or Path.cwd()), bench.symbols, bench.n0]
    )
    done = subprocess.run(
        [sys.executable, "-c", _ELSEWHERE, arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONHASHSEED": "4242", "TF_CPP_MIN_LOG_LEVEL": "3"},
        timeout=300,
    )
    if done.returncode:
        raise Broken(f"failed in another process: {done.stderr.strip().splitlines()[-1:]}")
    same = done.stdout.split()[-1:] == [here]
    return yes(
        same,
        "bit for bit" if same else "another process, with the same seeds, gives another output",
    )
