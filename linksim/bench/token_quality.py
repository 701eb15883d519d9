"""``python -m linksim.bench.token_quality PICTURES``: the numbers behind ``parity: auto``, over validation pictures.

What a position costs by stages, context mode and base layer, how packets differ in size, and MSE and LPIPS by stages
and share of positions lost, altogether or but for a base layer. Writes ``linksim/link/token_quality.json`` with
``--out``, else JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from linksim import registry
from linksim.bench.pictures import load
from linksim.codec.token_layout import Layout, padded
from linksim.codec.tokens import Read, TokenCodec
from linksim.link.system import GREY
from linksim.link.token_quality import METRICS
from linksim.seeds import FrameSeeds

STAGES = tuple(range(1, 13))  # those that the weights have; some cost half of what others do
DESCRIPTIONS = (1, 2, 3, 5, 10)
PACKETS = 10
GONE = (0, 1, 2, 3, 5, 7, 9)  # of ten packets
BASES = (1, 2, 3, 5)  # stages of a base layer
TYPICAL = 0.65  # where in STAGES the sizes of packets are taken


@dataclass(frozen=True)
class Pictures:
    """Validation pictures and their tokens. Args: codec; images [B, H, W, 3] uint8."""

    codec: TokenCodec
    images: np.ndarray

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of positions."""
        return padded(*self.images.shape[1:3])

    @cached_property
    def tokens(self) -> np.ndarray:
        """[B, rows, columns, S]."""
        return self.codec.tokenise(self.images)

    @cached_property
    def _score(self) -> dict[str, Any]:
        return {name: registry.create("metrics", name) for name in METRICS}

    def costs(self, depth: int, descriptions: int, base: int = 0) -> np.ndarray:
        """Bits of each body, of the base layer and of the rest, [B, N, 2]."""
        total = depth * self.grid[0] * self.grid[1]
        stages = self.codec.stages
        layout = Layout(*self.grid, PACKETS, "random", descriptions, total, stages, base=base)
        return np.array(self.codec.estimate(self.tokens, [layout] * len(self.images)))

    def metrics(self, shown: np.ndarray) -> list[float]:
        """Means of METRICS."""
        return [round(float(self._score[n](self.images, shown).mean()), 5) for n in METRICS]

    def after_losses(self, depth: int, kept: int) -> list[list[float]]:
        """METRICS with each of GONE packets lost, whose positions keep their first ``kept`` stages."""
        count = len(self.images)
        seeds = FrameSeeds.of(1, count)
        order = seeds.child("lost").uniform(PACKETS).argsort(1)  # packets lost, first to last
        base = Layout(*self.grid, PACKETS, stages=self.codec.stages)
        layout = replace(base, tokens=depth * base.positions)
        cut = self.tokens.copy()
        cut[..., depth:] = -1
        found = []
        for gone in GONE:
            reads = []
            for b in range(count):
                lost = np.isin(np.arange(PACKETS), order[b, :gone])
                index = cut[b].copy().reshape(base.positions, -1)
                index[lost[base.packet_of], kept:] = -1
                reads.append(Read(index.reshape(cut[b].shape), ~lost))
            height, width = self.images.shape[1:3]
            shown = self.codec.conceal(reads, [layout] * count, height, width, seeds)
            found.append(self.metrics(shown))
        return found


def measure(codec: TokenCodec, images: np.ndarray) -> dict[str, Any]:
    """Args: images [B, H, W, 3] uint8. Returns: what ``TokenQuality.of`` takes, and sizes of packets."""
    pictures = Pictures(codec, images)
    stages = [s for s in STAGES if s <= codec.stages]
    bases = [b for b in BASES if b < stages[-1]]
    positions = pictures.grid[0] * pictures.grid[1]
    typical_depth = stages[round(TYPICAL * (len(stages) - 1))]
    costs = {(d, depth): pictures.costs(depth, d).sum(2) for d in DESCRIPTIONS for depth in stages}
    tables = []
    for kept in (0, *bases):
        tables.append(np.array([pictures.after_losses(depth, kept) for depth in stages]))
        print(f"positions that keep {kept} stages", file=sys.stderr)

    def each(value: Callable[[np.ndarray], float], digits: int) -> list[list[float]]:
        return [[round(value(costs[d, s]), digits) for s in stages] for d in DESCRIPTIONS]

    based = {(b, s): pictures.costs(s, PACKETS, b) for b in bases for s in stages if s >= b}
    heads = [based[b, stages[-1]][..., 0] for b in bases]  # [B, N]
    typical = {d: costs[d, typical_depth] for d in DESCRIPTIONS}
    return {
        "stages": stages,
        "descriptions": DESCRIPTIONS,
        "bits": each(lambda cost: float(cost.sum(1).mean()) / positions, 3),
        "longest": each(lambda cost: float((cost.max(1) / cost.mean(1)).mean()), 4),
        "sizes": {str(d): (c.mean(0) / c.mean()).round(3).tolist() for d, c in typical.items()},
        "lost": [gone / PACKETS for gone in GONE],
        **{name: tables[0][..., i].tolist() for i, name in enumerate(METRICS)},
        "bases": bases,
        "head_bits": [round(float(head.sum(1).mean()) / positions, 3) for head in heads],
        "head_longest": [round(float((h.max(1) / h.mean(1)).mean()), 4) for h in heads],
        "based_bits": [
            [
                round(float(based[b, s].sum((1, 2)).mean()) / positions, 3) if s >= b else 0.0
                for s in stages
            ]
            for b in bases
        ],
        "above": {
            name: [table[..., i].tolist() for table in tables[1:]] for i, name in enumerate(METRICS)
        },
        "nothing": dict(zip(METRICS, pictures.metrics(np.full_like(images, GREY)), strict=True)),
    }


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m linksim.bench.token_quality", description=__doc__
    )
    parser.add_argument("pictures", type=Path, help="tar of validation pictures of one size")
    parser.add_argument("--limit", type=int, default=64)
    parser.add_argument("--weights", default="tokens")
    parser.add_argument("--decoder", default="tokens-perceptual")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args(arguments)
    from linksim.errors import LinksimError

    try:
        images = load(given.pictures, given.limit)
        codec = TokenCodec(given.weights, decoder=given.decoder)
        found = {
            "command": f"python -m linksim.bench.token_quality {given.pictures.parent.name}/{given.pictures.name} "
            f"--limit {given.limit} --weights {given.weights} --decoder {given.decoder!r}",
            "digest": codec.digest.hex(),
            **measure(codec, images),
        }
    except (LinksimError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    lines = [f" {json.dumps(key)}: {json.dumps(value)}" for key, value in found.items()]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if given.out is None:
        print(text, end="")
    else:
        given.out.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
