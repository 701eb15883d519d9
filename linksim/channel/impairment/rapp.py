"""Power amplifier."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from linksim.channel.impairment.rest import Rest
from linksim.seeds import FrameSeeds
from linksim.types import Received

_NODES = 96  # of the quadrature over a Gaussian signal's power


@dataclass(frozen=True)
class Rapp:
    """Solid-state power amplifier: amplitudes are compressed towards saturation, phases stay.

        g(r) = r / (1 + (r / A)^(2p))^(1 / 2p),    A^2 = saturation power, input_backoff_db above the mean input power

    Power rule: each frame leaves the amplifier with the mean power that it came with, so that Es/N0 counts what is
    radiated, for every system; what the amplifier costs is distortion, not SNR. By Bussgang's decomposition g(x) = a x
    + d, with d uncorrelated with x: the receiver's h holds a, which pilots would show, and n0_eff the power of d. Both
    are those of the frame itself. A silent frame (by which a transmitter's knowledge is read) has those of a complex
    Gaussian signal.

    An amplifier hardly touches QPSK, whose symbols have one amplitude, and does much to a joint coder's symbols, whose
    largest are far above the mean (`papr_db` in the rows).

    Args:
      input_backoff_db: saturation power over mean input power, dB.
      p:                smoothness: 2 to 3 for solid-state amplifiers, large for a hard limit.
    Source: Rapp, "Effects of HPA-nonlinearity on a 4-DPSK/OFDM-signal", ESA SP-332, 1991; Bussgang, 1952.
    """

    input_backoff_db: float = 6.0
    p: float = 2.0

    distorts: ClassVar[str] = "power amplifier"

    def __post_init__(self) -> None:
        if not -20 <= self.input_backoff_db <= 60:
            raise ValueError(f"input_backoff_db must be in -20..60 dB, got {self.input_backoff_db}")
        if not 0.5 <= self.p <= 100:
            raise ValueError(f"p must be in 0.5..100, got {self.p}")

    def compress(self, amplitude: np.ndarray) -> np.ndarray:
        """g(r). Args: amplitude [...] >= 0, of a signal of mean power 1. Returns: [...] float64."""
        ratio = np.asarray(amplitude, np.float64) / 10 ** (self.input_backoff_db / 20)
        with np.errstate(over="ignore", divide="ignore"):
            # from saturation upwards in the other form, which does not overflow
            low = 1 / (1 + np.minimum(ratio, 1) ** (2 * self.p)) ** (0.5 / self.p)
            high = 1 / (1 + np.maximum(ratio, 1) ** (-2 * self.p)) ** (0.5 / self.p)
            return np.where(ratio <= 1, amplitude * low, amplitude / np.maximum(ratio, 1) * high)

    @cached_property
    def of_gaussian(self) -> tuple[float, float]:
        """a and E|d|^2 of a complex Gaussian signal, under the power rule."""
        power, weight = np.polynomial.laguerre.laggauss(_NODES)
        r = np.sqrt(power)
        g = self.compress(r)
        a = float((weight * g * r).sum() / np.sqrt((weight * g**2).sum()))
        return a, max(1 - a**2, 0.0)

    def __call__(self, x: np.ndarray, seed: FrameSeeds, rest: Rest) -> Received:
        """See types.Impairment."""
        r = np.abs(x.astype(np.complex128))
        g = self.compress(r)
        energy, left = (r**2).sum(1), (g**2).sum(1)
        silent = energy == 0
        level = np.sqrt(energy / np.where(silent, 1, left))
        gain = level[:, None] * g / np.where(r > 0, r, 1)
        a = level * (g * r).sum(1) / np.where(silent, 1, energy)
        # The frame ends with its last symbol that is not zero.
        length = x.shape[1] - np.argmax(r[:, ::-1] > 0, axis=1) if x.shape[1] else np.ones(len(x))
        distortion = np.maximum(energy / length * (1 - a**2), 0)
        a, distortion = (
            np.where(silent, nominal, value)
            for nominal, value in zip(self.of_gaussian, (a, distortion), strict=True)
        )
        y, h, n0 = rest((x * gain).astype(np.complex64)).full()
        reach = (h.real**2 + h.imag**2) * distortion[:, None]
        return Received(y, (h * a[:, None]).astype(np.complex64), (n0 + reach).astype(np.float32))
