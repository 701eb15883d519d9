"""The header in front of every source codec's packet: the picture's size and how it was coded.

    LEB128(height - 1) | LEB128(width - 1) | flags: bits 0-1 log2 of the downscale, bits 2-7 a note of the codec's own

Three bytes up to 128x128, five up to 16384x16384. It is counted: ``Packet.header_bytes`` covers it.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_PIXELS = 64_000_000
MAX_SIDE = 16384
# No codec here codes more pixels in a byte; a header that claims more is damaged, and costs no memory.
MAX_PIXELS_PER_BYTE = 16384
SCALES = (1, 2, 4)
_MAX_VARINT = 4


@dataclass(frozen=True)
class Header:
    """Size and coding of one picture.

    Args:
      height: of the picture, 1 or more.
      width:  of the picture, 1 or more.
      scale:  1, 2 or 4: both sides were divided by it before coding.
      note:   0..63, what else the codec's decoder must know.
    """

    height: int
    width: int
    scale: int = 1
    note: int = 0

    def __post_init__(self) -> None:
        if self.height < 1 or self.width < 1 or self.height * self.width > MAX_PIXELS:
            raise ValueError(
                f"a picture has 1 to {MAX_PIXELS} pixels, got {self.height}x{self.width}"
            )
        if max(self.height, self.width) > MAX_SIDE:
            raise ValueError(
                f"a side has at most {MAX_SIDE} pixels, got {self.height}x{self.width}"
            )
        if self.scale not in SCALES:
            raise ValueError(f"scale must be one of {SCALES}, got {self.scale}")
        if not 0 <= self.note < 64:
            raise ValueError(f"note must be 0..63, got {self.note}")

    @property
    def coded(self) -> tuple[int, int]:
        """Height and width that were coded."""
        return -(-self.height // self.scale), -(-self.width // self.scale)

    def pack(self) -> bytes:
        """The header's bytes."""
        flags = SCALES.index(self.scale) | self.note << 2
        return varint(self.height - 1) + varint(self.width - 1) + bytes([flags])

    @classmethod
    def unpack(cls, data: bytes) -> tuple[Header, bytes]:
        """Header and payload of a packet. Raises ValueError on anything that no encoder here sends."""
        height, at = read_varint(data, 0)
        width, at = read_varint(data, at)
        if at >= len(data):
            raise ValueError("the packet ends inside its header")
        log_scale = data[at] & 3
        if log_scale >= len(SCALES):
            raise ValueError("downscale flag 3 has no meaning")
        header = cls(height + 1, width + 1, SCALES[log_scale], data[at] >> 2)
        payload = data[at + 1 :]
        rows, columns = header.coded
        if rows * columns > MAX_PIXELS_PER_BYTE * (len(payload) + 1):
            raise ValueError(f"{len(payload)} bytes cannot hold {rows}x{columns} pixels")
        return header, payload


def varint(value: int) -> bytes:
    """Unsigned LEB128, least significant group first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Value and the position behind it. Raises ValueError where there is none."""
    value = 0
    for i in range(_MAX_VARINT):
        if at + i >= len(data):
            raise ValueError("the data end inside a number")
        byte = data[at + i]
        value |= (byte & 0x7F) << 7 * i
        if byte < 0x80:
            return value, at + i + 1
    raise ValueError("a number is too long")
