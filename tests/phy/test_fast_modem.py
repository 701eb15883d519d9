"""Mapper and exact demapper against Sionna's constellation and Demapper("app"), and against the definition."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.phy.fast.demap import demap
from linksim.phy.fast.mapper import map_bits

ORDERS = [2, 4, 6, 8]


def labels(num_bits: int) -> np.ndarray:
    """[2^Qm, Qm], every label in counting order."""
    return (np.arange(1 << num_bits)[:, None] >> np.arange(num_bits)[::-1] & 1).astype(np.uint8)


def noisy(num_bits: int, n0: float, count: int = 1000) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(num_bits)
    bits = rng.integers(0, 2, (3, count * num_bits), np.uint8)
    x = map_bits(bits, num_bits)
    h = (rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape)) / np.sqrt(2)
    w = np.sqrt(n0 / 2) * (rng.normal(size=x.shape) + 1j * rng.normal(size=x.shape))
    y = (h * x + w).astype(np.complex64)
    return bits, y, h.astype(np.complex64), np.full(x.shape, n0, np.float32)


@pytest.mark.parametrize("num_bits", ORDERS)
def test_constellation_is_sionnas(num_bits: int) -> None:
    pytest.importorskip("tensorflow")
    from sionna.phy.mapping import Constellation

    points = np.asarray(Constellation("qam", num_bits)().numpy())
    ours = map_bits(labels(num_bits), num_bits)[:, 0]
    assert np.allclose(ours, points, atol=1e-6)
    assert np.mean(np.abs(ours) ** 2) == pytest.approx(1, abs=1e-6)
    assert ours[0].real > 0 and ours[0].imag > 0  # b = 0 is the positive side


@pytest.mark.parametrize("num_bits", ORDERS)
def test_llr_is_sionnas(num_bits: int) -> None:
    tf = pytest.importorskip("tensorflow")
    from sionna.phy.mapping import Demapper

    _, y, h, n0 = noisy(num_bits, 0.05)
    gain = np.abs(h) ** 2
    z, noise = (np.conj(h) * y / gain).astype(np.complex64), (n0 / gain).astype(np.float32)
    expected = Demapper("app", "qam", num_bits)(tf.constant(z), tf.constant(noise)).numpy()
    assert np.allclose(demap(y, h, n0, num_bits), expected, rtol=1e-4, atol=2e-3)


@pytest.mark.parametrize("num_bits", ORDERS)
def test_llr_is_the_definition(num_bits: int) -> None:
    _, y, h, n0 = noisy(num_bits, 0.2, 200)
    every = labels(num_bits)
    points = map_bits(every, num_bits)[:, 0].astype(np.complex128)
    likelihood = -(np.abs(y[..., None] - h[..., None] * points) ** 2) / n0[..., None].astype(float)
    expected = np.stack(
        [
            np.logaddexp.reduce(likelihood[..., every[:, i] == 1], axis=-1)
            - np.logaddexp.reduce(likelihood[..., every[:, i] == 0], axis=-1)
            for i in range(num_bits)
        ],
        axis=-1,
    )
    assert np.allclose(demap(y, h, n0, num_bits), expected.reshape(3, -1), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("num_bits", ORDERS)
def test_without_noise_signs_are_the_bits(num_bits: int) -> None:
    bits, _, h, n0 = noisy(num_bits, 0.0)
    llr = demap(h * map_bits(bits, num_bits), h, n0, num_bits)
    assert np.isfinite(llr).all()
    assert np.array_equal(llr > 0, bits == 1)


@pytest.mark.parametrize("num_bits", ORDERS)
def test_strange_input_stays_finite(num_bits: int) -> None:
    values = np.array([np.nan, np.inf, -np.inf, 0, 1e30, 1e-30, 1], np.float32)
    y, h, n0 = (g.reshape(1, -1) for g in np.meshgrid(values, values, values))
    llr = demap(y.astype(np.complex64), h.astype(np.complex64), n0, num_bits)
    assert np.isfinite(llr).all()
    unknown = np.isnan(y) | np.isnan(h) | np.isnan(n0) | (h == 0) | (n0 == np.inf)
    assert not llr.reshape(-1, num_bits)[unknown[0]].any()


def test_neighbours_change_nothing() -> None:
    _, y, h, n0 = noisy(6, 0.1)
    together = demap(y, h, n0, 6).reshape(3, -1, 6)
    alone = demap(y[1:2, 7:20], h[1:2, 7:20], n0[1:2, 7:20], 6).reshape(-1, 6)
    assert np.array_equal(together[1, 7:20], alone)
