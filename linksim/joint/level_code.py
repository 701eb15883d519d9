"""Profiles in a few bits: levels predicted from their neighbours, in one exact number.

    | coarseness 3 bits | levels, each under a distribution that its left and upper neighbours choose |

The coder is an asymmetric numeral system on one whole number of any length: no termination and no loss to rounding,
which matters for a side block of 60 to 200 bits (range coders on machine words end with up to 64 bits of their own).
Where the room does not do for the profile as it is, coarser versions of it are tried: half the resolution of the
levels, of the map, or of both.

Source: Duda (2013), arXiv:1311.2540, ANS.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from linksim.joint.profile import LEVEL_MAX

# (level step, side of the blocks that share a level), finest first
COARSENESS = ((1, 1), (2, 1), (1, 2), (2, 2), (2, 4), (4, 4), (4, 8))
HEAD_BITS = 3
TOTAL = 1 << 8  # of the frequencies; the first symbol costs up to log2 of it
_SPREAD = 1.7  # mean absolute error of the prediction, in levels: the best on training photographs


@cache
def _frequencies(step: int, prediction: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Frequencies of the levels -m..m (m = LEVEL_MAX / step) and their sums, for a prediction in quarter levels."""
    most = LEVEL_MAX // step
    centre = prediction / 4 / step
    ratio = np.exp(-step / _SPREAD)
    weight = ratio ** np.abs(np.arange(-most, most + 1) - centre)
    share = np.floor(weight / weight.sum() * (TOTAL - len(weight))).astype(int) + 1
    share[int(np.argmax(share))] += TOTAL - int(share.sum())
    start = np.concatenate([[0], np.cumsum(share)[:-1]])
    return tuple(int(v) for v in share), tuple(int(v) for v in start)


def _prediction(levels: np.ndarray, row: int, column: int) -> int:
    """From the neighbours already known, in quarter levels, rounded to halves."""
    left = int(levels[row, column - 1]) if column else None
    above = int(levels[row - 1, column]) if row else None
    if left is None and above is None:
        return 0
    if left is None or above is None:
        return 3 * int(left if above is None else above)  # type: ignore[arg-type]
    return 2 * (left + above)


def coarsened(levels: np.ndarray, mode: int) -> tuple[np.ndarray, np.ndarray]:
    """A profile as mode ``mode`` tells it.

    Args:    levels [h, w]; mode: index into COARSENESS.
    Returns: what is coded [ceil(h/b), ceil(w/b)], and the profile that it stands for [h, w].
    """
    step, block = COARSENESS[mode]
    height, width = levels.shape
    pad = ((0, -height % block), (0, -width % block))
    full = np.pad(levels.astype(np.float64), pad, "edge")
    rows, columns = full.shape[0] // block, full.shape[1] // block
    mean = full.reshape(rows, block, columns, block).mean((1, 3))
    coded = np.clip(np.rint(mean / step), -(LEVEL_MAX // step), LEVEL_MAX // step).astype(np.int64)
    return coded, spread(coded, mode, height, width)


def spread(coded: np.ndarray, mode: int, height: int, width: int) -> np.ndarray:
    """The profile [height, width] that coded levels stand for."""
    step, block = COARSENESS[mode]
    return np.repeat(np.repeat(coded * step, block, 0), block, 1)[:height, :width]


def pack(levels: np.ndarray, room_bits: int) -> tuple[bytes, np.ndarray] | None:
    """The finest version of a profile that fits.

    Args:    levels [h, w] int64; room_bits: bits that may be used.
    Returns: whole bytes, and the profile as the receiver will see it; None where not even the coarsest fits.
    """
    for mode in range(len(COARSENESS)):
        coded, shown = coarsened(levels, mode)
        data = _to_bytes(_encode(coded, mode) << HEAD_BITS | mode)
        if 8 * len(data) <= room_bits:
            return data, shown
    return None


def unpack(data: bytes, height: int, width: int) -> np.ndarray | None:
    """The profile [height, width] in a packet; None if there is none. Never raises on any bytes."""
    number = int.from_bytes(data, "little")
    mode, state = number & ((1 << HEAD_BITS) - 1), number >> HEAD_BITS
    if mode >= len(COARSENESS) or state < 1 or 8 * len(data) > 16 * height * width + 64:
        return None
    block = COARSENESS[mode][1]
    coded = _decode(state, mode, -(-height // block), -(-width // block))
    return None if coded is None else spread(coded, mode, height, width)


def _to_bytes(number: int) -> bytes:
    return number.to_bytes(-(-number.bit_length() // 8), "little")


def _encode(coded: np.ndarray, mode: int) -> int:
    step = COARSENESS[mode][0]
    state = 1
    rows, columns = coded.shape
    known = coded * step
    for place in range(rows * columns - 1, -1, -1):  # last in, first out
        row, column = divmod(place, columns)
        share, start = _frequencies(step, _prediction(known, row, column))
        symbol = int(coded[row, column]) + LEVEL_MAX // step
        quotient, rest = divmod(state, share[symbol])
        state = quotient * TOTAL + start[symbol] + rest
    return state


def _decode(state: int, mode: int, rows: int, columns: int) -> np.ndarray | None:
    step = COARSENESS[mode][0]
    most = LEVEL_MAX // step
    coded = np.zeros((rows, columns), np.int64)
    known = np.zeros((rows, columns), np.int64)
    for place in range(rows * columns):
        row, column = divmod(place, columns)
        share, start = _frequencies(step, _prediction(known, row, column))
        quotient, slot = divmod(state, TOTAL)
        symbol = int(np.searchsorted(start, slot, "right")) - 1
        state = quotient * share[symbol] + slot - start[symbol]
        coded[row, column] = symbol - most
        known[row, column] = coded[row, column] * step
    return coded if state == 1 else None
