"""Checksums of network packets."""

from __future__ import annotations

import binascii
import zlib
from typing import Literal

CrcName = Literal["crc-16", "crc-32"]
CRC_BYTES: dict[str, int] = {"crc-16": 2, "crc-32": 4}


def crc16(data: bytes) -> int:
    """CRC-16-CCITT (polynomial 0x1021, initial value 0xFFFF). crc16(b"123456789") is 0x29B1."""
    return binascii.crc_hqx(data, 0xFFFF)


def crc32(data: bytes) -> int:
    """CRC-32 (IEEE 802.3). crc32(b"123456789") is 0xCBF43926."""
    return zlib.crc32(data)


def append(data: bytes, crc: CrcName) -> bytes:
    """``data`` with its checksum behind it, most significant byte first."""
    return data + _value(data, crc).to_bytes(CRC_BYTES[crc], "big")


def check(data: bytes, crc: CrcName) -> bytes | None:
    """What ``append`` was given, or None if the checksum is wrong."""
    size = CRC_BYTES[crc]
    body, tail = data[: len(data) - size], data[len(data) - size :]
    if len(data) < size or _value(body, crc) != int.from_bytes(tail, "big"):
        return None
    return body


def _value(data: bytes, crc: CrcName) -> int:
    if crc not in CRC_BYTES:
        raise ValueError(f"crc must be one of {sorted(CRC_BYTES)}, got {crc!r}")
    return crc16(data) if crc == "crc-16" else crc32(data)
