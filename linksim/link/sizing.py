"""How many channel uses a number of bits takes."""

from __future__ import annotations

from linksim.errors import BudgetError
from linksim.link import framing
from linksim.phy.mcs import Mcs
from linksim.types import BlockPlan, ChannelCode


def smallest_plan(code: ChannelCode, mcs: Mcs, bits: int, step: int = 1) -> BlockPlan | None:
    """The smallest block at an MCS that holds one packet.

    Args:
      bits: of the packet.
      step: the block's channel uses are a multiple of this.
    Returns: None where no block of the code does.
    """
    low, high = 1, 1 + (64 + int(4 * bits / mcs.efficiency)) // step
    best = plan_for(code, mcs, bits, high * step)
    while low < high:  # info_bits grows with the number of symbols
        middle = (low + high) // 2
        tried = plan_for(code, mcs, bits, middle * step)
        if tried is None:
            low = middle + 1
        else:
            high, best = middle, tried
    return best


def plan_for(code: ChannelCode, mcs: Mcs, bits: int, uses: int) -> BlockPlan | None:
    """The block of ``uses`` channel uses, if there is one and it holds a packet of ``bits``."""
    try:
        plan = code.plan(uses, mcs.num_bits_per_symbol, mcs.target_rate)
    except BudgetError:
        return None
    return plan if framing.capacity_bits(plan.info_bits) >= bits else None
