"""A channel with impairments around it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linksim import registry
from linksim.channel.apply import check_input, faded
from linksim.channel.impairment.rest import Rest
from linksim.seeds import FrameSeeds
from linksim.types import Received

# What a channel may offer beside its call (linksim.channel.laws), and keeps offering with impairments around it.
_OFFERED = (
    *("adds_noise", "num_rx", "csi_rx", "block_symbols", "data_uses", "total_uses", "gain_cdf"),
    *("impulse_response", "frequency_response"),
)


@dataclass(frozen=True)
class Impaired:
    """Any channel, with impairments: what `impairments:` in a channel's entry stands for.

    Args:
      channel:     the channel, by name or as a mapping with its parameters.
      impairments: likewise, the first is nearest to the transmitter's and the receiver's digital side, the last nearest
                   to the channel.
    """

    channel: Any
    impairments: Any

    def __post_init__(self) -> None:
        listed = self.impairments
        if not isinstance(listed, list | tuple) or not listed:
            raise ValueError(f"impairments must be a list of at least one, got {listed!r}")
        made = tuple(_made("impairments", item) for item in listed)
        object.__setattr__(self, "channel", _made("channels", self.channel))
        object.__setattr__(self, "impairments", made)
        for number, impairment in enumerate(made, 1):
            if getattr(impairment, "innermost", False) and number < len(made):
                raise ValueError(
                    f"{type(impairment).__name__} concerns the channel itself; put it last of the impairments"
                )
            fits = getattr(impairment, "fits", None)
            if fits is not None:
                fits(self.channel)

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        moving = {"name": "rayleigh", "doppler": 0.01}
        return [
            {"channel": "awgn", "impairments": [{"name": "cfo", "offset_rms": 0.002}]},
            {
                "channel": moving,
                "impairments": [
                    {"name": "cfo", "offset_rms": 0.002, "tracking": 32},
                    {"name": "phase-noise", "linewidth": 1e-3, "tracking": 16},
                    {"name": "rapp", "input_backoff_db": 3},
                    {"name": "outdated-csi", "delay": 5},
                ],
            },
            {"channel": "rayleigh", "impairments": [{"name": "outdated-csi", "rho": 0.95}]},
            {
                "channel": {"name": "rayleigh", "block_length": 8},
                "impairments": [{"name": "interleaver", "rows": 8, "columns": 12}],
            },
        ]

    def __getattr__(self, name: str) -> Any:
        if name in _OFFERED or (name == "autocorrelation" and self._only_distorts):
            return getattr(self.channel, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def _only_distorts(self) -> bool:
        return all(_distortion(impairment) for impairment in self.impairments)

    # ------------------------------------------------------------------ what it declares (linksim.channel.laws)

    @property
    def distorts(self) -> str:
        """What makes y - h x more than noise of power n0."""
        parts = [_distortion(part) for part in (*self.impairments, self.channel)]
        return ", ".join(part for part in parts if part)

    def perfect(self) -> Any:
        """The same fades and noise without what distorts."""
        base = self.channel
        if _distortion(base) or getattr(base, "csi_rx", "perfect") != "perfect":
            base = base.perfect()
        kept = tuple(part for part in self.impairments if not _distortion(part))
        return Impaired(base, kept) if kept else base

    # ------------------------------------------------------------------------------------------- as a channel

    @property
    def _named(self) -> list[tuple[str, Any]]:
        """Each impairment with the name of its seed: of two of one kind, each draws its own."""
        seen: Counter[str] = Counter()
        named = []
        for impairment in self.impairments:
            kind = type(impairment).__qualname__
            named.append((f"{kind} {seen[kind]}", impairment))
            seen[kind] += 1
        return named

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """Through all impairments, the channel, and back. See types.Channel."""
        check_input(x, n0, seed)
        y, h, n0_eff = Rest(self.channel, self._named, n0, seed)(x).full()
        return Received(
            np.asarray(y, np.complex64),
            np.asarray(h, np.complex64),
            np.asarray(n0_eff, np.float32),
        )

    def post_snr(self, num_symbols: int, n0: float, seed: FrameSeeds) -> np.ndarray:
        """SNR of each symbol after the receiver, what the impairments leave counted as noise: what AMC decides on.

        Returns: [B, S] float64, linear.
        """
        return _snr(Rest(self.channel, self._named, n0, seed), num_symbols)

    def known_to_transmitter(
        self, num_symbols: int, n0: float, seed: FrameSeeds
    ) -> np.ndarray | None:
        """SNR of each symbol as a transmitter with instantaneous knowledge takes it to be.

        Returns: [B, S] float64, linear; None where its knowledge is up to date.
        """
        last = self.impairments[-1]
        if not getattr(last, "transmitter_is_old", False):
            return None

        def then(x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
            return faded(x, last.then(x.shape[1], seed, self.channel), n0, seed)

        return _snr(Rest(then, self._named[:-1], n0, seed), num_symbols)


def _made(kind: str, given: Any) -> Any:
    return registry.create(kind, given) if isinstance(given, str | dict) else given


def _snr(rest: Rest, num_symbols: int) -> np.ndarray:
    """|h|^2 / n0_eff of a silent frame. Returns: [B, S] float64."""
    silence = np.zeros((len(rest.seed), num_symbols), np.complex64)
    _, h, n0_eff = rest(silence).full()
    return np.abs(h.astype(np.complex128)) ** 2 / np.maximum(n0_eff, 1e-12)


def _distortion(part: Any) -> str:
    return str(getattr(part, "distorts", "") or "")
