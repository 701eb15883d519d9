"""Scrambling with the length-31 Gold sequence of 3GPP TS 38.211, clause 5.2.1.

A transport block is scrambled with a fixed sequence, so that padding does not turn into a run of equal symbols and QAM
has unit power in expectation whatever the payload. (5G scrambles the coded bits instead; on a memoryless bit-symmetric
channel the difference does not show.)
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

_SKIP = 1600  # N_C
_INIT = 0x5A5A5  # c_init, any fixed value


@lru_cache(maxsize=8)
def _gold(length: int, init: int) -> np.ndarray:
    size = length + _SKIP
    x1 = np.zeros(size + 31, np.uint8)
    x2 = np.zeros(size + 31, np.uint8)
    x1[0] = 1
    x2[:31] = (init >> np.arange(31)) & 1
    # Taps reach from 31 back to 3, so 28 new bits at a time depend on old ones alone.
    for start in range(0, size, 28):
        stop = min(start + 28, size)
        n = stop - start
        x1[start + 31 : stop + 31] = x1[start + 3 : start + 3 + n] ^ x1[start : start + n]
        x2[start + 31 : stop + 31] = (
            x2[start + 3 : start + 3 + n]
            ^ x2[start + 2 : start + 2 + n]
            ^ x2[start + 1 : start + 1 + n]
            ^ x2[start : start + n]
        )
    bits = x1[_SKIP:size] ^ x2[_SKIP:size]
    bits.setflags(write=False)
    return bits


def gold(length: int, init: int) -> np.ndarray:
    """c(0) .. c(length - 1) for c_init = ``init``. Returns: [length] uint8."""
    size = 1 << max(length - 1, 1).bit_length()  # few sizes, so that the cache holds them all
    return _gold(size, init)[:length]


def sequence(length: int) -> np.ndarray:
    """The sequence that linksim scrambles with. Returns: [length] uint8."""
    return gold(length, _INIT)
