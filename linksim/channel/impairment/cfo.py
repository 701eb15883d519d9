"""Carrier frequency offset."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from linksim.channel.impairment.rest import Rest
from linksim.channel.impairment.rotation import check_tracking, rotated
from linksim.seeds import FrameSeeds
from linksim.types import Received


@dataclass(frozen=True)
class Cfo:
    """Carrier frequency offset that a receiver's correction has left: a rotation that grows along the frame.

        y_t -> y_t e^{j 2 pi f (t - t_0)},    f ~ N(0, offset_rms^2), one per frame

    t_0 is where the receiver knows the phase: the beginning of the frame, or with ``tracking`` the middle of each so
    many symbols (a phase reference there is taken for granted, and its cost is not in the ledger). The receiver knows
    the statistics of f and not its value: h shrinks by E[e^{j phase}], and n0_eff holds the rest.

    Args:
      offset_rms: standard deviation of the offset over the symbol rate.
      tracking:   symbols from one phase reference to the next; None: one at the beginning.
    """

    offset_rms: float = 1e-5
    tracking: int | None = None

    distorts: ClassVar[str] = "carrier frequency offset"

    def __post_init__(self) -> None:
        if not 0 <= self.offset_rms <= 0.5:
            raise ValueError(
                f"offset_rms must be in 0..0.5 of the symbol rate, got {self.offset_rms}"
            )
        check_tracking(self.tracking)

    def __call__(self, x: np.ndarray, seed: FrameSeeds, rest: Rest) -> Received:
        """See types.Impairment."""
        place = np.arange(x.shape[1], dtype=np.float64)
        if self.tracking is not None:
            place = place % self.tracking - (self.tracking - 1) / 2
        turn = 2 * math.pi * self.offset_rms * place
        return rotated(rest(x), seed.normal(1).astype(np.float64) * turn, turn**2)
