"""Flat block fading: one complex coefficient per block of symbols, known to the receiver."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linksim.channel.apply import faded
from linksim.seeds import FrameSeeds
from linksim.types import Received


@dataclass(frozen=True)
class Rayleigh:
    """Rayleigh block fading: h ~ CN(0, 1), independent from block to block.

    Args:
      block_length: symbols that share a coefficient; None: the whole frame does. 1 is ergodic fading.
    Source: Tse & Viswanath (2005), Sec. 2.4 and 5.4.
    """

    block_length: int | None = None

    def __post_init__(self) -> None:
        _check_block(self.block_length)

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        return [{}, {"block_length": 7}]

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """y = h x + w. See types.Channel."""
        return faded(x, _scattered(x.shape[1], self.block_length, seed), n0, seed)

    def gain_cdf(self, gain: np.ndarray) -> np.ndarray:
        """P(|h|^2 <= gain). Args: gain [...], linear. Returns: [...] float64."""
        return -np.expm1(-np.maximum(np.asarray(gain, np.float64), 0.0))


@dataclass(frozen=True)
class Rician:
    """Rician block fading: a steady path of random phase, and scattering K times weaker.

        h = sqrt(K / (K+1)) e^{j theta} + sqrt(1 / (K+1)) CN(0, 1)

    theta is uniform and constant over a frame; the scattering is independent from block to block.

    Args:
      k_factor_db:  K, power of the steady path over that of the scattering, dB (-100..100).
      block_length: symbols that share a coefficient; None: the whole frame does.
    Source: Tse & Viswanath (2005), Sec. 2.4.2.
    """

    k_factor_db: float = 6.0
    block_length: int | None = None

    def __post_init__(self) -> None:
        if not -100 <= self.k_factor_db <= 100:
            raise ValueError(f"k_factor_db must be in -100..100 dB, got {self.k_factor_db}")
        _check_block(self.block_length)

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        return [{"k_factor_db": 6.0}, {"k_factor_db": -3.0, "block_length": 1}]

    @property
    def k_factor(self) -> float:
        """K, linear."""
        return math.pow(10.0, self.k_factor_db / 10)

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """y = h x + w. See types.Channel."""
        phase = 2 * np.pi * seed.child("fading", "phase").uniform(1)
        steady = math.sqrt(self.k_factor / (self.k_factor + 1)) * np.exp(1j * phase)
        scatter = math.sqrt(1 / (self.k_factor + 1))
        h = steady + scatter * _scattered(x.shape[1], self.block_length, seed)
        return faded(x, h, n0, seed)

    def gain_cdf(self, gain: np.ndarray) -> np.ndarray:
        """P(|h|^2 <= gain) = 1 - Q_1(sqrt(2K), sqrt(2 (K+1) gain)), Q_1 the Marcum Q function.

        Args: gain [...], linear. Returns: [...] float64.
        """
        from scipy.special import chndtr  # 2 (K+1) |h|^2 is noncentral chi-square

        scaled = 2 * (self.k_factor + 1) * np.maximum(np.asarray(gain, np.float64), 0.0)
        return chndtr(scaled, 2, 2 * self.k_factor)


def _check_block(block_length: int | None) -> None:
    if block_length is not None and block_length < 1:
        raise ValueError(
            f"block_length must be at least 1 symbol (or left out for one per frame), got {block_length}"
        )


def _scattered(num_symbols: int, block_length: int | None, seed: FrameSeeds) -> np.ndarray:
    """CN(0, 1) per block, prefix by prefix the same for any number of symbols.

    Returns: [B, S] complex64, or [B, 1] for one block per frame.
    """
    fading = seed.child("fading")
    if block_length is None:
        return fading.complex_normal(1)
    blocks = fading.complex_normal(-(-num_symbols // block_length))
    return np.repeat(blocks, block_length, axis=1)[:, :num_symbols]
