"""The training task of f_u: symbols moved by what the transmitter's own decoder makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from linksim.errors import ScenarioError
from linksim.joint.slope import update_noise, updated
from linksim.model.ntscc import NtsccNet
from linksim.train.ntscc_task import VALIDATION, NtsccTask

ROUNDS = (0, 1, 2, 3)  # of updates, in validation


@dataclass(frozen=True)
class NtsccUpdateTask(NtsccTask):
    """``NtsccTask``'s loss behind one update; some pictures come with an update behind them, some go without any.

    So f_u learns from symbols of the encoder and from symbols that it has moved already: it may be applied again.
    DeepJSCC is the same with ``uniform: 1`` and a single ``k``.

    Args: options, besides ``NtsccTask``'s: ``again`` (share of a batch with an update behind it), ``plain`` (share
      without one, for the sake of an encoder that is trained too). The other arguments are those of ``Task``.
    """

    figure_axes: ClassVar[tuple[str, ...]] = ("snr_db", "psnr", "updates")

    def network(self) -> NtsccNet:
        """See Task.network."""
        net = super().network()
        if net.f_u is None:
            raise ScenarioError(
                f"{self.config.model} needs network: {{blocks_u: 1 or more}}", key="options"
            )
        return net

    def _shares(self, size: int) -> tuple[int, int]:
        """How many pictures of a batch come with an update behind them, and how many have one ahead of them."""
        again, plain = self.option("again", 0.5), self.option("plain", 0.0)
        if not 0 <= again <= 1 - plain <= 1:
            raise ScenarioError(
                f"shares must be at least 0 and sum to at most 1, got again: {again} and plain: {plain}",
                key="options",
            )
        return round(again * size), size - round(plain * size)

    def batch(self, step: int, net: NtsccNet) -> dict[str, np.ndarray]:
        """See NtsccTask.batch; ``seen``, the noise that the transmitter tries, besides."""
        found = super().batch(step, net)
        rng = self.seed.child("update", step).generator()
        shape = (sum(self._shares(len(found["x"]))), *found["noise"].shape[1:])
        return found | {"seen": rng.standard_normal(shape, np.float32)}

    def loss(self, net: NtsccNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """See NtsccTask.loss."""
        from keras import ops

        x, snr, k, seen = (batch[name] for name in ("x", "snr_tx_db", "k", "seen"))
        again, moved = self._shares(x.shape[0])
        s = net.encode(x, snr, k)
        if again:
            early = updated(net, x[:again], s[:again], snr[:again], k[:again], seen[moved:])
            s = ops.concatenate([ops.stop_gradient(early), s[again:]], 0)
        late = updated(net, x[:moved], s[:moved], snr[:moved], k[:moved], seen[:moved])
        s = ops.concatenate([late, s[moved:]], 0)
        return self.compared(x, net.through(s, batch["snr_db"], k, batch["noise"]))

    def updated(self, net: NtsccNet, x, s, snr_db, k, update: int):
        """Symbols after an update as the simulator makes it. Args: as of ``NtsccNet``; update: 0, 1, ..."""
        return updated(net, x, s, snr_db, k, update_noise(update, s.shape[1:]))

    def validate(self, net: NtsccNet, images: np.ndarray) -> list[dict[str, float]]:
        """See NtsccTask.validate; each point by each number of updates."""
        return [
            {
                "updates": updates,
                "k": k,
                "snr_db": snr_db,
                **self.figures(images, self._behind(net, images, k, snr_db, updates)),
            }
            for updates in ROUNDS
            for k, snr_db in VALIDATION
        ]

    def _behind(
        self, net: NtsccNet, images: np.ndarray, k: float, snr_db: float, updates: int
    ) -> np.ndarray:
        def sent(x, snr, maps):
            s = net.encode(x, snr, maps)
            for i in range(updates):
                s = self.updated(net, x, s, snr, maps, i)
            return s

        return self.received(net, images, k, snr_db, sent)
