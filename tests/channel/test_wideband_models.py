"""TDL and CDL against the tables and closed forms of TR 38.901, and against Sionna's models."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import j0

from linksim.channel.cdl import Cdl
from linksim.channel.ofdm.estimate import mean_gain
from linksim.channel.ofdm.grid import Grid
from linksim.channel.ofdm.scattering import Scattering, doppler_hz, response
from linksim.channel.tdl import Tdl
from linksim.channel.tr38901 import MODELS
from linksim.seeds import FrameSeeds

WIDE = Grid(num_subcarriers=48, num_symbols=4, spacing_khz=30, cyclic_prefix=12, pilot_symbols=(0,))
MAKES = pytest.mark.parametrize("make", [Tdl, Cdl], ids=["tdl", "cdl"])

# Normalised delays and powers [dB] read in TR 38.901 V16.1.0, tables 7.7.2-3 and 7.7.2-4: some rows of each.
TDL_C = {
    0: (0.0, -4.4),
    1: (0.2099, -1.2),
    4: (0.2176, -2.5),
    5: (0.6366, -0.0),
    23: (8.6523, -22.8),
}
TDL_D = {0: (0.0, -0.2), 1: (0.0, -13.5), 2: (0.035, -18.8), 13: (12.525, -27.7)}


def error_of_mean(values):
    """Standard error of a mean of complex samples along axis 0."""
    return np.abs(values - values.mean(0)).std(0) / np.sqrt(len(values)) + 1e-6


@pytest.mark.parametrize(("model", "rows"), [("C", TDL_C), ("D", TDL_D)])
def test_power_delay_profile_is_the_table(model, rows):
    channel = Tdl(model, 100, 0)
    power_db = 10 * np.log10(channel.scattering.power)
    for row, (delay, db) in rows.items():
        assert channel.delays[row] == pytest.approx(delay * 100e-9)
        offset = power_db[row] - power_db[next(iter(rows))]
        assert offset == pytest.approx(db - rows[next(iter(rows))][1], abs=1e-6)
    assert channel.scattering.power.sum() == pytest.approx(1)


@MAKES
@pytest.mark.parametrize("model", MODELS)
def test_path_powers_of_realisations_are_the_profile(make, model):
    channel = make(model, 50, 30, grid=WIDE)
    gains = channel.gains(1, FrameSeeds.of(1, 3000))[:, 0, 0, 0]
    powers = np.abs(gains.astype(np.complex128)) ** 2
    error = powers.std(0) / np.sqrt(len(powers)) + 1e-6
    assert (np.abs(powers.mean(0) - channel.scattering.power) < 4.5 * error).all()
    rms = np.sqrt(
        channel.scattering.power @ channel.delays**2
        - (channel.scattering.power @ channel.delays) ** 2
    )
    assert rms == pytest.approx(50e-9, rel=0.02)


@MAKES
@pytest.mark.parametrize("model", ["A", "C", "D"])
def test_frequency_correlation_is_the_transform_of_the_profile(make, model):
    channel = make(model, 200, 0, grid=WIDE)
    h = channel.response(1, FrameSeeds.of(2, 3000))[:, 0, 0].astype(np.complex128)
    lags = np.array([1, 4, 12, 30])
    products = np.stack([(h[:, lag:] * h[:, :-lag].conj()).mean(1) for lag in lags], axis=1)
    expected = channel.scattering.correlation(np.zeros(1), lags * 30e3)[0]
    assert (np.abs(products.mean(0) - expected) < 4 * error_of_mean(products) + 2e-3).all()
    assert abs(expected[-1]) < 0.95, "the band must be wider than the channel is coherent"


def _autocorrelation(channel, frames, lags):
    h = channel.response(20 * channel.grid.num_data, FrameSeeds.of(3, frames))[:, 0, :, ::16]
    h = h.astype(np.complex128)
    return np.stack([(h[:, lag:] * h[:, :-lag].conj()).mean((1, 2)) for lag in lags], axis=1)


@pytest.mark.parametrize("model", ["B", "E"])
def test_tdl_autocorrelation_is_j0(model):
    channel = Tdl(model, 30, 250, grid=WIDE)
    lags = np.array([1, 5, 10, 20, 40])
    products = _autocorrelation(channel, 400, lags)
    tau = lags * channel.grid.symbol_s
    power = channel.scattering.power
    f_d = 250 / 3.6 * 3.5e9 / 299792458
    expected = j0(2 * np.pi * f_d * tau)
    if model == "E":
        expected = power[1:].sum() * expected + power[0] * np.exp(2j * np.pi * 0.7 * f_d * tau)
    assert (np.abs(products.mean(0) - expected) < 4 * error_of_mean(products) + 2e-3).all()
    assert np.abs(expected).min() < 0.5 or model == "E"


def test_cdl_autocorrelation_is_that_of_its_angles():
    channel = Cdl("C", 30, 250, grid=WIDE)
    lags = np.array([1, 10, 30])
    products = _autocorrelation(channel, 400, lags)
    expected = channel.scattering.correlation(lags * channel.grid.symbol_s, np.zeros(1))[:, 0]
    assert (np.abs(products.mean(0) - expected) < 4 * error_of_mean(products) + 2e-3).all()
    # mostly horizontal rays: close to J0, and never slower than it by much
    np.testing.assert_allclose(
        expected, j0(2 * np.pi * channel.doppler_hz * lags * channel.grid.symbol_s), atol=0.1
    )


def test_tdl_covariances_are_sionnas():
    from sionna.phy.ofdm import tdl_freq_cov_mat, tdl_time_cov_mat

    for model in ("A", "B", "C"):
        channel = Tdl(model, 150, 90, grid=WIDE)
        frequency = tdl_freq_cov_mat(model, 30e3, 48, 150e-9).numpy()
        ours = channel.scattering.correlation(np.zeros(1), np.arange(48) * 30e3)[0]
        np.testing.assert_allclose(ours, frequency[:, 0], atol=1e-4)
        time = tdl_time_cov_mat(model, 25.0, 3.5e9, WIDE.symbol_s, 50).numpy()
        ours = channel.scattering.correlation(np.arange(50) * WIDE.symbol_s, np.zeros(1))[:, 0]
        np.testing.assert_allclose(ours, time[:, 0], atol=1e-4)


@pytest.mark.parametrize("model", ["B", "D"])
def test_cdl_statistics_are_sionnas(model):
    """Frequency and antenna correlation and path powers of both, each with its sampling error."""
    import tensorflow as tf
    from sionna.phy import config
    from sionna.phy.channel.tr38901 import CDL, Antenna, AntennaArray

    def array(columns):
        return AntennaArray(1, columns, "single", "V", "omni", 3.5e9)

    config.seed = 7
    theirs = CDL(model, 100e-9, 3.5e9, array(2), array(1), "downlink", min_speed=0.0)
    gains, delays = theirs(3000, 1, 1.0)
    gains = gains.numpy()[:, 0, :, 0, 0, :, 0]  # [B, R, P]
    delays = delays.numpy()[0, 0, 0]
    assert isinstance(Antenna, type) and isinstance(gains, np.ndarray) and tf.__version__
    ours = Cdl(model, 100, 0, num_rx=2, grid=WIDE)
    found = {
        "sionna": response(gains[:, :, None, None], delays, WIDE.frequencies)[:, :, 0],
        "linksim": ours.response(1, FrameSeeds.of(5, 3000))[:, :, 0],
    }
    stats, errors = {}, {}
    for name, h in found.items():
        h = h.astype(np.complex128)
        samples = np.stack(
            [
                (np.abs(h) ** 2).mean((1, 2)),
                (h[:, 0, 8:] * h[:, 0, :-8].conj()).mean(1),
                (h[:, 0, 30:] * h[:, 0, :-30].conj()).mean(1),
                (h[:, 1] * h[:, 0].conj()).mean(1),
            ],
            axis=1,
        )
        stats[name], errors[name] = samples.mean(0), error_of_mean(samples)
    difference = np.abs(stats["sionna"] - stats["linksim"])
    assert (difference < 4.5 * np.hypot(errors["sionna"], errors["linksim"])).all(), stats
    assert abs(stats["linksim"][3]) > 0.05, "the antennas are correlated"
    powers = np.array(ours.scattering.power)
    if model == "D":
        powers = np.concatenate([[powers[0] + powers[1]], powers[2:]])
    np.testing.assert_allclose(theirs.powers.numpy(), powers, rtol=1e-4)


def test_antennas_of_a_tdl_fade_independently():
    h = Tdl(num_rx=3).response(1, FrameSeeds.of(6, 4000))[:, :, 0, 0].astype(np.complex128)
    correlation = (h[:, :, None] * h[:, None].conj()).mean(0)
    np.testing.assert_allclose(correlation, np.eye(3), atol=0.07)


@pytest.mark.parametrize("speed_kmh", [300, 1000])
def test_interference_between_subcarriers_is_the_closed_form(speed_kmh):
    grid = Grid(num_subcarriers=32, num_symbols=2, cyclic_prefix=4, pilot_symbols=(0,))
    channel = Tdl("A", 30, speed_kmh, ici=True, grid=grid)
    # Russell & Stueber, "Interchannel interference analysis of OFDM in a mobile environment", VTC 1995
    k = np.arange(32)
    f_d_t = channel.doppler_hz * grid.sample_s
    expected = 1 - (j0(2 * np.pi * f_d_t * (k[:, None] - k))).mean()
    assert 1 - mean_gain(grid, channel.scattering, True) == pytest.approx(expected, rel=1e-3)
    seeds, frames = FrameSeeds.of(1, 1500), 1500
    x = np.where(seeds.child("x").uniform(grid.num_data) < 0.5, -1, 1).astype(np.complex64)
    received = channel(x, 0.0, seeds)
    left = (np.abs(received.y - received.h * x) ** 2).mean(1)
    assert left.mean() == pytest.approx(expected, abs=4 * left.std() / np.sqrt(frames))
    np.testing.assert_allclose(received.n0_eff, expected, rtol=1e-3)


def test_without_motion_ici_changes_nothing():
    channel = Tdl("C", 300, 0, ici=True)
    x, seeds = np.ones((3, 50), np.complex64), FrameSeeds.of(2, 3)
    moving, still = channel(x, 0.1, seeds), replace(channel, ici=False)(x, 0.1, seeds)
    np.testing.assert_allclose(moving.y, still.y, atol=1e-5)
    np.testing.assert_allclose(moving.h, still.h, atol=1e-5)


def test_the_response_moves_on_from_slot_to_slot():
    channel = Tdl("A", 30, 120, grid=WIDE)
    h = channel.response(3 * WIDE.num_data, FrameSeeds.of(1, 200))[:, 0, :, 0]
    near = (h[:, 4] * h[:, 3].conj()).mean()
    within = (h[:, 3] * h[:, 2].conj()).mean()
    assert abs(near - within) < 0.02  # no jump at the border of a slot


def test_scattering_of_ones_own():
    s = Scattering.of(np.array([2, 2]), np.array([0, 1e-6]), 100)
    np.testing.assert_allclose(
        s.correlation(np.zeros(1), np.array([0, 5e5]))[0], [1, 0], atol=1e-12
    )
    assert s.power_beyond(1e-6) == 0 and s.power_beyond(0.9e-6) == pytest.approx(0.5)
    assert Scattering.within_prefix(4e-6).power_beyond(2e-6) == pytest.approx(0.5)
    assert doppler_hz(108, 3) == pytest.approx(300.2, abs=0.1)
    for bad in (np.array([1.0, -1]), np.array([[1.0]])):
        with pytest.raises(ValueError, match="power"):
            Scattering(bad, np.zeros(2), np.zeros((2, 1)), np.zeros((2, 1)))


@MAKES
@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"model": "F"}, r"unknown [TC]DL model 'F'; known: A, B, C, D, E"),
        ({"model": "c"}, "did you mean 'C'"),
        ({"model": "TDL-D"}, "did you mean 'D'"),
        ({"delay_spread_ns": -1.0}, r"delay_spread_ns must be in 0..1e\+06 ns, got -1"),
        ({"speed_kmh": float("nan")}, "speed_kmh must be in"),
        ({"carrier_ghz": 0.0}, "carrier_ghz must be in"),
        ({"num_rx": 0}, "num_rx must be in 1..16, got 0"),
        ({"csi_rx": "genie"}, "csi_rx must be one of perfect, ls, lmmse, got 'genie'"),
        ({"equaliser": "dfe"}, "equaliser must be one of mrc, zf, mmse"),
        (
            {"delay_spread_ns": 2000.0},
            r"prefix of 5 samples \(4.63 us\) is shorter than .DL-C.*take cyclic_prefix",
        ),
        ({"speed_kmh": 3000.0}, "Doppler shift of 9729 Hz, half of the subcarrier spacing"),
    ],
)
def test_bad_parameters(make, parameters, message):
    with pytest.raises(ValueError, match=message):
        make(**parameters)
