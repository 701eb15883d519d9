"""``budget: mean``: one operating point for a set of images whose mean channel uses, or bits, meet the budget.

    level of the codec --bits of each image--> uses at the point's MCS --mean of the set--> the highest level that fits

Each image then takes its own number of uses. The receiver has to be told that number: two control words, 12 bits, count
it in steps of 1/512 of the budget (at least one use), and are part of what is counted. The level stands in the codec's
own header; the MCS follows from the size and from what both ends know (``McsRule``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from linksim.errors import ComponentError
from linksim.link import control, framing
from linksim.link.sizing import plan_for, smallest_plan
from linksim.phy.mcs import Mcs
from linksim.types import BlockPlan, ChannelCode, Levelled, Packets, Received

WORDS = 2
NUM_USES = WORDS * control.NUM_USES
SIZES = 1 << (control.NUM_BITS * WORDS)
STEPS_PER_BUDGET = 512


def step_of(budget: int) -> int:
    """Channel uses in which a frame's length is counted. Args: budget: of an image on the average."""
    return max(1, budget // STEPS_PER_BUDGET)


def levelled(codec: object, name: str) -> Levelled:
    """The codec, if it has levels. Raises ComponentError otherwise."""
    if not isinstance(codec, Levelled):
        raise ComponentError(
            f"{name} has no quality levels that a set could share (methods quality_levels and encode_at); "
            "use budget: per_image"
        )
    return codec


def best_level(tiers: tuple[int, ...], fits: Callable[[int], bool]) -> int | None:
    """The highest level that fits, in the best tier that has one.

    Args: tiers: levels in each, see ``Levelled.quality_levels``. fits: of a level; within a tier true up to some level.
    """
    end = sum(tiers)
    for count in reversed(tiers):
        start = end - count
        if fits(start):
            low, high = start, end
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if fits(middle) else (low, middle)
            return low
        end = start
    return None


Blocks = dict[tuple["McsRule", int, int], tuple[Mcs, BlockPlan] | None]


@dataclass(frozen=True)
class McsRule:
    """Which MCS a block of a given size has: both ends know it, so it is not told.

    Args:
      window: the schemes that may be used, the most robust first.
      snr_db: Es/N0 [dB] that the transmitter believes in for each of them; the receiver knows it.
      target: the most efficient scheme of the window is taken whose block of that size fails at most so often, the
              most robust one if none does.
    """

    window: tuple[Mcs, ...]
    snr_db: tuple[float, ...] = (0.0,)
    target: float = 1.0

    def choose(self, code: ChannelCode, uses: int) -> tuple[Mcs, BlockPlan | None]:
        """The scheme of a block of ``uses`` channel uses, and the block, if there is one of that size."""
        plan = None
        for mcs, snr_db in zip(reversed(self.window), reversed(self.snr_db), strict=True):
            plan = plan_for(code, mcs, 0, uses)
            if len(self.window) == 1 or (
                plan and float(code.error_rate(np.array(snr_db), plan)) <= self.target
            ):
                return mcs, plan
        return self.window[0], plan


@dataclass(frozen=True)
class Sizes:
    """Which numbers of channel uses a block may have, and how they are told.

    Args:
      code:   channel code.
      budget: channel uses of an image on the average.
    """

    code: ChannelCode
    budget: int

    @property
    def step(self) -> int:
        """Channel uses."""
        return step_of(self.budget)

    def block(self, rule: McsRule, bits: int, cache: Blocks) -> tuple[Mcs, BlockPlan] | None:
        """A small block for a packet of ``bits``; None where its size cannot be told (over 8 budgets).

        Args: cache: kept by the caller.
        """
        key = (rule, bits, self.step)
        if key not in cache:
            cache[key] = self._block(rule, bits)
        return cache[key]

    def _block(self, rule: McsRule, bits: int) -> tuple[Mcs, BlockPlan] | None:
        least = smallest_plan(self.code, rule.window[-1], bits, self.step)
        uses = least.num_symbols if least else 0
        while 0 < uses < SIZES * self.step:
            mcs, plan = rule.choose(self.code, uses)
            if plan and framing.capacity_bits(plan.info_bits) >= bits:
                return mcs, plan
            wanted = smallest_plan(self.code, mcs, bits, self.step)
            uses = max(wanted.num_symbols, uses + self.step) if wanted else 0
        return None

    def word(self, plan: BlockPlan) -> int:
        """What is told of a block: its size in steps."""
        return plan.num_symbols // self.step

    def read(self, word: int, rule: McsRule) -> BlockPlan | None:
        """The block that a word tells of, or None where there is no such block."""
        return rule.choose(self.code, word * self.step)[1] if word else None


def modulate(words: np.ndarray) -> np.ndarray:
    """[B] int in 0..4095 -> [B, 96] complex64."""
    words = np.asarray(words)
    return np.concatenate([control.modulate(words >> 6), control.modulate(words & 63)], axis=1)


def demodulate(received: Received) -> np.ndarray:
    """Most likely words. Args: received: of 96 symbols. Returns: [B] int64."""
    high = control.demodulate(received.slice(0, control.NUM_USES))
    low = control.demodulate(received.slice(control.NUM_USES, NUM_USES))
    return (high << 6) | low


def bits_of(packets: Packets) -> np.ndarray:
    """[B] int64 bits of the one packet of each image. Raises ComponentError for another number of packets."""
    if any(len(of) != 1 for of in packets.of):
        raise ComponentError("encode_at must give every image one packet")
    return packets.num_bits()
