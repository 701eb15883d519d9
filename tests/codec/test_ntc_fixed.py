"""h_s in fixed point: close to the network, and exact."""

from __future__ import annotations

import numpy as np
import pytest

from linksim.codec.engine import LEVELS, engine


@pytest.fixture(scope="module")
def machine(weights):
    return engine(weights)


def side(shape, seed=0):
    return np.rint(np.random.default_rng(seed).normal(0, 2, shape))


@pytest.mark.parametrize("level", [0, 37, LEVELS])
def test_agrees_with_the_network(machine, level):
    z = side((2, 2, 3, 8))
    mu, index = machine.hyper(z, level)
    phi = np.stack([machine.phi(level)] * 2).astype(np.float32)
    mean, sigma = (np.asarray(t) for t in machine.net.quantities(z.astype(np.float32), phi))
    gain = np.exp(machine.phi(level) @ machine.bundle.arrays["gain/table"])
    assert np.abs(mu - mean).max() < 0.02 * max(1.0, gain.max())
    ratio = np.log(machine.tables.scales[index] / sigma)
    step = np.log(machine.tables.scales[1] / machine.tables.scales[0])
    inside = sigma < machine.tables.largest
    assert np.abs(ratio[inside]).max() < 0.75 * step
    assert inside.mean() > 0.9


def test_is_the_same_in_any_batch(machine):
    z = side((9, 2, 2, 8), seed=4)
    mu, index = machine.hyper(z, 50)
    order = np.random.default_rng(0).permutation(9)
    shuffled = machine.hyper(z[order], 50)
    assert np.array_equal(shuffled[0], mu[order]) and np.array_equal(shuffled[1], index[order])
    for b in range(9):
        alone = machine.hyper(z[b : b + 1], 50)
        assert np.array_equal(alone[0][0], mu[b]) and np.array_equal(alone[1][0], index[b])


def test_sums_stay_exact_in_any_order(machine):
    from linksim.codec.fixed import _conv

    rng = np.random.default_rng(0)
    x = np.rint(rng.normal(0, 2.0**14, (1, 5, 5, 64)))
    kernel = np.rint(rng.normal(0, 2.0**12, (3, 3, 64, 6)))
    order = rng.permutation(64)
    exact = _conv(x, kernel)
    assert np.array_equal(exact, _conv(x[..., order], kernel[:, :, order]))
    padded = np.pad(x[0], ((1, 1), (1, 1), (0, 0))).astype(np.int64)
    window = padded[2:5, 1:4].reshape(-1)
    column = kernel[..., 2].reshape(-1).astype(np.int64)
    assert exact[0, 2, 1, 2] == (int(np.dot(window, column)) + (1 << 13)) >> 14
