"""How a flat fade changes along a frame: block fading, ergodic fading, and everything between."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim.channel.jakes import BLOCK, clarke
from linksim.seeds import FrameSeeds

_SPEED_OF_LIGHT = 299_792_458.0  # m/s


@dataclass(frozen=True)
class Motion:
    """Coefficients CN(0, 1) along the symbols of a frame.

    Symbol s of the frame is sent at time t = interleaving s. It meets the coefficient of the block that t lies in,
    blocks being ``block_length`` long; those are independent, or, with ``doppler``, samples of the Clarke process where
    the blocks begin.

    Args:
      block_length: symbols that share a coefficient; None: one per frame, or, with ``doppler``, one per symbol.
      doppler:      f_D T_s, largest Doppler shift over the symbol rate, 0..0.5; None: independent blocks.
      interleaving: frames that share the channel symbol by symbol, so that neighbours in a frame travel so many symbols
                    apart.
    """

    block_length: int | None = None
    doppler: float | None = None
    interleaving: int = 1

    def __post_init__(self) -> None:
        if self.block_length is not None and self.block_length < 1:
            raise ValueError(
                "block_length must be at least 1 symbol (or left out for one per frame), got "
                f"{self.block_length}"
            )
        if self.doppler is not None and not 0 <= self.doppler <= 0.5:
            raise ValueError(
                "doppler must be in 0..0.5 of the symbol rate (beyond, symbols are no samples of the fade), got "
                f"{self.doppler:g}"
            )
        if not 1 <= self.interleaving <= 1_000_000:
            raise ValueError(f"interleaving must be in 1..1000000 frames, got {self.interleaving}")
        if self.interleaving > 1 and self.block_length is None and self.doppler is None:
            raise ValueError(
                "interleaving changes nothing where a frame has one coefficient; give block_length or doppler too"
            )

    @property
    def is_static(self) -> bool:
        """Whether a frame has one coefficient."""
        return not self.doppler and (self.block_length is None or self.doppler is not None)

    def scattered(self, num_symbols: int, seed: FrameSeeds, delay: int = 0) -> np.ndarray:
        """The coefficients.

        Args:    seed: of the frames; the draws come from its child "fading". delay [symbols]: of channel time; the
                 coefficients as they were so long ago (with ``doppler`` alone).
        Returns: [B, S] complex64, or [B, 1] where a frame has one; prefix by prefix the same for any S.
        """
        fading = seed.child("fading")
        if self.is_static:
            return fading.complex_normal(1)
        length = self.block_length or 1
        if self.interleaving >= length:  # every symbol has a block of its own
            count, rank = num_symbols, np.arange(num_symbols)
        else:
            rank = np.arange(num_symbols) * self.interleaving // length
            count = int(rank[-1]) + 1 if num_symbols else 0
        if self.doppler is None:
            return fading.complex_normal(count)[:, rank]
        number = np.arange(-(-count // BLOCK) * BLOCK)
        if self.interleaving >= length:
            number = number * self.interleaving // length
        return clarke(number * length - delay, self.doppler, seed)[:, rank]

    def autocorrelation(self, lag: np.ndarray) -> np.ndarray:
        """E[h(s + lag) h*(s)], averaged over where in its block s lies.

        Args:    lag [...] int, symbols.
        Returns: [...] float64.
        """
        from scipy.special import j0

        distance = np.abs(np.asarray(lag, np.int64)) * self.interleaving
        if self.is_static:
            return np.ones(distance.shape)
        length = self.block_length or 1
        blocks, rest = np.divmod(distance, length)
        nearer, farther = (
            (b == 0).astype(float)
            if self.doppler is None
            else j0(2 * np.pi * self.doppler * length * b)
            for b in (blocks, blocks + 1)
        )
        share = rest / length
        return (1 - share) * nearer + share * farther


def doppler_of(
    doppler: float | None,
    speed_kmh: float | None,
    carrier_ghz: float | None,
    symbol_rate_khz: float | None,
) -> float | None:
    """f_D T_s, given itself or as speed, carrier and symbol rate; None where neither is given.

    f_D = v f_c / c. Raises ValueError where both are given, or one of the three is missing.
    """
    physical = {
        "speed_kmh": speed_kmh,
        "carrier_ghz": carrier_ghz,
        "symbol_rate_khz": symbol_rate_khz,
    }
    missing = [name for name, value in physical.items() if value is None]
    if len(missing) == 3:
        return doppler
    if doppler is not None:
        raise ValueError(
            "doppler is given beside speed_kmh, carrier_ghz, symbol_rate_khz; keep one"
        )
    if missing:
        raise ValueError(
            f"speed_kmh, carrier_ghz and symbol_rate_khz belong together; {' and '.join(missing)} missing"
        )
    assert speed_kmh is not None and carrier_ghz is not None and symbol_rate_khz is not None
    if not (0 <= speed_kmh < 1e6 and 0 < carrier_ghz < 1e4 and 0 < symbol_rate_khz < 1e9):
        raise ValueError(
            f"speed_kmh must be in 0..1e6, carrier_ghz and symbol_rate_khz above 0, got {speed_kmh:g}, "
            f"{carrier_ghz:g} and {symbol_rate_khz:g}"
        )
    return speed_kmh / 3.6 * carrier_ghz * 1e9 / _SPEED_OF_LIGHT / (symbol_rate_khz * 1e3)
