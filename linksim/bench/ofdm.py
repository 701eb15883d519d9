"""The wideband link beside Sionna's OFDM chain, called eagerly, one core each.

A 14x72 grid with pilots on all subcarriers of two OFDM symbols, QPSK, TDL-C or CDL-C. The whole chain goes from coded
bits to LLRs: mapping, grid, fading, noise, estimation, equalisation, demapping.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf
from sionna.phy.channel import OFDMChannel
from sionna.phy.channel.tr38901 import CDL, TDL, AntennaArray
from sionna.phy.mapping import Demapper, Mapper
from sionna.phy.mimo import StreamManagement
from sionna.phy.ofdm import (
    LinearInterpolator,
    LMMSEEqualizer,
    LMMSEInterpolator,
    LSChannelEstimator,
    ResourceGrid,
    ResourceGridMapper,
    tdl_freq_cov_mat,
    tdl_time_cov_mat,
)

from linksim.bench.measure import interleaved, rates, row
from linksim.channel.cdl import Cdl
from linksim.channel.ofdm.estimate import estimator
from linksim.channel.ofdm.grid import Grid
from linksim.channel.tdl import Tdl
from linksim.phy.fast.demap import demap
from linksim.phy.fast.mapper import map_bits
from linksim.seeds import FrameSeeds, Seed

BATCH = 64  # grids of a call
GRID = Grid(pilot_spacing=1)
DELAY_SPREAD_NS, SPEED_KMH, CARRIER_GHZ, ES_N0_DB = 300.0, 30.0, 3.5, 10.0
N0 = 10 ** (-ES_N0_DB / 10)


def resource_grid() -> ResourceGrid:
    """Sionna's form of GRID."""
    return ResourceGrid(
        GRID.num_symbols,
        GRID.num_subcarriers,
        GRID.spacing_khz * 1e3,
        cyclic_prefix_length=GRID.cyclic_prefix,
        pilot_pattern="kronecker",
        pilot_ofdm_symbol_indices=list(GRID.pilot_symbols),
    )


def interpolator(grid: ResourceGrid) -> LMMSEInterpolator:
    """Sionna's LMMSE interpolation with the covariances of the channel."""
    speed = SPEED_KMH / 3.6
    return LMMSEInterpolator(
        grid.pilot_pattern,
        tdl_time_cov_mat("C", speed, CARRIER_GHZ * 1e9, GRID.symbol_s, GRID.num_symbols),
        tdl_freq_cov_mat("C", GRID.spacing_khz * 1e3, GRID.num_subcarriers, DELAY_SPREAD_NS * 1e-9),
        order="f-t",
    )


def sionna_chain(csi_rx: str, model: str) -> Callable[[], Any]:
    """Coded bits to LLRs with Sionna's blocks, eagerly."""
    grid, delay, speed = resource_grid(), DELAY_SPREAD_NS * 1e-9, SPEED_KMH / 3.6
    carrier = CARRIER_GHZ * 1e9
    if model == "TDL":
        fading: Any = TDL("C", delay, carrier, min_speed=speed)
    else:
        array = AntennaArray(1, 1, "single", "V", "omni", carrier)
        fading = CDL("C", delay, carrier, array, array, "downlink", min_speed=speed)
    channel = OFDMChannel(fading, grid, return_channel=True)
    mapper, place = Mapper("qam", 2), ResourceGridMapper(grid)
    demapper = Demapper("app", "qam", 2)
    equaliser = LMMSEEqualizer(grid, StreamManagement(np.array([[1]]), 1))
    how = LinearInterpolator(grid.pilot_pattern) if csi_rx == "ls" else None
    estimate = None
    if csi_rx != "perfect":
        estimate = LSChannelEstimator(grid, interpolator=how or interpolator(grid))
    bits = tf.constant(_bits()[:, None, None], tf.float32)

    def run() -> Any:
        y, h = channel(place(mapper(bits)), N0)
        variance: Any = 0.0
        if estimate is not None:
            h, variance = estimate(y, N0)
        x_hat, left = equaliser(y, h, variance, N0)
        return demapper(x_hat, left).numpy()

    return run


def our_chain(csi_rx: str, model: str) -> Callable[[], Any]:
    """The same with linksim; every call meets new fades and noise."""
    make = Tdl if model == "TDL" else Cdl
    channel = make("C", DELAY_SPREAD_NS, SPEED_KMH, CARRIER_GHZ, csi_rx=csi_rx, grid=GRID)  # type: ignore[arg-type]
    bits, calls = _bits(), [0]

    def run() -> Any:
        calls[0] += 1
        seeds = FrameSeeds.of(Seed.root(0).child(calls[0]), BATCH)
        return demap(*channel(map_bits(bits, 2), N0, seeds).full(), 2)

    return run


def _bits() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2, (BATCH, 2 * GRID.num_data), np.uint8)


def rows(smoke: bool) -> list[dict[str, Any]]:
    """The section's rows."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rounds = 1 if smoke else 7
    found = []
    for model, csi_rx in (("TDL", "perfect"), ("TDL", "ls"), ("TDL", "lmmse"), ("CDL", "ls")):
        if smoke and csi_rx == "lmmse":
            continue  # a second a call on Sionna's side
        seconds = interleaved(
            {"linksim": our_chain(csi_rx, model), "Sionna, eager": sionna_chain(csi_rx, model)},
            rounds,
        )
        what = f"whole chain, {model}-C, 14x72 grid, QPSK, CSI {csi_rx}"
        found += rates(what, "grids/s", BATCH, seconds, grids=BATCH)
    return [*found, *estimation(2 if smoke else 7, 32 if smoke else BATCH)]


def estimation(rounds: int, count: int) -> list[dict[str, Any]]:
    """LMMSE estimation alone, on the same pilots: speed and mean squared error."""
    channel = Tdl("C", DELAY_SPREAD_NS, SPEED_KMH, CARRIER_GHZ, grid=GRID)
    seeds = FrameSeeds.of(5, count)
    h = channel.response(GRID.num_data, seeds).reshape(count, -1)
    noise = seeds.child("pilot noise").complex_normal(len(GRID.pilot_index))
    pilots = (h[:, GRID.pilot_index] + np.sqrt(N0) * noise).astype(np.complex64)
    tool = estimator("lmmse", GRID, channel.scattering, N0)
    theirs = interpolator(resource_grid())
    shaped = tf.constant(pilots.reshape(count, 1, 1, 1, 1, -1))
    variance = tf.fill(shaped.shape, tf.constant(N0, tf.float32))
    stages: dict[str, Callable[[], Any]] = {
        "linksim": lambda: tool(pilots),
        "Sionna's LMMSEInterpolator, eager": lambda: theirs(shaped, variance)[0].numpy(),
    }
    seconds = interleaved(stages, rounds)
    mse = {
        name: float((np.abs(stage().reshape(count, -1) - h) ** 2).mean())
        for name, stage in stages.items()
    }
    ours, reference = stages
    return [
        *rates("LMMSE estimation, TDL-C, 14x72 grid", "grids/s", count, seconds, grids=count),
        row(
            f"mean squared error of that, {ES_N0_DB:g} dB",
            "E|H - H_hat|^2",
            mse[ours],
            reference,
            mse[reference],
            lower_is_better=True,
            closed_form=round(float(tool.error.mean()), 6),
        ),
    ]
