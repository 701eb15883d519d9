"""``python -m linksim.bench.correlation GLOB``: how much side information could be worth to face halves.

What a jointly Gaussian source with the second moments of upper and lower halves would gain: its rate-distortion
function without and with side information (for Gaussian sources it does not matter whether the encoder sees it). The
upper half is regressed (ridge) on the lower one, finely near the border and coarsely elsewhere; what is left over is
that of pictures the regression has not seen. Pictures are not Gaussian: a yardstick of the gain, not a bound on it.

Source: Wyner (1978), the rate-distortion function with side information at the decoder, II; Cover & Thomas, Sec.
10.3.3, reverse water-filling.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from linksim.bench.answer import answer

ROWS = 2  # of the lower half next to the border, of 2 pixels each
# luma and two colour differences, orthonormal: squared errors stay what they are
COLOURS = np.array([[2, 3, 1], [2, 0, -2], [2, -3, 1]], np.float32) / np.sqrt([12, 18, 6]).astype(
    np.float32
)
FOLDS = 5
RIDGES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)  # shares of the regressors' mean variance
RATES = (0.02, 0.04, 0.06, 0.1, 0.15, 0.2, 0.25)  # bpp of the upper half


def rate_and_distortion(variances: np.ndarray, level: float) -> tuple[float, float]:
    """Bits and summed squared error of independent Gaussians under a water level."""
    wet = variances > level
    bits = 0.5 * float(np.log2(variances[wet] / level).sum())
    return bits, float(np.minimum(variances, level).sum())


def distortion_at(variances: np.ndarray, bits: float) -> float:
    """Summed squared error of independent Gaussians at a total rate."""
    low, high = 1e-12, float(variances.max())
    for _ in range(80):
        level = np.sqrt(low * high)
        if rate_and_distortion(variances, level)[0] > bits:
            low = level
        else:
            high = level
    return rate_and_distortion(variances, high)[1]


def halves(images: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """What is looked at of the halves, as coefficients of an orthonormal transform around their mean.

    Args:    images [N, H, W, 3] uint8, sides multiples of 16.
    Returns: of the upper halves, [N, d]: luma averaged over 2x2 pixels, chroma over 4x4; of the lower ones, [N, e]:
             averages over 8x8 pixels, and the ``ROWS`` rows of 2x2 averages next to the border; the squared error per
             sample that the averaging of the upper halves leaves.
    """
    upper, lower = [], []
    total, square = 0.0, 0.0
    for start in range(0, len(images), 500):
        part = np.asarray(images[start : start + 500], np.float32) @ COLOURS
        x, y = np.split(part, 2, 1)
        total = total + x.sum(0, dtype=np.float64)
        square += float(np.square(x, dtype=np.float64).sum())
        upper.append(_joined(_averages(x[..., :1], 2), _averages(x[..., 1:], 4)))
        lower.append(_joined(_averages(y, 8), _averages(y[:, : 2 * ROWS], 2)))
    x, y = (np.concatenate(parts) for parts in (upper, lower))
    variance = (square - float(np.square(total).sum()) / len(images)) / len(images)
    x, y = x - x.mean(0), y - y.mean(0)
    seen = float(np.square(x, dtype=np.float64).sum()) / len(images)
    return x, y, (variance - seen) / (images[0].size / 2)


def _averages(x: np.ndarray, block: int) -> np.ndarray:
    """[N,h,w,C] -> [N, -1], scaled so that squares are those of the pixels."""
    n, height, width, channels = x.shape
    cells = x.reshape(n, height // block, block, width // block, block, channels)
    return cells.sum((2, 4)).reshape(n, -1) / block


def _joined(*parts: np.ndarray) -> np.ndarray:
    return np.concatenate(parts, 1)


def measure(images: np.ndarray) -> list[dict[str, Any]]:
    """A row for every rate. Args: images [N, H, W, 3] uint8."""
    samples = images[0].size / 2
    x, known, rough = halves(images)
    folds = [np.arange(len(x)) % FOLDS == k for k in range(FOLDS)]
    ridge = min(RIDGES, key=lambda r: float(np.square(_left(x, known, folds[0], r)).mean()))
    left = np.empty_like(x)
    for fold in folds:
        left[fold] = _left(x, known, fold, ridge)
    alone, given = _variances(x), _variances(left)
    rows = []
    for rate in (0.0, *RATES):
        mse = [distortion_at(v, rate * samples / 3) / samples + rough for v in (alone, given)]
        psnr = [10 * np.log10(255**2 / m) for m in mse]
        rows.append(
            {
                "bpp": rate,
                "psnr_alone": round(psnr[0], 3),
                "psnr_given": round(psnr[1], 3),
                "gain_db": round(psnr[1] - psnr[0], 3),
                "pictures": len(images),
                "ridge": ridge,
            }
        )
    return rows


def _left(x: np.ndarray, known: np.ndarray, fold: np.ndarray, ridge: float) -> np.ndarray:
    """What a regression on the other pictures leaves over of those in ``fold``."""
    own = known[~fold].T @ known[~fold]
    own += ridge * np.trace(own) / len(own) * np.eye(len(own), dtype=own.dtype)
    return x[fold] - known[fold] @ np.linalg.solve(own, known[~fold].T @ x[~fold])


def _variances(x: np.ndarray) -> np.ndarray:
    """Eigenvalues of the covariance."""
    return np.maximum(np.linalg.eigvalsh(x.T @ x / len(x)).astype(np.float64), 1e-9)


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m linksim.bench.correlation", description=__doc__
    )
    parser.add_argument("path", help="tar shards of whole pictures, a glob under LINKSIM_ASSETS")
    parser.add_argument("--limit", type=int, help="use only so many pictures")
    given = parser.parse_args(arguments)
    from linksim.seeds import Seed
    from linksim.train.config import DataSource
    from linksim.train.data import load

    def rows() -> list[dict[str, Any]]:
        with tempfile.TemporaryDirectory() as folder:
            images = load(DataSource(given.path), Path(folder), Seed.root(0))
            return measure(images[: given.limit])

    return answer(rows)


if __name__ == "__main__":
    sys.exit(main())
