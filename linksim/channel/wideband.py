"""What tapped and clustered delay lines have in common: rays, and the OFDM link behind them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from linksim.channel.apply import check_input
from linksim.channel.ofdm.combine import Equaliser
from linksim.channel.ofdm.grid import Grid
from linksim.channel.ofdm.receiver import CsiRx, OfdmLink
from linksim.channel.ofdm.scattering import Scattering, doppler_hz, response
from linksim.channel.tr38901 import MODELS, Profile, Table, table
from linksim.registry import nearest
from linksim.seeds import FrameSeeds, Seed
from linksim.types import Received

_CHUNK = 1 << 16  # cells simulated at a time: keeps arrays in the cache and memory small
_BEYOND_PREFIX = 1e-3  # share of the power that may arrive after the prefix: -30 dB


@dataclass(frozen=True)
class Wideband:
    """A multipath channel of TR 38.901 behind an OFDM link. Not a channel by itself: see Tdl and Cdl.

    A path is a sum of M rays, each with an amplitude per antenna and a Doppler shift. The response is constant over an
    OFDM symbol unless ``ici`` is set; no path may be later than the cyclic prefix.

    Args:
      model:           letter of the model, A to E.
      delay_spread_ns: RMS delay spread, ns, by which the model's delays are scaled. 0 makes it a flat channel.
      speed_kmh:       of the receiver, km/h.
      carrier_ghz:     carrier frequency, GHz.
      num_rx:          receive antennas, combined by MRC. Es/N0 is that of one antenna, so two receive 3 dB more.
      csi_rx:          "perfect", "ls" or "lmmse": what the receiver knows of the channel.
      equaliser:       form of the result: "mrc" (noise of power n0 whatever the fade), "zf" or "mmse".
      ici:             let the channel move within an OFDM symbol, with interference between subcarriers.
      grid:            resource grid; its pilots and prefix are paid from the budget.
    """

    model: str = "C"
    delay_spread_ns: float = 300.0
    speed_kmh: float = 3.0
    carrier_ghz: float = 3.5
    num_rx: int = 1
    csi_rx: CsiRx = "perfect"
    equaliser: Equaliser = "mrc"
    ici: bool = False
    grid: Grid = field(default_factory=Grid)

    def __post_init__(self) -> None:
        if self.model not in MODELS:
            guess = self.model.strip().upper()[-1:]
            hint = f"did you mean {guess!r}?" if guess in MODELS else nearest(self.model, [*MODELS])
            raise ValueError(f"unknown {self._profile} model {self.model!r}; {hint}")
        for name, low, high, unit in (
            ("delay_spread_ns", 0, 1e6, " ns"),
            ("speed_kmh", 0, 1e5, " km/h"),
            ("carrier_ghz", 0.01, 1000, " GHz"),
            ("num_rx", 1, 16, ""),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(
                    f"{name} must be in {low:g}..{high:g}{unit}, got {getattr(self, name)}"
                )
        self._link.grid  # noqa: B018 - validates csi_rx and equaliser
        spacing, prefix = self.grid.spacing_khz * 1e3, self.grid.prefix_s
        if self.doppler_hz >= spacing / 2:
            raise ValueError(
                f"speed_kmh={self.speed_kmh:g} at {self.carrier_ghz:g} GHz is a Doppler shift of "
                f"{self.doppler_hz:.0f} Hz, half of the subcarrier spacing or more; raise spacing_khz above "
                f"{2e-3 * self.doppler_hz:.3g}"
            )
        late = self.scattering.power_beyond(prefix)
        if late > _BEYOND_PREFIX:
            end = float(self.scattering.delay.max())
            raise ValueError(
                f"the cyclic prefix of {self.grid.cyclic_prefix} samples ({prefix * 1e6:.3g} us) is shorter than "
                f"{self._profile}-{self.model} at {self.delay_spread_ns:g} ns ({end * 1e6:.3g} us): {100 * late:.2g} % "
                f"of the power comes later; take cyclic_prefix {math.ceil(end / self.grid.sample_s)} or a smaller "
                "delay_spread_ns"
            )

    @property
    def _profile(self) -> Profile:
        raise NotImplementedError

    @property
    def scattering(self) -> Scattering:
        """Powers, delays and Doppler spectra of the paths."""
        raise NotImplementedError

    def rays(self, seed: FrameSeeds) -> tuple[np.ndarray, np.ndarray]:
        """Draw the rays of each frame from ``seed.child("fading")``.

        Returns: amplitude [M, B, R, P] complex64, with power adding up to 1 over M and P in the mean; Doppler shift
                 [M, B, P] float64, Hz.
        """
        raise NotImplementedError

    # ------------------------------------------------------------------ what it declares (linksim.channel.laws)

    @property
    def distorts(self) -> str:
        """What makes y - h x more than noise of power n0 and errors of the estimate."""
        parts = ["interference between subcarriers"] if self.ici else []
        parts += [f"the {self.equaliser} form"] if self.equaliser != "mrc" else []
        return ", ".join(parts)

    def perfect(self) -> Wideband:
        """The same fades and noise for a receiver that knows the channel, which stands still within an OFDM symbol."""
        return replace(self, csi_rx="perfect", equaliser="mrc", ici=False)

    @property
    def block_symbols(self) -> int:
        """Data symbols of a slot."""
        return self.grid.num_data

    def impulse_response(self, seed: Seed, num: int) -> tuple[np.ndarray, np.ndarray]:
        """Delays [P], s, and the first antenna's path gains at the start of ``num`` frames [num, P]."""
        gains = self.gains(1, FrameSeeds.of(seed, num))
        return self.delays, gains[:, 0, 0, 0]

    def frequency_response(self, seed: Seed, num: int) -> tuple[np.ndarray, np.ndarray]:
        """Frequencies [F], Hz from the middle of the band, and the first antenna's H at the start [num, F]."""
        return self.grid.frequencies, self.response(1, FrameSeeds.of(seed, num))[:, 0, 0]

    # ------------------------------------------------------------------------------------------- as a channel

    @property
    def doppler_hz(self) -> float:
        """Largest Doppler shift, Hz."""
        return doppler_hz(self.speed_kmh, self.carrier_ghz)

    @cached_property
    def _table(self) -> Table:
        return table(self._profile, self.model)

    @cached_property
    def _link(self) -> OfdmLink:
        return OfdmLink(self.grid, self.csi_rx, self.equaliser)

    @property
    def delays(self) -> np.ndarray:
        """[P] float64, s."""
        return self._table.delay * self.delay_spread_ns * 1e-9

    def data_uses(self, total: int) -> int:
        """How many of ``total`` channel uses carry data; the rest is pilots, prefix and guards."""
        return self.grid.data_uses(total)

    def total_uses(self, data: int) -> int:
        """Channel uses that ``data`` symbols take, pilots, prefix and guards included."""
        return self.grid.total_uses(data)

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """The scalar equivalent after the OFDM receiver. See types.Channel."""
        check_input(x, n0, seed)
        parts = [self._send(x[rows], n0, seed[rows]) for rows in self._chunks(x)]
        whole = [np.concatenate(part) for part in zip(*(p.full() for p in parts), strict=True)]
        return Received(*whole)

    def post_snr(self, num_symbols: int, n0: float, seed: FrameSeeds) -> np.ndarray:
        """SNR of each data symbol after the receiver, estimation errors counted as noise. Returns: [B, S] float64."""
        found = []
        for rows in self._chunks(np.empty((len(seed), num_symbols), np.bool_)):
            h = (
                self._motion(num_symbols, seed[rows])[0]
                if self.ici
                else self.response(num_symbols, seed[rows])
            )
            found.append(self._link.post_snr(h, num_symbols, n0, self.scattering, self.ici))
        return np.concatenate(found)

    def response(self, num_symbols: int, seed: FrameSeeds) -> np.ndarray:
        """H[t, f] that frames of ``num_symbols`` data symbols meet. Returns: [B, R, L, F] complex64."""
        return response(self.gains(num_symbols, seed), self.delays, self.grid.frequencies)

    def gains(self, num_symbols: int, seed: FrameSeeds) -> np.ndarray:
        """Gain of each path in the middle of each OFDM symbol. Returns: [B, R, N, T, P] complex64, N slots."""
        grid = self.grid
        amplitude, shift = self.rays(seed)
        slots = grid.num_slots(num_symbols)
        z, turn = _start(amplitude, shift, slots, grid.num_symbols * grid.symbol_s, grid.symbol_s)
        out = np.empty((*z.shape[1:4], grid.num_symbols, z.shape[4]), np.complex64)
        if self.doppler_hz == 0:
            out[:] = _sum(z)[..., None, :]
            return out
        for t in range(grid.num_symbols):
            out[..., t, :] = _sum(z)
            z *= turn
        return out

    # ------------------------------------------------------------------------------------------------- inside

    def _chunks(self, x: np.ndarray) -> list[slice]:
        """Frames simulated together; one empty slice of an empty batch."""
        slot = self.num_rx * self.grid.num_symbols * self.grid.num_subcarriers
        each = max(_CHUNK // (slot * max(self.grid.num_slots(x.shape[1]), 1)), 1)
        return [slice(a, a + each) for a in range(0, max(len(x), 1), each)]

    def _send(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        if not x.size:
            return self._link.send(x, np.zeros((len(x), 1, 0, 0), np.complex64), n0, seed)
        if not self.ici:
            return self._link.send(x, self.response(x.shape[1], seed), n0, seed, self.scattering)
        mean, moving = self._motion(x.shape[1], seed)
        turn = np.exp(-2j * np.pi * self.delays[:, None] * self.grid.frequencies).astype(
            np.complex64
        )

        def transfer(cells: np.ndarray) -> np.ndarray:
            """Each path's delayed signal times its gain, in time; exact for a delay within the prefix."""
            from scipy.fft import fft, ifft

            out = np.empty((*moving.shape[:4], cells.shape[-1]), np.complex64)
            for b, r, n in np.ndindex(
                *moving.shape[:3]
            ):  # slot by slot: bits must not depend on the batch
                delayed = ifft(cells[b, n, :, None, :] * turn, axis=-1)  # [T, P, F]
                received = np.zeros(delayed[:, 0].shape, np.complex64)
                for p in range(delayed.shape[1]):
                    received += moving[b, r, n, :, p] * delayed[:, p]
                out[b, r, n] = fft(received, axis=-1)
            return out

        return self._link.send(x, mean, n0, seed, self.scattering, transfer)

    def _motion(self, num_symbols: int, seed: FrameSeeds) -> tuple[np.ndarray, np.ndarray]:
        """H, the mean over each OFDM symbol [B, R, L, F], and the gains at each sample [B, R, N, T, P, F]."""
        grid = self.grid
        amplitude, shift = self.rays(seed)
        slots, samples = grid.num_slots(num_symbols), grid.num_subcarriers
        moving = None
        for t in range(grid.num_symbols):
            begin = t * grid.symbol_s - 0.5 * (samples - 1) * grid.sample_s
            z, turn = _start(
                amplitude, shift, slots, grid.num_symbols * grid.symbol_s, grid.sample_s, begin
            )
            if moving is None:
                moving = np.empty(
                    (*z.shape[1:4], grid.num_symbols, z.shape[4], samples), np.complex64
                )
            for n in range(samples):
                moving[..., t, :, n] = _sum(z)
                z *= turn
        assert moving is not None
        mean = np.ascontiguousarray(moving.mean(axis=-1))
        return response(mean, self.delays, grid.frequencies), moving


def _start(
    amplitude: np.ndarray,
    shift: np.ndarray,
    slots: int,
    slot_s: float,
    step_s: float,
    begin_s: float = 0.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Rays at the beginning of each slot [M, B, R, N, P], and what turns them by a step, [M, B, 1, 1, P]; complex64."""
    times = begin_s + np.arange(slots) * slot_s
    phase = 2 * np.pi * shift[:, :, None, None, :] * times[:, None]
    z = amplitude[:, :, :, None, :] * np.exp(1j * phase).astype(np.complex64)
    turn = np.exp(2j * np.pi * step_s * shift).astype(np.complex64)
    return z, turn[:, :, None, None, :]


def _sum(z: np.ndarray) -> np.ndarray:
    """Over rays, one after the other: the order of the sum is part of the bits."""
    total = z[0].copy()
    for ray in z[1:]:
        total += ray
    return total
