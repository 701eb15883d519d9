"""QAM: coded bits <-> complex symbols, numba by default, Sionna's blocks as the alternative and the oracle."""

from __future__ import annotations

import numpy as np

from linksim.phy.mcs import MODULATION


def _check(num_bits_per_symbol: int) -> None:
    if num_bits_per_symbol not in MODULATION:
        raise ValueError(
            f"num_bits_per_symbol must be one of {list(MODULATION)}, got {num_bits_per_symbol}"
        )


def map_bits(bits: np.ndarray, num_bits_per_symbol: int) -> np.ndarray:
    """Gray mapping of 38.211, clause 5.1.

    Args:    bits [B, G] uint8, G a multiple of Qm = 2, 4, 6 or 8.
    Returns: [B, G / Qm] complex64, unit mean power.
    """
    _check(num_bits_per_symbol)
    if bits.shape[-1] % num_bits_per_symbol:
        raise ValueError(f"{bits.shape[-1]} bits are no multiple of {num_bits_per_symbol}")
    from linksim.phy.fast import mapper

    return mapper.map_bits(bits, num_bits_per_symbol)


def demap(
    y: np.ndarray,
    h: np.ndarray,
    n0: np.ndarray,
    num_bits_per_symbol: int,
    *,
    backend: str = "fast",
) -> np.ndarray:
    """Exact a-posteriori LLRs, ln p(1)/p(0), with h known.

    Args:    y, h [B, S] complex64; n0 [B, S] float32, noise power per complex symbol.
             backend: "fast" or "sionna".
    Returns: [B, S Qm] float32.
    """
    _check(num_bits_per_symbol)
    if backend == "fast":
        from linksim.phy.fast import demap as fast

        return fast.demap(y, h, n0, num_bits_per_symbol)
    if backend == "sionna":
        from linksim.phy import sionna_blocks

        return sionna_blocks.demap(y, h, n0, num_bits_per_symbol)
    raise ValueError(f"backend must be fast or sionna, got {backend!r}")
