"""The perceptual fine-tune of NTSCC: another decoder for the same symbols, or all of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from linksim.model.store import HasParts
from linksim.train.ntscc_task import NtsccTask
from linksim.train.perceptual import Perceptual, WithCritic, critic_loss, generator_terms
from linksim.train.turn import Turn


@dataclass(frozen=True)
class NtsccPerceptualTask(NtsccTask):
    """log MSE with LPIPS and a discriminator beside it; ``options.perceptual`` weighs them (see ``Perceptual``).

    A recipe that freezes g_a and f_e leaves the symbols as they are: a transmitter of ``ntscc`` serves both receivers.
    """

    figure_axes: ClassVar[tuple[str, ...]] = ("snr_db", "lpips_alex", "k")

    @property
    def perceptual(self) -> Perceptual:
        """From the recipe."""
        return Perceptual.of(self.config.options)

    def network(self) -> Any:
        """NTSCC and its critic."""
        from linksim.model.critic import PatchCritic

        return WithCritic(super().network(), PatchCritic(width=self.perceptual.width))

    def begin(self, net: Any, loaded: frozenset[str]) -> None:
        """See NtsccTask.begin."""
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

    def received(
        self,
        net: Any,
        images: np.ndarray,
        k: float,
        snr_db: float,
        encode: Callable[..., Any] | None = None,
    ) -> np.ndarray:
        """See NtsccTask.received."""
        return super().received(net.net, images, k, snr_db, encode)

    def figures(self, images: np.ndarray, received: np.ndarray) -> dict[str, float]:
        """See NtsccTask.figures, and LPIPS-alex."""
        from linksim.metric.lpips import lpips

        distance = lpips("alex", np.ascontiguousarray(images), received)
        return {**super().figures(images, received), "lpips_alex": float(distance.mean())}

    def exported(self, net: Any) -> HasParts:
        """Without the critic."""
        return net.net
