"""``python -m linksim.bench.mask_token TRAINING TEST``: what a mask token can do without a prior.

One vector stands in for whatever is lost, in a decoder that is told of no loss, as MaskGIT's and ResiComp's mask tokens
do: the mean code, and one that is learned here, by Adam on MSE and LPIPS-squeeze over training pictures with the loss
rate's share of ten packets lost. Then the transformer's estimate in the same decoder, over the same test pictures and
losses. JSON on stdout.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np

from linksim import registry
from linksim.bench.answer import answer
from linksim.codec.token_coder import Read
from linksim.codec.token_layout import Layout, padded
from linksim.codec.tokens import Conceal, Engine, TokenCodec, summed
from linksim.seeds import FrameSeeds, Seed

PACKETS = 10
BATCH = 16
RATE = 0.02  # of Adam, falling to 0
LPIPS_WEIGHT = 2.0  # nats of ln MSE that one of LPIPS-squeeze counts


def drawn(engine: Engine, index: np.ndarray, lost: np.ndarray, vector: Any) -> Any:
    """Pictures with a vector where positions are lost. Args: index [B,h,w,S]; lost [B,h,w] bool; vector [d].

    Returns: tensor [B,16h,16w,3], not clipped.
    """
    from keras import ops

    y_hat = summed(engine.books, index)
    filled = ops.where(lost[..., None], vector[None, None, None], y_hat)
    there = (index >= 0).astype(np.float32)
    there = np.where(lost[..., None], (index.max((0, 1, 2)) >= 0).astype(np.float32), there)
    return engine.net.synthesise(filled, there)


def learn(
    engine: Engine,
    images: np.ndarray,
    index: np.ndarray,
    layout: Layout,
    steps: int,
    loss_rate: float,
) -> np.ndarray:
    """The vector that MSE and LPIPS-squeeze ask for, from the mean code on. [d] float32."""
    import keras
    import tensorflow as tf

    lpips = registry.create("metrics", "lpips-squeeze").tensors
    start = engine.mean[: int(np.ceil(layout.tokens / layout.positions))].sum(0)
    vector = tf.Variable(start)
    optimiser = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps))
    optimiser.build([vector])
    for step in range(steps):
        rng = Seed.root(0).child("mask-token", step).generator()
        rows = rng.choice(len(images), BATCH, replace=False)
        gone = rng.random((BATCH, PACKETS)) < loss_rate
        lost = gone[:, layout.packet_of].reshape(BATCH, layout.rows, layout.columns)
        x = images[rows].astype(np.float32)
        with tf.GradientTape() as tape:
            shown = drawn(engine, index[rows], lost, vector)
            error = tf.reduce_mean(tf.square(shown - x), (1, 2, 3))
            value = tf.reduce_mean(tf.math.log(error + 1.0) + LPIPS_WEIGHT * lpips(x, shown))
        optimiser.apply([tape.gradient(value, vector)], [vector])
        if (step + 1) % 50 == 0:
            print(f"step {step + 1}/{steps}: {float(value):.4f}", file=sys.stderr)
    return np.asarray(vector)


def measure(
    codec: TokenCodec,
    training: np.ndarray,
    test: np.ndarray,
    depth: int,
    loss_rate: float,
    steps: int,
    draws: int,
) -> dict[str, Any]:
    """PSNR and LPIPS-alex of three fillings. Args: pictures [B, H, W, 3] uint8; depth: stages of every position."""
    engine = codec.painter
    grid = padded(*test.shape[1:3])
    layout = Layout(*grid, PACKETS, tokens=depth * grid[0] * grid[1], stages=codec.stages)

    def cut(images: np.ndarray) -> np.ndarray:
        index = codec.tokenise(images).astype(np.int64)
        index[..., depth:] = -1
        return index

    vector = learn(engine, training, cut(training), layout, steps, loss_rate)
    index = np.repeat(cut(test), draws, 0)
    pictures = np.repeat(test, draws, 0)
    seeds = FrameSeeds.of(1, len(index))
    gone = seeds.child("lost").uniform(PACKETS) < loss_rate
    lost = gone[:, layout.packet_of]
    learned = [
        np.asarray(drawn(engine, index[i : i + 32], lost[i : i + 32].reshape(-1, *grid), vector))
        for i in range(0, len(index), 32)
    ]
    kept = np.where(lost.reshape(len(index), *grid, 1), -1, index)
    reads = [Read(part.astype(np.int16), ~g) for part, g in zip(kept, gone, strict=True)]

    def concealed(how: Conceal, given: list[Read] = reads) -> np.ndarray:
        height, width = test.shape[1:3]
        return codec.conceal(given, [layout] * len(given), height, width, seeds, how)

    whole = [Read(i.astype(np.int16), np.ones_like(g)) for i, g in zip(index, gone, strict=True)]

    shown = {
        "mean token": concealed("mean-token"),
        "learned mask token": np.clip(np.rint(np.concatenate(learned)), 0, 255).astype(np.uint8),
        "transformer": concealed("one-shot"),
        "learned vector, decoder trained with holes": concealed("none"),
        "nothing lost": concealed("none", whole),
    }
    found: dict[str, Any] = {
        "loss": loss_rate,
        "stages": depth,
        "pictures": len(test),
        "draws": draws,
    }
    for name, images in shown.items():
        scores = {
            metric: float(registry.create("metrics", metric)(pictures, images).mean())
            for metric in ("psnr", "lpips-alex")
        }
        found[name] = {metric: round(value, 4) for metric, value in scores.items()}
    return found


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m linksim.bench.mask_token", description=__doc__)
    parser.add_argument("training", type=Path, help="tar of training pictures of one size")
    parser.add_argument("test", type=Path, help="folder or tar of test pictures")
    parser.add_argument("--limit", type=int, default=24, help="test pictures")
    parser.add_argument("--stages", type=int, default=8)
    parser.add_argument("--loss", type=float, default=0.2)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--decoder", default="tokens-perceptual")
    given = parser.parse_args(arguments)

    def pictures(path: Path, limit: int) -> np.ndarray:
        kind = "tar" if path.suffix == ".tar" else "folder"
        more = {} if kind == "tar" else {"recursive": True, "size": 128}
        source = registry.create(
            "images", {"name": kind, "path": str(path), "limit": limit, **more}
        )
        return np.stack([source.load(i) for i in range(len(source))])

    return answer(
        lambda: measure(
            TokenCodec(decoder=given.decoder),
            pictures(given.training, 512),
            pictures(given.test, given.limit),
            given.stages,
            given.loss,
            given.steps,
            given.draws,
        )
    )


if __name__ == "__main__":
    sys.exit(main())
