"""Channel estimation from the pilots of a slot, as matrices that are computed once.

Both estimators are linear, h_hat = A y_p, with y_p the pilots as received over the pilots as sent. What they leave is
in closed form for a channel whose second-order statistics are known:

    error = E|H - h_hat|^2
    h_hat = share H + u, with u uncorrelated with H and of power own = E|u|^2
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

import numpy as np

from linksim.channel.ofdm.grid import Grid
from linksim.channel.ofdm.scattering import Scattering

Kind = Literal["ls", "lmmse"]
_NEGLIGIBLE = (
    1e-9  # eigenvalues of the pilots' covariance below this share of their mean are left out
)
_LEAST_N0 = 1e-7  # LMMSE: float32 pilots are no better than this


class Estimator(Protocol):
    """Pilots -> the channel of a slot.

    Args: error, share, own: [T F], see the module. share is real: these estimators turn no phase in the mean.
    """

    @property
    def error(self) -> np.ndarray:
        """[T F] float32."""
        ...

    @property
    def share(self) -> np.ndarray:
        """[T F] float32."""
        ...

    @property
    def own(self) -> np.ndarray:
        """[T F] float32."""
        ...

    def __call__(self, pilots: np.ndarray) -> np.ndarray:
        """Args: pilots [..., Pt Pf] complex64, LS values. Returns: h_hat [..., T F] complex64."""
        ...


@dataclass(frozen=True, eq=False)
class Wiener:
    """LMMSE estimation over time and frequency together: h_hat = R_dp (R_pp + n0 I)^-1 y_p.

    With the eigenvectors V and eigenvalues l of R_pp this is R_dp V diag(1 / (l + n0)) V^H; the channel has few degrees
    of freedom in a slot, so a few eigenvectors hold all of it and two thin matrices do the work of a large one.

    Args: analyse [Pt Pf, r]; synthesise [T, r, F]; error, share, own: see Estimator.
    Source: Edfors et al., "OFDM channel estimation by singular value decomposition", IEEE Trans. Commun. 46(7), 1998.
    """

    analyse: np.ndarray
    synthesise: np.ndarray
    error: np.ndarray
    share: np.ndarray
    own: np.ndarray

    def __call__(self, pilots: np.ndarray) -> np.ndarray:
        """See Estimator."""
        # OFDM symbol by OFDM symbol: products this small stay on one thread of the BLAS, larger ones lose by sharing
        modes = _rows(pilots, self.analyse)[..., None, None, :]
        return np.matmul(modes, self.synthesise).reshape(*pilots.shape[:-1], -1)


@dataclass(frozen=True, eq=False)
class Linear:
    """LS at the pilots, linear in between, first along frequency, then along time; held beyond the outermost pilots.

    Args: over_frequency [Pf, F]; over_time [T, Pt]; error, share, own: see Estimator.
    """

    over_frequency: np.ndarray
    over_time: np.ndarray
    error: np.ndarray
    share: np.ndarray
    own: np.ndarray

    def __call__(self, pilots: np.ndarray) -> np.ndarray:
        """See Estimator."""
        shape = (self.over_time.shape[1], len(self.over_frequency))
        rows = np.matmul(pilots.reshape(*pilots.shape[:-1], *shape), self.over_frequency)
        cells = np.matmul(self.over_time, rows)
        return cells.reshape(*pilots.shape[:-1], -1)


def _rows(rows: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """rows [..., N] @ matrix [N, M], row by row: a row's bits then do not depend on how many rows there are."""
    return np.matmul(rows[..., None, :], matrix)[..., 0, :]


@lru_cache(maxsize=64)
def estimator(
    kind: Kind, grid: Grid, scattering: Scattering, n0: float, averaged: bool = False
) -> Estimator:
    """The estimator of one operating point.

    Args:
      n0:       noise power on a pilot (interference between subcarriers included); 0 for none.
      averaged: the channel moves within an OFDM symbol, and the estimate is of its mean over the symbol.
    Raises: ValueError: if the grid has no pilots.
    """
    if not len(grid.pilot_index):
        raise ValueError(f"csi_rx: {kind} needs pilots; give pilot_symbols or take csi_rx: perfect")
    return (_wiener if kind == "lmmse" else _linear)(grid, scattering, n0, averaged)


@lru_cache(maxsize=8)
def _lags(grid: Grid, scattering: Scattering, averaged: bool) -> np.ndarray:
    """Covariance of two cells by their distance. Returns: [2T - 1, 2F - 1] complex128, distance 0 in the middle."""
    t, f = grid.num_symbols - 1, grid.num_subcarriers - 1
    return scattering.correlation(
        np.arange(-t, t + 1) * grid.symbol_s,
        np.arange(-f, f + 1) * grid.spacing_khz * 1e3,
        *((grid.num_subcarriers * grid.sample_s, grid.num_subcarriers) if averaged else ()),
    )


def mean_gain(grid: Grid, scattering: Scattering, averaged: bool) -> float:
    """E|H|^2 of a cell: 1, or, for a mean over an OFDM symbol, 1 less what becomes interference between subcarriers."""
    if not averaged:
        return 1.0
    return float(_lags(grid, scattering, True)[grid.num_symbols - 1, grid.num_subcarriers - 1].real)


def _covariance(table: np.ndarray, grid: Grid, cells: np.ndarray) -> np.ndarray:
    """E[H_cell H_pilot*]. Args: cells [n] into the flat [T F]. Returns: [n, Pt Pf] complex128."""
    t, f = np.divmod(cells, grid.num_subcarriers)
    tp, fp = np.divmod(grid.pilot_index, grid.num_subcarriers)
    dt = t[:, None] - tp + grid.num_symbols - 1
    return table[dt, f[:, None] - fp + grid.num_subcarriers - 1]


@lru_cache(maxsize=8)
def _modes(
    grid: Grid, scattering: Scattering, averaged: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues l [r], eigenvectors V [Pt Pf, r] of the pilots' covariance, and R_dp V [T F, r]."""
    table = _lags(grid, scattering, averaged)
    values, vectors = np.linalg.eigh(_covariance(table, grid, grid.pilot_index))
    kept = values > _NEGLIGIBLE * values.sum() / len(values)
    values, vectors = values[kept], vectors[:, kept]
    symbols = np.arange(grid.num_subcarriers * grid.num_symbols).reshape(grid.num_symbols, -1)
    cross = np.concatenate([_covariance(table, grid, row) @ vectors for row in symbols])
    return values, vectors, cross


def _wiener(grid: Grid, scattering: Scattering, n0: float, averaged: bool) -> Wiener:
    values, vectors, cross = _modes(grid, scattering, averaged)
    n0 = max(n0, _LEAST_N0)
    gain = mean_gain(grid, scattering, averaged)
    known = (np.abs(cross) ** 2 / (values + n0)).sum(1)
    error = np.maximum(gain - known, 0).astype(np.float32)
    return Wiener(
        np.ascontiguousarray(vectors.conj(), np.complex64),
        np.ascontiguousarray(
            (cross / (values + n0))
            .reshape(grid.num_symbols, grid.num_subcarriers, -1)
            .swapaxes(1, 2),
            np.complex64,
        ),
        error,
        1 - error / np.float32(gain),
        error * (1 - error / np.float32(gain)),
    )


def interpolation(places: np.ndarray, count: int) -> np.ndarray:
    """Linear interpolation from P ``places`` to 0..count-1, held beyond the ends. Returns: [count, P] float64."""
    eye = np.eye(len(places))
    return np.stack([np.interp(np.arange(count), places, row) for row in eye], axis=1)


def _linear(grid: Grid, scattering: Scattering, n0: float, averaged: bool) -> Linear:
    over_time = interpolation(np.asarray(grid.pilot_symbols), grid.num_symbols)
    over_frequency = interpolation(grid.pilot_subcarriers, grid.num_subcarriers)
    table, gain = _lags(grid, scattering, averaged), mean_gain(grid, scattering, averaged)
    noisy = _covariance(table, grid, grid.pilot_index) + n0 * np.eye(len(grid.pilot_index))
    estimated, common = [], []
    for t in range(grid.num_symbols):
        weights = np.kron(over_time[t], over_frequency)  # [F, Pt Pf]
        cells = t * grid.num_subcarriers + np.arange(grid.num_subcarriers)
        estimated.append(((weights @ noisy) * weights).sum(1).real)
        common.append((_covariance(table, grid, cells) * weights).sum(1))
    power, cross = np.concatenate(estimated), np.concatenate(common).real
    return Linear(
        np.ascontiguousarray(over_frequency.T, np.complex64),
        np.ascontiguousarray(over_time, np.complex64),
        np.maximum(gain - 2 * cross + power, 0).astype(np.float32),
        (cross / gain).astype(np.float32),
        np.maximum(power - cross**2 / gain, 0).astype(np.float32),
    )
