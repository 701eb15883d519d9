"""Integer frequency tables: what the range coder sees, equal at both ends by construction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

PRECISION = 20  # bits: the counts of a table sum to 2^20
CODER_PRECISION = 24  # bits inside constriction
ESCAPE_BITS = 16  # a symbol outside its table costs its escape entry and this many raw bits
ESCAPE_LIMIT = 1 << (ESCAPE_BITS - 1)
PRIOR_REACH = 48  # the tables of z span -48..48


def counts_of(probabilities: np.ndarray) -> np.ndarray:
    """Integer counts, each at least 1, that sum to 2^PRECISION.

    Args:    probabilities [N], >= 0, any sum.
    Returns: [N] int64.
    """
    total = 1 << PRECISION
    share = probabilities / probabilities.sum()
    counts = 1 + np.floor(share * (total - len(share)) + 0.5).astype(np.int64)
    counts[int(np.argmax(share))] += total - int(counts.sum())
    return counts


@dataclass(frozen=True)
class Table:
    """Counts of the symbols -reach..reach and, last, of the escape."""

    counts: np.ndarray

    @property
    def reach(self) -> int:
        """Largest symbol inside."""
        return (len(self.counts) - 2) // 2

    @cached_property
    def bits(self) -> np.ndarray:
        """Cost of each entry as constriction codes it, the raw bits of an escape included, float64.

        It keeps one count in 2^24 for each entry and shares out the rest in proportion, rounding the cumulative sum.
        """
        size = len(self.counts)
        free = (1 << CODER_PRECISION) - size
        edges = np.floor(np.cumsum(self.counts) * (free / (1 << PRECISION)))
        widths = 1 + np.diff(edges, prepend=0.0)
        cost = CODER_PRECISION - np.log2(widths)
        cost[-1] += ESCAPE_BITS
        return cost

    @cached_property
    def model(self):
        """The table for constriction (24 bits inside, made of exact binary fractions)."""
        import constriction

        return constriction.stream.model.Categorical(
            self.counts / float(1 << PRECISION), perfect=False
        )

    def entries(self, symbols: np.ndarray) -> np.ndarray:
        """Position of each symbol in the table; the last where it is outside. Integers, same shape."""
        inside = np.abs(symbols) <= self.reach
        return np.where(inside, symbols + self.reach, len(self.counts) - 1)


def gaussian_counts(scale: float, reach: int) -> np.ndarray:
    """Counts of N(0, scale^2) rounded to integers, tails in the escape."""
    from scipy.special import erfc

    x = np.arange(reach + 1)
    edge = np.sqrt(0.5) / scale
    half = 0.5 * (erfc((x - 0.5) * edge) - erfc((x + 0.5) * edge))
    inside = np.concatenate([half[:0:-1], half])
    return counts_of(np.append(inside, erfc((reach + 0.5) * edge)))


@dataclass(frozen=True)
class ScaleTables:
    """Gaussian tables at log-spaced scales.

    Args:
      smallest, largest: standard deviations at the ends [quantisation steps].
      count:             tables.
    """

    smallest: float = 0.1
    largest: float = 256.0
    count: int = 96

    @cached_property
    def scales(self) -> np.ndarray:
        """[count] float64."""
        return np.geomspace(self.smallest, self.largest, self.count)

    @cached_property
    def edges(self) -> np.ndarray:
        """[count - 1] float64: below edges[i] table i is the nearer one (geometrically)."""
        return np.sqrt(self.scales[1:] * self.scales[:-1])

    @cached_property
    def tables(self) -> tuple[Table, ...]:
        """One per scale."""
        return tuple(
            Table(gaussian_counts(s, int(np.ceil(5.0 * s)) + 1)) for s in self.scales.tolist()
        )

    @cached_property
    def _costs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        sizes = np.array([len(t.counts) for t in self.tables])
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return np.concatenate([t.bits for t in self.tables]), starts, (sizes - 2) // 2

    def bits(self, symbols: np.ndarray, index: np.ndarray) -> np.ndarray:
        """Cost of each symbol under the table at its index. Same shape, float64."""
        cost, starts, reach = self._costs
        r = reach[index]
        entry = np.where(np.abs(symbols) <= r, symbols + r, 2 * r + 1)
        return cost[starts[index] + entry]


def prior_tables(arrays: Mapping[str, np.ndarray], phi: np.ndarray) -> tuple[Table, ...]:
    """The tables of z at one quality.

    Args:    arrays: weights by path; phi [K] weights of the anchors.
    Returns: one table per channel of z.
    """
    logits, means, log_scales = (
        np.tensordot(phi, arrays[f"prior/{name}"].astype(np.float64), 1)
        for name in ("logits", "means", "log_scales")
    )
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    edges = np.arange(-PRIOR_REACH, PRIOR_REACH + 2) - 0.5
    t = (edges[None, :, None] - means[:, None]) * np.exp(-log_scales)[:, None]
    cumulative = (weights[:, None] * 0.5 * (1.0 + np.tanh(0.5 * t))).sum(-1)
    inside = np.maximum(np.diff(cumulative), 0.0)
    outside = np.maximum(1.0 - inside.sum(1, keepdims=True), 0.0)
    return tuple(Table(counts_of(row)) for row in np.concatenate([inside, outside], 1))
