"""``python -m linksim.bench.allocation RUN --system NAME --cbr 1/12``: what sharing a budget can bring at most.

From a run with a ``cbr`` axis and ``budget: per_image``: every picture's MSE over its rate, interpolated (ln MSE over
ln CBR). An oracle that knows these curves gives each picture the rate at which one channel use more brings the same
everywhere, once for the mean PSNR and once for the mean MSE, at the mean CBR asked for. No rule that shares a budget
among these pictures, which codes them alike otherwise, can be better in the metric that it is for.

Source: Shoham & Gersho (1988), IEEE Trans. ASSP 36(9), bit allocation by a Lagrangian.
"""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from linksim.bench.answer import answer
from linksim.bench.gain import frames

STEPS = 400  # rates between the lowest and the highest of the run
PEAK = 255.0


def share(utility: np.ndarray, rates: np.ndarray, mean: float) -> np.ndarray:
    """Which rate each picture gets.

    Args:    utility [N, R], of each picture at each rate; rates [R], rising; mean: of the rates, at most.
    Returns: [N] int, the rates' places.
    """
    low, high = 1e-9, 1e9
    for _ in range(100):
        price = np.sqrt(low * high)
        if rates[(utility - price * rates).argmax(1)].mean() > mean:
            low = price
        else:
            high = price
    return (utility - high * rates).argmax(1)


def bounds(folder: Path, system: str, cbr: float) -> list[dict[str, Any]]:
    """A row for every combination of the other axes.

    Raises: LinksimError: no run; ValueError: no such system, or no rates on both sides of ``cbr``.
    """
    axes, (table,) = frames(folder, (system,), ("metric_mse",))
    table["cbr_target"] = table["cbr_target"].astype(float)
    others = [a for a in axes if a != "cbr_target"]
    rows = []
    for values, part in table.groupby(others, dropna=False) if others else [((), table)]:
        mse = part.groupby(["image", "cbr_target"])["metric_mse"].mean().unstack().dropna()
        if mse.empty:
            raise ValueError(
                f"{folder} has no picture of {system} at all its rates; let the run finish"
            )
        measured = mse.columns.to_numpy(float)
        if not measured.min() < cbr < measured.max():
            raise ValueError(
                f"{folder} has {system} at CBR {measured.min():.4g} to {measured.max():.4g}; the mean CBR must lie "
                f"inside, got {cbr:.4g}"
            )
        rates = np.geomspace(measured[0], measured[-1], STEPS)
        curves = np.stack(
            [np.interp(np.log(rates), np.log(measured), row) for row in np.log(mse.to_numpy(float))]
        )
        psnr = 20 * np.log10(PEAK) - 10 / np.log(10) * curves
        alike = np.full(len(curves), int(np.argmin(abs(rates - cbr))))
        row: dict[str, Any] = dict(zip(others, values, strict=True))
        row["pictures"] = len(curves)
        for name, chosen in (
            ("alike", alike),
            ("for_psnr", share(psnr, rates, cbr)),
            ("for_mse", share(-np.exp(curves), rates, cbr)),
        ):
            taken = np.arange(len(curves)), chosen
            row[f"psnr_{name}"] = round(float(psnr[taken].mean()), 3)
            row[f"psnr_of_mean_mse_{name}"] = round(
                float(10 * np.log10(PEAK**2 / np.exp(curves[taken]).mean())), 3
            )
            row[f"cbr_{name}"] = round(float(rates[chosen].mean()), 5)
        rows.append({k: v.item() if isinstance(v, np.generic) else v for k, v in row.items()})
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(prog="python -m linksim.bench.allocation", description=__doc__)
    parser.add_argument("run", type=Path, help="results folder, with a cbr axis and the metric mse")
    parser.add_argument("--system", default="ntscc")
    parser.add_argument("--cbr", type=lambda text: float(Fraction(text)), default=1 / 12)
    given = parser.parse_args(arguments)
    return answer(lambda: bounds(given.run, given.system, given.cbr), ValueError, KeyError)


if __name__ == "__main__":
    sys.exit(main())
