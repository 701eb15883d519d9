"""``python -m linksim.bench.token_bits SCENARIO``: what the tokens of a scenario's pictures cost.

For every context mode and number of stages, over the scenario's images: bits a token at fixed length, under an adaptive
order-0 coder and under the transformer; the length of real bodies against the estimate, as it is and in whole bytes a
packet; the perplexity of each codebook. JSON on stdout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np

from linksim.bench.answer import answer
from linksim.codec.token_layout import Interleave, Layout, padded

OVERHEAD = 4  # bytes of header and check in each packet


def measure(
    weights: str,
    images: Sequence[np.ndarray],
    stages: Sequence[int],
    packets: int = 10,
    interleave: Interleave = "random",
) -> list[dict[str, Any]]:
    """A row for every number of stages and of descriptions. Args: images: each [H, W, 3] uint8, of one size."""
    from linksim.codec.tokens import TokenCodec, whole_bytes

    ours = TokenCodec(weights)
    others = {prior: TokenCodec(weights, prior) for prior in ("none", "order-0")}  # type: ignore[arg-type]
    grid = padded(*images[0].shape[:2])
    tokens = np.concatenate([ours.tokenise(image[None]) for image in images])
    rows = []
    for depth in stages:
        share = [
            np.bincount(tokens[..., s].reshape(-1)) / tokens[..., s].size for s in range(depth)
        ]
        perplexity = [float(np.exp2(-(p[p > 0] * np.log2(p[p > 0])).sum())) for p in share]
        total = depth * grid[0] * grid[1]
        for descriptions in sorted({1, 2, 3, 4, 5, packets} & set(range(1, packets + 1))):
            layout = Layout(
                *grid,
                packets,
                interleave,
                descriptions,
                total,
                ours.stages,
            )
            layouts = [layout] * len(tokens)
            bodies = ours.estimate(tokens, layouts)
            bits = {
                prior: float(np.sum(codec.estimate(tokens, layouts)))
                for prior, codec in others.items()
            } | {"transformer": float(np.sum(bodies))}
            whole = float(sum(whole_bytes(body).sum() for body in bodies))
            bytes_ = sum(len(data) for row in ours.pack(tokens, layouts) for data in row.bodies)
            count = total * len(tokens)
            headers = 8 * OVERHEAD * packets * len(tokens)
            rows.append(
                {
                    "stages": depth,
                    "descriptions": descriptions,
                    "images": len(tokens),
                    "bits_fixed": round(bits["none"] / count, 4),
                    "bits_order_0": round(bits["order-0"] / count, 4),
                    "bits_prior": round(bits["transformer"] / count, 4),
                    "saving_against_fixed": round(1 - bits["transformer"] / bits["none"], 4),
                    "saving_against_order_0": round(1 - bits["transformer"] / bits["order-0"], 4),
                    "real_against_order_0": round(1 - 8 * bytes_ / bits["order-0"], 4),
                    "real_over_estimate": round(8 * bytes_ / bits["transformer"], 4),
                    "real_over_whole_bytes": round(bytes_ / whole, 4),
                    "packets_over_estimate": round(
                        (8 * bytes_ + headers) / (bits["transformer"] + headers), 4
                    ),
                    "perplexity": [round(p, 1) for p in perplexity],
                }
            )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m linksim.bench.token_bits", description=__doc__)
    parser.add_argument("scenario", type=Path, help="whose pictures are measured")
    parser.add_argument("--set", action="append", default=[], help="as for `linksim run`")
    parser.add_argument("--weights", help="instead of those of the scenario's tokens")
    parser.add_argument("--stages", type=int, nargs="+", default=[1, 2, 3, 4, 6, 8])
    parser.add_argument("--packets", type=int, default=10)
    parser.add_argument("--interleave", default="random", choices=get_args(Interleave))
    given = parser.parse_args(arguments)
    from linksim import registry
    from linksim.scenario import load

    def rows() -> list[dict[str, Any]]:
        study = load(given.scenario, given.set)
        specs = [p.system_spec for p in study.points()]
        named = [
            spec["weights"] for spec in specs if spec.get("name") == "tokens" and "weights" in spec
        ]
        weights = given.weights or next(iter(named), "tokens")
        source = registry.create("images", study.image_spec, base=study.folder)
        images = [source.load(i) for i in range(len(source))]
        if len({image.shape for image in images}) != 1:
            raise ValueError("the pictures must be of one size; set images.size")
        return measure(weights, images, given.stages, given.packets, given.interleave)

    return answer(rows, ValueError)


if __name__ == "__main__":
    sys.exit(main())
