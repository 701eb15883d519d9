"""The training tasks of the tokeniser: all numbers of tokens in one network, by MSE and by perception."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from linksim.model.layers import hat_basis
from linksim.model.store import HasParts
from linksim.model.token_net import STRIDE, TokenConfig, TokenNet, there_at
from linksim.train.codebooks import perplexity, start_quantiser
from linksim.train.perceptual import Perceptual, WithCritic, critic_loss, generator_terms
from linksim.train.start import principal_axes
from linksim.train.task import Task
from linksim.train.tokens_golden import differences, golden
from linksim.train.turn import Turn

WHOLE_STAGES = 0.5  # share of images whose last stage is complete
LOSSES = 0.15  # share of images that lose positions
LOSSES_FILLED = 0.6  # the same where a prior fills them in
FILLED = (
    0.75  # share of these whose lost positions show the prior's estimate, the others the mean token
)
MOST_LOST = 0.5  # of their positions
WITH_BASE = 0.4  # share of the pictures with losses whose lost positions keep a base layer
MOST_BASE = 5  # stages of it
BETA = 0.25  # of the commitment
START_IMAGES = 700  # that the linear maps and codebooks start from
BEST = 0.5  # NTC's quality that all stages together stand for at the start
LOST = 0.2  # share of positions lost in validation


@dataclass(frozen=True)
class TokensTask(Task):
    """ln MSE at every number of tokens; ``options`` are those of TokenConfig."""

    figure_axes: ClassVar = ("bpp", "psnr")
    low_precision: ClassVar[tuple[str, ...]] = ("g_a", "g_s")

    def network(self) -> Any:
        """A fresh network; its variables are drawn from the run's seed."""
        import keras

        keras.utils.set_random_seed(self.seed.child("weights").integer())
        options = {k: v for k, v in self.config.options.items() if k != "perceptual"}
        return TokenNet(TokenConfig(**options))

    def begin(self, net: TokenNet, loaded: frozenset[str]) -> None:
        """The linear maps and codebooks, fitted to what g_a says of training images."""
        if {"down", "up", "q"} <= loaded:
            return
        x = self.images.batch(-1, START_IMAGES)
        if "g_s" in loaded:
            for table in _films(net.g_s):  # NTC's qualities become numbers of stages
                anchors = len(table.numpy())
                share = np.asarray(hat_basis(np.linspace(0, BEST, anchors, dtype="f"), anchors))
                table.assign(share @ table.numpy())
        else:
            axes, deviation = principal_axes(x, STRIDE, net.cfg.transforms.latent)
            for part, matrix in ((net.g_a, axes.T), (net.g_s, axes)):
                part.linear.matrix.assign(matrix.astype(np.float32))
                part.linear.log_scale.assign(np.log(deviation).astype(np.float32))
        latents = _in_pieces(net.latents, x)
        start_maps(net, latents.reshape(-1, latents.shape[-1]))
        y = np.asarray(net.down(latents))
        start_quantiser(net.q, y, self.seed.child("codebooks").generator())

    def batch(self, step: int, net: Any) -> dict[str, np.ndarray]:
        """Everything random about a step, drawn outside the compiled function."""
        cfg, size = net.cfg, self.config.batch
        x = self.images.batch(step, size)
        rng = self.seed.child("tokens", step).generator()
        # one draw per stratum: a batch covers all rates
        u = (rng.permutation(size) + rng.random(size)) / size
        grid = (x.shape[1] // STRIDE, x.shape[2] // STRIDE)
        losses = LOSSES_FILLED if cfg.prior else LOSSES
        made = [self._there(cfg, 0.3 + (cfg.stages - 0.3) * v, grid, rng, losses) for v in u]
        there, gone = (np.stack(part) for part in zip(*made, strict=True))
        filled = (rng.random(size) < FILLED)[:, None, None] & gone
        return {
            "x": x,
            "there": there,
            "filled": filled.astype(np.float32),
            "revive": rng.integers(0, 1 << 30, (cfg.stages, cfg.codes)).astype(np.int32),
        }

    @staticmethod
    def _there(
        cfg: TokenConfig, level: float, grid: tuple[int, int], rng: Any, losses: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Tokens that are there [h,w,S], and positions that had some and lost them [h,w]."""
        if rng.random() < WHOLE_STAGES:
            level = float(np.ceil(level))
        order = rng.permutation(grid[0] * grid[1]).reshape(grid)
        there = there_at(cfg.stages, level, order)
        gone = np.zeros(grid, bool)
        if rng.random() < losses:
            gone = (rng.random(grid) < rng.uniform(0.02, MOST_LOST)) & (there[..., 0] > 0)
            if rng.random() < WITH_BASE:  # what is lost is all but a base layer
                base = np.arange(cfg.stages) < rng.integers(1, MOST_BASE + 1)
                return there * (~gone[..., None] | base), np.zeros(grid, bool)
        return there * ~gone[..., None], gone

    def loss(self, net: TokenNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Mean over images of ln MSE (so that the mean PSNR is what rises), and the commitment beside it."""
        value, figures, _, _ = self.terms(net, batch)
        return value, figures

    def terms(
        self, net: TokenNet, batch: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any], Any, Any]:
        """The loss, its figures, and what it compared: x and x_hat on the 0..255 scale."""
        from keras import ops

        x, there = ops.cast(batch["x"], "float32"), batch["there"]
        x_hat, y, y_hat, inputs, indices = net(x, there, batch["filled"])
        mse = ops.mean(ops.square(x_hat - x), (1, 2, 3))
        # deviates from VQ-VAE: y is drawn to the sum of the codes that the decoder has, not to each stage's
        error = ops.sum(ops.square(y - y_hat), -1) * there[..., 0]
        commitment = ops.mean(error, (1, 2)) * (255.0**2 / (3 * STRIDE**2))
        distortion = ops.log(mse + 1.0)
        value = ops.mean(distortion + BETA * commitment / (ops.stop_gradient(mse) + 1.0))
        figures = {
            "loss": value,
            "ln_mse": ops.mean(distortion),
            "commitment": ops.mean(commitment),
        }
        if "q" not in self.config.freeze:
            figures["state"] = net.q.updates(inputs, indices, batch["revive"])
        return value, figures, x, x_hat

    def turns(self, net: Any) -> tuple[Turn, ...]:
        """The tokeniser; a prior, if the weights have one, stays as it is."""
        return (Turn(self.loss, _moving(net)),)

    def validate(self, net: TokenNet, images: np.ndarray) -> list[dict[str, float]]:
        """A row for every whole number of stages: see ``validation_note``."""
        return [row for row, _ in curve(net, images)]

    @property
    def validation_note(self) -> str:
        """What the card's validation rows are."""
        return (
            f"{super().validation_note}; bpp at order 0 (training frequencies), no header; PSNR [dB]: mean over "
            f"images, RGB, 8 bits; psnr_lost: with {LOST:.0%} of the positions lost and nothing filled in; perplexity "
            "of the last stage's codebook, dead: its codes that no image used"
        )

    @staticmethod
    def golden(path: Path) -> list[dict[str, Any]]:
        """Tokens of a picture, and block means of what they decode to."""
        return golden(path)

    @classmethod
    def differences(cls, path: Path, golden: list[dict[str, Any]]) -> list[str]:
        """Decodes the stored tokens: what is on disk somewhere must stay readable."""
        return differences(path, golden)


@dataclass(frozen=True)
class TokensPerceptualTask(TokensTask):
    """The same with LPIPS and a discriminator beside it; ``options.perceptual`` weighs them (see ``Perceptual``).

    With g_a, down and q frozen it makes another decoder for the same tokens.
    """

    figure_axes: ClassVar = ("bpp", "lpips_alex")

    @property
    def perceptual(self) -> Perceptual:
        """From the recipe."""
        return Perceptual.of(self.config.options)

    def network(self) -> Any:
        """The tokeniser and its critic."""
        from linksim.model.critic import PatchCritic

        return WithCritic(super().network(), PatchCritic(width=self.perceptual.width))

    def begin(self, net: Any, loaded: frozenset[str]) -> None:
        """See TokensTask.begin."""
        super().begin(net.net, loaded)

    def loss(self, net: Any, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The generator's."""
        value, figures, x, x_hat = self.terms(net.net, batch)
        more, perceptual = generator_terms(net, self.perceptual, x, x_hat)
        carry = {"x_hat": x_hat} if self.perceptual.adversarial else {}
        value = value + more
        return value, figures | perceptual | {"loss": value, "carry": carry}

    def turns(self, net: Any) -> tuple[Turn, ...]:
        """The generator; then, if it has a weight, the critic."""
        how = self.perceptual
        first = Turn(self.loss, _moving(net.net))
        if not how.adversarial:
            return (first,)
        return (
            first,
            Turn(critic_loss, ("critic",), "critic", how.critic_rate, adam=(0.5, 0.9)),
        )

    def validate(self, net: Any, images: np.ndarray) -> list[dict[str, float]]:
        """See TokensTask.validate, and LPIPS-alex."""
        from linksim.metric.lpips import lpips

        rows = []
        for row, shown in curve(net.net, images):
            row["lpips_alex"] = float(lpips("alex", np.asarray(images), shown).mean())
            rows.append(row)
        return rows

    def architecture(self, net: Any) -> dict[str, Any]:
        """See Task.architecture."""
        return asdict(net.net.cfg)

    def exported(self, net: Any) -> HasParts:
        """Without the critic."""
        return net.net


def _moving(net: TokenNet) -> tuple[str, ...]:
    return tuple(name for name in net.parts if name != "prior")


def _films(part: Any) -> list[Any]:
    """The tables of a transform's modulations."""
    return [film.table for f in (part.film8, part.film16) for film in (f.scale, f.shift)]


def _in_pieces(call: Any, x: np.ndarray, size: int = 32) -> np.ndarray:
    pieces = [x[i : i + size].astype(np.float32) for i in range(0, len(x), size)]
    return np.concatenate([np.asarray(call(piece)) for piece in pieces])


def start_maps(net: TokenNet, latents: np.ndarray) -> None:
    """``down`` and ``up`` as the principal axes of what g_s makes of the latents linearly. In place.

    y has orthonormal coordinates in the space of pictures on the 0..1 scale: its squared error is theirs.

    Args: latents: [N, latent] of training images.
    """
    linear = net.g_s.linear
    to_pixels = np.exp(linear.log_scale.numpy())[:, None].astype(np.float64) * linear.matrix.numpy()
    mean = latents.mean(0, dtype=np.float64)
    centred = latents - mean
    covariance = centred.T @ centred / len(centred)
    # axes of the pictures: of to_pixels' covariance, found in the smaller space of the latents
    values, vectors = np.linalg.eigh(to_pixels @ to_pixels.T)
    root = vectors * np.sqrt(
        np.maximum(values, 1e-12)
    )  # root root' is the metric; y = (latents - mean) root axes
    _, axes = np.linalg.eigh(root.T @ covariance @ root)
    axes = axes[:, ::-1][:, : net.cfg.dim]
    down = root @ axes
    # what the latents most probably are, given y: the best linear inverse
    up = np.linalg.lstsq(centred @ down, centred, rcond=None)[0]
    net.down.kernel.assign(down[None, None].astype(np.float32))
    net.down.bias.assign(-(mean @ down).astype(np.float32))
    net.up.kernel.assign(up[None, None].astype(np.float32))
    net.up.bias.assign(mean.astype(np.float32))


def curve(net: TokenNet, images: np.ndarray) -> Iterator[tuple[dict[str, float], np.ndarray]]:
    """A row and the decoded pictures [N,H,W,3] uint8 for every whole number of stages."""
    cfg = net.cfg
    grid = (images.shape[1] // STRIDE, images.shape[2] // STRIDE)
    index = _in_pieces(net.encode, images)
    kept = np.random.default_rng(0).permutation(grid[0] * grid[1]).reshape(grid)
    kept = kept >= LOST * kept.size
    bits = 0.0  # of a position at order 0
    for s in range(1, cfg.stages + 1):
        there = there_at(cfg.stages, s, np.zeros(grid, int))
        shown = decoded(net, index, there)
        hurt = decoded(net, index, there * kept[..., None])
        counts = np.bincount(index[..., s - 1].reshape(-1), minlength=cfg.codes)
        usage = np.maximum(np.asarray(net.q.stages[s - 1].usage, np.float64), 1e-9)
        bits += float(-np.log2(usage / usage.sum())[index[..., s - 1]].mean())
        row = {
            "stages": float(s),
            "bpp": bits * grid[0] * grid[1] / (images.shape[1] * images.shape[2]),
            "psnr": psnr(images, shown),
            "psnr_lost": psnr(images, hurt),
            "perplexity": perplexity(counts),
            "dead": float((counts == 0).sum()),
        }
        yield row, shown


def decoded(net: TokenNet, index: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Pictures of tokens, uint8. Args: index [N,h,w,S]; there [h,w,S], the same for all."""
    found = []
    for start in range(0, len(index), 32):
        part = index[start : start + 32]
        where = np.repeat(there[None], len(part), 0)
        x_hat = net.synthesise(net.codes_of(part, where), where)
        found.append(np.clip(np.rint(np.asarray(x_hat)), 0, 255).astype(np.uint8))
    return np.concatenate(found)


def psnr(x: np.ndarray, shown: np.ndarray) -> float:
    """Mean over images [dB]."""
    mse = np.mean(np.square(x.astype(np.float32) - shown.astype(np.float32)), (1, 2, 3))
    return float(np.mean(10 * np.log10(255.0**2 / np.maximum(mse, 1e-3))))
