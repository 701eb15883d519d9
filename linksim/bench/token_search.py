"""``python -m linksim.bench.token_search TEST...``: what the encoder's tree search for tokens is worth.

The same pictures with tokens chosen stage by stage (1 survivor) and by the search with more, at several depths: the
quantiser's squared error, bits of a token under the transformer when each of ten packets decodes alone, PSNR and
LPIPS-alex with nothing lost. JSON on stdout.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linksim import registry
from linksim.bench.answer import answer
from linksim.bench.pictures import load
from linksim.codec.token_coder import Read
from linksim.codec.token_layout import Layout, padded
from linksim.codec.tokens import TokenCodec, engine, summed
from linksim.seeds import FrameSeeds

PACKETS = 10
AT_ONCE = 32


def measure(
    codec: TokenCodec, images: np.ndarray, survivors: Sequence[int], depths: Sequence[int]
) -> Iterator[dict[str, Any]]:
    """A row for each number of survivors and each depth.

    Args:   images [B,H,W,3] uint8, sides multiples of 16; depths: stages of every position.
    Yields: what was measured; ``error`` of a position, in y's unit (pixels of 0..1), PSNR in dB.
    """
    height, width = images.shape[1:3]
    grid = padded(height, width)
    net, books = engine(codec.weights).net, engine(codec.weights).books
    metrics = {name: registry.create("metrics", name) for name in ("psnr", "lpips-alex")}
    pieces = [images[i : i + AT_ONCE].astype(np.float32) for i in range(0, len(images), AT_ONCE)]
    y = [np.asarray(net.analyse(piece)) for piece in pieces]
    for number in survivors:
        found = [np.stack([np.asarray(t) for t in net.q.search(part, number)], -1) for part in y]
        whole = np.concatenate(found).astype(np.int16)
        for depth in depths:
            index = np.where(np.arange(codec.stages) < depth, whole, -1).astype(np.int16)
            layout = Layout(*grid, PACKETS, tokens=depth * grid[0] * grid[1], stages=codec.stages)
            layouts = [layout] * len(images)
            bits = sum(cost.sum() for cost in codec.estimate(whole, layouts))
            reads = [Read(part, np.ones(PACKETS, bool)) for part in index]
            shown = codec.conceal(reads, layouts, height, width, FrameSeeds.of(1, len(images)))
            error = np.square(np.concatenate(y) - summed(books, index)).sum(-1).mean()
            yield {
                "pictures": len(images),
                "survivors": number,
                "stages": depth,
                "error": round(float(error), 4),
                "bits_a_token": round(float(bits) / (layout.tokens * len(images)), 4),
                **{
                    name: round(float(score(images, shown).mean()), 4)
                    for name, score in metrics.items()
                },
            }


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m linksim.bench.token_search", description=__doc__
    )
    parser.add_argument("tests", type=Path, nargs="+", help="folders or tars of test pictures")
    parser.add_argument("--limit", type=int, default=24, help="pictures of a test set")
    parser.add_argument("--survivors", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--stages", type=int, nargs="+", default=[4, 8, 12])
    parser.add_argument("--decoder", default="tokens-perceptual")
    asked = parser.parse_args(arguments)
    codec = TokenCodec(decoder=asked.decoder)

    def rows() -> list[dict[str, Any]]:
        return [
            row
            for path in asked.tests
            for row in measure(codec, load(path, asked.limit), asked.survivors, asked.stages)
        ]

    return answer(rows)


if __name__ == "__main__":
    sys.exit(main())
