"""Confidence intervals: bootstrap over images, Clopper-Pearson for rates.

The unit that is resampled is the image: realisations of one image are drawn together, for they are not independent.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

_BLOCK = 1 << 21  # counts of one block of resamples: 16 MiB


class Interval(NamedTuple):
    """Both ends of a confidence interval; NaN where there is none."""

    low: float
    high: float


class Difference(NamedTuple):
    """A paired difference of means with its confidence interval."""

    value: float
    low: float
    high: float


def bootstrap_mean(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 2000,
    method: Literal["bca", "percentile"] = "bca",
) -> Interval:
    """Bootstrap interval of a mean.

    Args:
      values:        [N] float, finite.
      clusters:      [N], the image of each value (any hashable kind); None: each value is its own.
      seed:          of the resampling; equal seeds give equal intervals.
      level:         coverage, in (0, 1).
      num_resamples: bootstrap samples.
      method:        "bca" (bias-corrected and accelerated) or "percentile". Where all resampled means lie on one side
                     of the mean, "bca" is not defined and "percentile" is used.
    Returns: the interval; (NaN, NaN) of fewer than two images, which say nothing about the spread.
    Raises:  ValueError: a value is not finite, or the arguments do not fit.
    Source:  Efron (1987), "Better bootstrap confidence intervals"; Field & Welsh (2007) for clusters.
    """
    sums, counts = _cluster(values, clusters)
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    if num_resamples < 1:
        raise ValueError(f"num_resamples must be at least 1, got {num_resamples}")
    if method not in ("bca", "percentile"):
        raise ValueError(f"method must be 'bca' or 'percentile', got {method!r}")
    if len(sums) < 2:
        return Interval(math.nan, math.nan)
    means = _resampled_means(sums, counts, num_resamples, seed)
    ends = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == "bca":
        ends = _bca_ends(ends, means, sums, counts)
    low, high = np.quantile(means, ends)
    return Interval(float(low), float(high))


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    num_resamples: int = 2000,
    method: Literal["bca", "percentile"] = "bca",
) -> Difference:
    """Mean of first - second over the same frames, with its bootstrap interval.

    Args: first, second [N] float, row n of both from the same image and realisation; the rest as ``bootstrap_mean``.
    Returns: the difference and its interval (NaN ends of fewer than two images).
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if a.shape != b.shape:
        raise ValueError(
            f"paired values must have one shape, got {list(a.shape)} and {list(b.shape)}"
        )
    gap = a - b
    interval = bootstrap_mean(
        gap, clusters, seed=seed, level=level, num_resamples=num_resamples, method=method
    )
    return Difference(float(gap.mean()), *interval)


def clopper_pearson(errors: int, trials: int, level: float = 0.95) -> Interval:
    """Exact interval of a rate from its count: it covers the truth at least as often as ``level`` says.

    Args:    errors out of trials, 0 <= errors <= trials; level in (0, 1).
    Returns: the interval; (0, 1) where nothing was tried.
    Source:  Clopper & Pearson (1934).
    """
    if not 0 <= errors <= trials:
        raise ValueError(f"errors must be in 0..trials, got {errors} of {trials}")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, got {level}")
    from scipy.special import betaincinv

    tail = (1 - level) / 2
    low = betaincinv(errors, trials - errors + 1, tail) if errors else 0.0
    high = betaincinv(errors + 1, trials - errors, 1 - tail) if errors < trials else 1.0
    return Interval(float(low), float(high))


def _cluster(values: ArrayLike, clusters: ArrayLike | None) -> tuple[np.ndarray, np.ndarray]:
    """Sum and count of the values of each cluster, clusters in sorted order."""
    x = np.asarray(values, np.float64)
    if x.ndim != 1 or not len(x):
        raise ValueError(f"values must be [N] with N >= 1, got {list(x.shape)}")
    if not np.isfinite(x).all():
        raise ValueError("values must be finite; leave out what was not computed")
    if clusters is None:
        return x, np.ones(len(x))
    names = np.asarray(clusters)
    if names.shape != x.shape:
        raise ValueError(f"clusters must be [{len(x)}], got {list(names.shape)}")
    _, index = np.unique(names, return_inverse=True)
    return np.bincount(index, x), np.bincount(index).astype(np.float64)


@lru_cache(maxsize=4)
def _draws(num: int, rows: int, seed: int, block: int) -> np.ndarray:
    """How often each of ``num`` clusters is drawn. Returns: [rows, num] float64, rows summing to num.

    Kept, for the same images come with every metric and point of a table.
    """
    generator = np.random.default_rng([seed, block])
    picked = generator.integers(0, num, (rows, num)) + num * np.arange(rows)[:, None]
    drawn = np.bincount(picked.ravel(), minlength=rows * num).reshape(rows, num).astype(np.float64)
    drawn.flags.writeable = False
    return drawn


def _resampled_means(
    sums: np.ndarray, counts: np.ndarray, num_resamples: int, seed: int
) -> np.ndarray:
    """[num_resamples] float64."""
    rows = max(1, min(num_resamples, _BLOCK // len(sums)))
    totals = np.stack([sums, counts], axis=1)
    parts = []
    for block, start in enumerate(range(0, num_resamples, rows)):
        drawn = _draws(len(sums), rows, seed, block) @ totals
        parts.append((drawn[:, 0] / drawn[:, 1])[: num_resamples - start])
    return np.concatenate(parts)


def _bca_ends(
    ends: np.ndarray, means: np.ndarray, sums: np.ndarray, counts: np.ndarray
) -> np.ndarray:
    """The quantiles of the resampled means that BCa reads instead of ``ends``."""
    from scipy.special import ndtr, ndtri

    mean = sums.sum() / counts.sum()
    # Ties count by half, so that values on a lattice (failures, zeros) are not taken for bias.
    tolerance = 1e-12 * max(abs(mean), float(np.abs(sums).max()), 1e-300)
    below = np.mean(means < mean - tolerance) + 0.5 * np.mean(np.abs(means - mean) <= tolerance)
    if not 0 < below < 1:
        return ends
    without = (sums.sum() - sums) / (counts.sum() - counts)
    gaps = without.mean() - without
    largest = float(np.abs(gaps).max())
    gaps = (
        gaps / largest if largest > 0 else gaps
    )  # the skew has no scale, and cubes of small numbers vanish
    skew = float(np.sum(gaps**3)) / (6 * max(float(np.sum(gaps**2)), 1.0) ** 1.5)
    bias = ndtri(below)
    shifted = bias + ndtri(ends)
    room = 1 - skew * shifted
    if not (room > 0).all():
        return ends
    return ndtr(bias + shifted / room)
