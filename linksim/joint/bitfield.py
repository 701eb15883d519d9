"""Whole numbers in fixed fields of bits, most significant first."""

from __future__ import annotations

from collections.abc import Sequence


def pack(values: Sequence[int], widths: Sequence[int]) -> bytes:
    """Fields one after another, zero bits to the next byte. Raises ValueError where a value does not fit its field."""
    number = 0
    for value, width in zip(values, widths, strict=True):
        if not 0 <= value < 1 << width:
            raise ValueError(f"{value} does not fit {width} bits")
        number = number << width | int(value)
    bits = sum(widths)
    size = -(-bits // 8)
    return (number << (8 * size - bits)).to_bytes(size, "big")


def unpack(data: bytes, widths: Sequence[int]) -> list[int] | None:
    """The values that ``pack`` was given; None if there are not as many bytes as it makes."""
    bits = sum(widths)
    if len(data) != -(-bits // 8):
        return None
    number = int.from_bytes(data, "big") >> (8 * len(data) - bits)
    values = []
    for width in reversed(widths):
        values.append(number & ((1 << width) - 1))
        number >>= width
    return values[::-1]
