"""Cyclic redundancy checks of 3GPP TS 38.212, clause 5.1, on batches of bit rows."""

from __future__ import annotations

from functools import cache

import numpy as np

POLYNOMIALS = {
    # name: (length, generator without its leading term)
    "24a": (24, 0x864CFB),
    "24b": (24, 0x800063),
    "16": (16, 0x1021),
}


@cache
def _byte_table(name: str) -> np.ndarray:
    """[256] uint32: remainder after one more byte."""
    length, polynomial = POLYNOMIALS[name]
    top, full = 1 << (length - 1), (1 << length) - 1
    table = np.zeros(256, np.uint32)
    for byte in range(256):
        value = byte << (length - 8)
        for _ in range(8):
            value = ((value << 1) & full) ^ (polynomial if value & top else 0)
        table[byte] = value
    return table


def remainder(bits: np.ndarray, name: str) -> np.ndarray:
    """CRC of each row.

    Args:    bits [N, A] uint8. name: "24a", "24b" or "16".
    Returns: [N] uint32.
    """
    length, _ = POLYNOMIALS[name]
    full = np.uint32((1 << length) - 1)
    lead = -bits.shape[1] % 8  # leading zeros change nothing
    padded = np.pad(bits, ((0, 0), (lead, 0)))
    table = _byte_table(name)
    state = np.zeros(len(bits), np.uint32)
    for column in np.packbits(padded, axis=1).T:
        index = (state >> np.uint32(length - 8)) ^ column
        state = ((state << np.uint32(8)) & full) ^ table[index]
    return state


def parity(bits: np.ndarray, name: str) -> np.ndarray:
    """CRC bits of each row, most significant first. Returns: [N, 24 or 16] uint8."""
    length, _ = POLYNOMIALS[name]
    weights = np.arange(length - 1, -1, -1, dtype=np.uint32)
    return ((remainder(bits, name)[:, None] >> weights) & 1).astype(np.uint8)


def append(bits: np.ndarray, name: str) -> np.ndarray:
    """[N, A] -> [N, A + L] uint8, the CRC behind the message."""
    return np.concatenate([bits, parity(bits, name)], axis=1)


def check(bits: np.ndarray, name: str) -> np.ndarray:
    """Whether each row [N, A + L] ends in its own CRC. Returns: [N] bool."""
    length, _ = POLYNOMIALS[name]
    return (parity(bits[:, :-length], name) == bits[:, -length:]).all(axis=1)
