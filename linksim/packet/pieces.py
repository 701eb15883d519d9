"""Packets that carry numbered pieces of something else, each with a check: | number (1 byte) | piece | CRC-16 |."""

from __future__ import annotations

from linksim.packet import crc

NUMBER_BYTES = 1
CRC_BYTES = crc.CRC_BYTES["crc-16"]
OVERHEAD_BYTES = NUMBER_BYTES + CRC_BYTES


def wrap(number: int, piece: bytes) -> bytes:
    """The packet of a piece. Args: number: 0..255."""
    return crc.append(bytes([number]) + piece, "crc-16")


def open_packet(data: bytes) -> tuple[int, bytes] | None:
    """Number and piece; None where the packet is damaged. Never raises on any bytes."""
    body = crc.check(data, "crc-16")
    return None if not body else (body[0], body[NUMBER_BYTES:])
