"""The laws that every packet loss process obeys, as measurements: a plug-in is put through them before it may run.

A process is a function of (num_packets, seed) that gives, for each frame, which of its packets are lost. A frame's
losses depend on its own seed alone, and the first packets of a longer frame are those of a shorter one. The process is
stationary **from the first packet on**: it does not start in a state of its own choice.

What a process may declare (attributes or properties)
  ``loss_rate``         closed form of the share of packets lost, in [0, 1].
  ``mean_burst``        closed form of the mean length of a run of losses [packets].
  ``stationary = False``  it starts in a state of its own, so the rate is that of a long run, not of the first packet.
  ``uses_seed = False``   every frame loses the same packets (a trace that is always read from one place).
  ``simulates = True``    each packet crosses a simulated link: fewer frames are drawn, unless told otherwise.
  ``examples(folder)``  parameter sets for tests, as in :mod:`linksim.channel.laws`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np

from linksim.laws import Broken, LawResult, NotApplicable, Outcome, measure, yes
from linksim.packet.losses import fault
from linksim.seeds import FrameSeeds, Seed
from linksim.types import ErasureProcess

Z = 4.0  # standard errors that a mean may be off: 1 in 16,000 for a process that is right


@dataclass(frozen=True)
class _Bench:
    process: ErasureProcess
    frames: int
    packets: int
    seed: Seed

    def seeds(self, count: int, name: str = "law") -> FrameSeeds:
        return FrameSeeds.of(self.seed.child(name), count)

    def lose(self, counts: list[int], seed: FrameSeeds) -> list[np.ndarray]:
        lost = self.process(counts, seed)
        problem = fault(lost, counts)
        if problem:
            raise Broken(problem)
        return lost

    @cached_property
    def lost(self) -> np.ndarray:
        """[frames, packets] bool."""
        return np.stack(self.lose([self.packets] * self.frames, self.seeds(self.frames)))

    def named(self, name: str) -> float:
        value = getattr(self.process, name, None)
        if value is None:
            raise NotApplicable(f"names no {name}")
        if not math.isfinite(float(value)):
            if name == "mean_burst" and self.lost.mean() in (0.0, 1.0):
                raise NotApplicable("loses all packets or none")
            raise Broken(f"{name} is {value}")
        return float(value)


def _shapes(bench: _Bench) -> Outcome:
    for counts in ([3, 0, 7], [1], [], [bench.packets] * 2):
        bench.lose(counts, bench.seeds(len(counts)))
    return yes(True, "one array of bool per frame, as long as the frame")


def _same_seed(bench: _Bench) -> Outcome:
    counts = [bench.packets] * 16
    first = bench.lose(counts, bench.seeds(16))
    bench.lose(counts, bench.seeds(16, "between"))
    same = _equal(first, bench.lose(counts, bench.seeds(16)))
    return yes(same, "bit for bit" if same else "two calls with the same arguments differ")


def _equal(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def _batch(bench: _Bench) -> Outcome:
    counts, seeds, order = [5, 9, 0, bench.packets, 7], bench.seeds(5), [3, 0, 4, 2, 1]
    whole = bench.lose(counts, seeds)
    alone = [bench.lose([c], seeds[i : i + 1])[0] for i, c in enumerate(counts)]
    if not _equal(whole, alone):
        return yes(False, "a frame depends on which others share its batch")
    turned = bench.lose([counts[i] for i in order], seeds.take(order))
    same = _equal([whole[i] for i in order], turned)
    return yes(same, "bit for bit" if same else "a frame depends on its place in the batch")


def _prefix(bench: _Bench) -> Outcome:
    short = bench.lose([bench.packets] * 8, bench.seeds(8))
    long = bench.lose([bench.packets + 13] * 8, bench.seeds(8))
    same = _equal(short, [one[: bench.packets] for one in long])
    text = "systems with frames of different lengths would meet other losses"
    return yes(same, "bit for bit" if same else text)


def _other_seed(bench: _Bench) -> Outcome:
    if bench.lost.mean() in (0.0, 1.0):
        raise NotApplicable("loses all packets or none")
    if getattr(bench.process, "uses_seed", True) is False:
        raise NotApplicable("declares uses_seed = False")
    distinct = len(np.unique(bench.lost, axis=0))
    if distinct == 1:
        raise Broken(f"{bench.frames} seeds give one and the same losses")
    return yes(True, f"{distinct} different losses from {bench.frames} seeds")


def _rate(bench: _Bench) -> Outcome:
    expected = bench.named("loss_rate")
    of_frame = bench.lost.mean(axis=1)
    measured = float(of_frame.mean())
    tolerance = Z * float(of_frame.std(ddof=1)) / math.sqrt(bench.frames) + _floor(bench, expected)
    text = f"over {bench.lost.size} packets (+-{tolerance:.4f})"
    return abs(measured - expected) <= tolerance, measured, expected, text


def _floor(bench: _Bench, rate: float) -> float:
    """What cannot be told apart where nothing was lost at all, or everything."""
    return 10 / bench.lost.size if 0 < rate < 1 else 0.0


def _stationary(bench: _Bench) -> Outcome:
    if getattr(bench.process, "stationary", True) is False:
        raise NotApplicable("declares stationary = False")
    expected = bench.named("loss_rate")
    measured = float(bench.lost[:, 0].mean())
    tolerance = Z * math.sqrt(expected * (1 - expected) / bench.frames) + _floor(bench, expected)
    text = f"of the first packet of {bench.frames} frames (+-{tolerance:.4f})"
    return abs(measured - expected) <= tolerance, measured, expected, text


def _positions(bench: _Bench) -> Outcome:
    """The position whose loss is farthest from that of all, in standard errors; no closed form is needed for it."""
    if getattr(bench.process, "stationary", True) is False:
        raise NotApplicable("declares stationary = False")
    if getattr(bench.process, "uses_seed", True) is False:
        raise NotApplicable("declares uses_seed = False")
    rate, of_position = float(bench.lost.mean()), bench.lost.mean(axis=0)
    if rate in (0.0, 1.0):
        raise NotApplicable("loses all packets or none")
    # Frames are independent. Where losses are rare their number is skewed, hence no less than 4 of them.
    error = math.sqrt(max(rate * (1 - rate), 4 / bench.frames) / bench.frames)
    off = np.abs(of_position - rate) / error
    worst = int(np.argmax(off))
    limit = Z + math.sqrt(2 * math.log(bench.packets)) / 2  # the largest of many
    text = f"standard errors, at packet {worst}: {of_position[worst]:.4f} against {rate:.4f} (at most {limit:.1f})"
    return bool(off[worst] <= limit), float(off[worst]), 0.0, text


def _burst(bench: _Bench) -> Outcome:
    expected = bench.named("mean_burst")
    lost = bench.lost
    losses = lost[:, :-1].sum(axis=1)
    if losses.sum() < 100:
        raise NotApplicable(f"{losses.sum()} losses are too few to tell")
    # 1 / mean burst = P(the next packet arrives | this one is lost), a ratio of two means over frames
    ends = (lost[:, :-1] & ~lost[:, 1:]).sum(axis=1)
    measured = float(ends.sum() / losses.sum())
    if measured == 0:
        raise Broken("no run of losses ever ends")
    residual = ends - measured * losses
    error = float(residual.std(ddof=1)) / math.sqrt(bench.frames) / float(losses.mean())
    low, high = (1 / (measured + Z * error), 1 / max(measured - Z * error, 1e-9))
    text = f"packets (the measured one is known to {low:.3g}..{high:.3g})"
    return low * (1 - 1e-9) <= expected <= high * (1 + 1e-9), 1 / measured, expected, text


SHAPES = "shapes and dtypes"

LAWS: dict[str, Callable[[_Bench], Outcome]] = {
    SHAPES: _shapes,
    "same seed, same losses": _same_seed,
    "other seeds, other losses": _other_seed,
    "batch and order invariance": _batch,
    "a longer frame begins like a shorter one": _prefix,
    "loss rate follows its closed form": _rate,
    "stationary from the first packet on": _stationary,
    "every position is lost alike": _positions,
    "mean burst follows its closed form": _burst,
}


def check_erasure(
    process: ErasureProcess,
    *,
    frames: int | None = None,
    packets: int | None = None,
    seed: int = 0,
    only: Iterable[str] | None = None,
) -> list[LawResult]:
    """Measure every law.

    Args:
      frames:  how many frames the averages run over, by default 4,000 (200 where the process ``simulates``).
      packets: of each frame, by default 40 (8).
      seed:    of the losses; another one is an independent look.
      only:    names of the laws to measure; by default all.
    Returns: results in the order of ``LAWS``; the first alone where shapes or dtypes are wrong. Raises nothing,
             whatever the process does.
    """
    dear = bool(getattr(process, "simulates", False))
    frames = frames or (200 if dear else 4000)
    packets = packets or (8 if dear else 40)
    bench = _Bench(process, frames, packets, Seed.root(seed).child("erasure laws"))
    first = measure(SHAPES, partial(_shapes, bench))
    if not first.passed:
        return [first]
    wanted = set(LAWS if only is None else only)
    return [
        first if name == SHAPES else measure(name, partial(law, bench))
        for name, law in LAWS.items()
        if name in wanted
    ]
