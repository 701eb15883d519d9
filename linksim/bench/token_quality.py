"""``python -m linksim.bench.token_quality PICTURES``: the numbers behind ``parity: auto``, over validation pictures.

What a position costs by stages and context mode, how packets differ in size, and MSE and LPIPS by stages and share of
positions lost. Writes ``linksim/link/token_quality.json`` with ``--out``, else JSON on stdout.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from linksim import registry
from linksim.codec.token_layout import Layout, padded
from linksim.codec.tokens import Read, TokenCodec
from linksim.link.system import GREY
from linksim.link.token_quality import METRICS
from linksim.seeds import FrameSeeds

STAGES = (1, 2, 3, 4, 6, 8)
DESCRIPTIONS = (1, 2, 3, 5, 10)
PACKETS = 10
GONE = (0, 1, 2, 3, 5, 7, 9)  # of ten packets
BASES = (1, 2, 3)  # stages of a base layer
TYPICAL = 6  # stages at which the sizes of packets are taken


def measure(codec: TokenCodec, images: np.ndarray) -> dict[str, Any]:
    """Args: images [B, H, W, 3] uint8. Returns: what ``TokenQuality.of`` takes, and sizes of packets."""
    height, width = images.shape[1:3]
    grid = padded(height, width)
    positions = grid[0] * grid[1]
    tokens = codec.tokenise(images)
    seeds = FrameSeeds.of(1, len(images))
    score = {name: registry.create("metrics", name) for name in METRICS}
    base = Layout(*grid, PACKETS, stages=codec.stages)
    order = seeds.child("lost").uniform(PACKETS).argsort(1)  # packets lost, first to last
    bits: list[list[float]] = [[] for _ in DESCRIPTIONS]
    longest: list[list[float]] = [[] for _ in DESCRIPTIONS]
    sizes: dict[str, list[float]] = {}
    tables: dict[str, list[list[float]]] = {name: [] for name in METRICS}

    def scores(depth: int, kept: int) -> list[dict[str, float]]:
        """For each of GONE, with ``kept`` stages left of lost positions."""
        cut = tokens.copy()
        cut[..., depth:] = -1
        layouts = [Layout(*grid, PACKETS, tokens=depth * positions, stages=codec.stages)]
        found = []
        for gone in GONE:
            reads = []
            for b in range(len(images)):
                lost = np.isin(np.arange(PACKETS), order[b, :gone])
                index = cut[b].copy().reshape(positions, -1)
                index[lost[base.packet_of], kept:] = -1
                reads.append(Read(index.reshape(cut[b].shape), ~lost))
            shown = codec.conceal(reads, layouts * len(images), height, width, seeds)
            metrics = {name: float(score[name](images, shown).mean()) for name in METRICS}
            found.append({name: round(value, 5) for name, value in metrics.items()})
        return found

    def costs(depth: int, base: int) -> np.ndarray:
        """Bits of a position beside the base layer and in it."""
        total = depth * positions
        layout = Layout(*grid, PACKETS, "random", 1, total, codec.stages, base=base)
        cost = np.array(codec.estimate(tokens, [layout] * len(images))).mean(0) / positions
        return np.round([cost[:-1].sum(), cost[-1]], 3)

    def above(depth: int, base: int) -> float:
        return 0.0 if depth <= base else float(costs(depth, base)[0])

    for depth in STAGES:
        for row, most, descriptions in zip(bits, longest, DESCRIPTIONS, strict=True):
            layout = Layout(*grid, PACKETS, "random", descriptions, depth * positions, codec.stages)
            cost = np.array(codec.estimate(tokens, [layout] * len(images)))
            row.append(round(float(cost.sum(1).mean()) / positions, 3))
            most.append(round(float((cost.max(1) / cost.mean(1)).mean()), 4))
            if depth == TYPICAL:
                sizes[str(descriptions)] = (cost.mean(0) / cost.mean()).round(3).tolist()
        for name in METRICS:
            tables[name].append([])
        for found in scores(depth, 0):
            for name in METRICS:
                tables[name][-1].append(found[name])
        print(f"{depth} stages", file=sys.stderr)
    above_bits = [[above(depth, b) for depth in STAGES] for b in BASES]
    above_tables: dict[str, list[list[list[float]]]] = {name: [] for name in METRICS}
    for b in BASES:
        rows = {name: [] for name in METRICS}
        for depth in STAGES:
            found = scores(depth, b)
            for name in METRICS:
                rows[name].append([one[name] for one in found])
        for name in METRICS:
            above_tables[name].append(rows[name])
        print(f"base layer of {b} stages", file=sys.stderr)
    grey = np.full_like(images, GREY)
    return {
        "stages": STAGES,
        "descriptions": DESCRIPTIONS,
        "bits": bits,
        "longest": longest,
        "sizes": sizes,
        "lost": [gone / PACKETS for gone in GONE],
        **tables,
        "bases": BASES,
        "base_bits": [float(costs(b + 1, b)[1]) for b in BASES],
        "above_bits": above_bits,
        "above": above_tables,
        "nothing": {name: round(float(score[name](images, grey).mean()), 5) for name in METRICS},
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
        spec = {"name": "tar", "path": str(given.pictures), "limit": given.limit}
        source = registry.create("images", spec)
        images = np.stack([source.load(i) for i in range(len(source))])
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
