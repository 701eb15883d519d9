"""The training tasks of distributed coding: the conditional VQ-VAE in all modes at all rates, and its parts alone.

``dsc`` trains the VQ-VAE, and its prior on a few images of every batch, so that each checkpoint is a whole codec.
``dsc-prior`` goes on with the prior alone, the VQ-VAE as ``start_from`` has it; ``dsc-decoder`` with g_s alone, so that
indices, rates and prior stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from linksim.errors import ScenarioError
from linksim.model.dsc import MODES, SEES, STRIDE, DscConfig, DscNet, mask_of
from linksim.train.codebooks import perplexity, start_quantiser
from linksim.train.dsc_golden import differences, golden
from linksim.train.start import principal_axes
from linksim.train.task import Task

SHARES = {"separate": 0.3, "distributed": 0.45, "joint": 0.25}  # of the images of a batch
DECODER_SHARES = {"separate": 0.25, "distributed": 0.5, "joint": 0.25}
SIDE_ONLY = 0.08  # share of images with side information that arrive without a single index
LOSSES = 0.15  # share of images that lose bands
ALL_STAGES = 0.3  # share of images of which everything arrives
LOW_RATES = 1.6  # stages of the others: uniform to this power, few more frequent than many
WHOLE_STAGES = 0.5  # share of the others whose last stage is complete
BETA = 0.25  # of the commitment
PRIOR_IMAGES = 2  # of a batch that the prior learns from beside the VQ-VAE
PRIOR_WEIGHT = 0.02  # of its bits an index in that loss; it shares no weights with the rest
START_IMAGES = 400  # that the codebooks start from


def split(images: np.ndarray, mirror: bool) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its side information out of one array.

    Args:    images [B,H,W,3]: upper and lower halves (mirror), else the two views of a stereo pair, left beside right.
             A mirrored copy of the latter is again a pair, its views exchanged.
    Returns: x, side.
    """
    if mirror:
        middle = images.shape[1] // 2
        return images[:, :middle], images[:, middle:]
    middle = images.shape[2] // 2
    return images[:, :, middle:], images[:, :, :middle]


def arrived_at(cfg: DscConfig, level: float, height: int, width: int) -> list[np.ndarray]:
    """What has arrived at a level between 0 (nothing) and S (all stages): per stage [h_s,w_s] bool, raster order."""
    found = []
    for s in range(cfg.stages):
        rows, columns = cfg.grid(s, height, width)
        count = round(min(max(level - s, 0.0), 1.0) * rows * columns)
        found.append((np.arange(rows * columns) < count).reshape(rows, columns))
    return found


def _lose_bands(arrived: list[np.ndarray], rng: np.random.Generator) -> list[np.ndarray]:
    """Take away one to three of four bands, in every stage."""
    rows = arrived[0].shape[0]
    edges = np.linspace(0, rows, 5).round().astype(int)
    gone = np.zeros(rows, bool)
    for i in rng.choice(4, int(rng.integers(1, 4)), replace=False):
        gone[edges[i] : edges[i + 1]] = True
    return [a & ~np.repeat(gone, a.shape[0] // rows)[:, None] for a in arrived]


@dataclass(frozen=True)
class DscTask(Task):
    """ln MSE in all modes at all rates.

    ``options`` are those of DscConfig, and ``shares``: mode -> share of a batch's images (modes left out have none), so
    that a mode can be trained alone.
    """

    figure_axes: ClassVar = ("bpp", "psnr")
    default_shares: ClassVar = SHARES

    @cached_property
    def shares(self) -> dict[str, float]:
        """Share of a batch's images of each mode. Raises ScenarioError: another mode, or nothing to share."""
        given = self.config.options.get("shares", self.default_shares)
        numbers = isinstance(given, Mapping) and all(
            isinstance(v, int | float) and v >= 0 for v in given.values()
        )
        if not numbers or set(given) - set(MODES) or not sum(given.values()):
            raise ScenarioError(
                f"must map modes of {list(MODES)} to shares >= 0, one above, got {given!r}",
                key="options.shares",
            )
        total = sum(given.values())
        return {mode: given.get(mode, 0.0) / total for mode in MODES}

    def network(self) -> DscNet:
        """A fresh network; its variables are drawn from the run's seed."""
        import keras

        keras.utils.set_random_seed(self.seed.child("weights").integer())
        options = {k: v for k, v in self.config.options.items() if k != "shares"}
        self.shares  # noqa: B018, a mistake in them shows now
        return DscNet(DscConfig(**options))

    def begin(self, net: DscNet, loaded: frozenset[str]) -> None:
        """Principal axes of patches and k-means codebooks; the prior begins at how often each code is used."""
        if not loaded & {"g_a", "g_s", "q"}:
            x, _ = split(self.images.batch(-1, START_IMAGES), net.cfg.mirror)
            axes, _ = principal_axes(x, STRIDE, net.cfg.dim)
            net.g_a.linear.matrix.assign(axes.T.astype(np.float32))
            net.g_s.linear.matrix.assign(axes.astype(np.float32))
            y = np.asarray(net.g_a.linear(x.astype(np.float32) / 255.0 - 0.5))
            start_quantiser(net.q, y, self.seed.child("codebooks").generator())
        if net.q_side is not None and "q_side" not in loaded:
            for mine, theirs in zip(net.q_side.weights, net.q.weights, strict=True):
                mine.assign(theirs)
        if "prior" not in loaded:
            net.prior.start_from_usage([stage.usage.numpy() for stage in net.q.stages])

    def batch(self, step: int, net: DscNet) -> dict[str, np.ndarray]:
        """Everything random about a step, drawn outside the compiled function."""
        cfg, size = net.cfg, self.config.batch
        x, side = split(self.images.batch(step, size), cfg.mirror)
        rng = self.seed.child("modes", step).generator()
        # one draw per stratum: a batch holds every mode at about its share
        u = (rng.permutation(size) + rng.random(size)) / size
        which = np.searchsorted(np.cumsum(list(self.shares.values()))[:-1], u, side="right")
        modes = [list(self.shares)[i] for i in which]
        masks = [self._mask(cfg, mode, x.shape[1:3], rng) for mode in modes]
        return {
            "x": x,
            "side": side,
            "sees": np.array([SEES[mode] for mode in modes], np.float32),
            "mask": np.stack(masks),
            "revive": rng.integers(0, 1 << 30, (cfg.stages, max(cfg.sizes))).astype(np.int32),
        }

    def _mask(
        self, cfg: DscConfig, mode: str, shape: tuple[int, int], rng: np.random.Generator
    ) -> np.ndarray:
        level = 0.3 + (cfg.stages - 0.3) * rng.random() ** LOW_RATES
        if rng.random() < ALL_STAGES:
            level = float(cfg.stages)
        elif rng.random() < WHOLE_STAGES:
            level = float(np.ceil(level))
        if mode != "separate" and rng.random() < SIDE_ONLY:
            level = 0.0
        arrived = arrived_at(cfg, level, *shape)
        if rng.random() < LOSSES:
            arrived = _lose_bands(arrived, rng)
        return mask_of(cfg, arrived)

    def loss(self, net: DscNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Mean over images of ln MSE (so that the mean PSNR is what rises), and the commitment beside it."""
        from keras import ops

        x, mask = ops.cast(batch["x"], "float32"), batch["mask"]
        side = ops.cast(batch["side"], "float32")
        x_hat, inputs, codes, indices = net(x, side, batch["sees"], mask)
        mse = ops.mean(ops.square(x_hat - x), (1, 2, 3))
        commitment: Any = 0.0
        for s, (z, code) in enumerate(zip(inputs, codes, strict=True)):
            step = net.cfg.strides[s]
            error = ops.sum(ops.square(z - ops.stop_gradient(code)), -1)
            weight = mask[:, ::step, ::step, s]
            pixels = 3 * (STRIDE * step) ** 2
            commitment += ops.mean(error * weight, (1, 2)) * (255.0**2 / pixels)
        scale = ops.stop_gradient(mse) + 1.0
        distortion = ops.log(mse + 1.0)
        value = ops.mean(distortion + BETA * commitment / scale)
        few = slice(None, PRIOR_IMAGES)
        bits = _per_index(
            net, [c[few] for c in codes], [i[few] for i in indices], batch["sees"][few]
        )
        return value + PRIOR_WEIGHT * bits, {
            "loss": value,
            "bits": bits,
            "ln_mse": ops.mean(distortion),
            "commitment": ops.mean(commitment),
            "state": net.updates(inputs, indices, batch["revive"], batch["sees"]),
        }

    def validate(self, net: DscNet, images: np.ndarray) -> list[dict[str, float]]:
        """Mean PSNR [dB] of clipped 8-bit pictures by mode and number of stages; bpp at fixed length and under the
        prior (estimated); perplexity of each codebook."""
        return list(curve(net, *split(images, net.cfg.mirror)))

    @property
    def validation_note(self) -> str:
        """What the card's validation rows are."""
        how = "mode 0 separate, 1 distributed, 2 joint; bpp under the prior, estimated, no header; bpp_fixed at fixed "
        return f"{super().validation_note}; {how}length; PSNR: mean over images, RGB, 8 bits"

    @staticmethod
    def golden(path: Path) -> list[dict[str, Any]]:
        """Packets, digests of their indices, block means of the pictures."""
        return golden(path)

    @classmethod
    def differences(cls, path: Path, golden: list[dict[str, Any]]) -> list[str]:
        """Decodes the stored packets: what is on disk somewhere must stay readable."""
        return differences(path, golden)


@dataclass(frozen=True)
class DscDecoderTask(DscTask):
    """g_s alone: what is sent stays as it is in every mode. The recipe freezes g_a, si, q and prior."""

    default_shares: ClassVar = DECODER_SHARES

    def loss(self, net: DscNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Mean over images of ln MSE."""
        from keras import ops

        x = ops.cast(batch["x"], "float32")
        x_hat, *_ = net(x, ops.cast(batch["side"], "float32"), batch["sees"], batch["mask"])
        logs = ops.log(ops.mean(ops.square(x_hat - x), (1, 2, 3)) + 1.0)
        value = ops.mean(logs)
        figures = {"loss": value}
        for m, mode in enumerate(MODES):
            mine = ops.cast(ops.equal(ops.sum(batch["sees"], -1), float(m)), "float32")
            figures[f"ln_mse_{mode}"] = ops.sum(logs * mine) / ops.maximum(ops.sum(mine), 1.0)
        return value, figures


@dataclass(frozen=True)
class DscPriorTask(DscTask):
    """The prior alone: half of a batch as whole pictures, half cut into the bands that packets carry.

    The recipe freezes g_a, g_s, si and q.
    """

    def loss(self, net: DscNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Mean bits an index."""
        from keras import ops

        x, sees = ops.cast(batch["x"], "float32"), batch["sees"]
        there = net.look(ops.cast(batch["side"], "float32"), sees)
        _, _, codes, indices = net.quantise(net.analyse(x, there, sees), sees)
        half = x.shape[0] // 2
        whole = _per_index(net, [c[half:] for c in codes], [i[half:] for i in indices], sees[half:])
        bands = codes[0].shape[1] // BAND_ROWS
        cut = _per_index(
            net, [c[:half] for c in codes], [i[:half] for i in indices], sees[:half], bands
        )
        value = 0.5 * (whole + cut)
        return value, {"loss": value, "whole": whole, "bands": cut}


BAND_ROWS = 2  # of the coarsest grid


def _per_index(net: DscNet, codes: Any, indices: Any, sees: Any, bands: int = 1) -> Any:
    """Mean bits an index over all stages."""
    from keras import ops

    bits = net.index_bits(codes, indices, sees, bands)
    flat = [ops.reshape(b, (-1,)) for b in bits]
    return ops.mean(ops.concatenate(flat))


def curve(net: DscNet, x: np.ndarray, side: np.ndarray) -> Iterator[dict[str, float]]:
    """A row for every mode and whole number of stages."""
    cfg = net.cfg
    height, width = x.shape[1:3]
    for m, mode in enumerate(MODES):
        counts = [np.zeros(k) for k in cfg.sizes]
        bpp = coded = 0.0
        for level in range(cfg.stages + 1):
            if level:
                rows, columns = cfg.grid(level - 1, height, width)
                bpp += rows * columns * np.log2(cfg.sizes[level - 1]) / (height * width)
            psnr, bits = [], 0.0
            for start in range(0, len(x), 32):
                part = np.asarray(x[start : start + 32], np.float32)
                sees = np.repeat([SEES[mode]], len(part), 0).astype(np.float32)
                mask = np.repeat(
                    mask_of(cfg, arrived_at(cfg, level, height, width))[None], len(part), 0
                )
                there = np.asarray(side[start : start + 32], np.float32)
                x_hat, _, codes, indices = net(part, there, sees, mask)
                shown = np.clip(np.rint(np.asarray(x_hat)), 0, 255)
                psnr.append(10 * np.log10(255**2 / np.mean((shown - part) ** 2, (1, 2, 3))))
                if level:
                    index = np.asarray(indices[level - 1]).reshape(-1)
                    counts[level - 1] += np.bincount(index, minlength=cfg.sizes[level - 1])
                    charged = net.index_bits(codes, indices, sees)[level - 1]
                    bits += float(np.asarray(charged).sum())
            coded += bits / (len(x) * height * width)
            yield {
                "mode": float(m),
                "stages": float(level),
                "bpp_fixed": float(bpp),
                "bpp": float(coded),
                "psnr": float(np.concatenate(psnr).mean()),
                "perplexity": perplexity(counts[level - 1]) if level else 0.0,
            }
