"""Checksums of network packets."""

from __future__ import annotations

import binascii
import zlib
from typing import Literal

CrcName = Literal["crc-8", "crc-16", "crc-32"]
CRC_BYTES: dict[str, int] = {"crc-8": 1, "crc-16": 2, "crc-32": 4}


def _table() -> bytes:
    """The CRC-8 of every byte, from a register of zeros."""
    rows = []
    for value in range(256):
        for _ in range(8):
            value = value << 1 ^ (0x107 if value & 0x80 else 0)
        rows.append(value)
    return bytes(rows)


_CRC8 = _table()


def crc8(data: bytes) -> int:
    """CRC-8 (polynomial 0x07, initial value 0, as in SMBus). crc8(b"123456789") is 0xF4."""
    register = 0
    for byte in data:
        register = _CRC8[register ^ byte]
    return register


def crc16(data: bytes) -> int:
    """CRC-16-CCITT (polynomial 0x1021, initial value 0xFFFF). crc16(b"123456789") is 0x29B1."""
    return binascii.crc_hqx(data, 0xFFFF)


def crc32(data: bytes) -> int:
    """CRC-32 (IEEE 802.3). crc32(b"123456789") is 0xCBF43926."""
    return zlib.crc32(data)


def append(data: bytes, crc: CrcName, stamp: bytes = b"") -> bytes:
    """``data`` with its checksum behind it, most significant byte first.

    Args: stamp: what both ends know and the checksum covers, without being sent.
    """
    return data + _value(stamp + data, crc).to_bytes(CRC_BYTES[crc], "big")


def check(data: bytes, crc: CrcName, stamp: bytes = b"") -> bytes | None:
    """What ``append`` was given, or None if the checksum is wrong."""
    size = CRC_BYTES[crc]
    body, tail = data[: len(data) - size], data[len(data) - size :]
    if len(data) < size or _value(stamp + body, crc) != int.from_bytes(tail, "big"):
        return None
    return body


def _value(data: bytes, crc: CrcName) -> int:
    if crc not in CRC_BYTES:
        raise ValueError(f"crc must be one of {sorted(CRC_BYTES)}, got {crc!r}")
    return {"crc-8": crc8, "crc-16": crc16, "crc-32": crc32}[crc](data)
