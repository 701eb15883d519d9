"""A model of the variances of a picture's DCT coefficients that takes a few bytes to send.

For the coefficient (u, v) of plane p, u', v' its indices scaled to a square picture, r^2 = u'^2 + v'^2:

    log2 lambda = level + chroma_p - (0.65 + slope) log2 r - (1.4 / log2 sqrt(HW)) (log2 r)^2
                        + tilt (log2(u'+1) - log2(v'+1)) + refine_c

The constants are the mean spectrum of 100 natural photographs (COCO, OpenImages). level, chroma, slope and tilt are
sent for each picture, and for larger pictures also a correction of octave cells c (coefficients with the same
floor(log2(u+1)) and floor(log2(v+1))).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

PLANES = 3
_SLOPE, _CURVE = 0.65, 1.4
_FLOOR = (
    0.25  # variance [levels^2] of the rounding to 8 bits, roughly, so that logarithms stay finite
)
LEVEL_BITS, _LEVEL_LOW, _LEVEL_STEP = 9, -8.0, 48.0 / 510
CHROMA_BITS, SLOPE_BITS, TILT_BITS, REFINE_BITS = 4, 3, 3, 3
_SLOPE_STEP, _SLOPE_LOW = 0.25, -1.0
_TILT_STEP, _TILT_LOW = 0.15, -0.525
_REFINE_LOW = -4
FLAT = 0  # the level that says: nothing but the means


@dataclass(frozen=True)
class _Grid:
    """What depends on the size alone.

    Args:
      radius, tilt:    [H, W] float64, log2 r and log2(u'+1) - log2(v'+1).
      rows, columns:   first index of each octave.
      counts:          [R, C], coefficients in each cell.
      cell_radius, cell_tilt: [R, C], means over the cells.
      order:           [3*R*C], cells (plane, row, column) flattened, in the order in which they are refined.
    """

    radius: np.ndarray
    tilt: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    counts: np.ndarray
    cell_radius: np.ndarray
    cell_tilt: np.ndarray
    order: np.ndarray
    curve: float


def _octaves(length: int) -> np.ndarray:
    """First index of each octave 0, 1..2, 3..6, 7..14, ..."""
    return np.array([(1 << k) - 1 for k in range(int(length).bit_length())])


def _sums(array: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Sums over cells. Args: array [..., H, W]. Returns: [..., R, C]."""
    return np.add.reduceat(np.add.reduceat(array, rows, axis=-2), columns, axis=-1)


@lru_cache(maxsize=8)
def _grid(height: int, width: int) -> _Grid:
    root = np.sqrt(height * width)
    u = np.arange(height)[:, None] * (root / height)
    v = np.arange(width)[None, :] * (root / width)
    square = u**2 + v**2
    square[0, 0] = 0.25
    radius = 0.5 * np.log2(square)
    tilt = np.log2(u + 1) - np.log2(v + 1)
    rows, columns = _octaves(height), _octaves(width)
    counts = _sums(np.ones((height, width)), rows, columns)
    distance = np.arange(len(rows))[:, None] + np.arange(len(columns))[None, :]
    cost = np.stack(
        [distance + 2.0 * p for p in range(PLANES)]
    )  # chroma is weaker by about two octaves
    cost[:, 0, 0] = np.inf  # the DC has a variance of its own
    order = np.argsort(cost.ravel(), kind="stable")[: cost.size - PLANES]
    return _Grid(
        radius,
        tilt,
        rows,
        columns,
        counts,
        _sums(radius, rows, columns) / counts,
        _sums(tilt, rows, columns) / counts,
        order,
        _CURVE / max(float(np.log2(root)), 1.0),
    )


def num_cells(height: int, width: int) -> int:
    """How many cells can be refined at most."""
    return PLANES * (height.bit_length() * width.bit_length() - 1)


@dataclass(frozen=True)
class Shape:
    """The sent parameters of a batch, as whole numbers. Args: each [B] int64; refine [B, R]."""

    chroma1: np.ndarray
    chroma2: np.ndarray
    slope: np.ndarray
    tilt: np.ndarray
    refine: np.ndarray


def fit(energy: np.ndarray, num_refined: int) -> Shape:
    """Fit the shape of the spectrum, level apart.

    A weighted least squares fit of log2 of the cells' mean energies; the weights favour what takes most power.

    Args: energy [B, 3, H, W], squared coefficients.
    """
    grid = _grid(*energy.shape[2:])
    cells = _sums(energy, grid.rows, grid.columns) / grid.counts
    y = np.log2(cells + _FLOOR) + _base(grid.cell_radius, grid.curve)
    weight = (cells + _FLOOR) ** 0.25 * np.sqrt(grid.counts)
    weight[:, :, 0, 0] = 0
    features = np.stack([np.ones_like(grid.counts), -grid.cell_radius, grid.cell_tilt]).reshape(
        3, -1
    )
    w, target = weight[:, 0].reshape(len(y), -1), y[:, 0].reshape(len(y), -1)
    normal = np.einsum("fc,bc,gc->bfg", features, w, features) + 1e-6 * np.eye(3)
    _, slope, tilt = np.linalg.solve(
        normal, np.einsum("fc,bc,bc->bf", features, w, target)[..., None]
    )[..., 0].T
    slope_q = _quantise(slope, _SLOPE_LOW, _SLOPE_STEP, SLOPE_BITS)
    tilt_q = _quantise(tilt, _TILT_LOW, _TILT_STEP, TILT_BITS)
    shape = Shape(
        np.zeros_like(slope_q),
        np.zeros_like(slope_q),
        slope_q,
        tilt_q,
        np.zeros((len(y), 0), np.int64),
    )
    # offsets of the planes against what slope and tilt, as sent, leave over
    rest = np.log2(cells + _FLOOR) - _log2(grid, shape, grid.cell_radius, grid.cell_tilt)
    total = np.maximum(weight.sum((2, 3)), 1e-12)
    offset = (rest * weight).sum((2, 3)) / total
    chroma1, chroma2 = (
        _quantise(offset[:, 0] - offset[:, p], 0.0, 1.0, CHROMA_BITS) for p in (1, 2)
    )
    shape = Shape(chroma1, chroma2, slope_q, tilt_q, shape.refine)
    rest = np.log2(cells + _FLOOR) - _log2(grid, shape, grid.cell_radius, grid.cell_tilt)
    rest -= offset[:, 0, None, None, None]
    picked = rest.reshape(len(y), -1)[:, grid.order[:num_refined]]
    refine = _quantise(picked, float(_REFINE_LOW), 1.0, REFINE_BITS)
    return Shape(chroma1, chroma2, slope_q, tilt_q, refine)


def relative(shape: Shape, height: int, width: int) -> np.ndarray:
    """log2 lambda at level 0. Returns: [B, 3, H, W] float64 (the DC's entries mean nothing)."""
    grid = _grid(height, width)
    log2 = _log2(grid, shape, grid.radius, grid.tilt)
    if shape.refine.shape[1]:
        batch, (rows, columns) = len(log2), grid.counts.shape
        cells = np.zeros((batch, PLANES * rows * columns))
        cells[:, grid.order[: shape.refine.shape[1]]] = shape.refine + _REFINE_LOW
        cells = cells.reshape(batch, PLANES, rows, columns)
        wide = np.repeat(cells, np.diff(np.append(grid.rows, height)), axis=2)
        log2 = log2 + np.repeat(wide, np.diff(np.append(grid.columns, width)), axis=3)
    return log2


def _base(radius: np.ndarray, curve: float) -> np.ndarray:
    return _SLOPE * radius + curve * radius**2


def _log2(grid: _Grid, shape: Shape, radius: np.ndarray, tilt: np.ndarray) -> np.ndarray:
    """The model without level and refinement. Args: radius, tilt [R, C]. Returns: [B, 3, R, C]."""
    slope = (_SLOPE_LOW + _SLOPE_STEP * shape.slope)[:, None, None]
    lean = (_TILT_LOW + _TILT_STEP * shape.tilt)[:, None, None]
    luma = -_base(radius, grid.curve) - slope * radius + lean * tilt
    down = np.stack([np.zeros_like(shape.chroma1), shape.chroma1, shape.chroma2], axis=1)
    return luma[:, None] - down[:, :, None, None]


def _quantise(value: np.ndarray, low: float, step: float, bits: int) -> np.ndarray:
    return np.clip(np.rint((value - low) / step), 0, (1 << bits) - 1).astype(np.int64)


def quantise_level(level: np.ndarray) -> np.ndarray:
    """log2 variance at r = 1 -> 1..2^LEVEL_BITS - 1; FLAT where it is below the range or not a number."""
    code = np.rint((np.nan_to_num(level, nan=-1e9, neginf=-1e9) - _LEVEL_LOW) / _LEVEL_STEP)
    return np.clip(code, FLAT, (1 << LEVEL_BITS) - 1).astype(np.int64)


def level_of(code: np.ndarray) -> np.ndarray:
    """log2 variance at r = 1."""
    return _LEVEL_LOW + _LEVEL_STEP * np.asarray(code, np.float64)
