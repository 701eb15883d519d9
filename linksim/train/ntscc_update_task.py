"""The training task of f_u: symbols moved by what the transmitter's own decoder makes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from linksim.errors import ScenarioError
from linksim.joint.slope import slope, update_noise
from linksim.model.ntscc import NtsccNet, ln_mse
from linksim.train.ntscc_task import VALIDATION, NtsccTask
from linksim.train.turn import Turn

ROUNDS = (0, 1, 2, 3)  # of updates, in validation


@dataclass(frozen=True)
class NtsccUpdateTask(NtsccTask):
    """f_u alone, by ``NtsccTask``'s loss behind one update; every other picture comes with one update behind it.

    So f_u learns from symbols of the encoder and from symbols that it has moved already: it may be applied again.
    """

    figure_axes: ClassVar[tuple[str, ...]] = ("snr_db", "psnr", "updates")

    def network(self) -> NtsccNet:
        """See Task.network."""
        net = super().network()
        if net.f_u is None:
            raise ScenarioError("ntscc-update needs network: {blocks_u: 1 or more}", key="options")
        return net

    def turns(self, net: NtsccNet) -> tuple[Turn, ...]:
        """f_u alone."""
        return (Turn(self.loss, ("f_u",)),)

    def batch(self, step: int, net: NtsccNet) -> dict[str, np.ndarray]:
        """See NtsccTask.batch; ``seen``, the noise that the transmitter tries, besides."""
        found = super().batch(step, net)
        rng = self.seed.child("update", step).generator()
        shape = (len(found["x"]) + len(found["x"]) // 2, *found["noise"].shape[1:])
        return found | {"seen": rng.standard_normal(shape, np.float32)}

    def loss(self, net: NtsccNet, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """See NtsccTask.loss."""
        from keras import ops

        x, snr, k, seen = (batch[name] for name in ("x", "snr_tx_db", "k", "seen"))
        half, size = x.shape[0] // 2, x.shape[0]
        s = net.encode(x, snr, k)
        early = self._updated(net, x[:half], s[:half], snr[:half], k[:half], seen[size:])
        s = ops.stop_gradient(ops.concatenate([early, s[half:]], 0))
        s = self._updated(net, x, s, snr, k, seen[:size])
        return self.compared(x, net.through(s, batch["snr_db"], k, batch["noise"]))

    def updated(self, net: NtsccNet, x, s, snr_db, k, update: int):
        """Symbols after an update as the simulator makes it. Args: as of ``NtsccNet``; update: 0, 1, ..."""
        return self._updated(net, x, s, snr_db, k, update_noise(update, s.shape[1:]))

    @staticmethod
    def _updated(net: NtsccNet, x, s, snr_db, k, noise):
        def loss(moved, sign):
            return ln_mse(x, net.through(moved, snr_db, k, sign * noise))

        found = sum(slope(partial(loss, sign=sign), s) for sign in (1.0, -1.0)) / 2.0
        return net.updated(s, found, snr_db, k)

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
