"""Packet loss processes without memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linksim.seeds import FrameSeeds


@dataclass(frozen=True)
class Iid:
    """Every packet is lost with the same probability, independently.

    Draws are shared between rates: what is lost at one rate is lost at every higher one too.

    Args: rate: probability of loss, in [0, 1).
    """

    rate: float

    def __post_init__(self) -> None:
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be in [0, 1), got {self.rate}")

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        return [{"rate": 0.0}, {"rate": 0.1}, {"rate": 0.6}]

    @property
    def loss_rate(self) -> float:
        """Closed form of the fraction of packets lost."""
        return self.rate

    @property
    def mean_burst(self) -> float:
        """Closed form of the mean length of a run of losses [packets]."""
        return 1 / (1 - self.rate)

    def __call__(self, num_packets: Sequence[int], seed: FrameSeeds) -> list[np.ndarray]:
        """See types.ErasureProcess."""
        if len(num_packets) != len(seed):
            raise ValueError(f"{len(num_packets)} frames of packets but {len(seed)} seeds")
        longest = max(num_packets, default=0)
        draws = seed.child("erasure").uniform(longest)
        return [draws[b, :count] < self.rate for b, count in enumerate(num_packets)]
