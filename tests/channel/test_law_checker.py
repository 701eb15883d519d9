"""The law checker finds planted faults, and each under its own name."""

import numpy as np
import pytest

from linksim.channel.fading import Rayleigh
from linksim.channel.laws import check_channel
from linksim.seeds import FrameSeeds, Seed
from linksim.types import Received


def broken(channel, **options):
    results = check_channel(channel, **{"frames": 2500, "symbols": 40, **options})
    return {r.name: r for r in results if not r.passed}


def _noise(x, n0, seed):
    return np.float32(np.sqrt(n0)) * seed.child("noise").complex_normal(x.shape[1])


def _fade(x, seed):
    return seed.child("fading").complex_normal(1)


def _give(x, h, w, n0):
    return Received((h * x + w).astype(np.complex64), h, np.float32(n0) * np.ones((), np.float32))


def noise_3_db_off(x, n0, seed):
    return _give(x, _fade(x, seed), np.sqrt(2) * _noise(x, n0, seed), n0)


def real_noise(x, n0, seed):
    w = _noise(x, n0, seed)
    return _give(x, _fade(x, seed), np.sqrt(2) * w.real, n0)


def noise_scaled_by_fade(x, n0, seed):
    h = _fade(x, seed)
    return _give(x, h, np.abs(h) * _noise(x, n0, seed), n0)


def noise_scaled_by_received_power(x, n0, seed):
    h = _fade(x, seed)
    power = np.mean(np.abs(h * x) ** 2)
    return _give(x, h, np.sqrt(power) * _noise(x, n0, seed), n0)


def gain_half_a_db_off(x, n0, seed):
    return _give(x, _fade(x, seed) * np.float32(10 ** (0.5 / 20)), _noise(x, n0, seed), n0)


def seed_ignored(x, n0, seed):
    fixed = FrameSeeds((Seed.root(7),) * len(x))
    return _give(x, _fade(x, seed), _noise(x, n0, fixed), n0)


def global_stream(x, n0, seed):
    w = np.random.default_rng().standard_normal((*x.shape, 2)).astype(np.float32)
    return _give(x, _fade(x, seed), np.sqrt(n0 / 2) * (w[..., 0] + 1j * w[..., 1]), n0)


def batch_dependent(x, n0, seed):
    h = _fade(x, seed)
    return _give(x, h * np.exp(1j * len(x)).astype(np.complex64), _noise(x, n0, seed), n0)


def order_dependent(x, n0, seed):
    turn = np.exp(1j * np.arange(len(x)))[:, None].astype(np.complex64)
    return _give(x, _fade(x, seed) * turn, _noise(x, n0, seed), n0)


def complex128(x, n0, seed):
    received = Rayleigh()(x, n0, seed)
    return Received(received.y.astype(np.complex128), received.h, received.n0_eff)


def fade_of_x(x, n0, seed):
    h = _fade(x, seed) * np.exp(1j * np.abs(x[:, :1])).astype(np.complex64)
    return _give(x, h, _noise(x, n0, seed), n0)


def fade_of_length(x, n0, seed):
    h = seed.child("fading", x.shape[1]).complex_normal(1)
    return _give(x, h, _noise(x, n0, seed), n0)


def wrong_n0(x, n0, seed):
    return _give(x, _fade(x, seed), _noise(x, n0, seed), n0 / 2)


def nan_output(x, n0, seed):
    received = Rayleigh()(x, n0, seed)
    return Received(received.y * np.nan, received.h, received.n0_eff)


def wrong_shape(x, n0, seed):
    received = Rayleigh()(x, n0, seed)
    return Received(received.y[:, 1:], received.h, received.n0_eff)


def raises(x, n0, seed):
    raise RuntimeError("no such file")


class WrongClosedForm(Rayleigh):
    def gain_cdf(self, gain):
        return super().gain_cdf(1.2 * np.asarray(gain))


@pytest.mark.parametrize(
    ("fault", "law"),
    [
        (noise_3_db_off, "measured SNR"),
        (real_noise, "noise is circular and white"),
        (noise_scaled_by_fade, "noise does not depend on the fade"),
        (noise_scaled_by_received_power, "noise does not depend on x"),
        (gain_half_a_db_off, "average gain"),
        (seed_ignored, "other seeds, other noise"),
        (global_stream, "same seed, same output"),
        (batch_dependent, "batch invariance"),
        (order_dependent, "order invariance"),
        (complex128, "shapes and dtypes"),
        (fade_of_x, "fade does not depend on x or n0"),
        (fade_of_length, "a longer frame begins like a shorter one"),
        (wrong_n0, "n0_eff is the noise power"),
        (nan_output, "shapes and dtypes"),
        (wrong_shape, "shapes and dtypes"),
        (raises, "shapes and dtypes"),
        (WrongClosedForm(), "gain follows its closed form"),
    ],
    ids=lambda v: getattr(v, "__name__", type(v).__name__) if callable(v) else v.replace(" ", "-"),
)
def test_planted_fault_is_found(fault, law):
    found = broken(fault)
    assert law in found, f"found only {list(found)}"


def test_by_how_much():
    found = broken(noise_3_db_off)["measured SNR"]
    assert found.measured - found.expected == pytest.approx(-3.01, abs=0.05)
    assert "-3.0" in found.text
    assert "return linksim.types.Received" in broken(lambda x, n0, s: x)["shapes and dtypes"].text
    assert "complex128" in broken(complex128)["shapes and dtypes"].text
    assert "no such file" in broken(raises)["shapes and dtypes"].text


def test_a_plain_function_that_is_right_passes():
    def rayleigh(x, n0, seed):
        return _give(x, _fade(x, seed), _noise(x, n0, seed), n0)

    assert broken(rayleigh) == {}
