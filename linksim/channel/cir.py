"""Channel that plays back impulse responses from a file."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from linksim.channel.apply import check_input, faded
from linksim.channel.cir_file import CirFile, open_file, write
from linksim.channel.ofdm.combine import Equaliser, combine
from linksim.channel.ofdm.grid import Grid
from linksim.channel.ofdm.receiver import CsiRx, OfdmLink
from linksim.channel.ofdm.scattering import Scattering, response
from linksim.seeds import FrameSeeds, Seed
from linksim.types import Received

_BEYOND_PREFIX = 1e-3  # share of the power that may arrive after the prefix: -30 dB
_READ_AT_ONCE = 1 << 23  # values up to which a file is read through when the scenario is checked


@dataclass(frozen=True)
class Cir:
    """Measured or simulated impulse responses, played back from a file (layout: linksim.channel.cir_file).

    Which realisation a frame meets follows from its own seed, uniformly. One tap makes a flat channel, several go
    through an OFDM link with pilots and a cyclic prefix. Antennas are combined by MRC; Es/N0 is that of one antenna.

    A recording in time starts with the frame and is interpolated linearly; a frame that lasts longer meets it
    backwards, then forwards again.

    Args:
      path:            the .npz or .h5 file.
      normalise:       "set": one factor for all, such that the mean power of an antenna is 1 over the set, and near and
                       far places stay different; "each": every realisation has power 1; "none": as stored, for sets
                       that have mean power 1 already.
      symbol_rate_khz: symbols per second, kHz, of a flat channel that was recorded over time.
      csi_rx, equaliser, grid: of the OFDM link, see linksim.channel.tdl.
    """

    path: str
    normalise: Literal["set", "each", "none"] = "set"
    symbol_rate_khz: float | None = None
    csi_rx: CsiRx = "perfect"
    equaliser: Equaliser = "mrc"
    grid: Grid = field(default_factory=Grid)

    def __post_init__(self) -> None:
        num, _, taps, times = self._file.shape
        name = self._file.path.name
        if self.normalise not in ("set", "each", "none"):
            raise ValueError(f"normalise must be set, each or none, got {self.normalise!r}")
        if self._flat:
            if self.csi_rx != "perfect" or self.equaliser != "mrc":
                raise ValueError(
                    f"{name} has one tap, which makes a flat channel: csi_rx and equaliser are of an OFDM link"
                )
            if times > 1 and self.symbol_rate_khz is None:
                raise ValueError(
                    f"{name} was recorded over time; give symbol_rate_khz to place symbols in it"
                )
        elif self.symbol_rate_khz is not None:
            raise ValueError(
                f"{name} has {taps} taps and goes through OFDM, whose grid sets the time; leave out symbol_rate_khz"
            )
        if self.symbol_rate_khz is not None and not 0 < self.symbol_rate_khz < 1e9:
            raise ValueError(f"symbol_rate_khz must be above 0, got {self.symbol_rate_khz}")
        self._link.grid  # noqa: B018 - validates csi_rx and equaliser
        if num * int(np.prod(self._file.shape[1:])) <= _READ_AT_ONCE:
            self._check_content()

    def _check_content(self) -> None:
        powers = self._file.tap_powers()
        if self.normalise == "each" and not (powers.sum(axis=1) > 0).all():
            row = int(np.argmin(powers.sum(axis=1)))
            raise ValueError(
                f"realisation {row} of {self._file.path.name} has no power; take normalise: set"
            )
        late = self._late(powers)
        if late > _BEYOND_PREFIX:
            raise ValueError(
                f"the cyclic prefix of {self.grid.cyclic_prefix} samples ({self.grid.prefix_s * 1e6:.3g} us) is too "
                f"short for {self._file.path.name}: {100 * late:.2g} % of the power comes later; take a longer "
                "prefix or a grid of narrower band"
            )

    def _late(self, powers: np.ndarray) -> float:
        if self._flat:
            return 0.0
        beyond = np.broadcast_to(self._file.delays_s, powers.shape) > self.grid.prefix_s
        return float((powers * beyond).sum() / powers.sum())

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        seeds = FrameSeeds.of(7, 400)
        flat = write(folder / "flat.npz", seeds.complex_normal(1))
        taps = seeds.child("taps").complex_normal(6).reshape(400, 2, 3, 1)
        power = np.sqrt(np.array([0.6, 0.3, 0.1], np.float32))[:, None]
        wide = write(folder / "wide.h5", taps * power, np.array([0, 3e-7, 9e-7]))
        return [
            {"path": str(flat)},
            {"path": str(wide), "csi_rx": "lmmse", "normalise": "each"},
        ]

    @cached_property
    def _file(self) -> CirFile:
        return open_file(self.path)

    @property
    def _flat(self) -> bool:
        return self._file.shape[2] == 1

    @cached_property
    def _link(self) -> OfdmLink:
        return OfdmLink(self.grid, self.csi_rx, self.equaliser)

    # ------------------------------------------------------------------ what it declares (linksim.channel.laws)

    @property
    def num_rx(self) -> int:
        """Receive antennas."""
        return self._file.shape[1]

    @property
    def distorts(self) -> str:
        """What makes y - h x more than noise of power n0."""
        parts = ["interpolation between pilots"] if self.csi_rx != "perfect" else []
        parts += [f"the {self.equaliser} form"] if self.equaliser != "mrc" else []
        return ", ".join(parts)

    def perfect(self) -> Cir:
        """The same fades and noise for a receiver that knows the channel."""
        return replace(self, csi_rx="perfect", equaliser="mrc")

    @property
    def block_symbols(self) -> int:
        """Symbols of one realisation that the checker looks at: data of a slot; 0 for a flat channel."""
        return 0 if self._flat else self.grid.num_data

    def data_uses(self, total: int) -> int:
        """How many of ``total`` channel uses carry data."""
        return total if self._flat else self.grid.data_uses(total)

    def total_uses(self, data: int) -> int:
        """Channel uses that ``data`` symbols take."""
        return data if self._flat else self.grid.total_uses(data)

    def impulse_response(self, seed: Seed, num: int) -> tuple[np.ndarray, np.ndarray]:
        """Delays [P], s, and the first antenna's taps of ``num`` frames [num, P].

        Where delays differ from place to place, their mean.
        """
        delays = self._file.delays_s
        taps, _ = self._taps(FrameSeeds.of(seed, num), np.zeros(1))
        return delays if delays.ndim == 1 else delays.mean(axis=0), taps[:, 0, :, 0]

    # ------------------------------------------------------------------------------------------- as a channel

    @cached_property
    def _factors(self) -> np.ndarray:
        """What each realisation is multiplied by. Returns: [num] float32."""
        self._check_content()
        total = self._file.tap_powers().sum(axis=1)
        if self.normalise == "none":
            total = np.ones(len(total))
        elif self.normalise == "set":
            total = np.full(len(total), total.mean())
        return (1 / np.sqrt(total)).astype(np.float32)

    def _taps(self, seed: FrameSeeds, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Taps that frames meet at ``times_s`` [L], ascending.

        Returns: [B, R, P, L] complex64; rows of the file [B].
        """
        num, rx, taps, times = self._file.shape
        factors = self._factors
        rows = (seed.child("fading", "realisation").uniform(1)[:, 0] * num).astype(np.int64)
        if not len(rows):
            return np.zeros((0, rx, taps, len(times_s)), np.complex64), rows
        h = self._file.read(rows) * factors[rows, None, None, None]
        if times == 1:
            return np.broadcast_to(h, (*h.shape[:3], len(times_s))), rows
        place = times_s * self._file.sample_rate_hz % (2 * (times - 1))
        place = np.where(place > times - 1, 2 * (times - 1) - place, place)
        before = np.minimum(place.astype(np.int64), times - 2)
        share = (place - before).astype(np.float32)
        return (1 - share) * h[..., before] + share * h[..., before + 1], rows

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """Flat, or the scalar equivalent after the OFDM receiver. See types.Channel."""
        check_input(x, n0, seed)
        if self._flat:
            return self._flat_send(x, n0, seed)
        h = self._response(x.shape[1], seed)
        return self._link.send(x, h, n0, seed, self._scattering)

    def _flat_send(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        still = self._file.shape[3] == 1
        rate = 1e3 * (self.symbol_rate_khz or 1.0)
        times = np.zeros(1) if still else np.arange(x.shape[1]) / rate
        h = self._taps(seed, times)[0][:, :, 0]
        if self.num_rx == 1:
            return faded(x, h[:, 0], n0, seed)
        # after MRC the noise is that of one antenna, and h the root of the antennas' summed power
        return faded(x, combine(h, h)[1], n0, seed)

    def _response(self, num_symbols: int, seed: FrameSeeds) -> np.ndarray:
        """H[t, f]. Returns: [B, R, L, F] complex64."""
        times = self._link.times(num_symbols)
        taps, rows = self._taps(seed, times)
        slots = self.grid.num_slots(num_symbols)
        gains = np.moveaxis(taps, 3, 2).reshape(
            len(taps), self.num_rx, slots, self.grid.num_symbols, -1
        )
        delays = self._file.delays_s
        frequencies = self.grid.frequencies
        if not len(rows):
            return np.zeros((0, self.num_rx, len(times), len(frequencies)), np.complex64)
        found = [
            response(gains[b], delays if delays.ndim == 1 else delays[row], frequencies)
            for b, row in enumerate(rows)
        ]
        return np.stack(found)

    def post_snr(self, num_symbols: int, n0: float, seed: FrameSeeds) -> np.ndarray:
        """SNR of each data symbol after the receiver, estimation errors counted as noise. Returns: [B, S] float64."""
        if self._flat:
            silence = np.zeros((len(seed), num_symbols), np.complex64)
            return np.abs(self(silence, 0.0, seed).full()[1].astype(np.complex128)) ** 2 / max(
                n0, 1e-12
            )
        h = self._response(num_symbols, seed)
        return self._link.post_snr(h, num_symbols, n0, self._scattering)

    @cached_property
    def _scattering(self) -> Scattering | None:
        """Statistics of the set, which an LMMSE estimator is matched to; None where delays differ by realisation."""
        delays = self._file.delays_s
        if delays.ndim > 1:
            return None
        powers = self._file.tap_powers()
        power = (powers * self._factors[:, None].astype(np.float64) ** 2).mean(axis=0)
        return Scattering.of(power, delays, self._doppler_hz())

    def _doppler_hz(self) -> float:
        """Largest Doppler shift of a Jakes spectrum that decorrelates as fast as the set, from one time to the next."""
        num, _, _, times = self._file.shape
        if times == 1:
            return 0.0
        h = self._file.read(np.unique(np.linspace(0, num - 1, min(num, 256)).astype(np.int64)))
        power = (np.abs(h) ** 2).mean(dtype=np.float64)
        near = (h[..., 1:] * h[..., :-1].conj()).mean(dtype=np.complex128).real / power
        fallen = np.sqrt(max(1 - near, 0.0))  # J0(z) = 1 - (z / 2)^2
        return float(fallen / np.pi * self._file.sample_rate_hz)
