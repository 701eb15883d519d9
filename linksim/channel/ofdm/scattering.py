"""Second-order statistics of a multipath channel, and its frequency response."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SPEED_OF_LIGHT = 299_792_458.0


@dataclass(frozen=True, eq=False)
class Scattering:
    """Powers, delays and Doppler of uncorrelated paths: a wide-sense stationary channel (WSSUS).

    E[H(t, f) H*(t', f')] = sum_p power_p rho_p(t - t') e^{-j 2 pi (f - f') delay_p}, and rho_p is the mean over the M
    rays of a path of J0(2 pi jakes_pm dt) e^{j 2 pi shift_pm dt}: a ray of random azimuth has a ``jakes`` (its largest
    Doppler shift), one that stands still in angle a ``shift``.

    Args:
      power: [P], linear; they add up to 1.
      delay: [P], s.
      jakes: [P, M], Hz.
      shift: [P, M], Hz.
    Source: Bello (1963); TR 38.901, clause 7.7 for the profiles.
    """

    power: np.ndarray
    delay: np.ndarray
    jakes: np.ndarray
    shift: np.ndarray

    def __post_init__(self) -> None:
        power, delay = np.asarray(self.power, float), np.asarray(self.delay, float)
        if power.ndim != 1 or delay.shape != power.shape:
            raise ValueError(f"power and delay must be [P], got {power.shape} and {delay.shape}")
        if not (power >= 0).all() or not np.isfinite(delay).all() or abs(power.sum() - 1) > 1e-6:
            raise ValueError(f"path powers must be >= 0 and add up to 1, got {power.sum():.6g}")
        for name in ("jakes", "shift"):
            rays = np.asarray(getattr(self, name), float)
            if rays.ndim != 2 or len(rays) != len(power):
                raise ValueError(f"{name} must be [{len(power)}, M], got {rays.shape}")
            object.__setattr__(self, name, rays)
        object.__setattr__(self, "power", power)
        object.__setattr__(self, "delay", delay)

    @classmethod
    def of(cls, power: np.ndarray, delay: np.ndarray, doppler_hz: float = 0.0) -> Scattering:
        """Paths that all have a Jakes spectrum. Args: power [P], any scale; delay [P], s."""
        share = np.asarray(power, float) / np.sum(power)
        still = np.zeros((len(share), 1))
        return cls(share, delay, still + doppler_hz, still)

    @classmethod
    def within_prefix(cls, prefix_s: float, doppler_hz: float = 0.0) -> Scattering:
        """What a receiver that knows nothing may assume: delays uniform over the cyclic prefix."""
        count = 64
        return cls.of(np.ones(count), (np.arange(count) + 0.5) / count * prefix_s, doppler_hz)

    def correlation(
        self, lag_s: np.ndarray, lag_hz: np.ndarray, window_s: float = 0.0, samples: int = 1
    ) -> np.ndarray:
        """E[H(t, f) H*(t - lag_s, f - lag_hz)].

        Args:
          lag_s, lag_hz: [A] s and [C] Hz.
          window_s:      H is averaged over a window of so many seconds (as an FFT does), in ``samples`` samples.
        Returns: [A, C] complex128.
        """
        offset, weight = np.zeros(1), np.ones(1)
        if samples > 1 and window_s > 0:  # the difference of two places in the window is triangular
            steps = np.arange(-samples + 1, samples)
            offset, weight = steps * window_s / samples, (samples - np.abs(steps)) / samples**2
        dt = np.asarray(lag_s, float)[:, None] + offset
        rho = np.stack(
            [_spectrum(j, s, dt) @ weight for j, s in zip(self.jakes, self.shift, strict=True)]
        )
        turn = np.exp(-2j * np.pi * self.delay[:, None] * np.asarray(lag_hz, float))
        return (rho * self.power[:, None]).T @ turn

    def power_beyond(self, delay_s: float) -> float:
        """Share of the power on paths later than ``delay_s``."""
        return float(self.power[self.delay > delay_s * (1 + 1e-9) + 1e-15].sum())


def _spectrum(jakes: np.ndarray, shift: np.ndarray, dt: np.ndarray) -> np.ndarray:
    """rho of one path. Args: jakes, shift [M]; dt [A, O]. Returns: [A, O] complex128."""
    from scipy.special import j0

    rho = np.zeros(dt.shape, np.complex128)
    for f_max, f in zip(jakes, shift, strict=True):
        rho += j0(2 * np.pi * f_max * dt) * np.exp(2j * np.pi * f * dt)
    return rho / len(jakes)


def doppler_hz(speed_kmh: float, carrier_ghz: float) -> float:
    """Largest Doppler shift v f_c / c, Hz."""
    return speed_kmh / 3.6 * carrier_ghz * 1e9 / SPEED_OF_LIGHT


def response(gains: np.ndarray, delays: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
    """H[t, f] = sum_p gains[p, t] e^{-j 2 pi f delay_p}.

    Slot by slot, so that a frame's response does not depend on the frame's length to the last bit.

    Args:    gains [..., N, T, P] complex64, of N slots of T OFDM symbols; delays [P] s; frequencies [F] Hz.
    Returns: [..., N T, F] complex64.
    """
    turn = np.exp(-2j * np.pi * np.asarray(delays)[:, None] * frequencies).astype(np.complex64)
    cells = np.matmul(np.ascontiguousarray(gains, np.complex64), turn)
    return cells.reshape(*cells.shape[:-3], -1, len(frequencies))
