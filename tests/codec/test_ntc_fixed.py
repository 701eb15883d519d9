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


def run(machine, z, level, seed=1):
    """Entropy parameters of all slices for random symbols. Returns: s, mu, index."""
    hyper = machine.hyper.begin(z, level)
    rng = np.random.default_rng(seed)
    past, parts = [], []
    for i in range(len(machine.hyper.bounds)):
        mu, index = machine.hyper.slice(hyper, i, past)
        s = np.rint(rng.normal(0, 1, mu.shape))
        past.append(mu + s)
        parts.append((s, mu, index))
    return tuple(np.concatenate(t, -1) for t in zip(*parts, strict=True))


@pytest.mark.parametrize("level", [0, 37, LEVELS])
def test_agrees_with_the_network(machine, level):
    z = side((2, 2, 3, 8))
    s, mu, index = run(machine, z, level)
    phi = np.stack([machine.phi(level)] * 2).astype(np.float32)
    tensors = ((mu + s).astype(np.float32), z.astype(np.float32), phi)
    residual, mean, sigma = (np.asarray(t) for t in machine.net.quantise(*tensors))
    gain = np.exp(machine.phi(level) @ machine.bundle.arrays["gain/table"])
    assert np.array_equal(np.rint(residual), s)
    assert np.abs(mu - mean).max() < 0.02 * max(1.0, gain.max())
    ratio = np.log(machine.tables.scales[index] / sigma)
    step = np.log(machine.tables.scales[1] / machine.tables.scales[0])
    inside = sigma < machine.tables.largest
    assert np.abs(ratio[inside]).max() < 0.75 * step
    assert inside.mean() > 0.9


def test_context_matters(machine):
    z = side((1, 2, 2, 8))
    one, other = run(machine, z, 60, seed=1), run(machine, z, 60, seed=2)
    first = machine.hyper.bounds[0][1]
    assert np.array_equal(one[1][..., :first], other[1][..., :first])
    assert not np.allclose(one[1][..., first:], other[1][..., first:])


def test_is_the_same_in_any_batch(machine):
    z = side((9, 2, 2, 8), seed=4)
    hyper = machine.hyper.begin(z, 50)
    first = machine.hyper.slice(hyper, 0, [])
    past = first[0] + side(first[0].shape, seed=5)
    mu, index = machine.hyper.slice(hyper, 1, [past])
    order = np.random.default_rng(0).permutation(9)
    for rows in (order, *(np.array([b]) for b in range(9))):
        part = machine.hyper.begin(z[rows], 50)
        assert np.array_equal(part.mean, hyper.mean[rows])
        again = machine.hyper.slice(part, 1, [past[rows]])
        assert np.array_equal(again[0], mu[rows]) and np.array_equal(again[1], index[rows])


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
