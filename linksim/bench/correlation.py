"""``python -m linksim.bench.correlation GLOB``: how much side information could be worth to face halves.

What a jointly Gaussian source with the second moments of upper and lower halves would gain: its rate-distortion
function without and with side information (for Gaussian sources it does not matter whether the encoder sees it). Halves
are averaged over 2x2 pixels; the upper one is regressed (ridge) on the lower one's principal components and on its rows
next to the border, what is left over is that of pictures the regression has not seen. Pictures are not Gaussian: a
yardstick of the gain, not a bound on it.

Source: Wyner (1978), the rate-distortion function with side information at the decoder, II; Cover & Thomas, Sec.
10.3.3, reverse water-filling.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

COMPONENTS = 200  # of the lower half
ROWS = 2  # of the lower half next to the border, of 2 pixels each
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


def halves(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[N, H, W, 3] uint8 -> upper and lower halves, averaged over 2x2 pixels, around the mean: [N, d] float32."""
    n, height, width, _ = images.shape
    small = np.empty((n, height // 2, width // 2, 3), np.float32)
    for start in range(0, n, 500):
        part = np.asarray(images[start : start + 500], np.float32)
        small[start : start + 500] = part.reshape(len(part), height // 2, 2, width // 2, 2, 3).mean(
            (2, 4)
        )
    small -= small.mean(0)
    return small[:, : height // 4].reshape(n, -1), small[:, height // 4 :].reshape(n, -1)


def measure(images: np.ndarray) -> list[dict[str, Any]]:
    """A row for every rate. Args: images [N, H, W, 3] uint8."""
    pixels = images.shape[1] * images.shape[2] // 2
    samples = 3 * pixels
    x, y = halves(images)
    # what averaging over 2x2 pixels leaves out is counted as lost in both
    rough = 0.0
    for start in range(0, len(images), 2000):
        part = np.asarray(images[start : start + 200, : images.shape[1] // 2], np.float32)
        b, h, w, _ = part.shape
        cells = part.reshape(b, h // 2, 2, w // 2, 2, 3)
        rough += float(np.square(cells - cells.mean((2, 4), keepdims=True)).mean()) * len(part)
    rough /= sum(min(200, len(images) - s) for s in range(0, len(images), 2000))
    row = 3 * images.shape[2] // 2
    known = np.concatenate([y @ _axes(y, COMPONENTS), y[:, : ROWS * row]], 1)
    folds = [np.arange(len(x)) % FOLDS == k for k in range(FOLDS)]
    ridge = min(RIDGES, key=lambda r: float(np.square(_left(x, known, folds[0], r)).mean()))
    left = np.empty_like(x)
    for fold in folds:
        left[fold] = _left(x, known, fold, ridge)
    error = float(np.square(left).mean())
    alone, given = _variances(x), _variances(left)
    rows = []
    for rate in RATES:
        # a value of the averaged picture stands for 4 samples
        mse = [4 * distortion_at(v, rate * pixels) / samples + rough for v in (alone, given)]
        psnr = [10 * np.log10(255**2 / m) for m in mse]
        rows.append(
            {
                "bpp": rate,
                "psnr_alone": round(psnr[0], 3),
                "psnr_given": round(psnr[1], 3),
                "gain_db": round(psnr[1] - psnr[0], 3),
                "pictures": len(images),
                "ridge": ridge,
                "side_only_db": round(10 * np.log10(255**2 / (error + rough)), 2),
            }
        )
    return rows


def _left(x: np.ndarray, known: np.ndarray, fold: np.ndarray, ridge: float) -> np.ndarray:
    """What a regression on the other pictures leaves over of those in ``fold``."""
    own = known[~fold].T @ known[~fold]
    own += ridge * np.trace(own) / len(own) * np.eye(len(own), dtype=own.dtype)
    return x[fold] - known[fold] @ np.linalg.solve(own, known[~fold].T @ x[~fold])


def _axes(y: np.ndarray, count: int) -> np.ndarray:
    """The leading principal axes, [d, count]."""
    _, vectors = np.linalg.eigh(y.T @ y)
    return vectors[:, ::-1][:, :count]


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
    from linksim.errors import LinksimError
    from linksim.seeds import Seed
    from linksim.train.config import DataSource
    from linksim.train.data import load

    try:
        with tempfile.TemporaryDirectory() as folder:
            images = load(DataSource(given.path), Path(folder), Seed.root(0))
            rows = measure(images[: given.limit])
    except LinksimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(rows, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
