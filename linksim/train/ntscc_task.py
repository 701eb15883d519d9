"""The training task of NTSCC: distortion after a channel of random SNR, at random rates and profiles."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from linksim.errors import ScenarioError
from linksim.joint.profile import MIN_K, allocate, levels_of
from linksim.model.layers import hat_basis
from linksim.model.ntc import STRIDE
from linksim.model.ntscc import NtsccConfig, NtsccNet, ln_mse, start_linear, start_update
from linksim.train.data import keep
from linksim.train.golden import block_means, golden_picture
from linksim.train.task import Task

SNR_DB = (-6.0, 15.0)  # met on the average, in training, if a recipe says nothing else
VALIDATION = ((16, 6.0), (32, -4.0), (32, -1.0), (32, 1.25), (32, 6.4), (32, 12.0), (64, 6.0))


@dataclass(frozen=True)
class NtsccTask(Task):
    """What is optimised and what is reported, for symbols as the encoder makes them.

    Args: config: of the run; options: ``network`` (of NtsccConfig), ``ntc`` (weights of NTC to judge rates by), ``k``
      (lowest and highest mean complex symbols of an embedding), ``snr_db`` (evenly spaced quantiles of the SNR, from
      the lowest to the highest), ``uniform`` (share of images with the uniform profile),
      ``mismatch`` (share whose transmitter believes in another SNR), ``fading`` (share that meets a Rayleigh fade the
      transmitter does not know). The other arguments are those of ``Task``.
    """

    figure_axes: ClassVar[tuple[str, ...]] = ("snr_db", "psnr", "k")

    def option(self, name: str, default: Any) -> Any:
        """One of the recipe's options."""
        return self.config.options.get(name, default)

    def network(self) -> NtsccNet:
        """See Task.network."""
        import keras

        keras.utils.set_random_seed(self.seed.child("weights").integer())
        return NtsccNet(NtsccConfig(**self.option("network", {})))

    def begin(self, net: NtsccNet, loaded: frozenset[str]) -> None:
        """See Task.begin. New coders start as a linear system on the latents of training images."""
        if net.f_u is not None and "f_u" not in loaded:
            start_update(net)
        if "f_e" in loaded:
            return
        x = self.images.batch(-1, 256).astype(np.float32)
        phi = hat_basis(np.full(32, 0.4, np.float32), net.cfg.ntc.anchors)
        y = np.concatenate(
            [np.asarray(net.g_a(x[i : i + 32] / 255 - 0.5, phi)) for i in range(0, 256, 32)]
        )
        start_linear(net, y.reshape(-1, y.shape[-1]))

    @cached_property
    def levels(self) -> list[np.ndarray]:
        """Profiles of all training images, per array [N, h, w] int8; computed once."""
        from linksim.model.rates import embedding_bits
        from linksim.model.store import load_bundle

        weights = self.option("ntc", "ntc")
        found = []
        for array in self.images.arrays:
            key = hashlib.sha256(load_bundle(weights).digest + array[:64].tobytes()).hexdigest()
            path = self.cache / f"levels-{len(array)}-{key[:16]}.npy"
            if not path.is_file():
                parts = [
                    levels_of(embedding_bits(array[i : i + 32], weights)).astype(np.int8)
                    for i in range(0, len(array), 32)
                ]
                keep(path, np.concatenate(parts))
            found.append(np.load(path, allow_pickle=False))
        return found

    @property
    def snr_quantiles_db(self) -> np.ndarray:
        """Evenly spaced quantiles of the SNR [dB], uniform between them. Raises: ScenarioError."""
        given = self.option("snr_db", SNR_DB)
        try:
            quantiles = np.array(given, float)
        except (TypeError, ValueError):
            quantiles = np.zeros(0)
        if quantiles.ndim != 1 or len(quantiles) < 2 or not _ascend(quantiles):
            raise ScenarioError(
                f"snr_db must be 2 or more quantiles [dB] that do not fall, got {given!r}",
                key="options",
            )
        return quantiles

    def batch(self, step: int, net: NtsccNet) -> dict[str, np.ndarray]:
        """Everything random about a step, drawn outside the compiled function."""
        size, cfg = self.config.batch, net.cfg
        rng = self.seed.child("noise", step).generator()
        u = (
            rng.permutation(size) + rng.random(size)
        ) / size  # a batch covers the whole range of SNRs
        quantiles = self.snr_quantiles_db
        least, most = float(quantiles[0]), float(quantiles[-1])
        snr_tx = np.interp(u, np.linspace(0.0, 1.0, len(quantiles)), quantiles)
        kind = rng.random(size)
        fading, mismatch = self.option("fading", 0.2), self.option("mismatch", 0.15)
        snr = np.where(
            kind < fading,
            snr_tx + 10 * np.log10(np.maximum(rng.exponential(size=size), 0.02)),
            np.where(kind < fading + mismatch, rng.uniform(least, most, size), snr_tx),
        )
        x = self.images.batch(step, size)
        rows, columns = x.shape[1] // STRIDE, x.shape[2] // STRIDE
        low, high = self.option("k", (12, 128))
        mean_k = np.exp(np.log(low) + np.log(high / low) * rng.random(size))
        uniform = rng.random(size) < self.option("uniform", 0.6)
        maps = []
        for (source, place, mirrored), mean, flat in zip(
            self.images.draw(step, size), mean_k, uniform, strict=True
        ):
            level = np.zeros((rows, columns), np.int64)
            if not flat:
                level = self.levels[source][place].astype(np.int64)
                level = level[:, ::-1] if mirrored else level
            total = max(round(mean * rows * columns), MIN_K * rows * columns)
            maps.append(allocate(level.reshape(-1), total, cfg.max_k).reshape(rows, columns))
        return {
            "x": x.astype(np.float32),
            "snr_tx_db": snr_tx.astype(np.float32),
            "snr_db": snr.astype(np.float32),
            "k": np.stack(maps).astype(np.float32),
            "noise": rng.standard_normal((size, rows, columns, cfg.symbols), np.float32),
        }

    def loss(self, net: NtsccNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Mean over images of log(MSE + 1): its gradient is that of the mean PSNR, so no SNR outweighs the others."""
        value, figures, _, _ = self.terms(net, batch)
        return value, figures

    def terms(
        self, net: NtsccNet, batch: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any], Any, Any]:
        """The loss, its figures, and what it compared: x and x_hat on the 0..255 scale."""
        x = batch["x"]
        x_hat = net(x, batch["snr_tx_db"], batch["snr_db"], batch["k"], batch["noise"])
        return *self.compared(x, x_hat), x, x_hat

    @staticmethod
    def compared(x: Any, x_hat: Any) -> tuple[Any, dict[str, Any]]:
        """The loss of pictures as received, and its figures. Args: both [B,H,W,3] on the 0..255 scale."""
        from keras import ops

        mse = ops.mean(ops.square(x_hat - x), (1, 2, 3))
        value = ops.mean(ln_mse(x, x_hat))
        psnr = 10 * (np.log10(255.0**2) - ops.mean(ops.log(mse)) / np.log(10.0))
        return value, {"loss": value, "psnr": psnr, "mse": ops.mean(mse)}

    def validate(self, net: NtsccNet, images: np.ndarray) -> list[dict[str, float]]:
        """Mean PSNR [dB] of clipped 8-bit pictures over AWGN, uniform profile, at each (k, SNR) of ``VALIDATION``."""
        return [
            {
                "k": k,
                "snr_db": snr_db,
                **self.figures(images, self.received(net, images, k, snr_db)),
            }
            for k, snr_db in VALIDATION
        ]

    def figures(self, images: np.ndarray, received: np.ndarray) -> dict[str, float]:
        """What validation says of pictures as they were received. Args: both [N, H, W, 3] uint8."""
        error = received.astype(np.float64) - images
        return {"psnr": float(np.mean(10 * np.log10(255**2 / np.mean(error**2, (1, 2, 3)))))}

    def received(
        self,
        net: NtsccNet,
        images: np.ndarray,
        k: float,
        snr_db: float,
        encode: Callable[..., Any] | None = None,
    ) -> np.ndarray:
        """Pictures behind AWGN, uniform profile.

        Args:    images [N, H, W, 3] uint8; k, snr_db: of all; encode: instead of the network's.
        Returns: like images.
        """
        height, width = images.shape[1] // STRIDE, images.shape[2] // STRIDE
        shown = []
        for start in range(0, len(images), 32):
            x = np.asarray(images[start : start + 32], np.float32)
            rng = self.seed.child("validation", start).generator()
            noise = rng.standard_normal((len(x), height, width, net.cfg.symbols), np.float32)
            snr = np.full(len(x), snr_db, np.float32)
            maps = np.full((len(x), height, width), k, np.float32)
            x_hat = net.through((encode or net.encode)(x, snr, maps), snr, maps, noise)
            shown.append(np.clip(np.rint(np.asarray(x_hat)), 0, 255))
        return np.concatenate(shown).astype(np.uint8)

    @property
    def validation_note(self) -> str:
        """See Task.validation_note."""
        return (
            f"{super().validation_note} over AWGN, uniform profile of k complex symbols an embedding, SNR known at "
            "both ends; PSNR: mean over images, RGB, 8 bits"
        )

    @staticmethod
    def golden(path: Path) -> list[dict[str, Any]]:
        """See Task.golden. Block means of what is received over a noisy flat channel."""
        from linksim.joint.ntscc import Ntscc
        from linksim.seeds import FrameSeeds
        from linksim.types import Delivered, Received, TxKnowledge

        coder = Ntscc(str(path))
        entries = []
        for k, snr_db in ((32, 0.0), (48, 12.0)):
            payload = coder.encode(
                golden_picture()[None], np.array([64 * k]), TxKnowledge(np.array([snr_db])), 0
            )
            assert payload.symbols is not None
            noise = FrameSeeds.of(0, 1).complex_normal(64 * k)
            n0 = 10 ** (-snr_db / 10)
            y = (payload.symbols.x + np.sqrt(n0) * noise).astype(np.complex64)
            received = Received(y, np.ones((1, 1), np.complex64), n0)
            decoded = coder.decode(Delivered(((),), ((),), received, (128, 128)))
            assert decoded.images[0] is not None
            entries.append(
                {"k": k, "snr_db": snr_db, "block_means": block_means(decoded.images[0])}
            )
        return entries


def _ascend(values: np.ndarray) -> bool:
    """Whether all are finite and none is below the one before."""
    return bool(np.isfinite(values).all() and (np.diff(values) >= 0).all())
