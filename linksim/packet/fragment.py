"""A codec's packets cut into network packets, and put together again.

    | packet index (8) | number (16) | total - 1 (16) | chunk ... | CRC-16 |       one fragment, at most ``mtu`` bytes

The receiver trusts a fragment whose CRC is right, in any order, once or more often. Bits are big endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from linksim.errors import BudgetError
from linksim.packet import crc

_HEADER = struct.Struct(">BHH")
HEADER_BYTES = _HEADER.size
CRC_BYTES = crc.CRC_BYTES["crc-16"]
OVERHEAD_BYTES = HEADER_BYTES + CRC_BYTES
MAX_PACKETS = 1 << 8
MAX_FRAGMENTS = 1 << 16


def num_fragments(packet_bytes: int, mtu: int) -> int:
    """How many fragments a packet of so many bytes becomes (one, for an empty packet)."""
    return max(1, -(-packet_bytes // _room(mtu)))


def capacity_bytes(budget_bytes: int, mtu: int) -> tuple[int, int]:
    """The largest packet that fits a budget on the wire, headers and CRCs included.

    Returns: its bytes, and its number of fragments; (0, 0) where not one byte fits.
    """
    full, rest = divmod(max(budget_bytes, 0), mtu)
    data = full * _room(mtu) + max(rest - OVERHEAD_BYTES, 0)
    return (data, num_fragments(data, mtu)) if data else (0, 0)


def split(packets: Sequence[bytes], mtu: int) -> list[bytes]:
    """The fragments of an image's packets, in sending order.

    Args:   mtu: bytes of a fragment at most, OVERHEAD_BYTES of them header and CRC.
    Raises: BudgetError: if there are more packets or fragments than a header can number.
    """
    if len(packets) > MAX_PACKETS:
        raise BudgetError(f"{len(packets)} packets in one image, the header counts {MAX_PACKETS}")
    room = _room(mtu)
    fragments = []
    for index, data in enumerate(packets):
        total = num_fragments(len(data), mtu)
        if total > MAX_FRAGMENTS:
            raise BudgetError(
                f"a packet of {len(data)} bytes needs {total} fragments, the header counts {MAX_FRAGMENTS}; raise mtu"
            )
        for number in range(total):
            chunk = data[number * room : (number + 1) * room]
            fragments.append(crc.append(_HEADER.pack(index, number, total - 1) + chunk, "crc-16"))
    return fragments


def join(
    received: Iterable[bytes], num_packets: int | None = None
) -> tuple[tuple[bytes, ...], tuple[bool, ...]]:
    """Put fragments together, whatever arrived, in whatever order.

    Args:
      received:    network packets; damaged ones are ignored, and so are copies.
      num_packets: how many packets to report; None: up to the highest index that arrived (none if nothing did).
    Returns: as in types.Delivered: each packet, or, where a fragment is missing, what lies before the first gap; and
             whether it is whole.
    """
    chunks: dict[int, dict[int, dict[int, bytes]]] = {}  # packet -> total -> number -> chunk
    for data in received:
        body = crc.check(bytes(data), "crc-16")
        if body is None or len(body) < HEADER_BYTES:
            continue
        index, number, last = _HEADER.unpack_from(body)
        if number <= last:
            of_total = chunks.setdefault(index, {}).setdefault(last + 1, {})
            of_total.setdefault(number, body[HEADER_BYTES:])
    if num_packets is None:
        num_packets = max(chunks, default=-1) + 1
    joined = [_longest_prefix(chunks.get(i, {})) for i in range(num_packets)]
    return tuple(data for data, _ in joined), tuple(whole for _, whole in joined)


def _room(mtu: int) -> int:
    """Bytes of a packet in one fragment."""
    if mtu <= OVERHEAD_BYTES:
        raise ValueError(
            f"mtu must be above the {OVERHEAD_BYTES} bytes of header and CRC, got {mtu}"
        )
    return mtu - OVERHEAD_BYTES


def _longest_prefix(of_total: dict[int, dict[int, bytes]]) -> tuple[bytes, bool]:
    """What lies before the first gap, and whether there is none; the total that most fragments name counts."""
    if not of_total:
        return b"", False
    total = max(of_total, key=lambda t: len(of_total[t]))
    parts = of_total[total]
    prefix: list[bytes] = []
    while len(prefix) in parts:
        prefix.append(parts[len(prefix)])
    return b"".join(prefix), len(prefix) == total
