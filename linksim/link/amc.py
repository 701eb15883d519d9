"""Adaptive modulation and coding: which MCS carries an image.

The transmitter decides on what it believes (``snr_amc_db``), never on the true SNR; the one exception, ``genie``, is a
bound and says so in its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from linksim.errors import BudgetError
from linksim.phy.mcs import TABLE, Mcs
from linksim.types import BlockPlan, ChannelCode, TxKnowledge

Rule = Literal["auto", "target", "expected-distortion", "fixed", "genie"]


@dataclass(frozen=True)
class Amc:
    """How the MCS is chosen.

    Args:
      rule: "target": the MCS with the most information bits whose image error rate at the believed SNR is at most
            ``target``. "expected-distortion": per image, the MCS with the least mean squared error to expect under the
            fading law, an image that fails counting as the grey fallback; the choice goes in band (control word).
            "auto": "target" where the transmitter knows the fade (csi_tx instantaneous) or there is none, else
            "expected-distortion". "fixed": always ``mcs``. "genie": per frame the largest MCS that arrives, tried on
            the true channel (an envelope, not a system).
      target: image error rate in (0, 1).
      mcs:  index into ``linksim.phy.mcs.TABLE``, for "fixed".
    """

    rule: Rule = "auto"
    target: float = 0.01
    mcs: int | None = None

    def __post_init__(self) -> None:
        if not 0 < self.target < 1:
            raise ValueError(f"target must be an error rate in (0, 1), got {self.target}")
        if (self.rule == "fixed") != (self.mcs is not None):
            raise ValueError("rule `fixed` and an `mcs` index go together; give both or neither")
        if self.mcs is not None and not 0 <= self.mcs < len(TABLE):
            raise ValueError(f"mcs must be an index 0..{len(TABLE) - 1}, got {self.mcs}")

    def resolve(self, tx: TxKnowledge) -> Rule:
        """The rule that "auto" stands for.

        Raises: BudgetError: if the transmitter knows too little for the rule.
        """
        if tx.csi_tx == "none" and self.rule not in ("fixed", "genie"):
            raise BudgetError(
                f"csi_tx: none leaves amc rule {self.rule!r} nothing to decide on; "
                "give amc: {rule: fixed, mcs: N} or another csi_tx"
            )
        if self.rule != "auto":
            return self.rule
        fading = tx.csi_tx == "mean" and float(np.ptp(tx.gains)) > 1e-6
        return "expected-distortion" if fading else "target"


@dataclass(frozen=True)
class Candidate:
    """An MCS with the block that it makes of the frame."""

    mcs: Mcs
    plan: BlockPlan


def candidates(code: ChannelCode, num_symbols: int) -> list[Candidate]:
    """Every MCS whose block fits, most robust (fewest information bits) first.

    Raises: BudgetError: if none does.
    """
    fitting, reason = [], ""
    for mcs in TABLE:
        try:
            plan = code.plan(num_symbols, mcs.num_bits_per_symbol, mcs.target_rate)
        except BudgetError as error:
            reason = str(error)
            continue
        fitting.append(Candidate(mcs, plan))
    if not fitting:
        raise BudgetError(f"no MCS fits {num_symbols} channel uses: {reason}")
    return sorted(fitting, key=lambda c: c.plan.info_bits)


def choose_for_target(
    options: list[Candidate], code: ChannelCode, tx: TxKnowledge, target: float
) -> np.ndarray:
    """Index of the largest block with error rate <= target at each believed SNR; the most robust where none has.

    Returns: [B] int64.
    """
    meets = np.stack(
        [code.error_rate(believed(tx, o), o.plan) <= target for o in options]
    )  # [M, B]
    last = len(options) - 1 - np.argmax(meets[::-1], axis=0)
    return np.where(meets.any(axis=0), last, 0).astype(np.int64)


def believed(tx: TxKnowledge, option: Candidate) -> np.ndarray:
    """[B] Es/N0 [dB] that decides on an option. With mean CSI the rule `target` takes the mean SNR for the truth."""
    return tx.snr_amc_db if tx.csi_tx == "mean" else tx.snr_db(option.plan.num_bits_per_symbol)


def choose_for_distortion(
    options: list[Candidate],
    code: ChannelCode,
    tx: TxKnowledge,
    distortion: Callable[[np.ndarray], np.ndarray],
    failed_mse: np.ndarray,
    budgets: np.ndarray,
) -> np.ndarray:
    """Index of the option with the least expected MSE for each image.

    Args:
      distortion: budgets [M] bits -> [B, M] MSE, inf where the codec has no picture.
      failed_mse: [B], MSE of the fallback picture.
      budgets:    [M] bits that the codec may use under each option.
    Returns: [B] int64.
    """
    fails = np.array(
        [
            float(code.error_rate(tx.snr_db(o.plan.num_bits_per_symbol), o.plan).mean())
            for o in options
        ]
    )
    return choose_by_risk(distortion(budgets), failed_mse, fails)


def choose_by_risk(arrives: np.ndarray, failed_mse: np.ndarray, fails: np.ndarray) -> np.ndarray:
    """Index of the option with the least expected MSE.

    Args:    arrives [B, M], MSE of a picture that arrives, inf where there is none; failed_mse [B]; fails [M], rates.
    Returns: [B] int64.
    """
    arrives = np.where(np.isfinite(arrives), arrives, failed_mse[:, None])
    expected = (1 - fails) * arrives + fails * failed_mse[:, None]
    return np.argmin(expected, axis=1)
