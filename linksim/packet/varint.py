"""Lengths as LEB128: seven bits a byte, the lowest first, the top bit set where more follow."""

from __future__ import annotations


def varint(number: int) -> bytes:
    """LEB128 of a non-negative integer."""
    out = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        out.append(low | (0x80 if number else 0))
        if not number:
            return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int] | None:
    """The varint at ``at`` and the offset behind it; None if it is cut off or longer than 4 bytes."""
    value = 0
    for i in range(4):
        if at + i >= len(data):
            return None
        value |= (data[at + i] & 0x7F) << (7 * i)
        if data[at + i] < 0x80:
            return value, at + i + 1
    return None
