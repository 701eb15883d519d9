"""Flat fading: one complex coefficient per block of symbols, or per symbol, known to the receiver."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from linksim.channel.apply import faded
from linksim.channel.motion import Motion, doppler_of
from linksim.channel.past import Past, mixed
from linksim.seeds import FrameSeeds
from linksim.types import Received


@dataclass(frozen=True)
class Rayleigh:
    """Rayleigh fading: h ~ CN(0, 1); independent from block to block, or correlated in time (Clarke's model).

    Without ``doppler`` a coefficient holds for ``block_length`` symbols: the whole frame by default, 1 for ergodic
    fading. With it, the coefficients are samples of a Gaussian process of autocorrelation J0(2 pi f_D tau)
    (linksim.channel.jakes), and 0 is block fading again. ``interleaving`` leads from block to ergodic fading: the
    symbols of so many frames take turns, so that neighbours in a frame travel so many symbols apart and meet fades that
    differ more. What is received is deinterleaved already.

    Args:
      block_length:    symbols that share a coefficient; None: the whole frame does, or, with ``doppler``, none do.
      doppler:         f_D T_s, largest Doppler shift over the symbol rate, 0..0.5. Instead of it may be given
      speed_kmh:       speed of the receiver, km/h,
      carrier_ghz:     carrier frequency, GHz, and
      symbol_rate_khz: symbols per second, kHz.
      interleaving:    frames that are interleaved, symbol by symbol.
    Source: Tse & Viswanath (2005), Sec. 2.4 and 5.4; Clarke, BSTJ 47(6), 1968.
    """

    block_length: int | None = None
    doppler: float | None = None
    speed_kmh: float | None = None
    carrier_ghz: float | None = None
    symbol_rate_khz: float | None = None
    interleaving: int = 1

    def __post_init__(self) -> None:
        _ = self.motion  # which refuses what cannot be

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        return [
            {},
            {"block_length": 7},
            {"doppler": 0.01},
            {"speed_kmh": 30.0, "carrier_ghz": 3.5, "symbol_rate_khz": 15.0, "interleaving": 4},
        ]

    @cached_property
    def motion(self) -> Motion:
        """How the coefficients change."""
        doppler = doppler_of(self.doppler, self.speed_kmh, self.carrier_ghz, self.symbol_rate_khz)
        return Motion(self.block_length, doppler, self.interleaving)

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """y = h x + w. See types.Channel."""
        return faded(x, self.motion.scattered(x.shape[1], seed), n0, seed)

    def gain_cdf(self, gain: np.ndarray) -> np.ndarray:
        """P(|h|^2 <= gain). Args: gain [...], linear. Returns: [...] float64."""
        return -np.expm1(-np.maximum(np.asarray(gain, np.float64), 0.0))

    def autocorrelation(self, lag: np.ndarray) -> np.ndarray:
        """E[h(s + lag) h*(s)]. Args: lag [...] int, symbols. Returns: [...] float64."""
        return self.motion.autocorrelation(lag)

    def past(
        self, num_symbols: int, seed: FrameSeeds, *, delay: int | None, rho: float | None
    ) -> Past:
        """What was known of h some time ago. See linksim.channel.past."""
        return mixed(self.motion, num_symbols, seed, delay, rho)


@dataclass(frozen=True)
class Rician:
    """Rician fading: a steady path of random phase, and scattering K times weaker.

        h(t) = sqrt(K / (K+1)) e^{j (theta + 2 pi f_LOS t)} + sqrt(1 / (K+1)) CN(0, 1)

    theta is uniform and constant over a frame. The scattering changes as in :class:`Rayleigh`, with the same
    parameters; the steady path turns with ``los_doppler`` f_D: it arrives at an angle of arccos(los_doppler) to the
    movement.

    Args:
      k_factor_db: K, power of the steady path over that of the scattering, dB (-100..100).
      block_length, doppler, speed_kmh, carrier_ghz, symbol_rate_khz, interleaving: of the scattering, see Rayleigh.
      los_doppler: Doppler shift of the steady path over f_D, -1..1 (0.7 in TR 38.901, clause 7.7.2).
    Source: Tse & Viswanath (2005), Sec. 2.4.2.
    """

    k_factor_db: float = 6.0
    block_length: int | None = None
    doppler: float | None = None
    speed_kmh: float | None = None
    carrier_ghz: float | None = None
    symbol_rate_khz: float | None = None
    interleaving: int = 1
    los_doppler: float = 0.0

    def __post_init__(self) -> None:
        if not -100 <= self.k_factor_db <= 100:
            raise ValueError(f"k_factor_db must be in -100..100 dB, got {self.k_factor_db}")
        if not -1 <= self.los_doppler <= 1:
            raise ValueError(f"los_doppler must be in -1..1 of f_D, got {self.los_doppler}")
        motion = self.motion  # which refuses what cannot be
        if self.los_doppler and not motion.doppler:
            raise ValueError("los_doppler is a share of f_D; give doppler too")

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        return [
            {"k_factor_db": 6.0},
            {"k_factor_db": -3.0, "block_length": 1},
            {"k_factor_db": 3.0, "doppler": 0.02, "los_doppler": 0.7},
        ]

    @cached_property
    def motion(self) -> Motion:
        """How the scattering changes."""
        doppler = doppler_of(self.doppler, self.speed_kmh, self.carrier_ghz, self.symbol_rate_khz)
        return Motion(self.block_length, doppler, self.interleaving)

    @property
    def k_factor(self) -> float:
        """K, linear."""
        return math.pow(10.0, self.k_factor_db / 10)

    @property
    def _turn(self) -> float:
        """Phase of the steady path from symbol to symbol, radians."""
        return 2 * math.pi * self.los_doppler * (self.motion.doppler or 0.0)

    def _steady(self, num_symbols: int, seed: FrameSeeds, delay: int = 0) -> np.ndarray:
        """[B, S] or [B, 1] complex128."""
        phase = 2 * np.pi * seed.child("fading", "phase").uniform(1)
        if self._turn:
            phase = phase + self._turn * (np.arange(num_symbols) * self.interleaving - delay)
        return math.sqrt(self.k_factor / (self.k_factor + 1)) * np.exp(1j * phase)

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """y = h x + w. See types.Channel."""
        scatter = math.sqrt(1 / (self.k_factor + 1)) * self.motion.scattered(x.shape[1], seed)
        return faded(x, self._steady(x.shape[1], seed) + scatter, n0, seed)

    def gain_cdf(self, gain: np.ndarray) -> np.ndarray:
        """P(|h|^2 <= gain) = 1 - Q_1(sqrt(2K), sqrt(2 (K+1) gain)), Q_1 the Marcum Q function.

        Args: gain [...], linear. Returns: [...] float64.
        """
        from scipy.special import chndtr  # 2 (K+1) |h|^2 is noncentral chi-square

        scaled = 2 * (self.k_factor + 1) * np.maximum(np.asarray(gain, np.float64), 0.0)
        return chndtr(scaled, 2, 2 * self.k_factor)

    def autocorrelation(self, lag: np.ndarray) -> np.ndarray:
        """E[h(s + lag) h*(s)]. Args: lag [...] int, symbols. Returns: [...] complex128."""
        steady = np.exp(1j * self._turn * self.interleaving * np.asarray(lag))
        return (self.k_factor * steady + self.motion.autocorrelation(lag)) / (self.k_factor + 1)

    def past(
        self, num_symbols: int, seed: FrameSeeds, *, delay: int | None, rho: float | None
    ) -> Past:
        """What was known of h some time ago; the steady path is known for good. See linksim.channel.past."""
        scatter = mixed(self.motion, num_symbols, seed, delay, rho)
        amplitude = math.sqrt(1 / (self.k_factor + 1))
        return Past(
            self._steady(num_symbols, seed, delay or 0) + amplitude * scatter.h,
            self._steady(num_symbols, seed) + amplitude * scatter.predicted,
            amplitude**2 * scatter.error,
        )
