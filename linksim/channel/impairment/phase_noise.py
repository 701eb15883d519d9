"""Phase noise of oscillators."""

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
class PhaseNoise:
    """Wiener phase noise: a free-running oscillator of Lorentzian spectrum.

        phase_t = phase_(t-1) + N(0, 2 pi linewidth),    y_t -> y_t e^{j phase_t}

    The receiver knows the phase at the beginning of the frame. With ``tracking`` it knows, and takes out, the mean
    phase of each so many symbols (the common phase error of an OFDM symbol), at no cost in the ledger. What remains it
    knows in the mean alone: h shrinks by E[e^{j phase}], and n0_eff holds the rest.

    Args:
      linewidth: two-sided 3 dB bandwidth of the oscillator's spectrum over the symbol rate, beta T_s.
      tracking:  symbols over which the mean phase is taken out; None: it is not.
    Source: Demir, Mehrotra & Roychowdhury, "Phase noise in oscillators", IEEE Trans. Circuits Syst. I 47(5), 2000.
    """

    linewidth: float = 1e-6
    tracking: int | None = None

    distorts: ClassVar[str] = "phase noise"

    def __post_init__(self) -> None:
        if not 0 <= self.linewidth <= 1:
            raise ValueError(f"linewidth must be in 0..1 of the symbol rate, got {self.linewidth}")
        check_tracking(self.tracking)

    def __call__(self, x: np.ndarray, seed: FrameSeeds, rest: Rest) -> Received:
        """See types.Impairment."""
        size = x.shape[1]
        block = self.tracking or 1
        steps = seed.normal(-(-size // block) * block).astype(np.float64)
        steps *= math.sqrt(2 * math.pi * self.linewidth)
        steps[:, :1] = 0
        phase = np.cumsum(steps, axis=1)
        if self.tracking is not None:
            blocks = phase.reshape(len(x), -1, block)
            phase = (blocks - blocks.mean(axis=2, keepdims=True)).reshape(len(x), -1)
        return rotated(rest(x), phase[:, :size], self.variance(size))

    def variance(self, num_symbols: int) -> np.ndarray:
        """Variance of the phase at each symbol that the receiver does not know. Returns: [S] float64, radians^2.

        Of N symbols whose mean is taken out, with one step s^2 between neighbours, symbol i keeps
        s^2 (sum_{k<=i} k^2 + sum_{k<N-i} k^2) / N^2.
        """
        step = 2 * math.pi * self.linewidth
        place = np.arange(num_symbols, dtype=np.float64)
        if self.tracking is None:
            return step * place
        size = self.tracking
        before = place % size
        behind = size - 1 - before
        return step * (_squares(before) + _squares(behind)) / size**2


def _squares(n: np.ndarray) -> np.ndarray:
    """1 + 4 + ... + n^2."""
    return n * (n + 1) * (2 * n + 1) / 6
