"""The bench that a channel is measured on, and what every law needs of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from linksim.channel.received import fault
from linksim.laws import Broken, NotApplicable
from linksim.seeds import FrameSeeds, Seed
from linksim.types import Received

Z = 4.0  # standard errors that a mean may be off: 1 in 16,000 for a channel that is right
SNR_TOLERANCE_DB = 0.05
CALIBRATION_DB = 0.2  # of n0_eff where it holds estimation error or distortion
ROUNDING = 1e-5  # of the rms: what float32 sums in another order may differ by


@dataclass(frozen=True)
class Bench:
    """One channel, the sizes it is measured at, and what was sent through it already.

    Args:
      channel: what is measured.
      frames:  of the averages. symbols: of each frame.
      n0:      at which noise is measured.
      seed:    root of fades, noise and symbols.
      spec:    what the registry builds the channel from, for another process; None: not known. base: its folder.
    """

    channel: Any
    frames: int
    symbols: int
    n0: float
    seed: Seed
    spec: Mapping[str, Any] | None = None
    base: Path | None = None
    asked: list[str] = field(default_factory=list)  # whether a law has looked at perfect()
    kept: dict[float, tuple[np.ndarray, Received]] = field(default_factory=dict)

    # ------------------------------------------------------------------------------------- what it declares

    @property
    def adds_noise(self) -> bool:
        return bool(getattr(self.channel, "adds_noise", True))

    @property
    def num_rx(self) -> int:
        return int(getattr(self.channel, "num_rx", 1))

    @cached_property
    def imperfect(self) -> str:
        """What the channel declares that keeps y = h x + w, with w of n0, from holding; empty where it holds."""
        csi_rx = getattr(self.channel, "csi_rx", "perfect")
        if not isinstance(csi_rx, str):
            raise Broken(f"csi_rx must be 'perfect' or the name of an estimator, got {csi_rx!r}")
        parts = [f"csi_rx = {csi_rx!r}"] if csi_rx != "perfect" else []
        return " and ".join(parts + ([f"distorts = {self.distorts!r}"] if self.distorts else []))

    @property
    def interpolates(self) -> bool:
        """Whether h is interpolated between pilots, so that it is not the truth even without noise."""
        return getattr(self.channel, "csi_rx", "perfect") in ("ls", "lmmse")

    @property
    def distorts(self) -> str:
        return str(getattr(self.channel, "distorts", "") or "")

    @property
    def strict(self) -> Bench:
        """The bench on which y = h x + w, with w of n0, must hold: this one, or that of ``perfect()``."""
        if not self.imperfect:
            return self
        self.asked.append("perfect()")
        return self._twin

    @cached_property
    def _twin(self) -> Bench:
        perfect = getattr(self.channel, "perfect", None)
        if perfect is None:
            raise NotApplicable(
                f"declares {self.imperfect}, and offers no perfect() to measure it on"
            )
        twin = Bench(perfect(), self.frames, self.symbols, self.n0, self.seed)
        if twin.imperfect:
            raise Broken(f"perfect() returns a channel that declares {twin.imperfect}")
        if twin.num_rx != self.num_rx:
            raise Broken(f"perfect() has num_rx = {twin.num_rx}, the channel {self.num_rx}")
        return twin

    def demand_noise(self) -> None:
        if not self.adds_noise:
            raise NotApplicable("declares adds_noise = False")

    # --------------------------------------------------------------------------------------------- sending

    def seeds(self, count: int, name: str = "law") -> FrameSeeds:
        return FrameSeeds.of(self.seed.child(name), count)

    def x(self, frames: int, symbols: int | None = None, name: str = "x") -> np.ndarray:
        """QPSK, |x|^2 = 1, so that signal power is not a random number. Returns: [frames, symbols] complex64."""
        draws = self.seed.child(name).generator().random((frames, symbols or self.symbols, 2))
        axes = np.where(draws < 0.5, np.float32(-math.sqrt(0.5)), np.float32(math.sqrt(0.5)))
        return (axes[..., 0] + 1j * axes[..., 1]).astype(np.complex64)

    def send(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        received = self.channel(x, n0, seed)
        problem = fault(received, x)
        if problem:
            raise Broken(problem)
        return received

    def sent(self, n0: float) -> tuple[np.ndarray, Received]:
        """x and what came of it, at one noise power. Sent once: the laws look at it from many sides."""
        if n0 not in self.kept:
            x = self.x(self.frames)
            self.kept[n0] = x, self.send(x, n0, self.seeds(self.frames))
        return self.kept[n0]

    @cached_property
    def gains(self) -> np.ndarray:
        """Power gains of the first symbol of many frames. Returns: [5 frames] float64."""
        x = np.ones((5 * self.frames, 1), np.complex64)
        h = self.send(x, 0.0, self.seeds(len(x), "gain")).h
        return np.abs(h[:, 0].astype(np.complex128)) ** 2


def noise(received: Received, x: np.ndarray) -> np.ndarray:
    """w = y - h x. Returns: [B, S] complex128."""
    return received.y.astype(np.complex128) - received.h.astype(np.complex128) * x


def power(values: np.ndarray) -> float:
    """Mean of |values|^2."""
    return float((np.abs(values) ** 2).mean())


def weight(received: Received, like: np.ndarray) -> np.ndarray:
    """1 / n0_eff, broadcast. Raises Broken where n0_eff is 0."""
    claimed = np.broadcast_to(np.asarray(received.n0_eff, np.float64), like.shape)
    if not claimed.all():
        raise Broken("n0_eff is 0 where there is noise")
    return 1 / claimed


def snr_tolerance_db(samples: int) -> float:
    """How far a mean of so many noise powers may be off: 0.05 dB, or what chance does in a small check."""
    return max(SNR_TOLERANCE_DB, 10 / math.log(10) * Z / math.sqrt(samples))


def db(ratio: float) -> float:
    """10 log10."""
    return 10 * math.log10(ratio) if ratio > 0 else -math.inf
