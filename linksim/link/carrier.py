"""Bits across the link: any pair of encoder and decoder over the digital link or over packets.

What the separated, the distributed and every other system that sends packets share: the block that fits the budget, the
MCS, the channel, the CRCs, the ledger. Who codes the pictures, and what either end knows besides, is in ``Ends``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from linksim import registry
from linksim.errors import BudgetError
from linksim.link import amc as amc_rules
from linksim.link import control, csi, framing, overhead
from linksim.link.amc import Amc, Candidate
from linksim.link.digital import DigitalLink
from linksim.link.harq import Harq
from linksim.link.harq_link import HarqLink
from linksim.link.packet_link import PacketLink
from linksim.link.system import (
    LinkPoint,
    Outcome,
    apply_failure_policy,
    final_status,
    mse_of_grey,
)
from linksim.phy.mcs import TABLE
from linksim.seeds import FrameSeeds
from linksim.types import (
    ChannelCode,
    Decoded,
    Delivered,
    Frame,
    Ledger,
    Packets,
    Received,
    TxKnowledge,
)


@dataclass(frozen=True)
class Ends:
    """Transmitter and receiver of a batch, by the number of its rows: each end sees what is its own alone.

    Args:
      images:     [B, H, W, 3] uint8, what the transmitter holds (and what the size of a failed picture comes from).
      encode:     rows [R] and their budgets [R] bits -> packets.
      decode:     rows [R] and what arrived of them -> pictures.
      distortion: budgets [M] bits -> [B, M] MSE at the transmitter (see Codec.distortion).
      packets:    how many packets an image is sent in.
      prepare:    budgets [M] bits of all schemes of the point, before one is chosen (see Preparing.prepare).
    """

    images: np.ndarray
    encode: Callable[[np.ndarray, np.ndarray], Packets]
    decode: Callable[[np.ndarray, Delivered], Decoded]
    distortion: Callable[[np.ndarray], np.ndarray]
    packets: int = 1
    prepare: Callable[[np.ndarray], None] = lambda budgets: None


@dataclass(frozen=True)
class Carrier:
    """The link of a system that sends packets.

    Args:
      channel_code: by name or as a mapping with its parameters.
      amc:          how the MCS is chosen.
      backend:      of the demapper.
      mtu:          bytes of a network packet at most, headers included (packet link).
      harq:         whether and how a block that did not arrive is sent again (phy link).
    Raises: ValueError.
    """

    channel_code: Any
    amc: Amc
    backend: Literal["fast", "sionna"]
    mtu: int
    harq: Harq | None = None

    def __post_init__(self) -> None:
        if self.harq is not None and self.amc.rule == "genie":
            raise ValueError("amc rule `genie` tries single transmissions; leave `harq` out")
        if not 16 <= self.mtu <= 65535:
            raise ValueError(f"mtu must be 16..65535 bytes, got {self.mtu}")

    @cached_property
    def _code(self) -> ChannelCode:
        return registry.create("channel_codes", self.channel_code)

    @cached_property
    def digital(self) -> DigitalLink:
        """The link of a block."""
        return DigitalLink(self._code, self.backend)

    @cached_property
    def _hybrid(self) -> HarqLink:
        assert self.harq is not None
        return HarqLink(self.harq, self.amc, self.digital)

    # ------------------------------------------------------------------------------------------- the phy link

    def _options(self, uses: int, tx: TxKnowledge) -> tuple[str, int, list[Candidate]]:
        """The AMC rule, the uses left for the block, and the candidate blocks."""
        rule = self.amc.resolve(tx)
        block_uses = uses - (control.NUM_USES if rule == "expected-distortion" else 0)
        if block_uses < 1:
            raise BudgetError(
                f"{uses} channel uses do not hold the {control.NUM_USES} of the control word; raise cbr"
            )
        if rule == "fixed":
            assert self.amc.mcs is not None
            mcs = TABLE[self.amc.mcs]
            plan = self._code.plan(block_uses, mcs.num_bits_per_symbol, mcs.target_rate)
            return rule, block_uses, [Candidate(mcs, plan)]
        return rule, block_uses, amc_rules.candidates(self._code, block_uses)

    def preview(
        self, point: LinkPoint, height: int, width: int, least: int, name: str, count: int = 1
    ) -> str:
        """See System.preview. Args: least: bits that the codec called ``name`` needs. count: packets of an image."""
        if point.kind == "packet":
            bits = point.bits(height, width)
            room, packets = PacketLink(self.mtu).capacity_bits(bits, count)
            self._demand(room, least, f"bpp={point.bpp:g}", height, width, name)
            return f"{bits // 8} bytes in {packets} packets, {room // 8} for the codec"
        if self.harq is not None:
            return self._preview_hybrid(point, height, width, least, name, count)
        uses = point.uses(height, width)
        tx = csi.knowledge(
            point, 1, FrameSeeds.of(0, 32)
        )  # one symbol a frame: the fading law is enough here
        rule, _, options = self._options(uses, tx)
        most = max(framing.capacity_bits(o.plan.info_bits, count) for o in options)
        self._demand(most, least, f"cbr={point.cbr:g}", height, width, name)
        if rule == "fixed":
            chosen = {0}
        elif rule == "target":
            chosen = set(self._pick_for_target(options, tx).tolist())
        else:
            return f"{uses} uses, {options[0].plan.info_bits}..{most} bits by {rule}"
        if len(chosen) > 1:
            low, high = options[min(chosen)], options[max(chosen)]
            return f"{uses} uses, {low.mcs.name} .. {high.mcs.name} by the fade"
        option = options[chosen.pop()]
        room = framing.capacity_bits(option.plan.info_bits, count)
        fate = "" if room >= least else f" (below {name}'s {least // 8}: outage)"
        return f"{uses} uses, {option.mcs.name}, {room // 8} bytes for the codec{fate}"

    @staticmethod
    def _demand(room: int, least: int, budget: str, height: int, width: int, name: str) -> None:
        if room < least:
            raise BudgetError(
                f"{budget} gives at most {room} bits, below the {least} that {name} needs for "
                f"{height}x{width}; raise the budget or choose another codec"
            )

    def _pick_for_target(self, options: list[Candidate], tx: TxKnowledge) -> np.ndarray:
        return amc_rules.choose_for_target(options, self._code, tx, self.amc.target)

    def simulate(self, ends: Ends, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        """Send a batch across the link, frame b with seeds[b]."""
        images = ends.images
        if point.kind == "packet":
            return self._simulate_packets(ends, point, seeds)
        if self.harq is not None:
            return self._simulate_hybrid(ends, point, seeds)
        uses = point.uses(*images.shape[1:3])
        tx = csi.knowledge(point, uses, seeds)
        rule, _, options = self._options(uses, tx)
        budgets = np.array(
            [framing.capacity_bits(o.plan.info_bits, ends.packets) for o in options], np.int64
        )
        ends.prepare(budgets)
        if rule == "genie":
            return self._simulate_genie(ends, point, seeds, uses, options)
        if rule == "fixed":
            choice = np.zeros(len(images), np.int64)
        elif rule == "target":
            choice = self._pick_for_target(options, tx)
        else:
            choice = amc_rules.choose_for_distortion(
                options, self._code, tx, ends.distortion, mse_of_grey(images), budgets
            )
        rows = np.arange(len(images))
        return self._cross(ends, rows, point, seeds, options, choice, rule == "expected-distortion")

    def _cross(
        self,
        ends: Ends,
        rows: np.ndarray,
        point: LinkPoint,
        seeds: FrameSeeds,
        options: list[Candidate],
        choice: np.ndarray,
        signalled: bool,
    ) -> Outcome:
        """Send the images at ``rows`` each under its chosen option, and decode what arrives."""
        assert point.channel is not None
        budgets = np.array(
            [framing.capacity_bits(options[c].plan.info_bits, ends.packets) for c in choice],
            np.int64,
        )
        packets = ends.encode(rows, budgets)
        frame = self._frame(packets, options, choice, signalled)
        received, ledger = overhead.cross(point.channel, frame, point.n0, seeds)
        delivered = self._deliver(received, options, choice, signalled)
        names = tuple(options[c].mcs.name for c in choice)
        return self._outcome(ends, rows, delivered, ledger, names, point, frame.papr_db())

    @staticmethod
    def _outcome(
        ends: Ends,
        rows: np.ndarray,
        delivered: Delivered,
        ledger: Ledger,
        mcs: tuple[str | None, ...],
        point: LinkPoint,
        papr_db: np.ndarray | None = None,
    ) -> Outcome:
        """Decode what arrived of the images at ``rows``."""
        if point.failure != "good-prefix":
            delivered = delivered.without_prefixes()
        decoded = ends.decode(rows, delivered)
        shape = (len(rows), *ends.images.shape[1:])
        return Outcome(
            apply_failure_policy(decoded, shape, point.failure),
            final_status(decoded, shape),
            ledger,
            mcs,
            papr_db,
        )

    def _frame(
        self, packets: Packets, options: list[Candidate], choice: np.ndarray, signalled: bool
    ) -> Frame:
        x, ledger = self.digital.send(packets, [options[c].plan for c in choice])
        if signalled:
            x = control.among(choice, x)
            word = np.full(len(x), float(control.NUM_USES))
            ledger = ledger + Ledger.zeros(len(x), headers=word)
        return Frame(x, np.full(len(x), x.shape[1], np.int64), ledger)

    def _deliver(
        self, received: Received, options: list[Candidate], sent: np.ndarray, signalled: bool
    ) -> Delivered:
        """The receiver's side. ``sent`` is what it derives by itself, or, if signalled, what it must read in band."""
        if not signalled:
            return Delivered(*self.digital.receive(received, [options[c].plan for c in sent]))
        read, block = control.apart(received)
        read = np.where(read < len(options), read, 0)
        return Delivered(*self.digital.receive(block, [options[c].plan for c in read]))

    def _simulate_genie(
        self,
        ends: Ends,
        point: LinkPoint,
        seeds: FrameSeeds,
        uses: int,
        options: list[Candidate],
    ) -> Outcome:
        """Per frame, the largest block that arrives on the true channel."""
        assert point.channel is not None
        true_db = float(-10 * np.log10(max(point.n0, 1e-12)))
        gains = csi.fades(point.channel, uses, true_db, seeds)
        snr = np.minimum(csi.effective_snr_db(gains, true_db), 120)
        # Start where success is all but excluded: 1 dB better than the truth, the error rate would still be 0.999.
        hopeful = np.stack(
            [self._code.error_rate(snr + 1, o.plan) < 0.999 for o in options]
        )  # [M, B]
        choice = len(options) - 1 - np.argmax(hopeful[::-1], axis=0)
        choice = np.where(hopeful.any(axis=0), choice, 0)
        outcome = self._cross(
            ends, np.arange(len(ends.images)), point, seeds, options, choice, False
        )
        pending = np.array([s.failed for s in outcome.status]) & (choice > 0)
        while pending.any():
            rows = np.flatnonzero(pending)
            choice[rows] -= 1
            again = self._cross(ends, rows, point, seeds.take(rows), options, choice[rows], False)
            outcome = _replace(outcome, rows, again)
            pending[rows] = np.array([s.failed for s in again.status]) & (choice[rows] > 0)
        return outcome

    # ---------------------------------------------------------------------------------------- the packet link

    def _simulate_packets(self, ends: Ends, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        assert point.erasure is not None
        images, rows = ends.images, np.arange(len(ends.images))
        link = PacketLink(self.mtu)
        room, _ = link.capacity_bits(point.bits(*images.shape[1:3]), ends.packets)
        packets = ends.encode(rows, np.full(len(images), room, np.int64))
        delivered, ledger = link.cross(packets, point.erasure, seeds)
        return self._outcome(ends, rows, delivered, ledger, (None,) * len(images), point)

    # ------------------------------------------------------------------------------------------------------ HARQ

    def _preview_hybrid(
        self, point: LinkPoint, height: int, width: int, least: int, name: str, count: int
    ) -> str:
        rule, options = self._hybrid.options(point, height, width)
        most = max(framing.capacity_bits(o.plan.info_bits, count) for o in options)
        self._demand(most, least, f"cbr={point.cbr:g}", height, width, name)
        total = point.all_uses(height, width)
        if rule == "expected-distortion":
            low = options[0].plan.info_bits
            return f"{total} uses in the mean, {low}..{most} bits by {rule}"
        chosen = options[self._hybrid.most_for_target(options)]
        room = framing.capacity_bits(chosen.plan.info_bits, count)
        fate = "" if room >= least else f" (below {name}'s {least // 8}: outage)"
        return (
            f"{chosen.uses:.0f} uses in the mean, {chosen.transmissions:.2f} x {chosen.plan.num_symbols} "
            f"{chosen.mcs.name}, {room // 8} bytes for the codec{fate}"
        )

    def _simulate_hybrid(self, ends: Ends, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        assert self.harq is not None
        images, rows = ends.images, np.arange(len(ends.images))
        rule, options = self._hybrid.options(point, *images.shape[1:3])
        budgets = np.array(
            [framing.capacity_bits(o.plan.info_bits, ends.packets) for o in options], np.int64
        )
        ends.prepare(budgets)
        if rule == "expected-distortion":
            residual = np.array([o.residual for o in options])
            arrives = ends.distortion(budgets)
            choice = amc_rules.choose_by_risk(arrives, mse_of_grey(images), residual)
        else:
            choice = np.full(len(images), self._hybrid.most_for_target(options), np.int64)
        packets = ends.encode(rows, budgets[choice])
        signalled = rule == "expected-distortion"
        sent = self._hybrid.cross(packets, options, choice, signalled, point, seeds)
        names = tuple(options[c].mcs.name for c in choice)
        outcome = self._outcome(ends, rows, sent.delivered, sent.ledger, names, point, sent.papr_db)
        return replace(outcome, transmissions=sent.transmissions, note=self.harq.note)


def _replace(outcome: Outcome, rows: np.ndarray, new: Outcome) -> Outcome:
    """``outcome`` with the frames at ``rows`` taken from ``new``."""
    images, status, mcs = outcome.images.copy(), list(outcome.status), list(outcome.mcs)
    images[rows] = new.images
    books = {name: entry.copy() for name, entry in outcome.ledger.entries().items()}
    for name, entry in new.ledger.entries().items():
        books[name][rows] = entry
    for i, row in enumerate(rows):
        status[row], mcs[row] = new.status[i], new.mcs[i]
    papr = None if outcome.papr_db is None else outcome.papr_db.copy()
    if papr is not None and new.papr_db is not None:
        papr[rows] = new.papr_db
    return Outcome(images, tuple(status), Ledger(**books), tuple(mcs), papr)
