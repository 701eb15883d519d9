"""Error rates of the 5G LDPC link on AWGN, from counts measured by ``python -m linksim.phy.measure_bler``.

The counts are (errors, blocks) of single code blocks at a few sizes of every MCS. At each size the waterfall is fitted as
a straight line of the probit of the block error rate against Es/N0 [dB]; its middle is kept as the gap to the capacity of
the complex Gaussian channel at the same efficiency. Between sizes, gap and slope are interpolated over log K'. A transport
block of C code blocks fails when any of them does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from linksim.errors import MissingAssetError
from linksim.phy.transport_block import Layout

DATA = Path(__file__).parent / "data" / "bler_ldpc5g.json"


@dataclass(frozen=True)
class Waterfall:
    """Fitted waterfall of one MCS at several block sizes.

    Args:
      log_bits: [N] float64, ln K', rising.
      gap_db:   [N] float64, Es/N0 at block error rate 1/2 less that of capacity, dB.
      slope:    [N] float64, probit per dB.
    """

    log_bits: np.ndarray
    gap_db: np.ndarray
    slope: np.ndarray


def capacity_db(efficiency: float) -> float:
    """Es/N0 [dB] at which the complex Gaussian channel carries ``efficiency`` bits per use."""
    return float(10 * np.log10(np.expm1(efficiency * np.log(2))))


def fit(points: list[dict[str, Any]]) -> tuple[float, float]:
    """Weighted straight line through the probits of counts.

    Args:    points with es_n0_db, errors, blocks, at one MCS and size.
    Returns: Es/N0 [dB] at block error rate 1/2, and the slope [probit per dB].
    """
    from scipy.special import ndtri

    snr = np.array([p["es_n0_db"] for p in points], float)
    errors = np.array([p["errors"] for p in points], float)
    blocks = np.array([p["blocks"] for p in points], float)
    usable = (errors > 0) & (errors < blocks)
    if usable.sum() < 2:
        raise ValueError("a waterfall needs two points with some, but not all, blocks in error")
    rate = errors[usable] / blocks[usable]
    probit = -ndtri(rate)  # grows with SNR
    density = np.exp(-(probit**2) / 2) / np.sqrt(2 * np.pi)
    spread = np.sqrt(rate * (1 - rate) / blocks[usable]) / density  # of the probit, by the delta method
    # Two floors: a model error common to all points, so that no single count rules the line.
    slope, start = np.polyfit(snr[usable], probit, 1, w=1 / np.hypot(spread, 0.05))
    return float(-start / slope), float(slope)


@cache
def _waterfalls() -> dict[tuple[int, int], Waterfall]:
    """By (Qm, 1024 R in tenths)."""
    if not DATA.is_file():
        raise MissingAssetError(
            "the measured LDPC error rates are missing from the installation; make them with "
            "`python -m linksim.phy.measure_bler`"
        )
    table = json.loads(DATA.read_text())
    grouped: dict[tuple[int, int], dict[int, list[dict[str, Any]]]] = {}
    for point in table["points"]:
        key = _key(point["num_bits_per_symbol"], point["target_rate"])
        grouped.setdefault(key, {}).setdefault(point["block_bits"], []).append(point)
    found = {}
    for key, sizes in grouped.items():
        logs, gaps, slopes = [], [], []
        for bits in sorted(sizes):
            middle, slope = fit(sizes[bits])
            efficiency = bits / sizes[bits][0]["num_symbols"]
            logs.append(np.log(bits))
            gaps.append(middle - capacity_db(efficiency))
            slopes.append(slope)
        found[key] = Waterfall(np.array(logs), np.array(gaps), np.array(slopes))
    return found


def _key(num_bits_per_symbol: int, target_rate: float) -> tuple[int, int]:
    return num_bits_per_symbol, round(target_rate * 10240)


def transport_block_error_rate(
    es_n0_db: np.ndarray, block: Layout, target_rate: float
) -> np.ndarray:
    """Probability that a transport block fails on AWGN.

    Args:    es_n0_db [...], dB.
    Returns: [...] float64.
    Raises:  ValueError: for an MCS that was not measured.
    """
    from scipy.special import log_ndtr

    found = _waterfalls().get(_key(block.num_bits_per_symbol, target_rate))
    if found is None:
        raise ValueError(
            f"no measured error rates for {block.num_bits_per_symbol} bits a symbol at rate {target_rate:.4f}; "
            "use an entry of linksim.phy.mcs.TABLE"
        )
    size = np.log(block.block_bits)
    gap = np.interp(size, found.log_bits, found.gap_db)
    slope = np.interp(size, found.log_bits, found.slope)
    symbols = sum(block.lengths) / block.num_bits_per_symbol / block.num_code_blocks
    middle = gap + capacity_db(block.block_bits / symbols)
    arrives = log_ndtr(slope * (np.asarray(es_n0_db, float) - middle))
    return -np.expm1(block.num_code_blocks * arrives)
