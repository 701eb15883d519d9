"""The OFDM link: grid, channel, estimation, combining, as one function from symbols to Received."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np

from linksim.channel.apply import check_input
from linksim.channel.ofdm import estimate
from linksim.channel.ofdm.combine import Equaliser, combine, equalise
from linksim.channel.ofdm.grid import Grid
from linksim.channel.ofdm.scattering import Scattering
from linksim.seeds import FrameSeeds
from linksim.types import Received

CsiRx = Literal["perfect", "ls", "lmmse"]
Transfer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class OfdmLink:
    """Everything between the symbols of a frame and the scalar equivalent of a wideband channel.

        x -> grid with pilots -> y = H x + w -> h_hat from the pilots of the slot -> MRC -> equaliser -> Received

    Noise has power n0 on every cell of every antenna, so Es/N0 is per cell and per antenna, with E|H|^2 = 1. The
    receiver takes h_hat for the truth; n0_eff is n0 plus the variance of H - h_hat, which it knows from the channel's
    statistics, plus the interference between subcarriers where that is modelled.

    Args:
      grid:      the resource grid.
      csi_rx:    "perfect", "ls" (linear interpolation between the pilots) or "lmmse" (Wiener, time and frequency
                 together, matched to the channel's statistics and to n0).
      equaliser: form of the result: "mrc", "zf" or "mmse" (linksim.channel.ofdm.combine.equalise).
    """

    grid: Grid
    csi_rx: CsiRx = "perfect"
    equaliser: Equaliser = "mrc"

    def __post_init__(self) -> None:
        for name, known in (("csi_rx", CsiRx), ("equaliser", Equaliser)):
            if getattr(self, name) not in get_args(known):
                raise ValueError(
                    f"{name} must be one of {', '.join(get_args(known))}, got {getattr(self, name)!r}"
                )
        if self.csi_rx != "perfect" and not self.grid.pilot_symbols:
            raise ValueError(
                f"csi_rx: {self.csi_rx} needs pilots; give pilot_symbols or take csi_rx: perfect"
            )

    def times(self, num_symbols: int) -> np.ndarray:
        """Middle of each OFDM symbol that a frame of ``num_symbols`` data symbols may use. Returns: [L] float64, s."""
        count = self.grid.num_slots(num_symbols) * self.grid.num_symbols
        return np.arange(count) * self.grid.symbol_s

    @property
    def frequencies(self) -> np.ndarray:
        """[F] float64, Hz from the middle of the band."""
        return self.grid.frequencies

    @cached_property
    def _robust(self) -> Scattering:
        return Scattering.within_prefix(self.grid.prefix_s)

    def send(
        self,
        x: np.ndarray,
        response: np.ndarray,
        n0: float,
        seed: FrameSeeds,
        scattering: Scattering | None = None,
        transfer: Transfer | None = None,
    ) -> Received:
        """Send a batch.

        Args:
          x:          [B, S] complex64.
          response:   [B, R, L, F] complex64, H of R antennas at ``times(S)`` and ``frequencies``, E|H|^2 = 1.
          n0:         noise power per cell and antenna, linear, >= 0.
          seed:       B seeds; noise is drawn from ``seed.child("noise")``.
          scattering: statistics of ``response``; None: delays uniform over the prefix, no Doppler.
          transfer:   what the channel does to a grid [B, N, T, F] where that is more than H x, that is where it moves
                      within an OFDM symbol. Returns [B, R, N, T, F]; ``response`` is then the mean over the symbol.
        Returns: Received, [B, S].
        """
        check_input(x, n0, seed)
        num_symbols = x.shape[1]
        if not len(x) or not num_symbols:
            empty = np.zeros(x.shape, np.complex64)
            return Received(empty, empty, np.zeros(x.shape, np.float32))
        h = self._slots(response, num_symbols)
        cells = self.grid.place(np.asarray(x, np.complex64))
        y = h * cells[:, None] if transfer is None else transfer(cells)
        if n0 > 0:
            y = y + self._noise(h.shape, n0, seed)
        spread = self._interference(scattering, transfer is not None)
        error: np.ndarray | float = 0.0
        if self.csi_rx != "perfect":
            tool = self._estimator(n0 + spread, scattering, transfer is not None)
            pilots = y.reshape(*y.shape[:3], -1)[..., self.grid.pilot_index]
            h = tool(pilots * self.grid.pilots.conj()).reshape(h.shape)
            error = self._per_symbol(tool.error, num_symbols)
        y, h = combine(y, h)
        y, h = self.grid.data_of(y, num_symbols), self.grid.data_of(h, num_symbols)
        n0_eff = np.full(y.shape, n0 + spread, np.float32) + error
        return Received(*equalise(y, h, n0_eff, self.equaliser))

    def post_snr(
        self,
        response: np.ndarray,
        num_symbols: int,
        n0: float,
        scattering: Scattering | None = None,
        averaged: bool = False,
    ) -> np.ndarray:
        """SNR of each data symbol after combining, estimation errors counted as noise: what AMC decides on.

        Given the fade H of R antennas with G = sum |H|^2, a receiver that matches to h_hat = a H + u gets
        h_hat* y = a G x + u* H x + (a H + u)* w: an SNR of a^2 G^2 / (G (E|u|^2 + a^2 n0) + R E|u|^2 n0).

        Args:    as in ``send``; averaged: whether ``transfer`` would be given.
        Returns: [B, S] float64, linear.
        """
        h = self._slots(response, num_symbols)
        antennas, n0 = h.shape[1], n0 + self._interference(scattering, averaged)
        _, combined = combine(h, h)
        gain = np.abs(self.grid.data_of(combined, num_symbols).astype(np.complex128)) ** 2
        if self.csi_rx == "perfect":
            return gain / n0
        tool = self._estimator(n0, scattering, averaged)
        a, u = (self._per_symbol(part, num_symbols) for part in (tool.share, tool.own))
        return (a * gain) ** 2 / np.maximum(gain * (u + a**2 * n0) + antennas * u * n0, 1e-300)

    # ------------------------------------------------------------------------------------------------- parts

    def _slots(self, response: np.ndarray, num_symbols: int) -> np.ndarray:
        """[B, R, N, T, F]."""
        grid = self.grid
        expected = (grid.num_slots(num_symbols) * grid.num_symbols, grid.num_subcarriers)
        if response.ndim != 4 or response.shape[2:] != expected:
            raise ValueError(
                f"response must be [B, R, {expected[0]}, {expected[1]}], got {response.shape}"
            )
        cells = np.asarray(response, np.complex64)
        return cells.reshape(*cells.shape[:2], -1, grid.num_symbols, grid.num_subcarriers)

    def _noise(self, shape: tuple[int, ...], n0: float, seed: FrameSeeds) -> np.ndarray:
        """CN(0, n0) on every cell, slot by slot, so that a longer frame begins with the noise of a shorter one."""
        batch, antennas, slots, *cells = shape
        drawn = seed.child("noise").complex_normal(slots * antennas * math.prod(cells))
        drawn *= np.float32(math.sqrt(n0))
        return drawn.reshape(batch, slots, antennas, *cells).swapaxes(1, 2)

    def _interference(self, scattering: Scattering | None, averaged: bool) -> float:
        """Power that leaks between the subcarriers of a channel that moves within an OFDM symbol."""
        return 1 - estimate.mean_gain(self.grid, scattering or self._robust, averaged)

    def _estimator(
        self, n0: float, scattering: Scattering | None, averaged: bool
    ) -> estimate.Estimator:
        assert self.csi_rx != "perfect"
        return estimate.estimator(self.csi_rx, self.grid, scattering or self._robust, n0, averaged)

    def _per_symbol(self, cells: np.ndarray, num_symbols: int) -> np.ndarray:
        """[T F] of a slot -> [S], what each data symbol of a frame meets."""
        slot = cells[self.grid.data_index]
        return np.tile(slot, self.grid.num_slots(num_symbols))[:num_symbols]
