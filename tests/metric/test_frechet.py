"""Frechet and kernel distances: closed forms, rank deficiency, an independent implementation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.linalg import sqrtm

from linksim.metric.frechet import frechet_distance, frechet_gaussians, kernel_distance


def test_one_dimension() -> None:
    # (m_a - m_b)^2 + (s_a - s_b)^2
    got = frechet_gaussians(np.array([1.0]), np.array([[4.0]]), np.array([4.0]), np.array([[25.0]]))
    assert got == pytest.approx(9 + 9)


def test_commuting_covariances() -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    a, b = rng.uniform(0, 3, (2, 6))
    a[:2] = 0  # rank deficient
    means = rng.normal(size=(2, 6))
    got = frechet_gaussians(
        means[0], turn @ np.diag(a**2) @ turn.T, means[1], turn @ np.diag(b**2) @ turn.T
    )
    assert got == pytest.approx(np.sum((means[0] - means[1]) ** 2) + np.sum((a - b) ** 2))


def test_general_covariances_against_the_matrix_root() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(50, 8)) @ rng.normal(size=(8, 8)), rng.normal(size=(70, 8))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    gap = a.mean(0) - b.mean(0)
    want = gap @ gap + np.trace(cov_a + cov_b - 2 * sqrtm(cov_a @ cov_b).real)
    assert frechet_distance(a, b) == pytest.approx(want, rel=1e-9)
    assert frechet_gaussians(a.mean(0), cov_a, b.mean(0), cov_b) == pytest.approx(want, rel=1e-9)
    assert frechet_distance(b, a) == pytest.approx(want, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(10, 10), (10, 200), (200, 10), (64, 64)])
def test_fewer_samples_than_dimensions(n: int, m: int) -> None:
    rng = np.random.default_rng(2)
    a, b = rng.normal(size=(n, 64)), 2 + rng.normal(size=(m, 64))
    want = frechet_gaussians(a.mean(0), np.cov(a.T), b.mean(0), np.cov(b.T))
    # The root of a singular covariance's rounding errors, 1e-8 a dimension, limits the reference, not the distance.
    assert frechet_distance(a, b) == pytest.approx(want, rel=1e-5)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    # Shifted, scaled copies have a closed form at any rank: |shift|^2 + (scale - 1)^2 tr C.
    moved = 3 * (a - a.mean(0)) + a.mean(0) + 0.5
    assert frechet_distance(a, moved) == pytest.approx(16 + 4 * np.trace(np.cov(a.T)))


def test_estimate_converges_to_the_closed_form() -> None:
    rng = np.random.default_rng(3)
    scale = np.linspace(0.5, 2, 16)
    a, b = rng.normal(size=(20000, 16)), 0.3 + scale * rng.normal(size=(20000, 16))
    want = 16 * 0.3**2 + np.sum((scale - 1) ** 2)
    # Sampling moves the estimate by some 0.07 at this N.
    got = frechet_distance(a.astype(np.float32), b.astype(np.float32))
    assert got == pytest.approx(want, abs=0.25)


def test_kernel_distance_by_hand() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(6, 3)), rng.normal(size=(5, 3))

    def k(x: np.ndarray, y: np.ndarray) -> float:
        return (float(x @ y) / 3 + 1) ** 3

    want = (
        np.mean([k(x, y) for x, y in itertools.permutations(a, 2)])
        + np.mean([k(x, y) for x, y in itertools.permutations(b, 2)])
        - 2 * np.mean([k(x, y) for x in a for y in b])
    )
    assert kernel_distance(a, b) == pytest.approx(want, rel=1e-12)


def test_kernel_distance_is_unbiased() -> None:
    rng = np.random.default_rng(5)
    zero = [kernel_distance(*rng.normal(size=(2, 30, 4))) for _ in range(400)]
    assert abs(np.mean(zero)) < 4 * np.std(zero) / 20
    assert min(zero) < 0
    # x ~ N(mu, 1), y ~ N(0, 1): E (x x' + 1)^3 over pairs, from the moments of the normal distribution.
    mu = 0.5
    second, third = 1 + mu**2, mu**3 + 3 * mu
    want = (third**2 + 3 * second**2 + 3 * mu**2 + 1) + (3 + 1) - 2 * (3 * second + 1)
    got = [
        kernel_distance(mu + rng.normal(size=(200, 1)), rng.normal(size=(200, 1)))
        for _ in range(300)
    ]
    assert np.mean(got) == pytest.approx(want, abs=4 * np.std(got) / np.sqrt(300))


@pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
def test_refused(distance) -> None:
    good = np.ones((4, 3))
    for bad, message in [
        (np.ones((4, 2)), r"\[N, D\]"),
        (np.ones(4), r"\[N, D\]"),
        (good[:1], "at least 2 samples"),
        (np.full((4, 3), np.nan), "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            distance(good, bad)
