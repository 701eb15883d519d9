"""Joint source-channel coding: networks or linear maps from an image straight to channel symbols."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from linksim import registry
from linksim.errors import BudgetError, ComponentError
from linksim.link import csi, framing, overhead
from linksim.link.digital import DigitalLink
from linksim.link.system import LinkPoint, Outcome, apply_failure_policy, final_status
from linksim.phy.mcs import TABLE
from linksim.seeds import FrameSeeds
from linksim.types import (
    BlockPlan,
    ChannelCode,
    Delivered,
    Frame,
    Joint,
    Ledger,
    Packets,
    Payload,
    Symbols,
)

POWER_TOLERANCE = 1e-3


@dataclass(frozen=True)
class JointSystem:
    """A joint coder over the channel, its side information over the digital link in the same frame.

        image -> joint encoder -> symbols ------------------------------+-> x -> channel -> ... -> joint decoder
                      +-> side information -> CRC, channel code, QAM ---+

    The side block has the size that the coder's largest side information needs, whatever an image uses of it (the rest
    is padding, and counted), so the frame's shape depends on the point alone.

    Args:
      joint:        joint coder, by name or as a mapping with its parameters.
      channel_code: of the side information, likewise.
      side_mcs:     index into the MCS table for the side information; by default the most efficient entry whose block
                    error rate at -5 dB AWGN is at most 1e-3.
      side_snr_db:  that SNR, dB.
      backend:      of the demapper.
    """

    joint: Any
    channel_code: Any = "ldpc-5g"
    side_mcs: int | None = None
    side_snr_db: float = -5.0
    backend: Literal["fast", "sionna"] = "fast"

    family: ClassVar[str] = "strong"
    links: ClassVar[frozenset[str]] = frozenset({"phy"})
    side_error_rate: ClassVar[float] = 1e-3

    def __post_init__(self) -> None:
        if self.side_mcs is not None and not 0 <= self.side_mcs < len(TABLE):
            raise ValueError(f"side_mcs must be an index 0..{len(TABLE) - 1}, got {self.side_mcs}")

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
    def _side_plans(self) -> dict[int, BlockPlan | None]:
        return {}

    def _side_plan(self, height: int, width: int) -> BlockPlan | None:
        """The smallest block at the robust MCS that holds the side information; None if there is none."""
        bits = self._encoder.side_bits(height, width)
        if bits not in self._side_plans:
            self._side_plans[bits] = self._smallest_plan(bits) if bits else None
        return self._side_plans[bits]

    def _smallest_plan(self, bits: int) -> BlockPlan:
        fixed = [TABLE[self.side_mcs]] if self.side_mcs is not None else list(TABLE)
        best: BlockPlan | None = None
        for mcs in fixed:
            low = 1
            high = 64 + int(4 * bits / (mcs.num_bits_per_symbol * mcs.target_rate))
            plan = self._fits(high, mcs.num_bits_per_symbol, mcs.target_rate, bits)
            while low < high:  # info_bits grows with the number of symbols
                middle = (low + high) // 2
                tried = self._fits(middle, mcs.num_bits_per_symbol, mcs.target_rate, bits)
                if tried is None:
                    low = middle + 1
                else:
                    high, plan = middle, tried
            if plan is None:
                continue
            rate = float(self._code.error_rate(np.array(self.side_snr_db), plan))
            robust = self.side_mcs is not None or rate <= self.side_error_rate
            if robust and (best is None or plan.num_symbols < best.num_symbols):
                best = plan
        if best is None:
            raise BudgetError(
                f"no MCS carries {bits} bits of side information at {self.side_snr_db:g} dB with block error rate "
                f"{self.side_error_rate:g}; set side_mcs or raise side_snr_db"
            )
        return best

    def _fits(self, uses: int, num_bits: int, rate: float, bits: int) -> BlockPlan | None:
        try:
            plan = self._code.plan(uses, num_bits, rate)
        except BudgetError:
            return None
        return plan if framing.capacity_bits(plan.info_bits) >= bits else None

    def _split(self, uses: int, height: int, width: int) -> tuple[BlockPlan | None, int]:
        """The side block and the uses left for symbols. Raises BudgetError where too few are left."""
        plan = self._side_plan(height, width)
        side = plan.num_symbols if plan else 0
        least = self._encoder.min_uses(height, width)
        if uses - side < least:
            name = self.joint if isinstance(self.joint, str) else self.joint.get("name", "joint")
            raise BudgetError(
                f"{uses} channel uses leave {uses - side} after {side} of side information, below the {least} that "
                f"{name} needs for {height}x{width}; raise cbr to at least {(side + least) / (3 * height * width):.3g}"
            )
        return plan, uses - side

    def preview(self, point: LinkPoint, height: int, width: int) -> str:
        """See System.preview."""
        uses = point.uses(height, width)
        plan, left = self._split(uses, height, width)
        share = f", {plan.num_symbols} of them side information" if plan else ""
        return f"{uses} uses{share}, {left} for symbols"

    def simulate(self, images: np.ndarray, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        """See System.simulate."""
        assert point.channel is not None
        height, width = images.shape[1:3]
        uses = point.uses(height, width)
        plan, left = self._split(uses, height, width)
        tx = csi.knowledge(point, uses, seeds)
        payload = self._encoder.encode(images, np.full(len(images), left, np.int64), tx)
        frame = self._frame(payload, plan, left)
        received, ledger = overhead.cross(point.channel, frame, point.n0, seeds)

        side = plan.num_symbols if plan else 0
        symbols = received.slice(side, received.y.shape[1])
        packets: tuple[tuple[bytes, ...], ...] = ((),) * len(images)
        ok: tuple[tuple[bool, ...], ...] = ((),) * len(images)
        if plan:
            packets, ok = self._digital.receive(received.slice(0, side), [plan] * len(images))
        delivered = Delivered(packets, ok, symbols).without_prefixes()
        decoded = self._decoder.decode(delivered)
        return Outcome(
            apply_failure_policy(decoded, images.shape, point.failure),
            final_status(decoded, images.shape),
            ledger,
            (None,) * len(images),
        )

    def _frame(self, payload: Payload, plan: BlockPlan | None, left: int) -> Frame:
        """Side block and symbols joined. Raises ComponentError where a coder breaks the power or the budget rule."""
        symbols = payload.symbols
        if symbols is None:
            raise ComponentError("a joint coder must return symbols, got packets alone")
        check_power(symbols, left)
        batch = len(symbols.x)
        ledger = Ledger.zeros(batch, payload=symbols.num_symbols)
        x, count = symbols.x, symbols.num_symbols
        if plan:
            side, books = self._digital.send(
                payload.packets or Packets(((),) * batch), [plan] * batch
            )
            x = np.concatenate([side, x], axis=1)
            count = count + plan.num_symbols
            ledger = ledger + _as_side_information(books)
        return Frame(x, count.astype(np.int64), ledger)


def check_power(symbols: Symbols, left: int) -> None:
    """Raise ComponentError unless every frame has mean power 1 over at most ``left`` symbols and is zero behind."""
    if int(symbols.num_symbols.max(initial=0)) > left:
        raise ComponentError(
            f"the joint coder made {symbols.num_symbols.max()} symbols for a budget of {left}"
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
