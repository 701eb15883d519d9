"""Cyclic redundancy checks of 3GPP TS 38.212, clause 5.1, on batches of bit rows.

A CRC is linear, so a row's remainder is the XOR of one word per set bit: x^(j + L) mod g where j bits follow it.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import numpy as np

CrcName = Literal["24a", "24b", "16"]

POLYNOMIALS: dict[CrcName, tuple[int, int]] = {
    # name: (length L, generator without its leading term)
    "24a": (24, 0x864CFB),
    "24b": (24, 0x800063),
    "16": (16, 0x1021),
}
_ROWS_AT_ONCE = 1 << 22  # bits whose words are held at a time (16 MiB)


@lru_cache(maxsize=16)
def _words(name: CrcName, count: int) -> np.ndarray:
    """[count] uint32: the remainder of a single 1 with count-1, ..., 0 bits behind it."""
    length, polynomial = POLYNOMIALS[name]
    top, full = 1 << (length - 1), (1 << length) - 1
    value, words = polynomial, np.empty(count, np.uint32)
    for j in range(count - 1, -1, -1):
        words[j] = value
        value = ((value << 1) & full) ^ (polynomial if value & top else 0)
    words.setflags(write=False)
    return words


def remainder(bits: np.ndarray, name: CrcName) -> np.ndarray:
    """CRC of each row.

    Args:    bits [N, A] uint8. name: "24a", "24b" or "16".
    Returns: [N] uint32.
    """
    rows, size = bits.shape
    # Few table sizes, so that the cache holds them; a row uses the last A words.
    words = (
        _words(name, 1 << max(size - 1, 1).bit_length())[-size:] if size else np.zeros(0, np.uint32)
    )
    out = np.zeros(rows, np.uint32)
    step = max(1, _ROWS_AT_ONCE // max(size, 1))
    for start in range(0, rows, step):
        picked = bits[start : start + step].astype(np.uint32) * words
        out[start : start + step] = np.bitwise_xor.reduce(picked, axis=1)
    return out


def parity(bits: np.ndarray, name: CrcName) -> np.ndarray:
    """CRC bits of each row, most significant first. Returns: [N, 24 or 16] uint8."""
    length, _ = POLYNOMIALS[name]
    places = np.arange(length - 1, -1, -1, dtype=np.uint32)
    return ((remainder(bits, name)[:, None] >> places) & 1).astype(np.uint8)


def append(bits: np.ndarray, name: CrcName) -> np.ndarray:
    """[N, A] -> [N, A + L] uint8, the CRC behind the message."""
    return np.concatenate([bits, parity(bits, name)], axis=1)


def check(bits: np.ndarray, name: CrcName) -> np.ndarray:
    """Whether each row [N, A + L] ends in its own CRC (true of the all-zero row too). Returns: [N] bool."""
    length, _ = POLYNOMIALS[name]
    return (parity(bits[:, :-length], name) == bits[:, -length:]).all(axis=1)
