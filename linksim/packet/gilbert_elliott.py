"""Two-state bursty losses."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from linksim.packet import chain
from linksim.seeds import FrameSeeds


@dataclass(frozen=True)
class GilbertElliott:
    """Bursty losses: a good and a bad state, each with its own probability of loss.

            good_to_bad
        good -----------> bad        a packet is lost with loss_good in the good state, loss_bad in the bad one
             <-----------
            bad_to_good

    Given either by what one measures, ``rate`` and ``mean_burst``, or by the chain, ``good_to_bad`` and
    ``bad_to_good``. With loss_good = 0 and loss_bad = 1 (Gilbert's model) a burst ends when the bad state does:
    bad_to_good = 1 / mean_burst, good_to_bad = bad_to_good rate / (1 - rate); otherwise the two are solved for.
    Gilbert's losses are shared between rates of one mean burst: what is lost at one rate is lost at every higher one.

    Args:
      rate:        share of packets lost, in [0, 1), the axis erasure_rate.
      mean_burst:  mean length of a run of losses [packets], at least 1; 1 / (1 - rate) is without memory. Where the
                   chain is given, its closed form.
      good_to_bad: probability that the state after a good one is bad.
      bad_to_good: probability that the state after a bad one is good.
      loss_good:   probability of loss in the good state.
      loss_bad:    probability of loss in the bad state, above loss_good.
    Source: Gilbert (1960); Elliott (1963); Hasslinger & Hohlfeld, "The Gilbert-Elliott model for packet loss in real
            time services on the Internet" (2008).
    """

    rate: float | None = None
    mean_burst: float | None = None
    good_to_bad: float | None = None
    bad_to_good: float | None = None
    loss_good: float = 0.0
    loss_bad: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.loss_good < self.loss_bad <= 1:
            raise ValueError(
                "loss_good and loss_bad must be probabilities with loss_good < loss_bad, got "
                f"{self.loss_good} and {self.loss_bad}"
            )
        measured = [v is not None for v in (self.rate, self.mean_burst)]
        chained = [v is not None for v in (self.good_to_bad, self.bad_to_good)]
        if (measured, chained) == ([True, True], [False, False]):
            self._check_measured()
        elif (measured, chained) == ([False, False], [True, True]):
            self._check_chain()
            object.__setattr__(self, "mean_burst", chain.mean_burst(*self._chain))
        else:
            raise ValueError(
                "give either rate (the axis erasure_rate) and mean_burst, or good_to_bad and bad_to_good; got "
                f"rate={self.rate}, mean_burst={self.mean_burst}, good_to_bad={self.good_to_bad}, "
                f"bad_to_good={self.bad_to_good}"
            )

    def _check_chain(self) -> None:
        for name in ("good_to_bad", "bad_to_good"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(
                    f"{name} must be a probability in (0, 1], got {getattr(self, name)}"
                )

    def _check_measured(self) -> None:
        assert self.rate is not None and self.mean_burst is not None
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate must be in [0, 1), got {self.rate}")
        if not 1 <= self.mean_burst < np.inf:
            raise ValueError(f"mean_burst must be at least 1 packet, got {self.mean_burst}")
        if self.rate == self.loss_good == 0:
            return
        if not self.loss_good < self.rate < self.loss_bad:
            raise ValueError(
                f"rate must lie between loss_good={self.loss_good} and loss_bad={self.loss_bad}, got {self.rate}"
            )
        if not all(
            0 < p <= 1 + 1e-9 for p in self._solved()
        ):  # the ends that the message names are welcome
            raise ValueError(
                f"no chain loses {self.rate:g} of the packets in bursts of {self.mean_burst:g} with "
                f"loss_good={self.loss_good:g} and loss_bad={self.loss_bad:g}; mean_burst may be "
                f"{self._bursts()}"
            )

    def _solved(self) -> tuple[float, float]:
        """good_to_bad and bad_to_good that meet rate and mean_burst (possibly no probabilities)."""
        assert self.rate is not None and self.mean_burst is not None
        if self.rate == 0:
            return 0.0, 1 / self.mean_burst
        bad, within = self._moments()
        # P(lost, then not) = within + bad_to_good bad (loss_bad - loss_good)^2, linear in bad_to_good.
        bad_to_good = (self.rate / self.mean_burst - within) / (
            bad * (self.loss_bad - self.loss_good) ** 2
        )
        return bad_to_good * bad / (1 - bad), bad_to_good

    def _moments(self) -> tuple[float, float]:
        """P(bad), and P(lost, then not) of a chain that never leaves its state."""
        assert self.rate is not None
        bad = (self.rate - self.loss_good) / (self.loss_bad - self.loss_good)
        spread = [e * (1 - e) for e in (self.loss_good, self.loss_bad)]
        return bad, (1 - bad) * spread[0] + bad * spread[1]

    def _bursts(self) -> str:
        """The mean bursts that this rate allows, in words."""
        assert self.rate is not None
        bad, within = self._moments()
        fastest = min(1.0, (1 - bad) / bad)  # of bad_to_good, both probabilities at most 1
        most = self.rate / within if within > 0 else np.inf
        least = self.rate / (within + fastest * bad * (self.loss_bad - self.loss_good) ** 2)
        return f"{least:.4g} or more" if most == np.inf else f"{least:.4g} to below {most:.4g}"

    @cached_property
    def _chain(self) -> tuple[np.ndarray, np.ndarray]:
        """Transition matrix [2, 2] and loss [2], the good state first."""
        if self.good_to_bad is not None and self.bad_to_good is not None:
            to_bad, to_good = self.good_to_bad, self.bad_to_good
        else:
            to_bad, to_good = (min(p, 1.0) for p in self._solved())
        matrix = np.array([[1 - to_bad, to_bad], [to_good, 1 - to_good]])
        return matrix, np.array([self.loss_good, self.loss_bad])

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        return [
            {"rate": 0.0, "mean_burst": 2.5},
            {"rate": 0.1, "mean_burst": 2.5},
            {"rate": 0.3, "mean_burst": 5.0},
            {"rate": 0.1, "mean_burst": 1.3, "loss_good": 0.02, "loss_bad": 0.6},
            {"good_to_bad": 0.05, "bad_to_good": 0.3, "loss_bad": 0.7},
        ]

    @classmethod
    def takes_rate(cls, given: Mapping[str, Any]) -> bool:
        """Whether the axis erasure_rate sets ``rate``: not where the chain is given."""
        return "good_to_bad" not in given and "bad_to_good" not in given

    @property
    def loss_rate(self) -> float:
        """Closed form of the fraction of packets lost."""
        return chain.loss_rate(*self._chain)

    def __call__(self, num_packets: Sequence[int], seed: FrameSeeds) -> list[np.ndarray]:
        """See types.ErasureProcess."""
        return chain.walk(*self._chain, num_packets, seed)
