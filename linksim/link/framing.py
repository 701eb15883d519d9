"""Packets <-> the bits of a transport block.

    | length (varint) | packet 0 | length | packet 1 | ... | zeros to A bits |        then scrambled

A length of 0 ends the list. Lengths are bytes, as LEB128 varints, so one packet under 128 bytes costs one byte more and
one under 16 KiB two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from linksim.packet.varint import read_varint, varint
from linksim.types import Packet


def capacity_bits(info_bits: int, packets: int = 1) -> int:
    """Bits that ``packets`` packets may have together in a block of A bits, after their lengths.

    Returns: a multiple of 8, 0 where the block has no room.
    """
    room = info_bits // 8
    for length_bytes in (1, 2, 3, 4):
        data = room - packets * length_bytes
        if data < 1 << (7 * length_bytes):
            return 8 * max(data, 0)
    return 8 * max(room - 4 * packets, 0)


def pack(packets: Sequence[Packet], info_bits: int) -> tuple[np.ndarray, int]:
    """Fill a transport block.

    Args:    info_bits: A.
    Returns: bits [A] uint8 (not yet scrambled), and how many bits the lengths took.
    Raises:  ValueError: if the packets do not fit.
    """
    data = b"".join(varint(len(p.data)) + p.data for p in packets)
    if 8 * len(data) > info_bits:
        raise ValueError(
            f"packets of {[len(p.data) for p in packets]} bytes do not fit {info_bits} bits; "
            "the codec went over its budget"
        )
    bits = np.zeros(info_bits, np.uint8)
    bits[: 8 * len(data)] = np.unpackbits(np.frombuffer(data, np.uint8))
    return bits, 8 * sum(len(varint(len(p.data))) for p in packets)


def unpack(bits: np.ndarray, good_bits: int) -> tuple[tuple[bytes, ...], tuple[bool, ...]]:
    """Take packets out of a descrambled block, trusting its first ``good_bits`` bits alone.

    Returns: packets (the last may be the prefix that lies in the good part) and whether each is whole. A block that was
             sent empty gives no packets; one with nothing good gives one lost, empty packet.
    """
    data = np.packbits(bits[: good_bits // 8 * 8]).tobytes()
    whole = good_bits == len(bits)
    packets: list[bytes] = []
    ok: list[bool] = []
    at = 0
    while at < len(data) or not whole:
        head = read_varint(data, at)
        if head is None:
            if not whole:
                packets.append(b"")
                ok.append(False)
            break
        length, at = head
        if length == 0:
            break
        piece = data[at : at + length]
        packets.append(piece)
        ok.append(len(piece) == length)
        at += length
        if len(piece) < length:
            break
    return tuple(packets), tuple(ok)
