"""Damaged inputs by number: the same number gives the same bytes everywhere, so that a failure names its input."""

from __future__ import annotations

import random
from collections.abc import Sequence

# Values that lengths, counts and offsets go wrong at.
_EDGES = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xff\xff\xff\x7f",
    b"\xff" * 4,
    b"\x00" * 4,
    b"\xff" * 8,
)


def mutant(seeds: Sequence[bytes], number: int) -> bytes:
    """One of ``seeds``, damaged in one to eight places; every sixteenth input is noise instead."""
    rng = random.Random(number)
    if rng.random() < 1 / 16:
        return rng.randbytes(rng.choice((0, 1, 2, 7, 40, 300)))
    data = bytearray(rng.choice(seeds))
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        _damage(data, seeds, rng)
    return bytes(data)


def _damage(data: bytearray, seeds: Sequence[bytes], rng: random.Random) -> None:
    # Headers decide more than payloads: half of the places are among the first 64 bytes.
    at = rng.randrange(min(len(data), 64) + 1 if rng.random() < 0.5 else len(data) + 1)
    length = rng.choice((1, 1, 2, 4, 8, 33))
    match rng.randrange(9):
        case 0 | 1:
            if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
        case 2:
            data[at : at + 1] = bytes([rng.randrange(256)])
        case 3:
            del data[at : at + length]
        case 4:
            data[at:at] = rng.randbytes(length)
        case 5:
            edge = rng.choice(_EDGES)
            data[at : at + len(edge)] = edge
        case 6:
            del data[at:]
        case 7:
            data[at:at] = data[at : at + 4 * length] * rng.choice((1, 2, 16))
        case 8:
            other = rng.choice(seeds)
            start = rng.randrange(len(other) + 1)
            data[at : at + length] = other[start : start + 4 * length]
