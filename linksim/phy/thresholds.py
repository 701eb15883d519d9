"""Error rates of the 5G LDPC link on AWGN, from counts measured by ``python -m linksim.phy.measure_bler``.

The counts are (errors, blocks) of single code blocks at a few sizes of every MCS. At each size the waterfall is fitted
as a straight line of the probit of the block error rate against Es/N0 [dB]; its middle is kept as the gap to the
capacity of the complex Gaussian channel at the same efficiency, its width as the dB of one probit. Between sizes of one
base graph both go linearly over 1 / sqrt(K'), as the normal approximation of finite block lengths has it (Polyanskiy,
Poor & Verdu 2010), and on beyond the smallest and largest size. Between MCSs of one modulation they go linearly over
the rate A / G, which is not the MCS's own where a block is rounded, least of all at the smallest size of 24 bits. A
transport block of C code blocks fails when any of them does.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from linksim.errors import MissingAssetError
from linksim.phy.transport_block import Layout

DATA = Path(__file__).parent / "data" / "bler_ldpc5g.json"

Counts = Sequence[tuple[float, int, int]]  # Es/N0 [dB], errors, blocks

_MODEL_ERROR = 0.05  # probit; the straight line is no better than this, so no single count rules it
_MIN_WIDTH_DB = 0.02

# SciPy would do both, and take longer to import than everything else that `linksim check` needs.
_NORMAL = NormalDist()
_erfc = np.frompyfunc(math.erfc, 1, 1)


@dataclass(frozen=True)
class Waterfall:
    """Fitted waterfalls of one MCS on one base graph, at N block sizes.

    Args:
      shortness: [N] float64, 1 / sqrt(K'), rising.
      gap_db:    [N] float64, Es/N0 at block error rate 1/2 less that of capacity, dB.
      width_db:  [N] float64, dB per probit.
    """

    shortness: np.ndarray
    gap_db: np.ndarray
    width_db: np.ndarray

    def at(self, block_bits: int) -> tuple[float, float]:
        """Gap and width at K' = ``block_bits``, dB."""
        where = 1 / np.sqrt(block_bits)
        gap, width = (_line(where, self.shortness, v) for v in (self.gap_db, self.width_db))
        return gap, max(width, _MIN_WIDTH_DB)


def _line(x: float, xs: np.ndarray, values: np.ndarray) -> float:
    """Piecewise linear interpolation, the outer pieces going on."""
    if len(xs) == 1:
        return float(values[0])
    i = int(np.clip(np.searchsorted(xs, x) - 1, 0, len(xs) - 2))
    share = (x - xs[i]) / (xs[i + 1] - xs[i])
    return float(values[i] + share * (values[i + 1] - values[i]))


def capacity_db(efficiency: float) -> float:
    """Es/N0 [dB] at which the complex Gaussian channel carries ``efficiency`` bits per use."""
    return float(10 * np.log10(np.expm1(efficiency * np.log(2))))


def fit(points: Counts) -> tuple[float, float]:
    """Weighted straight line through the probits of counts, at one MCS and size.

    Returns: Es/N0 [dB] at block error rate 1/2, and the width [dB per probit].
    Raises:  ValueError: without two points where some, but not all, blocks failed, the error rate falling.
    """
    snr, errors, blocks = np.array(points, float).T
    usable = (errors > 0) & (errors < blocks)
    rate = errors[usable] / blocks[usable]
    probit = np.array([-_NORMAL.inv_cdf(r) for r in rate])  # grows with SNR
    density = np.exp(-(probit**2) / 2) / np.sqrt(2 * np.pi)
    spread = np.sqrt(rate * (1 - rate) / blocks[usable]) / density  # of the probit: delta method
    slope = start = 0.0
    if len(set(snr[usable])) >= 2:
        weight = 1 / np.hypot(spread, _MODEL_ERROR)
        slope, start = np.polyfit(snr[usable], probit, 1, w=weight)
    if not slope > 0:
        raise ValueError(f"no waterfall in the counts {list(points)}; measure at other Es/N0")
    return float(-start / slope), float(1 / slope)


@cache
def _waterfalls() -> dict[tuple[int, int], dict[float, Waterfall]]:
    """By (Qm, base graph), then by target rate."""
    if not DATA.is_file():
        raise MissingAssetError(
            "the measured LDPC error rates are missing from the installation; make them with "
            "`python -m linksim.phy.measure_bler`"
        )
    entries: dict[tuple[int, int], dict[float, list[dict[str, Any]]]] = {}
    for entry in json.loads(DATA.read_text())["entries"]:
        key = entry["num_bits_per_symbol"], entry["base_graph"]
        entries.setdefault(key, {}).setdefault(entry["target_rate"], []).append(entry)
    return {
        key: {rate: _waterfall(sizes) for rate, sizes in rates.items()}
        for key, rates in entries.items()
    }


def _waterfall(sizes: list[dict[str, Any]]) -> Waterfall:
    rows = []
    for entry in sizes:
        middle, width = fit(entry["points"])
        gap = middle - capacity_db(entry["block_bits"] / entry["num_symbols"])
        rows.append((1 / np.sqrt(entry["block_bits"]), gap, width))
    shortness, gaps, widths = np.array(sorted(rows)).T
    return Waterfall(shortness, gaps, widths)


@lru_cache(maxsize=8192)
def waterfall(block: Layout) -> tuple[float, float]:
    """Es/N0 [dB] at which half of a transport block's code blocks fail, and the width [dB per probit].

    Raises: ValueError: if nothing was measured with this modulation and base graph.
    """
    found = _waterfalls().get((block.num_bits_per_symbol, block.base_graph))
    if found is None:
        raise ValueError(
            f"no measured error rates for {block.num_bits_per_symbol} bits a symbol on base graph {block.base_graph}; "
            "use an entry of linksim.phy.mcs.TABLE"
        )
    rates = sorted(found)
    shapes = np.array([found[rate].at(block.block_bits) for rate in rates])
    rate = block.info_bits / sum(block.lengths)
    gap, width = (float(np.interp(rate, rates, column)) for column in shapes.T)
    symbols = sum(block.lengths) / block.num_bits_per_symbol / block.num_code_blocks
    return gap + capacity_db(block.block_bits / symbols), width


def transport_block_error_rate(es_n0_db: np.ndarray, block: Layout) -> np.ndarray:
    """Probability that a transport block fails on AWGN.

    Args:    es_n0_db [...], dB.
    Returns: [...] float64.
    Raises:  ValueError: if nothing was measured with this modulation and base graph.
    """
    middle, width = waterfall(block)
    probit = (np.asarray(es_n0_db, float) - middle) / width
    block_fails = np.asarray(_erfc(probit / math.sqrt(2)), float) / 2
    with np.errstate(divide="ignore"):
        return -np.expm1(block.num_code_blocks * np.log1p(-block_fails))
