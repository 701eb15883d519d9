"""When a point has seen enough images: the scenario's ``stop``, applied to the shards of a point in their order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from linksim.scenario.schema import ERROR_RATE, MIN_FOR_WIDTH, Stop

LEVEL = 0.95


def needs(stop: Stop) -> tuple[str, ...]:
    """Columns of the rows that the rule looks at; none where there is no rule."""
    if stop.max_failed is None and stop.max_images is None and not stop.ci_width:
        return ()
    metrics = [name for name in stop.ci_width or () if name != ERROR_RATE]
    return ("image", "failed", *(f"metric_{name}" for name in metrics))


@dataclass
class _Moments:
    """Sums over images of a ratio's numerator (an image's sum over frames) and denominator (its count of frames)."""

    images: int = 0
    s: float = 0.0
    c: float = 0.0
    ss: float = 0.0
    sc: float = 0.0
    cc: float = 0.0

    def add(self, s: np.ndarray, c: np.ndarray) -> None:
        """Args: s, c [images]; images without frames do not count."""
        s, c = s[c > 0], c[c > 0]
        self.images += len(s)
        self.s += float(s.sum())
        self.c += float(c.sum())
        self.ss += float((s * s).sum())
        self.sc += float((s * c).sum())
        self.cc += float((c * c).sum())

    def variance(self) -> float:
        """Of the ratio s / c, by linearisation over images; NaN of fewer than two."""
        if self.images < 2:
            return math.nan
        mean = self.s / self.c
        squares = max(self.ss - 2 * mean * self.sc + mean * mean * self.cc, 0.0)
        return self.images / (self.images - 1) * squares / self.c**2


class Tally:
    """What one point has seen so far, and whether that is enough.

    Args: stop: the rule. exclude: whether failed frames are left out of the means (``failure: exclude``).
    """

    def __init__(self, stop: Stop, exclude: bool = False) -> None:
        self.stop, self.exclude = stop, exclude
        self.images = 0
        self.failed_images = 0
        self._frames = 0
        self._failures = _Moments()
        self._metrics = {name: _Moments() for name in stop.ci_width or () if name != ERROR_RATE}

    def add(self, columns: Mapping[str, Sequence]) -> None:
        """The next shard. Args: columns: those that :func:`needs` names, one value per frame."""
        _, index = np.unique(np.asarray(columns["image"]), return_inverse=True)
        failed = np.asarray(columns["failed"], bool)
        frames = np.bincount(index).astype(float)
        failures = np.bincount(index, failed)
        self.images += len(frames)
        self.failed_images += int((failures > 0).sum())
        self._frames += len(failed)
        self._failures.add(failures, frames)
        for name, moments in self._metrics.items():
            values = np.array([math.nan if v is None else v for v in columns[f"metric_{name}"]])
            used = ~np.isnan(values) & ~(failed & self.exclude)
            count = np.bincount(index, used, len(frames))
            with np.errstate(invalid="ignore"):  # infinite values: no interval, so never enough
                moments.add(np.bincount(index, np.where(used, values, 0.0), len(frames)), count)

    def enough(self) -> bool:
        """Whether the point ends here."""
        stop = self.stop
        if stop.max_images is not None and self.images >= stop.max_images:
            return True
        if self.images < stop.min_images:
            return False
        if stop.max_failed is not None and self.failed_images >= stop.max_failed:
            return True
        if not stop.ci_width or self.images < MIN_FOR_WIDTH:
            return False
        return all(self.width(name) <= target for name, target in stop.ci_width.items())

    def width(self, name: str) -> float:
        """Width of the 95 % interval of a metric's mean, or of the error rate; inf where there is none."""
        width = self._error_width() if name == ERROR_RATE else self._metric_width(name)
        return width if math.isfinite(width) else math.inf

    def _metric_width(self, name: str) -> float:
        """Student's t over images, the realisations of one taken together."""
        from scipy.special import stdtrit

        moments = self._metrics[name]
        if moments.images < 2 or not math.isfinite(moments.s):
            return math.inf
        quantile = float(stdtrit(moments.images - 1, (1 + LEVEL) / 2))
        return 2 * quantile * math.sqrt(moments.variance())

    def _error_width(self) -> float:
        """Clopper-Pearson at the effective number of frames: realisations of one image are not independent.

        Where no or every frame failed, nothing tells how dependent they are: the images are counted instead.
        Source: Korn & Graubard (1998), "Confidence intervals for proportions with small expected number of positive
        counts estimated from survey data".
        """
        from scipy.special import betaincinv

        if not self._frames:
            return math.inf
        rate = self._failures.s / self._frames
        variance = self._failures.variance()
        size = float(self.images)
        if 0 < rate < 1 and variance > 0:
            size = min(rate * (1 - rate) / variance, float(self._frames))
        errors, tail = rate * size, (1 - LEVEL) / 2
        low = betaincinv(errors, size - errors + 1, tail) if rate > 0 else 0.0
        high = betaincinv(errors + 1, size - errors, 1 - tail) if rate < 1 else 1.0
        return float(high - low)
