"""Channel estimation against Wiener theory, against its own simulation, and against Sionna's interpolator."""

import numpy as np
import pytest

from linksim.channel.ofdm import estimate
from linksim.channel.ofdm.grid import Grid
from linksim.channel.tdl import Tdl
from linksim.seeds import FrameSeeds

GRID = Grid(num_subcarriers=24, num_symbols=7, cyclic_prefix=4, pilot_symbols=(1, 5))


def tdl(model="C", speed_kmh=200, **more):
    delay_spread_ns = {"C": 300, "D": 300}[model]
    return Tdl(model, delay_spread_ns, speed_kmh, grid=GRID, **more)


def dense(channel, cells):
    """E[H H*] between cells of a slot and the pilots, by the definition. Returns: [n, Np] complex128."""
    grid, s = channel.grid, channel.scattering
    t, f = np.divmod(cells, grid.num_subcarriers)
    tp, fp = np.divmod(grid.pilot_index, grid.num_subcarriers)
    out = np.zeros((len(t), len(tp)), complex)
    for i in range(len(t)):
        for j in range(len(tp)):
            one = s.correlation(
                np.array([(t[i] - tp[j]) * grid.symbol_s]),
                np.array([(f[i] - fp[j]) * grid.spacing_khz * 1e3]),
            )
            out[i, j] = one[0, 0]
    return out


@pytest.mark.parametrize("model", ["C", "D"])
@pytest.mark.parametrize("n0", [1.0, 0.01])
def test_the_two_thin_matrices_are_the_wiener_matrix(model, n0):
    channel = tdl(model)
    tool = estimate.estimator("lmmse", GRID, channel.scattering, n0)
    cells = np.array([0, 3, 30, 77, 100, 167])
    cross = dense(channel, cells)
    inverse = np.linalg.inv(dense(channel, GRID.pilot_index) + n0 * np.eye(len(GRID.pilot_index)))
    wiener = cross @ inverse
    applied = tool(np.eye(len(GRID.pilot_index), dtype=np.complex64))[:, cells].T
    np.testing.assert_allclose(applied, wiener, atol=2e-5)
    error = 1 - np.einsum("ij,ij->i", wiener, cross.conj()).real
    np.testing.assert_allclose(tool.error[cells], error, atol=1e-5)
    np.testing.assert_allclose(tool.share, 1 - tool.error, atol=1e-6)
    np.testing.assert_allclose(tool.own, tool.share * tool.error, atol=1e-6)


@pytest.mark.parametrize("kind", ["ls", "lmmse"])
@pytest.mark.parametrize("n0", [0.5, 0.01])
def test_errors_are_those_of_a_simulation(kind, n0):
    channel, frames = tdl(), 3000
    seeds = FrameSeeds.of(2, frames)
    h = channel.response(1, seeds).reshape(frames, -1)
    pilots = h[:, GRID.pilot_index] + np.sqrt(n0) * seeds.child("w").complex_normal(
        len(GRID.pilot_index)
    )
    tool = estimate.estimator(kind, GRID, channel.scattering, n0)
    h_hat = tool(pilots.astype(np.complex64))
    error = (np.abs(h - h_hat) ** 2).mean(0)
    np.testing.assert_allclose(error.mean(), tool.error.mean(), rtol=0.03)
    np.testing.assert_allclose(error, tool.error, rtol=0.25)
    share = (h.conj() * h_hat).mean(0).real / (np.abs(h) ** 2).mean(0)
    np.testing.assert_allclose(share.mean(), tool.share.mean(), atol=0.01)
    np.testing.assert_allclose(share, tool.share, atol=0.08)
    own = (np.abs(h_hat - tool.share * h) ** 2).mean(0)
    np.testing.assert_allclose(own.mean(), tool.own.mean(), rtol=0.03)


def test_ls_between_pilots_is_linear_and_held_beyond():
    weights = estimate.interpolation(np.array([1, 4]), 6)
    np.testing.assert_allclose(weights[:, 1], [0, 0, 1 / 3, 2 / 3, 1, 1])
    np.testing.assert_allclose(weights.sum(1), 1)


def test_lmmse_is_never_worse_than_ls_nor_than_nothing():
    for n0 in (10.0, 1.0, 0.1, 1e-3):
        tools = [estimate.estimator(kind, GRID, tdl().scattering, n0) for kind in ("lmmse", "ls")]
        assert (tools[0].error <= tools[1].error + 1e-6).all() and (tools[0].error <= 1).all()


def test_estimation_needs_pilots():
    with pytest.raises(ValueError, match="csi_rx: ls needs pilots"):
        estimate.estimator("ls", Grid(pilot_symbols=()), tdl().scattering, 0.1)
    with pytest.raises(ValueError, match="csi_rx: lmmse needs pilots"):
        Tdl(csi_rx="lmmse", grid=Grid(pilot_symbols=()))


@pytest.mark.parametrize(("pilot_symbols", "tolerance"), [((3,), 2e-3), ((1, 5), 0.15)])
def test_mse_is_that_of_sionnas_interpolator(pilot_symbols, tolerance):
    """Equal where one pilot symbol makes both the same estimator; else theirs, one axis after the other, comes close.

    Sionna's estimate is measured on the same channels and noises; its covariances are its own.
    """
    import tensorflow as tf
    from sionna.phy.ofdm import (
        LMMSEInterpolator,
        PilotPattern,
        tdl_freq_cov_mat,
        tdl_time_cov_mat,
    )

    grid = Grid(num_subcarriers=24, num_symbols=7, cyclic_prefix=4, pilot_symbols=pilot_symbols)
    channel = Tdl("C", 300, 60, grid=grid)
    frames, n0 = 400, 0.1
    seeds = FrameSeeds.of(8, frames)
    h = channel.response(1, seeds).reshape(frames, -1)
    noise = seeds.child("w").complex_normal(len(grid.pilot_index))
    pilots = (h[:, grid.pilot_index] + np.sqrt(n0) * noise).astype(np.complex64)

    mask = np.zeros((1, 1, grid.num_symbols, grid.num_subcarriers), bool)
    mask.reshape(-1)[grid.pilot_index] = True
    pattern = PilotPattern(tf.constant(mask), tf.ones((1, 1, len(grid.pilot_index)), tf.complex64))
    theirs = LMMSEInterpolator(
        pattern,
        tdl_time_cov_mat("C", 60 / 3.6, 3.5e9, grid.symbol_s, grid.num_symbols),
        tdl_freq_cov_mat("C", grid.spacing_khz * 1e3, grid.num_subcarriers, 300e-9),
        order="f-t",
    )
    shaped = tf.constant(pilots.reshape(frames, 1, 1, 1, 1, -1))
    h_sionna, variance = theirs(shaped, tf.fill(shaped.shape, np.float32(n0)))
    tool = estimate.estimator("lmmse", grid, channel.scattering, n0)

    def mse(estimated):
        return float((np.abs(np.asarray(estimated).reshape(frames, -1) - h) ** 2).mean())

    assert mse(tool(pilots)) == pytest.approx(mse(h_sionna), rel=tolerance)
    assert mse(tool(pilots)) <= mse(h_sionna) * 1.002
    if len(pilot_symbols) == 1:
        assert float(tool.error.mean()) == pytest.approx(float(np.mean(variance)), rel=1e-3)
