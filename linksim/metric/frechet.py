"""Distances between two sets of feature vectors: Fréchet and kernel (MMD). Pure numpy, whatever the features are."""

from __future__ import annotations

import numpy as np


def frechet_gaussians(
    mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray
) -> float:
    """Squared Fréchet (Wasserstein-2) distance of two Gaussians.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))

    Args:    means [D]; covariances [D, D], symmetric, positive semidefinite, of any rank.
    Returns: >= 0.
    Source:  Dowson & Landau (1982).
    """
    return _distance(mean_a, _root(cov_a), mean_b, _root(cov_b))


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features.

    No matrix square root is taken: with C = F^T F the trace of (C_a C_b)^(1/2) is the sum of the singular values of
    F_a F_b^T, and F comes from the centred features themselves. That is exact for fewer samples than dimensions too,
    where the usual square root of a singular product drifts or turns complex.

    Args:    a [N, D], b [M, D] float; N, M >= 2. Covariances have N-1 and M-1 below the sum.
    Returns: >= 0. Biased upwards by about 1/N + 1/M: compare only at equal N.
    Raises:  ValueError: shapes that do not fit, fewer than two rows, values that are not finite.
    """
    a, b = _checked(a, b)
    return _distance(a.mean(0), _factor(a), b.mean(0), _factor(b))


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Squared maximum mean discrepancy under the kernel (x.y / D + 1)^3, unbiased.

    deviates: Binkowski et al. average over random subsets of 1,000; this takes all pairs at once, which has the same
    expectation, less variance, and needs no seed.

    Args:    a [N, D], b [M, D] float; N, M >= 2.
    Returns: may be slightly negative for equal distributions, as an unbiased estimate must.
    Source:  Binkowski, Sutherland, Arbel, Gretton (2018), "Demystifying MMD GANs".
    """
    a, b = _checked(a, b)
    n, m = len(a), len(b)
    within_a = _kernel_sum(a, a) - float(np.sum(_kernel(np.einsum("nd,nd->n", a, a), a.shape[1])))
    within_b = _kernel_sum(b, b) - float(np.sum(_kernel(np.einsum("nd,nd->n", b, b), b.shape[1])))
    across = _kernel_sum(a, b)
    return within_a / (n * (n - 1)) + within_b / (m * (m - 1)) - 2 * across / (n * m)


def _kernel(products: np.ndarray, dimensions: int) -> np.ndarray:
    return (products / dimensions + 1) ** 3


def _kernel_sum(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of the kernel over all pairs, in blocks: N x M values never lie in memory at once."""
    return sum(
        float(np.sum(_kernel(a[start : start + 1024] @ b.T, a.shape[1])))
        for start in range(0, len(a), 1024)
    )


def _checked(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if np.ndim(a) != 2 or np.ndim(b) != 2 or np.shape(a)[1] != np.shape(b)[1]:
        raise ValueError(
            f"features must be [N, D] and [M, D], got {list(np.shape(a))} and {list(np.shape(b))}"
        )
    if min(len(a), len(b)) < 2:
        raise ValueError(f"a distribution needs at least 2 samples, got {len(a)} and {len(b)}")
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("features must be finite")
    return a, b


def _factor(x: np.ndarray) -> np.ndarray:
    """F [min(N, D), D] with F^T F the covariance of the rows of x."""
    centred = (x - x.mean(0)) / np.sqrt(len(x) - 1)
    return centred if len(x) <= x.shape[1] else np.asarray(np.linalg.qr(centred, mode="r"))


def _root(cov: np.ndarray) -> np.ndarray:
    """F [D, D] with F^T F = cov; eigenvalues below zero are rounding and count as zero."""
    cov = np.atleast_2d(np.asarray(cov, np.float64))
    values, vectors = np.linalg.eigh((cov + cov.T) / 2)
    return np.sqrt(np.maximum(values, 0))[:, None] * vectors.T


def _distance(
    mean_a: np.ndarray, factor_a: np.ndarray, mean_b: np.ndarray, factor_b: np.ndarray
) -> float:
    from scipy.linalg import svdvals

    gap = np.atleast_1d(np.asarray(mean_a, np.float64) - mean_b)
    spread = np.sum(factor_a**2) + np.sum(factor_b**2)
    shared = np.sum(svdvals(factor_a @ factor_b.T))
    return max(float(gap @ gap + spread - 2 * shared), 0.0)
