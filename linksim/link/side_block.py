"""The block that carries a joint coder's side information: how large, at which MCS, and at what price."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from linksim.errors import BudgetError
from linksim.link import framing
from linksim.link.sizing import plan_for, smallest_plan
from linksim.phy.mcs import TABLE
from linksim.types import BlockPlan, ChannelCode

Pricing = Literal["coded", "capacity", "free"]


@dataclass(frozen=True)
class Side:
    """What side information gets at one point.

    Args:
      bits: room for it; None: as much as the coder asks for.
      uses: channel uses that it is charged.
      plan: of its block; None where there is none, or where it does not cross the channel.
    """

    bits: int | None
    uses: int
    plan: BlockPlan | None


@dataclass(frozen=True)
class SidePlanner:
    """Chooses the block; every answer is kept.

    Args:
      code:    the channel code.
      mcs:     index into the MCS table; None: the most efficient entry whose block error rate at ``snr_db`` on AWGN is
               at most ``error_rate``.
      snr_db:  that SNR, dB.
      pricing: see JointSystem.
      share:   of the budget, for coders that can do without.
    """

    code: ChannelCode
    mcs: int | None
    snr_db: float
    pricing: Pricing
    share: float
    _kept: dict[tuple[Any, ...], Side] = field(default_factory=dict, compare=False)

    error_rate: ClassVar[float] = 1e-3

    def side(self, joint: Any, height: int, width: int, uses: int, believed_db: float) -> Side:
        """Side information of a picture of this size.

        Args:    joint: the coder; uses: of the whole frame; believed_db: Es/N0 that capacity is taken at, dB.
        Raises:  BudgetError: where no MCS carries what the coder must have.
        """
        bits = joint.side_bits(height, width)
        if not bits:
            return Side(0, 0, None)
        if self.pricing == "free":
            return Side(bits, 0, None)
        if self.pricing == "capacity":
            return Side(bits, int(np.ceil(bits / np.log2(1 + 10 ** (believed_db / 10)))), None)
        if not getattr(joint, "side_is_optional", False):
            key: tuple[Any, ...] = (bits,)
            if key not in self._kept:
                plan = self._smallest(bits)
                self._kept[key] = Side(None, plan.num_symbols, plan)
        else:
            key = (bits, joint.least_side_bits(height, width), int(self.share * uses))
            if key not in self._kept:
                affordable = self._affordable(*key)
                self._kept[key] = (
                    Side(
                        framing.capacity_bits(affordable.info_bits),
                        affordable.num_symbols,
                        affordable,
                    )
                    if affordable
                    else Side(0, 0, None)
                )
        return self._kept[key]

    def _candidates(self) -> list[Any]:
        return [TABLE[self.mcs]] if self.mcs is not None else list(TABLE)

    def _robust(self, plan: BlockPlan) -> bool:
        rate = float(self.code.error_rate(np.array(self.snr_db), plan))
        return self.mcs is not None or rate <= self.error_rate

    def _smallest(self, bits: int) -> BlockPlan:
        """The block of fewest symbols that holds ``bits``."""
        best: BlockPlan | None = None
        for mcs in self._candidates():
            plan = smallest_plan(self.code, mcs, bits)
            if plan is None:
                continue
            if self._robust(plan) and (best is None or plan.num_symbols < best.num_symbols):
                best = plan
        if best is None:
            raise BudgetError(
                f"no MCS carries {bits} bits of side information at {self.snr_db:g} dB with block error rate "
                f"{self.error_rate:g}; set side_mcs or raise side_snr_db"
            )
        return best

    def _affordable(self, bits: int, least: int, uses: int) -> BlockPlan | None:
        """The smallest block for all ``bits`` if ``uses`` do for it, else the largest that they do for, if any holds
        ``least``."""
        best: BlockPlan | None = None
        for mcs in self._candidates():
            plan = plan_for(self.code, mcs, least, uses)
            if plan is not None and self._robust(plan):
                best = plan if best is None or plan.info_bits > best.info_bits else best
        if best is None or framing.capacity_bits(best.info_bits) < bits:
            return best
        whole = self._smallest(bits)
        return whole if whole.num_symbols <= uses else best
