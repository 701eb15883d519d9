"""Clustered delay lines of TR 38.901."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from linksim.channel.ofdm.scattering import Scattering
from linksim.channel.tr38901 import RAY_OFFSETS, Profile
from linksim.channel.wideband import Wideband
from linksim.seeds import FrameSeeds


@dataclass(frozen=True)
class Cdl(Wideband):
    """Clustered delay line CDL-A to CDL-E of TR 38.901 behind an OFDM link with pilots and a cyclic prefix.

    Each cluster has 20 rays around its angle of arrival, coupled at random in azimuth and zenith, with random phases.
    The receiver moves horizontally in a random direction, drawn per frame, so all paths share one geometry. CDL-D and
    CDL-E have a steady path of random phase in front. Transmit antenna and receive antennas are vertically polarised
    and omnidirectional, the latter a horizontal line half a wavelength apart, so that they fade with the correlation
    that the angles of arrival give.

    Source: TR 38.901, clause 7.7.1, tables 7.7.1-1 to 7.7.1-5, equations 7.7-0a and 7.5-22 for the case named.
    """

    # deviates: Sionna draws the elevation of the velocity too; people, cars and trains stay on the ground.

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        return [
            {"num_rx": 2, "speed_kmh": 120},
            {"model": "E", "delay_spread_ns": 50, "csi_rx": "lmmse", "equaliser": "mmse"},
        ]

    @property
    def _profile(self) -> Profile:
        return "CDL"

    @cached_property
    def _angles(self) -> tuple[np.ndarray, np.ndarray]:
        """Azimuth and zenith of arrival of the rays. Returns: [M, P] float64 each, radians."""
        found = []
        for name in ("aoa", "zoa"):
            offsets = RAY_OFFSETS[:, None] * self._table.spread[name]
            rays = self._table.angles[name] + offsets
            if self._table.los:
                rays[:, 0] = self._table.angles[name][0]
            found.append(np.deg2rad(rays))
        return found[0], found[1]

    @cached_property
    def scattering(self) -> Scattering:
        """See Wideband.scattering. Averaged over the direction of travel, each ray has a Jakes spectrum."""
        jakes = self.doppler_hz * np.abs(np.sin(self._angles[1].T))
        return Scattering(self._table.power, self.delays, jakes, np.zeros_like(jakes))

    def rays(self, seed: FrameSeeds) -> tuple[np.ndarray, np.ndarray]:
        """See Wideband.rays."""
        azimuth, zenith = self._angles
        shape = azimuth.shape
        draws = np.stack([s.generator().random((2, *shape)) for s in seed.child("fading")], axis=1)
        travel = 2 * np.pi * seed.child("fading", "travel").uniform(1)
        coupling = np.argsort(draws[1], axis=1)  # [B, M, P]
        zenith = np.take_along_axis(np.broadcast_to(zenith, coupling.shape), coupling, axis=1)
        if self._table.los:
            draws[0, :, :, 0] = draws[0, :, :1, 0]
        away = np.sin(zenith)
        shift = self.doppler_hz * away * np.cos(azimuth - travel[:, :, None])
        # The terminal faces the base station: its line of antennas runs along -y.
        places = -0.5 * np.arange(self.num_rx)
        phase = 2 * np.pi * (draws[0][..., None] + (away * np.sin(azimuth))[..., None] * places)
        amplitude = np.sqrt(self._table.power / shape[0])[:, None] * np.exp(1j * phase)
        if self._table.los:
            amplitude[:, 1:, 0] = 0
            amplitude[:, 0, 0] *= np.sqrt(shape[0])
        amplitude = amplitude.transpose(1, 0, 3, 2).astype(np.complex64)
        return np.ascontiguousarray(amplitude), np.ascontiguousarray(shift.swapaxes(0, 1))
