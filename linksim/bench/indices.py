"""``python -m linksim.bench.indices SCENARIO``: what the indices of a distributed system's pictures cost.

For every mode, over the scenario's images: bits of all indices at fixed length, under an adaptive order-0 coder and
under the transformer prior; the length of real packets against its estimate, with all and with a share of the indices;
the perplexity of each codebook.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from linksim.bench.answer import answer
from linksim.codec.dsc import Mode

MODES: tuple[Mode, ...] = ("distributed", "joint", "separate")
SHARES = (0.1, 0.2, 0.5, 1.0)  # of the indices


def measure(
    weights: str, images: list[np.ndarray], sides: list[np.ndarray]
) -> list[dict[str, Any]]:
    """A row for every mode. Args: images, sides: each [H, W, 3] uint8."""
    from linksim.codec.dsc import Dsc, engine

    rows = []
    for mode in MODES:
        bits = dict.fromkeys(("none", "order-0", "transformer"), 0.0)
        parts = {share: [0.0, 0.0] for share in SHARES}
        counts = [np.zeros(k) for k in engine(weights).cfg.sizes]
        for image, side in zip(images, sides, strict=True):
            seen = side if mode == "joint" else None
            for prior in bits:
                cost = Dsc(weights, mode, prior).cost(image, seen)  # type: ignore[arg-type]
                bits[prior] += cost.estimate
                if prior == "transformer":
                    for count, index in zip(counts, cost.index, strict=True):
                        count += np.bincount(index.reshape(-1), minlength=len(count))
            codec = Dsc(weights, mode)
            for share, sums in parts.items():
                cost = codec.cost(image, seen, share)
                sums[0] += cost.estimate
                sums[1] += cost.real
        pixels = sum(image.shape[0] * image.shape[1] for image in images)
        used = [c[c > 0] / c.sum() for c in counts]
        rows.append(
            {
                "mode": mode,
                "images": len(images),
                "bpp_fixed": bits["none"] / pixels,
                "bpp_order_0": bits["order-0"] / pixels,
                "bpp_prior": bits["transformer"] / pixels,
                "saving_against_fixed": 1 - bits["transformer"] / bits["none"],
                "saving_against_order_0": 1 - bits["transformer"] / bits["order-0"],
                "real_over_estimate": [
                    {"bpp": real / pixels, "ratio": real / estimate}
                    for estimate, real in parts.values()
                ],
                "perplexity": [round(float(np.exp2(-(p * np.log2(p)).sum())), 1) for p in used],
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m linksim.bench.indices", description=__doc__)
    parser.add_argument("scenario", type=Path, help="with a distributed system")
    parser.add_argument("--set", action="append", default=[], help="as for `linksim run`")
    given = parser.parse_args(arguments)
    from linksim import registry
    from linksim.errors import LinksimError
    from linksim.image.pairs import side_of
    from linksim.scenario import load

    def rows() -> list[dict[str, Any]]:
        study = load(given.scenario, given.set)
        specs = [p.system_spec for p in study.points() if "weights" in p.system_spec]
        if not specs:
            raise LinksimError(f"{given.scenario} has no distributed system")
        source = registry.create("images", study.image_spec, base=study.folder)
        images = [source.load(i) for i in range(len(source))]
        sides = [side_of(source, i) for i in range(len(source))]
        return measure(specs[0]["weights"], images, sides)

    return answer(rows)


if __name__ == "__main__":
    sys.exit(main())
