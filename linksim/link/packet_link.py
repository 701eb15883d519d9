"""The packet link: codec packets -> network packets -> a loss process -> codec packets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim.link import guard
from linksim.packet import fragment
from linksim.seeds import FrameSeeds
from linksim.types import Delivered, ErasureProcess, Ledger, Packets


@dataclass(frozen=True)
class PacketLink:
    """Network packets of at most ``mtu`` bytes, each arriving whole or not at all."""

    mtu: int

    def capacity_bits(self, total_bits: int, packets: int = 1) -> tuple[int, int]:
        """Bits of codec packets that ``total_bits`` on the wire carry, and the number of network packets.

        Args: packets: of an image, of about equal size; each is cut into network packets of its own.
        """
        data, count = fragment.capacity_bytes(total_bits // 8 // packets, self.mtu)
        return 8 * data * packets, count * packets

    def cross(
        self, packets: Packets, erasure: ErasureProcess, seeds: FrameSeeds
    ) -> tuple[Delivered, Ledger]:
        """Send a batch.

        Returns: what arrives, and the ledger in bits. How many packets a codec sends is part of its declared format, so
                 a packet of which nothing arrived is one that is not ok, and differs from an outage.
        """
        wire = [fragment.split([p.data for p in image], self.mtu) for image in packets.of]
        lost = guard.lose(erasure, [len(sent) for sent in wire], seeds)
        joined = [
            fragment.join((f for f, gone in zip(sent, away, strict=True) if not gone), len(image))
            for sent, away, image in zip(wire, lost, packets.of, strict=True)
        ]
        delivered = Delivered(tuple(data for data, _ in joined), tuple(ok for _, ok in joined))
        return delivered, _ledger(packets, wire)


def _ledger(packets: Packets, wire: list[list[bytes]]) -> Ledger:
    """Bits of each image: the codec's own, its headers, and those of the network packets."""
    counts = np.array([float(len(sent)) for sent in wire])
    of_kind = {"payload": np.zeros(len(wire)), "side": np.zeros(len(wire))}
    headers = 8 * fragment.HEADER_BYTES * counts
    for b, image in enumerate(packets.of):
        for packet in image:
            of_kind[packet.kind][b] += packet.num_bits - 8 * packet.header_bytes
            headers[b] += 8 * packet.header_bytes
    return Ledger.zeros(
        len(wire),
        payload=of_kind["payload"],
        side_information=of_kind["side"],
        headers=headers,
        crc=8 * fragment.CRC_BYTES * counts,
    )
