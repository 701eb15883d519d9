"""The perceptual fine-tune of NTC: another decoder for the same bits, or all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from linksim.model.ntc import NtcConfig, NtcNet
from linksim.model.store import HasParts
from linksim.train.ntc_task import QUALITIES, NtcTask
from linksim.train.perceptual import Perceptual, WithCritic, critic_loss, generator_terms
from linksim.train.turn import Turn


@dataclass(frozen=True)
class NtcPerceptualTask(NtcTask):
    """NTC's loss with LPIPS and a discriminator beside it; ``options.perceptual`` weighs them (see ``Perceptual``)."""

    figure_axes: ClassVar = ("bpp", "lpips_alex")

    @property
    def perceptual(self) -> Perceptual:
        """From the recipe."""
        return Perceptual.of(self.config.options)

    def network(self) -> Any:
        """NTC and its critic."""
        import keras

        from linksim.model.critic import PatchCritic

        keras.utils.set_random_seed(self.seed.child("weights").integer())
        options = {k: v for k, v in self.config.options.items() if k != "perceptual"}
        return WithCritic(NtcNet(NtcConfig(**options)), PatchCritic(width=self.perceptual.width))

    def begin(self, net: Any, loaded: frozenset[str]) -> None:
        """See NtcTask.begin."""
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
        first = Turn(self.loss, tuple(net.net.parts))
        if not how.adversarial:
            return (first,)
        return (
            first,
            Turn(critic_loss, ("critic",), "critic", how.critic_rate, adam=(0.5, 0.9)),
        )

    def validate(self, net: Any, images: np.ndarray) -> list[dict[str, float]]:
        """See NtcTask.validate, and LPIPS-alex."""
        from linksim.metric.lpips import lpips

        rows = super().validate(net.net, images)
        for row, quality in zip(rows, QUALITIES, strict=True):
            shown = [
                self.decoded(net.net, images[i : i + 32], quality)
                for i in range(0, len(images), 32)
            ]
            row["lpips_alex"] = float(
                lpips("alex", np.asarray(images), np.concatenate(shown)).mean()
            )
        return rows

    @staticmethod
    def decoded(net: NtcNet, images: np.ndarray, quality: float) -> np.ndarray:
        """Pictures after coding at a quality, [B, H, W, 3] uint8."""
        x = np.asarray(images, np.float32)
        x_hat, _, _ = net(x, np.full(len(x), quality, np.float32))
        return np.clip(np.rint(np.asarray(x_hat)), 0, 255).astype(np.uint8)

    def exported(self, net: Any) -> HasParts:
        """Without the critic."""
        return net.net
