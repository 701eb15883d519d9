"""Hybrid ARQ: how often a block is sent, and what that leaves of the budget.

    block -> transmission 0 -> NACK -> transmission 1 -> NACK -> ... -> ACK, or the last one

Every transmission has the same number of symbols n and meets a piece of the channel of its own. The budget is met **in
the mean**: with P_t, the probability that t transmissions do not deliver, a point of N channel uses allows

    n (1 + P_1 + ... + P_{T-1}) <= N                      (pilots, prefix and control word in it)

so each MCS has an n of its own, and a row may take up to T n. P_t is what AMC's measured error rates predict at the SNR
that the transmitter believes in, averaged over independent draws of the fading law for each transmission. If it
believes in the wrong SNR, the mean number of uses is not N: tables report what was used.

Feedback, one bit a transmission, is taken as free of error and of cost; rows say so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from linksim.errors import BudgetError, ComponentError
from linksim.link import overhead
from linksim.link.amc import Candidate
from linksim.phy.mcs import Mcs
from linksim.types import ChannelCode, HybridCode, TxKnowledge

MAX_TRANSMISSIONS = 4
_ORDER = (
    0,
    2,
    3,
    1,
)  # redundancy versions, as 5G's base stations send them (3GPP TS 38.214, table 5.1.2.1-2)
_SEARCH = 12
_LATTICE = 1024  # points of the joint law of T transmissions


@dataclass(frozen=True)
class Harq:
    """How a block that did not arrive is sent again.

    Args:
      kind:              "chase": the same symbols, added up before the demapper; "ir": incremental redundancy, 5G's
                         redundancy versions 0, 2, 3, 1, decoded as one longer code word.
      max_transmissions: T, 1 to 4, the first one included.
    """

    kind: Literal["ir", "chase"] = "ir"
    max_transmissions: int = MAX_TRANSMISSIONS

    def __post_init__(self) -> None:
        if self.kind not in ("ir", "chase"):
            raise ValueError(f"kind must be `ir` or `chase`, got {self.kind!r}")
        if not 1 <= self.max_transmissions <= MAX_TRANSMISSIONS:
            raise ValueError(
                f"max_transmissions must be 1..{MAX_TRANSMISSIONS}, got {self.max_transmissions}"
            )

    @property
    def rvs(self) -> tuple[int, ...]:
        """The redundancy version of each transmission."""
        return (_ORDER if self.kind == "ir" else (0,) * MAX_TRANSMISSIONS)[: self.max_transmissions]

    @property
    def note(self) -> str:
        """What a row under HARQ declares."""
        return (
            f"harq {self.kind}, up to {self.max_transmissions}: feedback error-free and not counted"
        )


@dataclass(frozen=True)
class HarqOption(Candidate):
    """An MCS with the block of one transmission, and how it is expected to fare.

    Args:
      fails: T values P_t: probability that t = 1..T transmissions do not deliver the block.
      uses:  expected channel uses of an image, everything in it.
    """

    fails: tuple[float, ...]
    uses: float

    @property
    def residual(self) -> float:
        """Probability that the block never arrives."""
        return self.fails[-1]

    @property
    def transmissions(self) -> float:
        """Expected number of transmissions."""
        return 1 + sum(self.fails[:-1])


def snr_draws(
    tx: TxKnowledge, transmissions: int, num_bits_per_symbol: int | None = None
) -> np.ndarray:
    """Es/N0 that the transmissions of a block over one QAM may meet, independently of each other.

    Returns: [L, T] float64, dB; one row where the channel does not fade.
    Raises:  BudgetError: if the transmitter knows too little, or the fade of the first transmission alone.
    Source:  the lattice, Roberts, "The unreasonable effectiveness of quasirandom sequences" (2018).
    """
    if tx.csi_tx == "none":
        raise BudgetError(
            "harq meets its budget in the mean and must predict how often a block is sent; csi_tx: none leaves nothing "
            "to predict it from"
        )
    law_db = tx.snr_db(num_bits_per_symbol or 2)
    if tx.csi_tx == "instantaneous" and float(np.ptp(law_db)) > 1e-6:
        raise BudgetError(
            "harq needs csi_tx: mean: retransmissions meet later fades, which csi_tx: instantaneous does not know"
        )
    if float(np.ptp(law_db)) <= 1e-6:
        return np.full((1, transmissions), law_db[0])
    # Independent transmissions: an even lattice over the law's quantiles in T dimensions. Drawn at random, so many
    # points would know a failure of 1 % after three transmissions to a third.
    ratio = 2.0
    for _ in range(64):
        ratio = (1 + ratio) ** (1 / (transmissions + 1))
    steps = ratio ** -np.arange(1.0, transmissions + 1)
    places = (0.5 + np.arange(_LATTICE)[:, None] * steps) % 1.0
    return np.sort(law_db)[(places * len(law_db)).astype(np.int64)]


def predict(code: HybridCode, plan: Any, harq: Harq, draws: np.ndarray) -> tuple[float, ...]:
    """P_1 .. P_T of a block. Args: draws [L, T] dB."""
    fails = np.ones(len(draws))
    found = []
    for t in range(1, harq.max_transmissions + 1):
        rate = code.combined_error_rate(draws[:, :t], plan, harq.rvs[:t])
        fails = np.minimum(fails, rate)  # what arrived stays
        found.append(float(fails.mean()))
    return tuple(found)


def option(
    code: HybridCode,
    mcs: Mcs,
    harq: Harq,
    draws: np.ndarray,
    channel: Any,
    total: int,
    first: int,
) -> HarqOption:
    """The largest transmission of an MCS whose expected uses stay within the budget.

    Args:
      total: N, all-in channel uses of an image, in the mean.
      first: channel uses that the first transmission carries besides (control word).
    Raises: BudgetError: if there is none.
    """

    def tried(size: int) -> HarqOption:
        plan = code.plan(size, mcs.num_bits_per_symbol, mcs.target_rate)
        fails = predict(code, plan, harq, draws)
        again = overhead.total_uses(channel, size) if harq.max_transmissions > 1 else 0
        uses = overhead.total_uses(channel, size + first) + sum(fails[:-1]) * again
        return HarqOption(mcs, plan, fails, uses)

    most = overhead.data_uses(channel, total) - first
    if most < 1:
        raise BudgetError(
            f"{total} channel uses do not hold the {first} of the control word; raise cbr"
        )
    size, over = most, most + 1
    best: HarqOption | None = None
    for _ in range(_SEARCH):
        now = tried(size)
        if now.uses <= total:
            best = now if best is None or size > best.plan.num_symbols else best
        else:
            over = min(over, size)
        least = best.plan.num_symbols if best else 0
        if over - least <= max(1, least // 200):
            break
        size = int(size * total / now.uses)
        if not least < size < over:  # the error rate moved with the size: halve what is left
            size = (least + over) // 2
    if best is None:
        raise BudgetError(
            f"{mcs.name} has no transmission that meets {total} uses in the mean; raise cbr"
        )
    return best


def options(
    code: ChannelCode,
    mcs_table: tuple[Mcs, ...],
    harq: Harq,
    tx: TxKnowledge,
    channel: Any,
    total: int,
    first: int,
) -> list[HarqOption]:
    """Every MCS that can meet the budget, fewest information bits first.

    Raises: BudgetError: if none can; ComponentError: if the code has no redundancy versions.
    """
    if not isinstance(code, HybridCode):
        raise ComponentError(
            f"channel code {type(code).__name__} has no redundancy versions; use ldpc-5g or leave `harq` out"
        )
    orders = {mcs.num_bits_per_symbol for mcs in mcs_table}
    draws_of = {order: snr_draws(tx, harq.max_transmissions, order) for order in orders}
    found, reason = [], ""
    for mcs in mcs_table:
        draws = draws_of[mcs.num_bits_per_symbol]
        try:
            found.append(option(code, mcs, harq, draws, channel, total, first))
        except BudgetError as error:
            reason = str(error)
    if not found:
        raise BudgetError(f"no MCS meets {total} channel uses in the mean under harq: {reason}")
    return sorted(found, key=lambda o: o.plan.info_bits)
