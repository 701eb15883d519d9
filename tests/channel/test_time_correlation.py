"""Fading in time: Bessel functions, the Clarke process, level crossings, interleaving."""

import math

import numpy as np
import pytest
from scipy.special import j0, jv
from scipy.stats import kstest

from linksim.channel.fading import Rayleigh, Rician
from linksim.channel.fast.bessel import bessel, num_orders
from linksim.channel.jakes import BLOCK, clarke
from linksim.channel.motion import Motion
from linksim.phy import modem
from linksim.phy.ldpc5g import Ldpc5G
from linksim.seeds import FrameSeeds
from linksim.units import n0_from_es_n0_db


def _h(channel, frames, symbols, seed=0):
    x = np.zeros((frames, symbols), np.complex64)
    return channel(x, 0.0, FrameSeeds.of(seed, frames)).full()[1].astype(np.complex128)


@pytest.mark.parametrize(
    "x",
    [
        np.linspace(0, 16, 256),
        np.linspace(-900, 1024, 256),
        np.linspace(0, 1e-5, 8),
        np.full(8, 1e-9),
        np.zeros(8),
        np.array([0, 3.14, -6.28, 900.0, 20.0, 1e-5, 22.0, 25.0]),
    ],
    ids=["short", "long", "tiny", "below", "zero", "mixed"],
)
def test_bessel_functions_are_scipys(x):
    orders = num_orders(np.abs(x).max())
    weight = np.linspace(0.5, 1, len(x))
    found = bessel(x, weight, orders)
    np.testing.assert_allclose(found, weight * jv(np.arange(orders)[:, None], x), atol=5e-8)
    beyond = jv(np.arange(orders, orders + 30)[:, None], x)
    assert np.abs(beyond).max() < 1e-9, "orders that are left out"


@pytest.mark.parametrize("doppler", [0.002, 0.01, 0.13])
def test_autocorrelation_is_j0(doppler):
    frames = 1500
    lags = np.unique(np.round(np.array([0.05, 0.2, 0.383, 0.61, 1.1, 3.3]) / doppler)).astype(int)
    lags = np.maximum(lags, 1)
    h = _h(Rayleigh(doppler=doppler), frames, int(lags.max()) + 40)
    for lag in lags:
        products = (h[:, lag:] * h[:, : h.shape[1] - lag].conj()).mean(axis=1)
        error = 4 * products.std(ddof=1) / math.sqrt(frames)
        assert abs(products.mean() - j0(2 * np.pi * doppler * lag)) < error < 0.11
        assert Rayleigh(doppler=doppler).autocorrelation(lag) == pytest.approx(
            j0(2 * np.pi * doppler * lag), abs=1e-12
        )


def test_the_process_is_gaussian_and_circular():
    h = _h(Rayleigh(doppler=0.01), 8000, 61)
    assert kstest(np.abs(h[:, 60]) ** 2, "expon").pvalue > 1e-3
    assert abs(np.mean(h[:, 0] * h[:, 60])) < 4 / math.sqrt(8000)
    # of a Gaussian process the gains are correlated as J0^2
    gains = np.abs(h) ** 2 - 1
    expected = j0(2 * np.pi * 0.01 * 20) ** 2
    assert (gains[:, 0] * gains[:, 20]).mean() == pytest.approx(expected, abs=0.12)


def test_far_from_its_start_the_process_is_the_same():
    """Where one expansion fades into the next, and in the next one."""
    doppler, frames = 0.05, 1000
    step = 2 * np.pi * doppler
    for x in (500, 760, 1600, 2300, -700):
        start = round(x / step)
        times = start + np.arange(BLOCK)
        h = clarke(times, doppler, FrameSeeds.of(1, frames)).astype(np.complex128)
        power = (np.abs(h) ** 2).mean(axis=1)
        assert power.mean() == pytest.approx(1, abs=4 * power.std() / math.sqrt(frames))
        for lag in (3, 40):
            products = (h[:, lag:] * h[:, :-lag].conj()).mean(axis=1)
            error = 4 * products.std(ddof=1) / math.sqrt(frames)
            fade = math.cos(math.pi / 2 * lag * step / 512)  # where two expansions overlap
            expected = j0(step * lag)
            assert abs(products.mean() - expected) < error + abs(expected) * (1 - fade)


@pytest.mark.parametrize("doppler", [0.0003, 0.01, 0.4])
def test_a_longer_frame_begins_like_a_shorter_one(doppler):
    long = _h(Rayleigh(doppler=doppler), 2, 3000)
    for symbols in (1, 255, 256, 257, 1000):
        np.testing.assert_array_equal(_h(Rayleigh(doppler=doppler), 2, symbols), long[:, :symbols])
    x = np.zeros((3, 50), np.complex64)
    whole = Rayleigh(doppler=doppler)(x, 0.1, FrameSeeds.of(0, 3))
    alone = Rayleigh(doppler=doppler)(x[:1], 0.1, FrameSeeds.of(0, 3)[2:])
    np.testing.assert_array_equal(whole.h[2:], alone.h)


@pytest.mark.parametrize("k_db", [-100.0, 3.0])
@pytest.mark.parametrize("threshold_db", [-10.0, 0.0])
def test_level_crossing_rate_and_fade_duration(k_db, threshold_db):
    """Against the closed forms of Rice: Rayleigh, sqrt(2 pi) f rho e^(-rho^2); with a steady path, times e^-K I0."""
    doppler, frames, symbols = 0.004, 300, 6000
    h = _h(Rician(k_db, doppler=doppler), frames, symbols)
    rho, k = 10 ** (threshold_db / 20), 10 ** (k_db / 10)
    below = np.abs(h) < rho
    rates = (below[:, :-1] & ~below[:, 1:]).sum(axis=1) / (symbols - 1)  # crossings upwards
    bessel_i0 = np.i0(2 * rho * math.sqrt(k * (k + 1)))
    expected = (
        math.sqrt(2 * math.pi * (k + 1))
        * doppler
        * rho
        * math.exp(-k - (k + 1) * rho**2)
        * bessel_i0
    )
    error = rates.std(ddof=1) / math.sqrt(frames)
    assert abs(rates.mean() - expected) < 4 * error + 0.01 * expected
    assert error < 0.05 * expected
    duration = below.mean() / rates.mean()
    closed = float(Rician(k_db).gain_cdf(rho**2)) / expected
    assert duration == pytest.approx(closed, rel=0.08)
    if k_db == -100.0:
        fade = math.expm1(rho**2) / (rho * doppler * math.sqrt(2 * math.pi))
        assert closed == pytest.approx(fade, rel=1e-6)


def test_limits():
    seeds, x = FrameSeeds.of(5, 4), np.ones((4, 300), np.complex64)
    block = Rayleigh()(x, 0.1, seeds)
    still = Rayleigh(doppler=0.0, block_length=9)(x, 0.1, seeds)
    np.testing.assert_array_equal(still.y, block.y)
    slow = _h(Rayleigh(doppler=1e-9), 4, 300, seed=5)
    np.testing.assert_allclose(slow, np.broadcast_to(block.h, slow.shape), atol=3e-6)
    # interleaving over whole blocks is ergodic fading
    np.testing.assert_array_equal(
        _h(Rayleigh(block_length=7, interleaving=7), 4, 50), _h(Rayleigh(block_length=1), 4, 50)
    )


def test_interleaving_is_a_faster_walk_through_the_same_fade():
    base = _h(Rayleigh(doppler=0.003), 3, 2001)
    for depth in (2, 10):
        spread = _h(Rayleigh(doppler=0.003, interleaving=depth), 3, 200)
        np.testing.assert_allclose(spread, base[:, : 200 * depth : depth], atol=3e-6)
    blocks = _h(Rayleigh(block_length=12, interleaving=3), 3, 40)
    np.testing.assert_array_equal(blocks, _h(Rayleigh(block_length=4), 3, 40))
    held = _h(Rayleigh(block_length=10, doppler=0.003), 3, 200)
    np.testing.assert_allclose(held, np.repeat(base[:, :200:10], 10, axis=1), atol=3e-6)


@pytest.mark.parametrize(
    "motion",
    [
        Motion(6),
        Motion(6, interleaving=4),
        Motion(6, interleaving=9),
        Motion(6, 0.02),
        Motion(1, None),
    ],
    ids=str,
)
def test_autocorrelation_of_blocks(motion):
    frames = 4000
    h = motion.scattered(72, FrameSeeds.of(2, frames)).astype(np.complex128)
    for lag in (1, 2, 5, 11):
        products = (h[:, lag : lag + 60] * h[:, :60].conj()).mean(axis=1)
        error = 4 * products.std(ddof=1) / math.sqrt(frames)
        assert abs(products.mean() - motion.autocorrelation(lag)) < error


def test_rician_steady_path_with_doppler():
    channel = Rician(10.0, doppler=0.02, los_doppler=0.7)
    h = _h(channel, 2000, 60)
    for lag in (5, 30):
        products = (h[:, lag:] * h[:, :-lag].conj()).mean(axis=1)
        error = 4 * products.std(ddof=1) / math.sqrt(2000)
        assert abs(products.mean() - channel.autocorrelation(lag)) < error
    turn = np.exp(2j * np.pi * 0.02 * 0.7 * 5)
    assert channel.autocorrelation(5) == pytest.approx((10 * turn + j0(0.2 * np.pi)) / 11)


def test_speed_carrier_and_symbol_rate():
    channel = Rayleigh(speed_kmh=120.0, carrier_ghz=3.5, symbol_rate_khz=15.0)
    assert channel.motion.doppler == pytest.approx(389.16 / 15000, rel=1e-4)
    np.testing.assert_array_equal(
        _h(channel, 2, 30), _h(Rayleigh(doppler=channel.motion.doppler), 2, 30)
    )


def _block_errors(channel, frames, es_n0_db):
    """Failed LDPC blocks of QPSK, rate 1/2, 480 symbols."""
    code = Ldpc5G()
    plan = code.plan(480, 2, 0.5)
    bits = (FrameSeeds.of(8, frames).uniform(plan.info_bits) < 0.5).astype(np.uint8)
    x = modem.map_bits(code.encode(bits, plan), 2)
    received = channel(x, n0_from_es_n0_db(es_n0_db), FrameSeeds.of(9, frames))
    _, ok, _ = code.decode(modem.demap(*received.full(), 2), plan)
    return int((~ok).sum())


def test_block_errors_go_from_block_to_ergodic_fading_with_depth():
    frames, snr = 500, 3.3
    ergodic = _block_errors(Rayleigh(block_length=1), frames, snr)
    assert 0.1 < ergodic / frames < 0.9
    full = _block_errors(Rayleigh(doppler=0.002, interleaving=10_007), frames, snr)
    pooled = (ergodic + full) / (2 * frames)
    assert abs(full - ergodic) < 4 * math.sqrt(2 * frames * pooled * (1 - pooled))
    high = 6.0  # where diversity is what counts
    errors = [
        _block_errors(Rayleigh(doppler=0.0005, interleaving=depth), frames, high)
        for depth in (1, 10, 100, 10_007)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 0.2 * frames and errors[-1] < 0.01 * frames
    block = _block_errors(Rayleigh(), frames, high)
    assert errors[0] == pytest.approx(block, rel=0.25), "slow fading is nearly block fading"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"doppler": 0.6}, "doppler must be in 0..0.5"),
        ({"doppler": float("nan")}, "doppler must be in 0..0.5"),
        ({"doppler": -0.1}, "doppler must be in 0..0.5"),
        ({"doppler": 0.1, "interleaving": 0}, "interleaving must be in"),
        ({"interleaving": 4}, "interleaving changes nothing"),
        ({"speed_kmh": 3.0}, "carrier_ghz and symbol_rate_khz missing"),
        (
            {"speed_kmh": 3.0, "carrier_ghz": 1.0, "symbol_rate_khz": 15.0, "doppler": 0.1},
            "keep one",
        ),
        ({"speed_kmh": 3.0, "carrier_ghz": 0.0, "symbol_rate_khz": 15.0}, "above 0, got 3, 0"),
        (
            {"speed_kmh": 3000.0, "carrier_ghz": 100.0, "symbol_rate_khz": 15.0},
            "doppler must be in 0..0.5 of the symbol rate",
        ),
    ],
)
def test_bad_parameters(parameters, message):
    for make in (Rayleigh, Rician):
        with pytest.raises(ValueError, match=message):
            make(**parameters)
    with pytest.raises(ValueError, match="los_doppler"):
        Rician(3.0, los_doppler=0.7)
    with pytest.raises(ValueError, match="los_doppler must be in"):
        Rician(3.0, doppler=0.1, los_doppler=1.7)
