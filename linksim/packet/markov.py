"""Packet losses by a Markov chain of any size, with the three-state presets EP1 to EP6."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from linksim.packet import chain
from linksim.seeds import FrameSeeds

MAX_STATES = 64

Preset = Literal["EP1", "EP2", "EP3", "EP4", "EP5", "EP6"]

# Q: staying in the long good state, p: loss to long good, q: loss to loss, Q': staying in the short good state.
_EP: dict[str, tuple[float, float, float, float]] = {
    "EP1": (0.99968, 0.1538, 0.8462, 0.0),
    # deviates: published with p = 0.6304, and p + q = 1.0024; q, and with it the burst, is kept
    "EP2": (0.9798, 0.628, 0.372, 0.3333),
    # deviates: published with Q = 0.95 and p = 0.8, where p + q = 1.6. No chain with those Q, q and Q' loses less than
    # 0.1, so q and the claimed loss rate of 0.0645 are kept, every burst ends in the long good state, and Q follows.
    "EP3": (1 - 0.0645 * 0.2 / (1 - 0.0645), 0.2, 0.8, 0.6),
    "EP4": (0.9363, 0.3631, 0.4072, 0.5662),
    # deviates: published with Q = 0.9 and p = 0.4, where p + q = 1.3. As for EP3, with the claimed rate of 0.214.
    "EP5": (1 - 0.214 * 0.1 / (1 - 0.214), 0.1, 0.9, 0.1),
    "EP6": (0.8507, 0.2982, 0.6305, 0.2),
}


@dataclass(frozen=True)
class Markov:
    """Losses by a Markov chain: give a preset, or a transition matrix with each state's probability of loss.

        preset:   long good <--P / p--> loss (every packet lost) <--r / 1-Q'--> short good

    The three-state model keeps long stretches without loss (state 1) apart from the short ones inside a disturbance
    (state 3), which end in loss again; a burst lasts 1 / (1 - q) packets. Loss rate / mean burst of the presets:
    EP1 .0021/6.5, EP2 .031/1.6, EP3 .0645/5.0, EP4 .138/1.7, EP5 .214/10, EP6 .324/2.7.

    Args:
      preset:     "EP1" to "EP6".
      transition: K rows of K probabilities, each row with sum 1: of the next state, given this one.
      loss:       K probabilities of loss, one for each state.
    Source: the model, Milner & James, "An analysis of packet loss models for distributed speech recognition"
            (Interspeech 2004); the presets, Wang et al., "ResiComp" (arXiv 2502.10812), and its published parameters,
            where three presets have rows that do not sum to 1: each deviation stands beside its numbers. Every frame
            starts from the stationary state, not from a uniform one.
    """

    preset: Preset | None = None
    transition: tuple[tuple[float, ...], ...] | None = None
    loss: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        given = self.transition is not None or self.loss is not None
        if (self.preset is None) != given or (self.transition is None) != (self.loss is None):
            raise ValueError(
                "give either a preset, EP1 to EP6, or both transition and loss, got "
                f"preset={self.preset}, transition={self.transition}, loss={self.loss}"
            )
        if self.preset is not None:
            if self.preset not in get_args(Preset):
                raise ValueError(
                    f"preset must be one of {', '.join(get_args(Preset))}, got {self.preset!r}"
                )
            return
        assert self.transition is not None and self.loss is not None
        # Lists are welcome, and a frozen value has tuples.
        object.__setattr__(self, "transition", tuple(tuple(row) for row in self.transition))
        object.__setattr__(self, "loss", tuple(self.loss))
        states = len(self.transition)
        if not 1 <= states <= MAX_STATES or any(len(row) != states for row in self.transition):
            raise ValueError(
                f"transition must be square with 1..{MAX_STATES} states, got rows of "
                f"{[len(row) for row in self.transition]}"
            )
        if len(self.loss) != states or not all(0 <= e <= 1 for e in self.loss):
            raise ValueError(
                f"loss must hold {states} probabilities, one for each state, got {list(self.loss)}"
            )
        chain.stationary(np.array(self.transition))

    @cached_property
    def _chain(self) -> tuple[np.ndarray, np.ndarray]:
        """Transition matrix [K, K] and loss [K]."""
        if self.preset is None:
            return np.array(self.transition, np.float64), np.array(self.loss, np.float64)
        stay, to_long, again, stay_short = _EP[self.preset]
        to_short = max(1 - to_long - again, 0.0)
        matrix = np.array(
            [
                [stay, 1 - stay, 0],
                [to_long, 1 - to_long - to_short, to_short],
                [0, 1 - stay_short, stay_short],
            ]
        )
        return matrix, np.array([0.0, 1.0, 0.0])

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        chained = {"transition": [[0.9, 0.1], [0.5, 0.5]], "loss": [0.0, 0.5]}
        return [*({"preset": name} for name in get_args(Preset)), chained]

    @property
    def loss_rate(self) -> float:
        """Closed form of the fraction of packets lost."""
        return chain.loss_rate(*self._chain)

    @property
    def mean_burst(self) -> float:
        """Closed form of the mean length of a run of losses [packets]; NaN without losses."""
        return chain.mean_burst(*self._chain)

    def __call__(self, num_packets: Sequence[int], seed: FrameSeeds) -> list[np.ndarray]:
        """See types.ErasureProcess."""
        return chain.walk(*self._chain, num_packets, seed)
