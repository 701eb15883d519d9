"""The digital link: packets -> transport block -> coded bits -> QAM symbols, and back.

    packets -> framing -> scrambler -> channel code (CRC, segmentation, FEC, rate matching) -> mapper -> x
    y -> demapper -> decoder, CRC -> descrambler -> framing -> packets, ok

One transport block an image. Frames with the same block plan go through the code together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linksim.errors import ComponentError
from linksim.link import framing
from linksim.phy import modem, scrambler
from linksim.types import (
    BlockPlan,
    ChannelCode,
    HybridCode,
    Ledger,
    Packet,
    Packets,
    Received,
)


def _groups(plans: Sequence[BlockPlan]) -> list[tuple[BlockPlan, np.ndarray]]:
    """Rows by plan, in order of first appearance."""
    rows: dict[BlockPlan, list[int]] = {}
    for b, plan in enumerate(plans):
        rows.setdefault(plan, []).append(b)
    return [(plan, np.array(index)) for plan, index in rows.items()]


@dataclass(frozen=True)
class DigitalLink:
    """Blocks of one channel code over QAM.

    Args:
      code:    the channel code.
      backend: of the demapper, "fast" or "sionna".
    """

    code: ChannelCode
    backend: str = "fast"

    def send(
        self, packets: Packets, plans: Sequence[BlockPlan], rv: int = 0, width: int | None = None
    ) -> tuple[np.ndarray, Ledger]:
        """Modulate one block an image.

        Args:
          plans: B plans.
          rv:    redundancy version; other than 0 needs a HybridCode.
          width: S, at least every plan's number of symbols; by default that of the first.
        Returns: x [B, S] complex64, unit power in expectation over each plan's symbols and zero behind them; the
                 ledger, in channel uses, whose totals are the plans' numbers of symbols.
        """
        size = plans[0].num_symbols if width is None else width
        x = np.zeros((len(plans), size), np.complex64)
        books = np.zeros((len(plans), 6))
        for plan, rows in _groups(plans):
            blocks = [framing.pack(packets.of[b], plan.info_bits) for b in rows]
            bits = np.stack([block for block, _ in blocks]) ^ scrambler.sequence(plan.info_bits)
            coded = self._hybrid.encode(bits, plan, rv) if rv else self.code.encode(bits, plan)
            x[rows, : plan.num_symbols] = modem.map_bits(coded, plan.num_bits_per_symbol)
            books[rows] = [
                _book(packets.of[b], lengths, plan)
                for b, (_, lengths) in zip(rows, blocks, strict=True)
            ]
        names = ("payload", "side_information", "headers", "crc", "padding", "parity")
        return x, Ledger.zeros(len(plans), **dict(zip(names, books.T, strict=True)))

    def receive(
        self, received: Received, plans: Sequence[BlockPlan]
    ) -> tuple[tuple[tuple[bytes, ...], ...], tuple[tuple[bool, ...], ...]]:
        """Demodulate, decode and check.

        Args:    received: [B, S]; plans as in ``send``.
        Returns: packets and ok of every image (see types.Delivered).
        """
        packets, ok, _ = self.receive_together([received], plans, (0,))
        return packets, ok

    def receive_together(
        self, received: Sequence[Received], plans: Sequence[BlockPlan], rvs: Sequence[int]
    ) -> tuple[tuple[tuple[bytes, ...], ...], tuple[tuple[bool, ...], ...], np.ndarray]:
        """Demodulate each of T transmissions of the same blocks, and decode them together.

        Args:    received: T times [B, S]; plans as in ``send``; rvs: T redundancy versions.
        Returns: packets and ok of every image (see types.Delivered), and [B] bool, whether all CRCs of its block are
                 right: what is acknowledged.
        """
        packets: list[tuple[bytes, ...]] = [()] * len(plans)
        ok: list[tuple[bool, ...]] = [()] * len(plans)
        whole = np.zeros(len(plans), bool)
        full = [one.full() for one in received]
        for plan, rows in _groups(plans):
            end = plan.num_symbols
            llrs = [
                modem.demap(
                    y[rows, :end],
                    h[rows, :end],
                    n0[rows, :end],
                    plan.num_bits_per_symbol,
                    backend=self.backend,
                )
                for y, h, n0 in full
            ]
            if len(llrs) == 1:
                bits, _, good = self.code.decode(llrs[0], plan)
            else:
                bits, _, good = self._hybrid.decode(np.concatenate(llrs, axis=1), plan, rvs)
            bits = bits ^ scrambler.sequence(plan.info_bits)
            whole[rows] = good == plan.info_bits
            for row, block, good_bits in zip(rows, bits, good, strict=True):
                packets[row], ok[row] = framing.unpack(block, int(good_bits))
        return tuple(packets), tuple(ok), whole

    @property
    def _hybrid(self) -> HybridCode:
        if not isinstance(self.code, HybridCode):
            raise ComponentError(
                f"channel code {type(self.code).__name__} has no redundancy versions; use ldpc-5g or leave `harq` out"
            )
        return self.code


def _book(packets: tuple[Packet, ...], length_bits: int, plan: BlockPlan) -> tuple[float, ...]:
    """Channel uses of (payload, side, headers, crc, padding, parity) of one block."""
    bits = {"payload": 0, "side": 0}
    for packet in packets:
        bits[packet.kind] += packet.num_bits - 8 * packet.header_bytes
    headers = 8 * sum(p.header_bytes for p in packets) + length_bits
    padding = plan.info_bits - bits["payload"] - bits["side"] - headers
    parity = plan.coded_bits - plan.info_bits - plan.crc_bits
    entries = (bits["payload"], bits["side"], headers, plan.crc_bits, padding, parity)
    return tuple(entry / plan.num_bits_per_symbol for entry in entries)
