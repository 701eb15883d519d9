"""Knowledge of the channel that is no longer true."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from linksim.channel.impairment.rest import Rest
from linksim.seeds import FrameSeeds
from linksim.types import Received


@dataclass(frozen=True)
class OutdatedCsi:
    """Receiver or transmitter know the fade as it was some time ago.

    At the receiver: h = E[h now | h then], which for Rayleigh fading is rho times what it was, and n0_eff holds the
    power of the difference, 1 - rho^2 at E|x|^2 = 1. The difference is a fade itself: it is as coherent along the frame
    as the fade is, and a demapper that takes it for white noise loses by that. A Rician channel's steady path stays
    known.

    At the transmitter: with ``csi_tx: instantaneous`` it decides on |h then|^2, and takes it for the truth. With other
    csi_tx nothing changes.

    Needs a channel with a past: rayleigh, rician, or one that has the method ``past`` (linksim.channel.past).

    Args:
      delay: age, in symbols of channel time; of a channel with doppler. Its correlation is J0(2 pi f_D T_s delay).
      rho:   instead, the correlation, 0..1 (for block fading, which has no time).
      side:  "receiver", "transmitter" or "both".
    """

    delay: int | None = None
    rho: float | None = None
    side: Literal["receiver", "transmitter", "both"] = "receiver"

    innermost: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if (self.delay is None) == (self.rho is None):
            raise ValueError(f"give delay or rho, one of the two, got {self.delay} and {self.rho}")
        if self.delay is not None and not 0 <= self.delay <= 10**9:
            raise ValueError(f"delay must be at least 0 symbols, got {self.delay}")
        if self.rho is not None and not 0 <= self.rho <= 1:
            raise ValueError(f"rho must be in 0..1, got {self.rho}")
        if self.side not in ("receiver", "transmitter", "both"):
            raise ValueError(f"side must be receiver, transmitter or both, got {self.side!r}")

    @property
    def distorts(self) -> str:
        """See linksim.channel.laws."""
        return "" if self.side == "transmitter" else "outdated knowledge"

    def fits(self, channel: Any) -> None:
        """Raise ValueError unless the channel has a past."""
        past = getattr(channel, "past", None)
        if past is None:
            raise ValueError(
                f"OutdatedCsi needs a channel with a past (rayleigh, rician), got {type(channel).__name__}"
            )
        past(1, FrameSeeds.of(0, 1), delay=self.delay, rho=self.rho)

    def __call__(self, x: np.ndarray, seed: FrameSeeds, rest: Rest) -> Received:
        """See types.Impairment."""
        received = rest(x)
        if self.side == "transmitter":
            return received
        past = rest.channel.past(x.shape[1], rest.seed, delay=self.delay, rho=self.rho)
        h = np.asarray(past.predicted, np.complex64)
        return Received(received.y, h, np.asarray(received.n0_eff + past.error, np.float32))

    @property
    def transmitter_is_old(self) -> bool:
        """Whether a transmitter with instantaneous knowledge has ``then`` instead of h."""
        return self.side != "receiver"

    def then(self, num_symbols: int, seed: FrameSeeds, channel: Any) -> np.ndarray:
        """h as it was. Returns: [B, S] or [B, 1] complex."""
        return channel.past(num_symbols, seed, delay=self.delay, rho=self.rho).h
