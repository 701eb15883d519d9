"""``python -m linksim.bench.mask_token TRAINING TEST...``: what a mask token can do without a prior.

One vector stands in for whatever is lost, in a decoder that is told of no loss, as MaskGIT's and ResiComp's mask tokens
do: the mean code, and two that are learned here by Adam over training pictures with the loss rate's share of ten
packets lost, one on ln MSE alone and one on LPIPS-squeeze beside it. Then the transformer's estimate in the same
decoder, over the same test pictures and losses. JSON on stdout, an entry for each test set.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linksim import registry
from linksim.bench.answer import answer
from linksim.bench.pictures import load
from linksim.codec.token_coder import Read
from linksim.codec.token_layout import Layout, padded
from linksim.codec.tokens import Conceal, Engine, TokenCodec, summed
from linksim.seeds import FrameSeeds, Seed

PACKETS = 10
BATCH = 16
AIMS = {"MSE": 0.0, "LPIPS": 12.0}  # nats of ln MSE that one of LPIPS-squeeze counts


def drawn(net: Any, y_hat: Any, there: Any, lost: Any, vector: Any) -> Any:
    """Pictures with a vector where positions are lost.

    Args:    y_hat [B,h,w,d] of all tokens; there [B,h,w,S], 1 where a stage is sent, lost or not; lost [B,h,w] 0 or 1;
             vector [d].
    Returns: tensor [B,16h,16w,3], not clipped.
    """
    hole = lost[..., None]
    return net.synthesise(y_hat * (1.0 - hole) + vector * hole, there)


def given(
    engine: Engine, index: np.ndarray, lost: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first arguments of ``drawn``. Args: index [B,h,w,S], -1 not sent; lost [B,h,w] bool."""
    there = (index >= 0).astype(np.float32)
    return summed(engine.books, index), there, lost.astype(np.float32)


def learn(
    engine: Engine,
    images: np.ndarray,
    index: np.ndarray,
    layout: Layout,
    steps: int,
    loss_rate: float,
    aim: str,
    rate: float,
) -> np.ndarray:
    """The vector that one of ``AIMS`` asks for, from the mean code on. Args: rate: of Adam, falling to 0.

    Returns: [d] float32.
    """
    import keras
    import tensorflow as tf

    net = engine.net  # made here, not inside the graph
    lpips = registry.create("metrics", "lpips-squeeze").tensors
    start = engine.mean[: int(np.ceil(layout.tokens / layout.positions))].sum(0)
    vector = tf.Variable(start)
    optimiser = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(rate, steps))
    optimiser.build([vector])

    @tf.function
    def slope(x: Any, y_hat: Any, there: Any, lost: Any) -> tuple[Any, Any]:
        with tf.GradientTape() as tape:
            shown = drawn(net, y_hat, there, lost, vector)
            error = tf.reduce_mean(tf.square(shown - x), (1, 2, 3))
            value = tf.reduce_mean(tf.math.log(error + 1.0))
            if weight := AIMS[aim]:
                value += weight * tf.reduce_mean(lpips(x, shown))
        return value, tape.gradient(value, vector)

    for step in range(steps):
        rng = Seed.root(0).child("mask-token", step).generator()
        rows = rng.choice(len(images), BATCH, replace=False)
        gone = rng.random((BATCH, PACKETS)) < loss_rate
        lost = gone[:, layout.packet_of].reshape(BATCH, layout.rows, layout.columns)
        value, found = slope(images[rows].astype(np.float32), *given(engine, index[rows], lost))
        optimiser.apply([found], [vector])
        if (step + 1) % 50 == 0:
            print(f"{aim}, step {step + 1}/{steps}: {float(value):.4f}", file=sys.stderr)
    return np.asarray(vector)


def measure(
    codec: TokenCodec,
    training: np.ndarray,
    tests: Sequence[np.ndarray],
    depth: int,
    loss_rate: float,
    steps: int,
    draws: int,
    rate: float = 0.1,
) -> list[dict[str, Any]]:
    """PSNR and LPIPS-alex of every filling, over each test set.

    Args: training, and each of tests, pictures [B, H, W, 3] uint8 of one size; depth: stages of every position.
    """
    engine = codec.painter
    grid = padded(*training.shape[1:3])
    layout = Layout(*grid, PACKETS, tokens=depth * grid[0] * grid[1], stages=codec.stages)

    def cut(images: np.ndarray) -> np.ndarray:
        index = codec.tokenise(images).astype(np.int64)
        index[..., depth:] = -1
        return index

    known = cut(training)
    vectors = {
        aim: learn(engine, training, known, layout, steps, loss_rate, aim, rate) for aim in AIMS
    }
    head = {"loss": loss_rate, "stages": depth, "draws": draws, "steps": steps, "rate": rate}
    return [
        {**head, "pictures": len(test)}
        | _compared(codec, test, cut(test), layout, vectors, loss_rate, draws)
        for test in tests
    ]


def _compared(
    codec: TokenCodec,
    test: np.ndarray,
    tokens: np.ndarray,
    layout: Layout,
    vectors: Mapping[str, np.ndarray],
    loss_rate: float,
    draws: int,
) -> dict[str, Any]:
    engine, grid = codec.painter, (layout.rows, layout.columns)
    index, pictures = np.repeat(tokens, draws, 0), np.repeat(test, draws, 0)
    seeds = FrameSeeds.of(1, len(index))
    gone = seeds.child("lost").uniform(PACKETS) < loss_rate
    lost = gone[:, layout.packet_of].reshape(len(index), *grid)
    kept = np.where(lost[..., None], -1, index)
    height, width = test.shape[1:3]

    def concealed(how: Conceal, tokens: np.ndarray) -> np.ndarray:
        reads = [Read(part.astype(np.int16), ~g) for part, g in zip(tokens, gone, strict=True)]
        return codec.conceal(reads, [layout] * len(reads), height, width, seeds, how)

    def masked(vector: np.ndarray) -> np.ndarray:
        parts = [
            drawn(engine.net, *given(engine, index[i : i + 32], lost[i : i + 32]), vector)
            for i in range(0, len(index), 32)
        ]
        shown = np.concatenate([np.asarray(part) for part in parts])[:, :height, :width]
        return np.clip(np.rint(shown), 0, 255).astype(np.uint8)

    shown = {
        "mean token": concealed("mean-token", kept),
        **{f"mask token learned on {aim}": masked(vector) for aim, vector in vectors.items()},
        "transformer": concealed("one-shot", kept),
        "learned vector, decoder trained with holes": concealed("none", kept),
        "nothing lost": concealed("none", index),
    }
    metrics = {name: registry.create("metrics", name) for name in ("psnr", "lpips-alex")}
    return {
        name: {
            metric: round(float(score(pictures, images).mean()), 4)
            for metric, score in metrics.items()
        }
        for name, images in shown.items()
    }


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m linksim.bench.mask_token", description=__doc__)
    parser.add_argument("training", type=Path, help="tar of training pictures of one size")
    parser.add_argument("tests", type=Path, nargs="+", help="folders or tars of test pictures")
    parser.add_argument("--limit", type=int, default=24, help="pictures of a test set")
    parser.add_argument("--stages", type=int, default=8)
    parser.add_argument("--loss", type=float, default=0.2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--rate", type=float, default=0.1, help="of Adam, falling to 0")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--decoder", default="tokens-perceptual")
    asked = parser.parse_args(arguments)

    return answer(
        lambda: measure(
            TokenCodec(decoder=asked.decoder),
            load(asked.training, 512),
            [load(path, asked.limit) for path in asked.tests],
            asked.stages,
            asked.loss,
            asked.steps,
            asked.draws,
            asked.rate,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
