"""Any source codec over packets with Reed-Solomon parity: the classical answer to packet loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from linksim import registry
from linksim.errors import BudgetError, ComponentError
from linksim.link import framing
from linksim.link.amc import Amc, choose_by_risk
from linksim.link.slices import Crossed, Rooms, Slice, SliceLink, Ways
from linksim.link.system import (
    LinkPoint,
    Outcome,
    apply_failure_policy,
    final_status,
    mse_of_grey,
)
from linksim.packet import pieces
from linksim.packet.reed_solomon import ReedSolomon
from linksim.packet.varint import varint
from linksim.seeds import FrameSeeds
from linksim.types import Codec, Delivered, Preparing


@dataclass(frozen=True)
class ErasureCoded:
    """Source codec + Reed-Solomon over packets: any K of an image's N packets give all of its bits.

        image -> codec -> stream -> K pieces of equal size -> + P of parity -> N packets -> [ link ] -> any K -> stream

    With fewer than K the pieces before the first gap are there, since the code is systematic; whether they make a
    picture is up to codec and failure policy (``good-prefix``). Without parity every packet is needed.

    Over ``link: packet`` a packet has a number and a CRC-16 (3 bytes, counted); over ``link: phy`` each is a transport
    block, whose place gives its number and whose CRC says whether it arrived.

    Args:
      codec:        source codec, by name or as a mapping with its parameters.
      packets:      N, of an image, parity included, 1..64.
      parity:       P of them, 0..N-1.
      channel_code: channel code, likewise (phy).
      amc:          how the MCS is chosen (phy; ``target`` is a packet's error rate). "auto" over a fade that the
                    transmitter does not know: for each image the MCS with the least mean squared error to expect, a
                    picture being lost with more than P packets of the draws of the fading law; a control word tells.
      backend:      of the demapper: "fast" or "sionna".
      mtu:          bytes of a packet at most, header and CRC included (packet link).
    """

    codec: Any
    packets: int = 10
    parity: int = 3
    channel_code: Any = "ldpc-5g"
    amc: Amc = field(default_factory=Amc)
    backend: Literal["fast", "sionna"] = "fast"
    mtu: int = 1500

    family: ClassVar[str] = "separated"
    links: ClassVar[frozenset[str]] = frozenset({"phy", "packet"})

    def __post_init__(self) -> None:
        if not 1 <= self.packets <= 64:
            raise ValueError(f"packets must be 1..64, got {self.packets}")
        if not 0 <= self.parity < self.packets:
            raise ValueError(f"parity must be 0..{self.packets - 1}, got {self.parity}")
        _ = self._link  # refuses what it cannot use

    @cached_property
    def _link(self) -> SliceLink:
        plain, equal = (0,) * self.packets, (1.0,) * self.packets
        return SliceLink(self.channel_code, self.amc, self.backend, self.mtu, plain, equal)

    @cached_property
    def _code(self) -> ReedSolomon:
        return ReedSolomon(self.packets - self.parity, self.parity)

    @cached_property
    def _encoder(self) -> Codec:
        return registry.create("codecs", self.codec)

    @cached_property
    def _decoder(
        self,
    ) -> Codec:  # an instance of its own: a receiver shares nothing with the transmitter
        return registry.create("codecs", self.codec)

    def _budgets(self, rooms: Rooms, kind: str) -> np.ndarray:
        """Bits of the codec's packet in each image. Returns: [B] int64."""
        per_packet = np.minimum(rooms.total // self.packets, rooms.each.min(axis=1))
        size = np.maximum(per_packet - _overhead(kind), 0)
        bits = 8 * self._code.source * size
        return np.array([framing.capacity_bits(int(b)) for b in bits], np.int64)

    def preview(self, point: LinkPoint, height: int, width: int) -> str:
        """See System.preview."""
        _no_mean(point)
        least = self._encoder.min_bits(height, width)
        ways = self._link.open_ways(point, height, width)
        if ways is None:
            text, rooms = self._link.describe(point, height, width)
            room = int(self._budgets(rooms, point.kind)[0])
            varies = point.kind == "phy" and point.csi_tx == "instantaneous"
        else:
            low, high = ways.options[0].mcs.name, ways.options[-1].mcs.name
            uses = point.uses(height, width)
            text = f"{uses} uses in {self.packets} blocks, {low} .. {high} by the picture"
            room, varies = int(self._way_budgets(ways).max()), False
        if room < least and not varies:
            raise BudgetError(
                f"{text} with {self.parity} of parity leave the codec {room} bits, below the {least} that it needs for "
                f"{height}x{width}; raise the budget, send fewer packets or less parity"
            )
        most = "at most " if ways is not None else ""
        return f"{text}, {self.parity} of them parity, {most}{room // 8} bytes for the codec"

    def simulate(self, images: np.ndarray, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        """See System.simulate."""
        _no_mean(point)
        height, width = images.shape[1:3]
        ways = self._link.open_ways(point, height, width)
        if ways is None:
            rooms = self._link.rooms(point, height, width, seeds)
        else:
            rooms = ways.rooms(self._choice(images, ways))
        coded = self._encoder.encode(images, self._budgets(rooms, point.kind))
        counts = [len(image) for image in coded.of]
        sent = [self._pack(image, point.kind) for image in coded.of]
        crossed = self._link.cross(sent, rooms, point, seeds)
        delivered = self._deliver(crossed, counts, point.kind)
        if point.failure != "good-prefix":
            delivered = delivered.without_prefixes()
        decoded = self._decoder.decode(delivered)
        return Outcome(
            apply_failure_policy(decoded, images.shape, point.failure),
            final_status(decoded, images.shape),
            crossed.ledger,
            crossed.mcs,
            crossed.papr_db,
        )

    def _way_budgets(self, ways: Ways) -> np.ndarray:
        """Bits of the codec's packet under each way. Returns: [M] int64."""
        return self._budgets(ways.rooms(np.arange(len(ways.options))), "phy")

    def _choice(self, images: np.ndarray, ways: Ways) -> np.ndarray:
        """The way of each image. Returns: [B] int64."""
        budgets = self._way_budgets(ways)
        if isinstance(self._encoder, Preparing):
            self._encoder.prepare(images, budgets)
        fails = np.array([float((lost.sum(1) > self.parity).mean()) for lost in ways.lost])
        return choose_by_risk(self._encoder.distortion(images, budgets), mse_of_grey(images), fails)

    def _pack(self, image: Sequence[Any], kind: str) -> list[Slice]:
        """The packets of an image; none where the codec has no picture."""
        if not image:
            return []
        source = self._code.source
        stream = sum(len(varint(len(p.data))) + len(p.data) for p in image)
        size = -(-stream // source)
        bits, length_bits = framing.pack(image, 8 * source * size)
        rows = np.packbits(bits).reshape(source, size)
        headers = length_bits // 8 + sum(p.header_bytes for p in image)
        padding = source * size - stream
        found = []
        for number, row in enumerate((*rows, *self._code.encode(rows))):
            parity = number >= source
            data = row.tobytes() if kind == "phy" else pieces.wrap(number, row.tobytes())
            # The stream's headers stand in its first piece, what fills it up in its last ones.
            mine = 0 if parity else min(headers, size)
            fill = 0 if parity else max(min(padding - (source - 1 - number) * size, size), 0)
            headers -= mine
            front, check = (0, 0) if kind == "phy" else (pieces.NUMBER_BYTES, pieces.CRC_BYTES)
            found.append(Slice(data, front + mine, check, min(fill, size - mine), size * parity))
        return found

    def _deliver(self, crossed: Crossed, counts: list[int], kind: str) -> Delivered:
        """What the decoder gets. ``counts``: packets of the codec in each image, part of its declared format."""
        packets, ok = [], []
        for row, count in zip(crossed.arrived, counts, strict=True):
            data, good = self._join(row, kind) if count else ((), ())
            packets.append((*data, *(b"",) * (count - len(data)))[:count])
            ok.append((*good, *(False,) * (count - len(good)))[:count])
        return Delivered(tuple(packets), tuple(ok))

    def _join(
        self, arrived: Sequence[bytes | None], kind: str
    ) -> tuple[tuple[bytes, ...], tuple[bool, ...]]:
        """The codec's packets from what arrived of an image's, whatever it is."""
        numbered: dict[int, bytes] = {}
        for place, data in enumerate(arrived):
            if data is None:
                continue
            read = (place, data) if kind == "phy" else pieces.open_packet(data)
            if read is not None and read[0] < self.packets:
                numbered.setdefault(*read)
        lengths = [len(piece) for piece in numbered.values()]
        size = max(set(lengths), key=lengths.count, default=0)
        if not size:
            return (), ()
        rows, here = np.zeros((self.packets, size), np.uint8), np.zeros(self.packets, bool)
        for number, piece in numbered.items():
            if len(piece) == size:
                rows[number], here[number] = np.frombuffer(piece, np.uint8), True
        source = self._code.source
        found = self._code.decode(rows, here)
        whole = source if found is not None else int(np.argmin(here[:source]))
        stream = rows[:source] if found is None else found
        return framing.unpack(np.unpackbits(stream), 8 * whole * size)


def _overhead(kind: str) -> int:
    return 0 if kind == "phy" else pieces.OVERHEAD_BYTES


def _no_mean(point: LinkPoint) -> None:
    if point.budget == "mean":
        raise ComponentError(
            "erasure-coded serves budget: per_image; it has no operating point for a set"
        )
