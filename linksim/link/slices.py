"""Several packets an image, each by itself: over the packet link one network packet each, over phy one transport block.

    packet:  | packet | packet | ... |                      each at most ``mtu`` bytes, lost or not
    phy:     | block 0 | block 1 | ... | block N-1 |        one after the other in the image's channel uses
             framing, CRC, channel code, QAM of each; a block whose CRC is wrong is a packet lost

so that an erasure rate and an SNR are two views of one system. The blocks share the image's channel uses by a rule that
both ends know: in equal parts, or by ``shares``; those of packets that are protected better (``lowered``) get as many
more as their lower MCS asks for. Nothing of it is signalled, but for the MCS where a system chooses it by the picture:

    phy:     | block 0 | block 1 | ... | block N-1 |, a control word evenly among their symbols
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from linksim import registry
from linksim.errors import BudgetError
from linksim.link import control, csi, framing, guard, overhead
from linksim.link.amc import Amc, Candidate, choose_for_target
from linksim.link.digital import DigitalLink
from linksim.link.system import LinkPoint
from linksim.phy.mcs import TABLE, Mcs
from linksim.seeds import FrameSeeds, Seed
from linksim.types import BlockPlan, ChannelCode, Frame, Ledger, Packet, Packets, Received


@dataclass(frozen=True)
class Slice:
    """A packet that crosses the link by itself.

    Args:
      data:          what is sent.
      header_bytes:  of them, at the front.
      check_bytes:   of them, checksum.
      padding_bytes: of them, that only fill up.
      parity_bytes:  of them, that are erasure-code parity rather than payload.
    """

    data: bytes
    header_bytes: int = 0
    check_bytes: int = 0
    padding_bytes: int = 0
    parity_bytes: int = 0

    @property
    def payload_bytes(self) -> int:
        """Bytes that are neither header nor check nor padding nor parity."""
        rest = self.header_bytes + self.check_bytes + self.padding_bytes + self.parity_bytes
        return len(self.data) - rest


@dataclass(frozen=True)
class _Option:
    """An MCS with the blocks that it makes of an image's channel uses.

    Args: mcs: of the packets that are not protected better. edges: N + 1, where blocks begin and the last one ends.
          plans: N.
    """

    mcs: Mcs
    edges: tuple[int, ...]
    plans: tuple[BlockPlan, ...]

    @property
    def room(self) -> np.ndarray:
        """[N] int64 bytes of each packet at most."""
        return np.array([framing.capacity_bits(p.info_bits) // 8 for p in self.plans], np.int64)


# The best way to send an image's packets: its place, given each way's bytes and M draws of what is lost, [M, N] bool.
Judge = Callable[[Sequence[tuple[int, np.ndarray]]], int]
LOSS_DRAWS = 8  # patterns of losses for each draw of the fading law


@dataclass(frozen=True)
class Rooms:
    """What the packets of a batch may hold.

    Args:
      total: [B] int64 bytes of an image's packets together.
      each:  [B, N] int64 bytes of each packet.
      options, choice: how they are sent (phy): choice [B].
      told: whether a control word tells the choice, which the receiver cannot derive.
    """

    total: np.ndarray
    each: np.ndarray
    options: tuple[_Option, ...] = ()
    choice: np.ndarray | None = None
    told: bool = False

    @classmethod
    def of(cls, options: Sequence[_Option], choice: np.ndarray, *, told: bool = False) -> Rooms:
        """Those that options of ``choice`` [B] make."""
        each = np.stack([options[c].room for c in choice])
        return cls(each.sum(axis=1), each, tuple(options), choice, told)


@dataclass(frozen=True)
class Ways:
    """Ways to send an image, among which a system chooses for each by itself.

    Args: options: in the order that the control word counts. lost: of each, M draws of what is lost, [M, N] bool.
    """

    options: tuple[_Option, ...]
    lost: tuple[np.ndarray, ...]

    def rooms(self, choice: np.ndarray) -> Rooms:
        """What packets may hold. Args: choice [B]."""
        return Rooms.of(self.options, choice, told=True)


@dataclass(frozen=True)
class Crossed:
    """What became of a batch's packets.

    Args: arrived: [B][N], the packet's bytes, or None where it is lost. ledger, mcs, papr_db: see Outcome.
    """

    arrived: tuple[tuple[bytes | None, ...], ...]
    ledger: Ledger
    mcs: tuple[str | None, ...]
    papr_db: np.ndarray | None


@dataclass(frozen=True)
class SliceLink:
    """The link of systems whose packets stand for themselves.

    Args:
      channel_code: by name or as a mapping with its parameters (phy).
      amc:          how the MCS is chosen (phy): rule "target" with the error rate of a *packet*, "fixed", or "auto":
                    target, and where the fade is not known the MCS that the system judges best by the fading law (for
                    all images alike, or for each, which a control word tells), or if it has no judgement that from
                    which most bits arrive in the mean.
      backend:      of the demapper.
      mtu:          bytes of a packet at most (packet link).
      lowered:      N, how many entries of the MCS table below the others each packet is sent (phy).
      shares:       N, of the image's channel uses before ``lowered`` (phy).
    Raises: ValueError.
    """

    channel_code: Any
    amc: Amc
    backend: Literal["fast", "sionna"]
    mtu: int
    lowered: tuple[int, ...]
    shares: tuple[float, ...]

    def __post_init__(self) -> None:
        if self.amc.rule in ("genie", "expected-distortion"):
            raise ValueError(
                f"packets that stand for themselves take amc rule auto, target or fixed, got {self.amc.rule!r}"
            )
        if not 16 <= self.mtu <= 65535:
            raise ValueError(f"mtu must be 16..65535 bytes, got {self.mtu}")
        if any(steps < 0 for steps in self.lowered):
            raise ValueError(f"an MCS is lowered by 0 entries or more, got {self.lowered}")
        if len(self.shares) != len(self.lowered) or not all(share > 0 for share in self.shares):
            raise ValueError(
                f"shares must be {len(self.lowered)} numbers above 0, got {self.shares}"
            )

    @property
    def count(self) -> int:
        """N, packets of an image."""
        return len(self.lowered)

    @cached_property
    def _code(self) -> ChannelCode:
        return registry.create("channel_codes", self.channel_code)

    @cached_property
    def _digital(self) -> DigitalLink:
        return DigitalLink(self._code, self.backend)

    # ------------------------------------------------------------------------------------------------- budget

    def rooms(
        self,
        point: LinkPoint,
        height: int,
        width: int,
        seeds: FrameSeeds,
        judge: Judge | None = None,
    ) -> Rooms:
        """What the packets of frames may hold. Raises BudgetError: the budget makes no blocks."""
        batch = len(seeds)
        if point.kind == "packet":
            total = np.full(batch, point.bits(height, width) // 8, np.int64)
            return Rooms(total, np.full((batch, self.count), self.mtu, np.int64))
        uses = point.uses(height, width)
        options = self._options(uses)
        return Rooms.of(options, self._choose(options, point, uses, seeds, judge))

    def describe(
        self, point: LinkPoint, height: int, width: int, judge: Judge | None = None
    ) -> tuple[str, Rooms]:
        """The budget in words, and the rooms of one frame (of many, where the fade decides)."""
        rooms = self.rooms(point, height, width, FrameSeeds.of(0, 1), judge)
        if point.kind == "packet":
            return f"{rooms.total[0]} bytes in {self.count} packets", rooms
        assert rooms.choice is not None
        name = rooms.options[rooms.choice[0]].mcs.name
        uses = point.uses(height, width)
        return f"{uses} uses in {self.count} blocks, {name}", rooms

    def _options(self, uses: int) -> list[_Option]:
        """Every MCS that makes a block of every packet, fewest bits first."""
        table = TABLE if self.amc.rule != "fixed" else [TABLE[self.amc.mcs or 0]]
        found, reason = [], ""
        for mcs in table:
            of_packet = [TABLE[max(mcs.index - steps, 0)] for steps in self.lowered]
            weights = [s / m.efficiency for s, m in zip(self.shares, of_packet, strict=True)]
            ends = np.cumsum(weights) / np.sum(weights) * uses
            edges = (0, *(int(e + 1e-6) for e in ends[:-1]), uses)
            try:
                plans = tuple(
                    self._code.plan(b - a, m.num_bits_per_symbol, m.target_rate)
                    for (a, b), m in zip(pairwise(edges), of_packet, strict=True)
                )
            except (BudgetError, ValueError) as error:
                reason = str(error)
                continue
            found.append(_Option(mcs, edges, plans))
        if not found:
            raise BudgetError(
                f"no MCS makes {self.count} blocks of {uses} channel uses: {reason}; raise cbr or send fewer packets"
            )
        return sorted(found, key=lambda o: int(o.room.sum()))

    def _choose(
        self,
        options: list[_Option],
        point: LinkPoint,
        uses: int,
        seeds: FrameSeeds,
        judge: Judge | None,
    ) -> np.ndarray:
        """Index of the option of each frame. Returns: [B] int64."""
        tx = csi.knowledge(point, uses, seeds)
        rule = self.amc.resolve(tx)
        if rule == "fixed":
            return np.zeros(len(seeds), np.int64)
        plain = int(np.argmin(self.lowered))  # a packet that is not protected better
        if rule == "target":
            candidates = [Candidate(o.mcs, o.plans[plain]) for o in options]
            return choose_for_target(candidates, self._code, tx, self.amc.target)
        if judge is None:
            rates = [self._error_rates(option, point, uses) for option in options]
            arrives = [float((1 - r.mean(0)) @ o.room) for o, r in zip(options, rates, strict=True)]
            best = int(np.argmax(arrives))
        else:
            best = judge(self._weighed(options, point, uses))
        return np.full(len(seeds), best, np.int64)

    def open_ways(self, point: LinkPoint, height: int, width: int) -> Ways | None:
        """The ways to send an image where the fading law leaves them open; None where the rule decides."""
        if point.kind == "packet":
            return None
        uses = point.uses(height, width)
        known = csi.knowledge(point, uses, FrameSeeds.of(0, 1))
        if self.amc.resolve(known) != "expected-distortion":
            return None
        if uses <= control.NUM_USES:
            raise BudgetError(
                f"{uses} channel uses do not hold the {control.NUM_USES} of the control word; raise cbr"
            )
        options = self._options(uses - control.NUM_USES)
        return Ways(tuple(options), tuple(lost for _, lost in self._weighed(options, point, uses)))

    def ways(self, point: LinkPoint, height: int, width: int) -> list[tuple[int, np.ndarray]]:
        """The ways to send an image that the rule leaves open, as a judge sees them: one where the SNR is known."""
        uses, one = point.uses(height, width), FrameSeeds.of(0, 1)
        options = self._options(uses)
        if self.amc.resolve(csi.knowledge(point, uses, one)) == "target":
            options = [options[self._choose(options, point, uses, one, None)[0]]]
        return self._weighed(options, point, uses)

    def _weighed(
        self, options: Sequence[_Option], point: LinkPoint, uses: int
    ) -> list[tuple[int, np.ndarray]]:
        """Bytes of each option and what is lost; the same draws for all, so that what differs is the MCS."""
        rates = [self._error_rates(option, point, uses) for option in options]
        drawn = Seed.root(0).child("loss patterns").generator()
        chance = drawn.random((LOSS_DRAWS, *rates[0].shape))
        lost = [(chance < r).reshape(-1, self.count) for r in rates]
        return [(int(o.room.sum()), x) for o, x in zip(options, lost, strict=True)]

    def _error_rates(self, option: _Option, point: LinkPoint, uses: int) -> np.ndarray:
        """Of every packet, for draws of the fade that an image's packets meet together.

        Args:    uses: of the frame, over which the blocks spread, whatever else stands among them.
        Returns: [L, N].
        """
        assert point.channel is not None
        edges = tuple(edge * uses // option.edges[-1] for edge in option.edges)
        found = np.zeros((csi.LAW_DRAWS, self.count))
        for plan in dict.fromkeys(option.plans):
            order = plan.num_bits_per_symbol
            snr = csi.law_of_parts(point.channel, edges, point.snr_amc_db, order)
            mine = [n for n, other in enumerate(option.plans) if other == plan]
            found[:, mine] = self._code.error_rate(snr[:, mine], plan)
        return found

    # ----------------------------------------------------------------------------------------------- crossing

    def cross(
        self,
        packets: Sequence[Sequence[Slice]],
        rooms: Rooms,
        point: LinkPoint,
        seeds: FrameSeeds,
    ) -> Crossed:
        """Send a batch.

        Args: packets: [B][N], within their rooms; none at all for an image that has no picture (an outage).
        """
        if point.kind == "packet":
            return self._cross_packets(packets, point, seeds)
        return self._cross_blocks(packets, rooms, point, seeds)

    def _cross_packets(
        self, packets: Sequence[Sequence[Slice]], point: LinkPoint, seeds: FrameSeeds
    ) -> Crossed:
        assert point.erasure is not None
        lost = guard.lose(point.erasure, [len(sent) for sent in packets], seeds)
        arrived = tuple(
            tuple(None if gone else s.data for s, gone in zip(sent, away, strict=True))
            for sent, away in zip(packets, lost, strict=True)
        )
        books: dict[str, list[float]] = {
            n: [] for n in ("payload", "headers", "crc", "padding", "parity")
        }
        for sent in packets:
            books["payload"].append(8.0 * sum(s.payload_bytes for s in sent))
            books["parity"].append(8.0 * sum(s.parity_bytes for s in sent))
            books["headers"].append(8.0 * sum(s.header_bytes for s in sent))
            books["crc"].append(8.0 * sum(s.check_bytes for s in sent))
            books["padding"].append(8.0 * sum(s.padding_bytes for s in sent))
        ledger = Ledger.zeros(len(packets), **{n: np.array(v) for n, v in books.items()})
        return Crossed(arrived, ledger, (None,) * len(packets), None)

    def _cross_blocks(
        self,
        packets: Sequence[Sequence[Slice]],
        rooms: Rooms,
        point: LinkPoint,
        seeds: FrameSeeds,
    ) -> Crossed:
        assert point.channel is not None and rooms.choice is not None
        batch = len(packets)
        chosen = [rooms.options[c] for c in rooms.choice]
        names = tuple(option.mcs.name for option in chosen)
        plans = [plan for option in chosen for plan in option.plans]
        longest = max(plan.num_symbols for plan in plans)
        rows: list[Slice | None] = []
        for sent in packets:
            rows.extend(sent or (None,) * self.count)
        of_rows = Packets(tuple((Packet(s.data, s.header_bytes),) if s else () for s in rows))
        blocks, ledger = self._digital.send(of_rows, plans, width=longest)
        blocks = blocks.reshape(batch, self.count, longest)
        x = np.zeros((batch, chosen[0].edges[-1]), np.complex64)
        for b, option in enumerate(chosen):
            for n, (start, stop) in enumerate(pairwise(option.edges)):
                x[b, start:stop] = blocks[b, n, : stop - start]
        ledger = self._rebook(ledger, rows, plans, batch)
        if rooms.told:
            x = control.among(rooms.choice, x)
            word = np.full(batch, float(control.NUM_USES))
            ledger = ledger + Ledger.zeros(batch, headers=word)
        frame = Frame(x, np.full(batch, x.shape[1], np.int64), ledger)
        received, ledger = overhead.cross(point.channel, frame, point.n0, seeds)
        if rooms.told:
            told, received = control.apart(received)
            chosen = [rooms.options[c if c < len(rooms.options) else 0] for c in told]
            plans = [plan for option in chosen for plan in option.plans]
        found, ok = self._digital.receive(_stacked(received, chosen), plans)
        arrived = [p[0] if good == (True,) else None for p, good in zip(found, ok, strict=True)]
        of_image = tuple(
            tuple(arrived[b * self.count : (b + 1) * self.count]) for b in range(batch)
        )
        return Crossed(of_image, ledger, names, frame.papr_db())

    def _rebook(
        self, ledger: Ledger, rows: list[Slice | None], plans: list[BlockPlan], batch: int
    ) -> Ledger:
        """The images' ledger from that of their blocks: what of a packet's body is check, padding or parity."""
        books = {name: entry.copy() for name, entry in ledger.entries().items()}
        for r, (packet, plan) in enumerate(zip(rows, plans, strict=True)):
            if packet is None:
                continue
            for name, size in (
                ("crc", packet.check_bytes),
                ("padding", packet.padding_bytes),
                ("parity", packet.parity_bytes),
            ):
                uses = 8 * size / plan.num_bits_per_symbol
                books[name][r] += uses
                books["payload"][r] -= uses
        return Ledger(**{n: v.reshape(batch, self.count).sum(axis=1) for n, v in books.items()})


def _stacked(received: Received, chosen: list[_Option]) -> Received:
    """The received blocks as rows, [B N, length of the longest], zeros behind the shorter ones."""
    y, h, n0 = received.full()
    count = len(chosen[0].plans)
    longest = max(plan.num_symbols for option in chosen for plan in option.plans)
    rows = [np.zeros((len(chosen) * count, longest), a.dtype) for a in (y, h, n0)]
    for b, option in enumerate(chosen):
        for n, (start, stop) in enumerate(pairwise(option.edges)):
            for row, whole in zip(rows, (y, h, n0), strict=True):
                row[b * count + n, : stop - start] = whole[b, start:stop]
    return Received(*rows)
