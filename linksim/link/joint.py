"""Joint source-channel coding: networks or linear maps from an image straight to channel symbols."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from linksim import registry
from linksim.errors import BudgetError, ComponentError
from linksim.link import csi, overhead, set_budget
from linksim.link.digital import DigitalLink
from linksim.link.side_block import Pricing, Side, SidePlanner
from linksim.link.system import (
    Frames,
    LinkPoint,
    OperatingPoint,
    Outcome,
    apply_failure_policy,
    final_status,
)
from linksim.phy.mcs import TABLE
from linksim.seeds import FrameSeeds
from linksim.types import (
    ChannelCode,
    Delivered,
    Demand,
    Elastic,
    Frame,
    Joint,
    Ledger,
    Packets,
    Payload,
    Received,
    Symbols,
    TxKnowledge,
)

POWER_TOLERANCE = 1e-3
# What the rows say where side information does not cross the channel.
_PRICING = {
    "capacity": "side information priced at capacity, never lost",
    "free": "side information free, never lost",
}


@dataclass(frozen=True)
class JointSystem:
    """A joint coder over the channel, its side information over the digital link in the same frame.

        image -> joint encoder -> symbols -------------------------------+-> x -> channel -> ... -> joint decoder
                      +-> side information -> CRC, channel code, QAM ----+
                      [budget: mean: length in two control words --------+]

    The side block has the size that the coder's largest side information needs, whatever an image uses of it (the rest
    is padding, and counted), so the frame's shape depends on the point alone.

    Args:
      joint:        joint coder, by name or as a mapping with its parameters.
      channel_code: of the side information, likewise.
      side_mcs:     index into the MCS table for the side information; by default the most efficient entry whose block
                    error rate at -5 dB AWGN is at most 1e-3.
      side_snr_db:  that SNR, dB.
      side:         how side information crosses: "coded", through the real code; "capacity", priced at the capacity of
                    AWGN at the believed SNR and never lost; "free", neither priced nor lost. The last two are for
                    comparison with publications that count so.
      side_share:   share of the budget that side information may take where the coder can do without; 0.05 did best of
                    0.05 to 0.15 on training photographs of 640x480 (docs/joint.md).
      backend:      of the demapper.
    """

    joint: Any
    channel_code: Any = "ldpc-5g"
    side_mcs: int | None = None
    side_snr_db: float = -5.0
    side: Pricing = "coded"
    side_share: float = 0.05
    backend: Literal["fast", "sionna"] = "fast"

    family: ClassVar[str] = "strong"
    links: ClassVar[frozenset[str]] = frozenset({"phy"})

    def __post_init__(self) -> None:
        if self.side_mcs is not None and not 0 <= self.side_mcs < len(TABLE):
            raise ValueError(f"side_mcs must be an index 0..{len(TABLE) - 1}, got {self.side_mcs}")
        if not 0 <= self.side_share < 1:
            raise ValueError(f"side_share must be at least 0 and below 1, got {self.side_share}")

    @cached_property
    def _encoder(self) -> Joint:
        return registry.create("joints", self.joint)

    @cached_property
    def _decoder(
        self,
    ) -> Joint:  # an instance of its own: a receiver shares nothing with the transmitter
        return registry.create("joints", self.joint)

    @cached_property
    def _code(self) -> ChannelCode:
        return registry.create("channel_codes", self.channel_code)

    @cached_property
    def _digital(self) -> DigitalLink:
        return DigitalLink(self._code, self.backend)

    @cached_property
    def _planner(self) -> SidePlanner:
        return SidePlanner(self._code, self.side_mcs, self.side_snr_db, self.side, self.side_share)

    @property
    def _name(self) -> str:
        return self.joint if isinstance(self.joint, str) else str(self.joint.get("name", "joint"))

    def _split(self, point: LinkPoint, height: int, width: int) -> _Split:
        """How the budget of an image is divided. Raises BudgetError where too little is left for symbols."""
        uses = point.uses(height, width)
        side = self._planner.side(self._encoder, height, width, uses, point.snr_amc_db)
        least = self._encoder.min_uses(height, width)
        varies = point.budget == "mean" and not getattr(self._encoder, "constant_rate", False)
        words = set_budget.NUM_USES if varies else 0
        head = words + side.uses
        if uses - head < least:
            told = f" and {words} of its length" if words else ""
            raise BudgetError(
                f"{uses} channel uses leave {max(uses - head, 0)} after {side.uses} of side information{told}, below "
                f"the {least} that {self._name} needs for {height}x{width}; raise cbr to at least "
                f"{(head + least) / (3 * height * width):.3g}"
            )
        return _Split(side, words, uses - head, set_budget.step_of(uses) if varies else 1)

    def preview(self, point: LinkPoint, height: int, width: int) -> str:
        """See System.preview."""
        split = self._split(point, height, width)
        side = split.side
        priced = "" if self.side == "coded" else f" ({self.side})"
        share = f", {side.uses} of them side information{priced}" if side.uses or priced else ""
        mean = " in the set's mean" if split.words else ""
        return f"{point.uses(height, width)} uses{mean}{share}, {split.left} for symbols"

    def _demand(self, images: np.ndarray, tx: TxKnowledge) -> Demand:
        """Raises ComponentError: the coder has no operating point that a set could share."""
        if not isinstance(self._encoder, Elastic):
            raise ComponentError(
                f"{self._name} has no operating point that a set could share (method demand); use budget: per_image"
            )
        return self._encoder.demand(images, tx)

    def _given(self, demand: Demand, eta: float, height: int, width: int, step: int) -> np.ndarray:
        """Uses for symbols of each image at an operating point, lengths that can be told. Returns: [B] int64."""
        least = -(-self._encoder.min_uses(height, width) // step)
        return step * np.clip(demand.at(eta) // step, least, set_budget.SIZES - 1)

    def calibrate(self, frames: Frames, point: LinkPoint) -> OperatingPoint:
        """See Calibrated.calibrate: the operating point eta of the joint coder; none where its rate is constant."""
        if getattr(self._encoder, "constant_rate", False):
            return {}
        asked: list[tuple[Demand, _Split, int, int]] = []
        for images, seeds in frames():
            height, width = images.shape[1:3]
            split = self._split(point, height, width)
            tx = csi.knowledge(point, split.total, seeds)
            asked.append((self._demand(images, tx), split, height, width))

        def mean_cbr(eta: float) -> float:
            shares = [
                overhead.total_uses(point.channel, split.head + int(uses)) / (3 * height * width)
                for demand, split, height, width in asked
                for uses in self._given(demand, eta, height, width, split.step)
            ]
            return float(np.mean(shares))

        low, high = float(asked[0][0].grid[0]), float(asked[0][0].grid[-1])
        if (least := mean_cbr(low)) > point.cbr * (1 + 1e-9):
            raise BudgetError(
                f"cbr={point.cbr:g} is below the {least:.3g} that the set takes at the least; raise cbr"
            )
        if mean_cbr(high) <= point.cbr:
            return {"eta": high}
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if mean_cbr(middle) <= point.cbr else (low, middle)
        return {"eta": low}

    def simulate(self, images: np.ndarray, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        """See System.simulate."""
        assert point.channel is not None
        height, width = images.shape[1:3]
        split = self._split(point, height, width)
        side = split.side
        tx = csi.knowledge(point, split.total, seeds)
        given = np.full(len(images), split.left, np.int64)
        if split.words:
            demand, eta = self._demand(images, tx), point.settled("eta")
            given = self._given(demand, eta, height, width, split.step)
        payload = self._encoder.encode(images, given, tx, side_bits=side.bits)
        frame = self._frame(payload, split, given)
        received, ledger = overhead.cross(point.channel, frame, point.n0, seeds)

        told = payload.packets or Packets(((),) * len(images))
        packets = tuple(tuple(p.data for p in row) for row in told.of)
        ok = tuple((True,) * len(row) for row in told.of)  # priced at capacity or free: never lost
        if side.plan:
            block = received.slice(split.words, split.head)
            packets, ok = self._digital.receive(block, [side.plan] * len(images))
        symbols = received.slice(split.head, received.y.shape[1])
        lengths = None
        if split.words:
            read = set_budget.demodulate(received.slice(0, split.words))
            lengths = np.asarray(read * split.step, np.int64)
            symbols = _ended(symbols, given, int(lengths.max(initial=0)))
        delivered = Delivered(packets, ok, symbols, (height, width), lengths).without_prefixes()
        decoded = self._decoder.decode(delivered)
        return Outcome(
            apply_failure_policy(decoded, images.shape, point.failure),
            final_status(decoded, images.shape),
            ledger,
            (None,) * len(images),
            frame.papr_db(),
            note=_PRICING.get(self.side),
        )

    def _frame(self, payload: Payload, split: _Split, left: np.ndarray) -> Frame:
        """Length, side block and symbols joined.

        Where lengths are told, a coder that makes fewer symbols than it was given sends zeros for the rest.

        Raises ComponentError where a coder breaks the power or the budget rule.
        """
        symbols = payload.symbols
        if symbols is None:
            raise ComponentError("a joint coder must return symbols, got packets alone")
        check_power(symbols, left)
        batch, side = len(symbols.x), split.side
        ledger = Ledger.zeros(batch, payload=symbols.num_symbols)
        x, count = symbols.x, symbols.num_symbols
        if split.words:
            idle = np.asarray(left - count, np.float64)
            ledger += Ledger.zeros(batch, padding=idle, headers=np.full(batch, split.words))
            x = np.pad(x, ((0, 0), (0, int(left.max(initial=0)) - x.shape[1])))
            count = np.asarray(left, np.int64)
        if side.plan:
            block, books = self._digital.send(
                payload.packets or Packets(((),) * batch), [side.plan] * batch
            )
        else:  # uses that a price without a block stands for
            block = np.ones((batch, side.uses), np.complex64)
            books = Ledger.zeros(batch, side_information=np.full(batch, side.uses))
        head = [set_budget.modulate(left // split.step)] if split.words else []
        return Frame(
            np.concatenate([*head, block, x], axis=1),
            (count + split.head).astype(np.int64),
            ledger + _as_side_information(books),
        )


@dataclass(frozen=True)
class _Split:
    """How the budget of an image is divided.

    Args: side; words: channel uses that tell its length; left: for symbols, on the average where lengths vary; step:
      that lengths are counted in.
    """

    side: Side
    words: int
    left: int
    step: int

    @property
    def head(self) -> int:
        """Channel uses before the symbols."""
        return self.words + self.side.uses

    @property
    def total(self) -> int:
        """Channel uses."""
        return self.head + self.left


def _ended(symbols: Received, lengths: np.ndarray, most: int) -> Received:
    """Nothing is received behind a frame's end, wherever a misread length says that it lies.

    So that what becomes of a frame does not depend on how long the others of its batch are.

    Args: lengths: [B], as sent; most: symbols that any receiver will look at.
    """
    y, h, n0 = symbols.full()
    width = max(most, y.shape[1])
    grow = ((0, 0), (0, width - y.shape[1]))
    inside = np.arange(width) < lengths[:, None]
    y, h = (np.where(inside, np.pad(part, grow), 0) for part in (y, h))
    return Received(y, h, np.where(inside, np.pad(n0, grow), np.float32(1.0)))


def check_power(symbols: Symbols, left: int | np.ndarray) -> None:
    """Raise ComponentError unless every frame has mean power 1 over at most ``left`` symbols and is zero behind.

    Args: left: of all frames, or [B].
    """
    over = np.flatnonzero(symbols.num_symbols > left)
    if len(over):
        budget = np.broadcast_to(left, symbols.num_symbols.shape)[over[0]]
        raise ComponentError(
            f"the joint coder made {symbols.num_symbols[over[0]]} symbols for a budget of {budget}"
        )
    power = np.abs(symbols.x.astype(np.complex128)) ** 2
    inside = np.arange(symbols.x.shape[1]) < symbols.num_symbols[:, None]
    mean = (power * inside).sum(1) / np.maximum(symbols.num_symbols, 1)
    off = np.abs(mean - 1) > POWER_TOLERANCE
    if off.any() or not np.isfinite(mean).all():
        raise ComponentError(
            f"the joint coder sends frames of mean power {mean[off][0] if off.any() else mean}; it must be 1"
        )
    if (power * ~inside).any():
        raise ComponentError("the joint coder sends symbols behind num_symbols; they must be zero")


def _as_side_information(ledger: Ledger) -> Ledger:
    """Everything that a side block costs, booked as side information."""
    return Ledger.zeros(len(ledger.total), side_information=ledger.total)
