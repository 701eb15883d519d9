"""The training task of NTC: R + lambda D at random qualities, and its validation curve."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from linksim.model.ntc import STRIDE, STRIDE_Z, NtcConfig, NtcNet
from linksim.train.ntc_golden import differences, golden
from linksim.train.start import add_axes, start_from_patches
from linksim.train.task import Task

QUALITIES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # that validation reports


@dataclass(frozen=True)
class NtcTask(Task):
    """R + lambda D at qualities that cover all rates in every batch; ``options`` are those of NtcConfig."""

    figure_axes: ClassVar = ("bpp", "psnr")
    low_precision: ClassVar = ("g_a", "g_s")

    def network(self) -> NtcNet:
        """A fresh network; its variables are drawn from the run's seed."""
        import keras

        keras.utils.set_random_seed(self.seed.child("weights").integer())
        return NtcNet(NtcConfig(**self.config.options))

    def begin(self, net: NtcNet, loaded: frozenset[str]) -> None:
        """Principal axes of patches for the linear skeleton, or for those of its latents that have none."""
        if not loaded & {"g_a", "g_s", "gain", "ungain"}:
            start_from_patches(net, self.images.batch(-1, 1000))
        elif any(start.fit for start in self.config.starts):
            add_axes(net, self.images.batch(-1, 1000))

    def batch(self, step: int, net: NtcNet) -> dict[str, np.ndarray]:
        """Everything random about a step, drawn outside the compiled function."""
        size, cfg = self.config.batch, net.cfg
        x = self.images.batch(step, size)
        rng = self.seed.child("noise", step).generator()
        # one draw per stratum: a batch always covers the whole range of rates
        u = (rng.permutation(size) + rng.random(size)) / size
        quality = u**self.config.quality_power
        lagrangian = np.array([cfg.lagrangian(q) for q in quality])
        side = x.shape[1]
        shape_u = (size, side // STRIDE, side // STRIDE, cfg.latent)
        shape_z = (size, side // STRIDE_Z, side // STRIDE_Z, cfg.side)
        return {
            "x": x,
            "quality": quality.astype(np.float32),
            "lagrangian": lagrangian.astype(np.float32),
            "weight": ((lagrangian / 1e-3) ** -self.config.balance).astype(np.float32),
            "noise_u": rng.random(shape_u, np.float32) - np.float32(0.5),
            "noise_z": rng.random(shape_z, np.float32) - np.float32(0.5),
        }

    def loss(self, net: NtcNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """Mean over images of weight (R [bpp] + lambda MSE)."""
        value, figures, _, _ = self.terms(net, batch)
        return value, figures

    def terms(self, net: NtcNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any], Any, Any]:
        """The loss, its figures, and what it compared: x and x_hat on the 0..255 scale."""
        from keras import ops

        x = ops.cast(batch["x"], "float32")
        x_hat, bits_u, bits_z = net(x, batch["quality"], batch["noise_u"], batch["noise_z"])
        pixels = x.shape[1] * x.shape[2]
        rate_u = ops.sum(bits_u, (1, 2, 3)) / pixels
        rate_z = ops.sum(bits_z, (1, 2, 3)) / pixels
        mse = ops.mean(ops.square(x_hat - x), (1, 2, 3))
        value = ops.mean(batch["weight"] * (rate_u + rate_z + batch["lagrangian"] * mse))
        figures = {"loss": value, "bpp_u": ops.mean(rate_u), "bpp_z": ops.mean(rate_z)}
        return value, figures | {"mse": ops.mean(mse)}, x, x_hat

    def validate(self, net: NtcNet, images: np.ndarray) -> list[dict[str, float]]:
        """Estimated bpp (real rounding) and mean PSNR [dB] of clipped 8-bit pictures at each of ``QUALITIES``."""
        rows = []
        for quality in QUALITIES:
            bits, psnr = [], []
            for start in range(0, len(images), 32):
                x = np.asarray(images[start : start + 32], np.float32)
                q = np.full(len(x), quality, np.float32)
                x_hat, bits_u, bits_z = (np.asarray(t) for t in net(x, q))
                x_hat = np.clip(np.rint(x_hat), 0, 255)
                bits.append(bits_u.sum((1, 2, 3)) + bits_z.sum((1, 2, 3)))
                psnr.append(10 * np.log10(255**2 / np.mean((x_hat - x) ** 2, (1, 2, 3))))
            pixels = images.shape[1] * images.shape[2]
            rows.append(
                {
                    "quality": quality,
                    "bpp": float(np.concatenate(bits).mean() / pixels),
                    "psnr": float(np.concatenate(psnr).mean()),
                }
            )
        return rows

    @property
    def validation_note(self) -> str:
        """What the card's validation rows are."""
        how = "bpp estimated with real rounding, no header; PSNR: mean over images, RGB, 8 bits"
        return f"{super().validation_note}; {how}"

    @staticmethod
    def golden(path: Path) -> list[dict[str, Any]]:
        """Packets, digests of their integers, block means of the pictures."""
        return golden(path)

    @classmethod
    def differences(cls, path: Path, golden: list[dict[str, Any]]) -> list[str]:
        """Decodes the stored packets: what is on disk somewhere must stay readable."""
        return differences(path, golden)
