"""Tapped delay lines of TR 38.901."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from linksim.channel.ofdm.scattering import Scattering
from linksim.channel.tr38901 import Profile
from linksim.channel.wideband import Wideband
from linksim.seeds import FrameSeeds

_NUM_RAYS = 20
_LOS_SHIFT = 0.7  # of the largest Doppler shift: the steady path of TDL-D and TDL-E, clause 7.7.2


@dataclass(frozen=True)
class Tdl(Wideband):
    """Tapped delay line TDL-A to TDL-E of TR 38.901 behind an OFDM link with pilots and a cyclic prefix.

    Each tap is Rayleigh fading with a Jakes spectrum, a sum of 20 rays whose angles of arrival are spread evenly and
    whose amplitudes are complex Gaussian, so that it is Rayleigh at any instant exactly. TDL-D and TDL-E have a steady
    path of random phase in front. Antennas fade independently.

    Source: TR 38.901, clause 7.7.2, tables 7.7.2-1 to 7.7.2-5.
    """

    # deviates: Sionna's rays have equal amplitudes and random phases, which is Rayleigh for many rays only.

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        small = {"num_subcarriers": 24, "num_symbols": 4, "pilot_symbols": [0, 3]}
        return [
            {"speed_kmh": 120},
            {"model": "A", "delay_spread_ns": 100, "csi_rx": "lmmse", "num_rx": 2},
            {"model": "D", "csi_rx": "ls", "equaliser": "zf", "speed_kmh": 0},
            {"model": "E", "delay_spread_ns": 50, "ici": True, "speed_kmh": 500, "grid": small},
        ]

    @property
    def _profile(self) -> Profile:
        return "TDL"

    @cached_property
    def scattering(self) -> Scattering:
        """See Wideband.scattering."""
        jakes = np.full((len(self._table.power), 1), self.doppler_hz)
        shift = np.zeros_like(jakes)
        if self._table.los:
            jakes[0], shift[0] = 0, _LOS_SHIFT * self.doppler_hz
        return Scattering(self._table.power, self.delays, jakes, shift)

    def gain_cdf(self, gain: np.ndarray) -> np.ndarray:
        """P(|h|^2 <= gain) after combining, the same on every cell: Rayleigh or Rice, over ``num_rx`` branches.

        Args: gain [...], linear. Returns: [...] float64.
        """
        from scipy.special import chndtr

        steady = self._table.power[0] if self._table.los else 0.0
        k = steady / (1 - steady)
        scaled = 2 * (k + 1) * np.maximum(np.asarray(gain, np.float64), 0.0)
        return chndtr(scaled, 2 * self.num_rx, 2 * self.num_rx * k)

    def rays(self, seed: FrameSeeds) -> tuple[np.ndarray, np.ndarray]:
        """See Wideband.rays."""
        paths = len(self._table.power)
        moving = self.doppler_hz > 0
        count = _NUM_RAYS if moving else 1
        normals = np.empty((len(seed), count, self.num_rx, paths, 2), np.float32)
        angles = np.zeros((len(seed), count, paths))
        for b, of_frame in enumerate(seed.child("fading")):
            rng = of_frame.generator()
            rng.standard_normal(out=normals[b], dtype=np.float32)
            if moving:
                angles[b] = rng.random((count, paths))
        scale = np.sqrt(self._table.power / (2 * count)).astype(np.float32)
        amplitude = (normals.view(np.complex64)[..., 0] * scale).swapaxes(0, 1)
        steps = np.arange(count)[:, None]
        shift = self.doppler_hz * np.cos(2 * np.pi * (steps + angles) / count).swapaxes(0, 1)
        if self._table.los:
            # a phase of its own, the same on all antennas: the first antenna's draw without its magnitude
            phase = normals.view(np.complex64)[:, 0, 0, 0, 0]
            amplitude[:, :, :, 0] = 0
            amplitude[0, :, :, 0] = (np.sqrt(self._table.power[0]) * phase / np.abs(phase)).astype(
                np.complex64
            )[:, None]
            shift[0, :, 0] = _LOS_SHIFT * self.doppler_hz
        return np.ascontiguousarray(amplitude), shift
