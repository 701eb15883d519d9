"""What tokens cost and what pictures they give, in the mean: what a transmitter knows before it sees a picture.

The numbers stand in ``token_quality.json``. They were measured on validation pictures alone, by the command that stands
in the file (``linksim.bench.token_quality``), and depend on the weights that the file names; a transmitter of other
weights may still go by them, as it weighs choices against each other and needs no absolute numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).with_name("token_quality.json")
METRICS = ("mse", "lpips-alex")  # both are better the lower


@dataclass(frozen=True)
class TokenQuality:
    """Mean cost and quality over validation pictures.

    Args:
      stages:       [s] rising from 1 on, of every position.
      descriptions: [m] rising from 1 on, of ten packets.
      bits:         [m, s] that a position costs.
      longest:      [m, s], a picture's longest body over its mean body, in the mean.
      lost:         [f] rising from 0 on, share of the positions that did not arrive and are filled in.
      metrics:      [2, s, f], of ``METRICS``.
      nothing:      [2], of a picture of which nothing arrived.
      bases:        stages of base layers, rising.
      head_bits:    bits of a position in each of these, [b].
      head_longest: [b], the longest head of a picture's ten packets over its mean head, in the mean.
      based_bits:   [b, s] that a position costs in packets that begin with a base layer, 0 below it.
      above:        [2, b, s, f], of ``METRICS`` where the share ``lost`` of the positions has the base layer alone.
    """

    stages: np.ndarray
    descriptions: np.ndarray
    bits: np.ndarray
    longest: np.ndarray
    lost: np.ndarray
    metrics: np.ndarray
    nothing: np.ndarray
    bases: tuple[int, ...]
    head_bits: np.ndarray
    head_longest: np.ndarray
    based_bits: np.ndarray
    above: np.ndarray

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> TokenQuality:
        """From what ``linksim.bench.token_quality`` measured."""
        return cls(
            np.array(found["stages"], np.float64),
            np.array(found["descriptions"], np.float64),
            np.array(found["bits"]),
            np.array(found["longest"]),
            np.array(found["lost"]),
            np.array([found[name] for name in METRICS]),
            np.array([found["nothing"][name] for name in METRICS]),
            tuple(found["bases"]),
            np.array(found["head_bits"]),
            np.array(found["head_longest"]),
            np.array(found["based_bits"]),
            np.array([found["above"][name] for name in METRICS]),
        )

    def longest_head(self, base: int) -> float:
        """Bits of a position in the longest head of a picture, for a base layer of so many stages.

        Raises: ValueError: there are no numbers for it.
        """
        b = self._base(base)
        return float(self.head_bits[b] * self.head_longest[b])

    def depth_with_base(self, bits: float, base: int) -> float:
        """Stages of a position that so many bits pay for in packets that begin with a base layer; 0: not even that."""
        cost = self.based_bits[self._base(base)]
        there = self.stages >= base
        return float(np.interp(bits, cost[there], self.stages[there], left=0.0))

    def at_with_base(self, depth: float, lost: np.ndarray, base: int) -> np.ndarray:
        """Mean metrics of pictures with ``depth`` stages, of shares ``lost`` [k] of the positions only the base layer.

        Returns: [2, k], of ``METRICS``.
        """
        return self._interpolated(self.above[:, self._base(base)], depth, lost)

    def _interpolated(self, tables: np.ndarray, depth: float, share: np.ndarray) -> np.ndarray:
        """Tables [2, s, f] at a depth and at shares [k] of the positions. Returns: [2, k]."""
        at_depth = [[np.interp(depth, self.stages, c) for c in table.T] for table in tables]
        return np.array([np.interp(share, self.lost, row) for row in at_depth])

    def _base(self, base: int) -> int:
        if base not in self.bases:
            raise ValueError(f"parity: auto knows base layers of {self.bases} stages, got {base}")
        return self.bases.index(base)

    def depth(self, bits: float, descriptions: int) -> float:
        """Stages of a position that so many bits pay for; a broken number sends some with one more than others."""
        cost = [self._among(descriptions, column) for column in self.bits.T]
        return float(np.interp(bits, [0.0, *cost], [0.0, *self.stages]))

    def excess(self, depth: float, descriptions: int) -> float:
        """The longest body over the mean body: as long is every packet of parity."""
        found = [self._among(descriptions, column) for column in self.longest.T]
        return float(np.interp(depth, self.stages, found))

    def _among(self, descriptions: int, values: np.ndarray) -> float:
        return float(np.interp(np.log(descriptions), np.log(self.descriptions), values))

    def at(self, depth: float, lost: np.ndarray) -> np.ndarray:
        """Mean metrics of pictures with ``depth`` stages, shares ``lost`` [k] of whose positions are filled in.

        Returns: [2, k], of ``METRICS``. Where everything is lost there is no picture: ``nothing``.
        """
        first = self.stages[0]
        share = 1 - (1 - lost) * min(
            depth / first, 1.0
        )  # positions without any token look like lost ones
        found = self._interpolated(self.metrics, max(depth, first), share)
        return np.where(lost >= 1, self.nothing[:, None], found)


@cache
def shipped() -> TokenQuality:
    """That of the shipped weights."""
    return TokenQuality.of(json.loads(FILE.read_text()))
