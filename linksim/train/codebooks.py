"""Where a residual quantiser starts: principal axes for its linear maps, k-means for its codebooks."""

from __future__ import annotations

from typing import Any

import numpy as np

from linksim.model.quantiser import ResidualQuantiser, VectorQuantiser

ROUNDS = 8  # of Lloyd's algorithm
FIRST_REST = 0.5  # use of the zero code that a fit with a Lagrange multiplier begins with
MOST = 40_000  # vectors it sees


def k_means(vectors: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Lloyd's algorithm from random vectors; an empty cell starts anew from the vector that is farthest off.

    Args:    vectors [N, d] float32, N >= 1.
    Returns: [count, d] float32.
    """
    if len(vectors) > MOST:
        vectors = vectors[rng.choice(len(vectors), MOST, replace=False)]
    codes = vectors[rng.choice(len(vectors), count, replace=len(vectors) < count)].copy()
    for _ in range(ROUNDS):
        index, distance = nearest(vectors, codes)
        counts, codes = cells(vectors, index, count)
        empty = np.flatnonzero(counts == 0)
        if len(empty):
            codes[empty] = vectors[np.argsort(distance)[::-1][: len(empty)]]
    return codes


def cells(vectors: np.ndarray, index: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """How many vectors [N, d] are in each cell [count], by their index [N], and their mean [count, d] float32."""
    counts = np.bincount(index, minlength=count)
    totals = np.zeros((count, vectors.shape[1]))
    np.add.at(totals, index, vectors)
    return counts, (totals / np.maximum(counts, 1)[:, None]).astype(np.float32)


def nearest(vectors: np.ndarray, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Index of the nearest code and squared distance to it, each [N]."""
    scores = (codes**2).sum(1) - 2.0 * vectors @ codes.T
    index = scores.argmin(1)
    return index, scores[np.arange(len(vectors)), index] + (vectors**2).sum(1)


def start_quantiser(q: ResidualQuantiser, y: np.ndarray, rng: np.random.Generator) -> None:
    """Fit all stages to latents y [N,h,w,d], h and w even. In place."""
    residual = np.asarray(y, np.float32)
    for s, quantiser in enumerate(q.stages):
        if q.strides[s] == 2:
            down = _principal(_blocks(residual), residual.shape[-1])
            q.down[s].assign(down)
            q.up[s].assign(down.T)
        inputs = np.asarray(quantiser.inside(q.project(residual, s)))
        flat = inputs.reshape(-1, inputs.shape[-1])
        quantiser.codebook.assign(k_means(flat, quantiser.size, rng))
        index, _ = nearest(flat, quantiser.codebook.numpy())
        counts = np.bincount(index, minlength=quantiser.size)
        quantiser.usage.assign((counts / len(y)).astype(np.float32))
        if quantiser.lagrange:
            index = _constrained(quantiser, flat, len(y), rng)
        codes = quantiser.codebook.numpy()[index].reshape(inputs.shape)
        residual = residual - np.asarray(q.expand(codes, s))


def _constrained(
    quantiser: VectorQuantiser, vectors: np.ndarray, images: int, rng: np.random.Generator
) -> np.ndarray:
    """Go on from k-means with what bits are worth. In place.

    Args:    vectors [N, d] float32, of so many images.
    Returns: index of each vector [N].
    """
    size = quantiser.size
    if quantiser.rest:
        usage = np.full(size, (1 - FIRST_REST) / (size - 1))
        usage[0] = FIRST_REST
        quantiser.usage.assign((usage * len(vectors) / images).astype(np.float32))
        quantiser.codebook.assign(quantiser.codebook.numpy() * (np.arange(size) > 0)[:, None])
    index = np.zeros(len(vectors), int)
    for left in reversed(range(ROUNDS)):
        index = np.concatenate(
            [np.asarray(quantiser.indices(part)) for part in np.array_split(vectors, 32)]
        )
        counts, means = cells(vectors, index, size)
        codes = np.where(counts[:, None] > 0, means, quantiser.codebook.numpy())
        usage = counts + 0.1
        rare = np.flatnonzero(counts < 2)
        if left:  # start anew from what is there
            codes[rare] = vectors[rng.choice(len(vectors), len(rare))]
            usage[rare] += len(vectors) / size / 4 - counts[rare]
        if quantiser.rest:
            codes[0] = 0
        quantiser.codebook.assign(codes)
        quantiser.usage.assign((usage / images).astype(np.float32))
    return index


def _blocks(y: np.ndarray) -> np.ndarray:
    """[N,h,w,d] -> [n, 4 d], in the order of ``layers.space_to_depth``."""
    n, h, w, d = y.shape
    y = y.reshape(n, h // 2, 2, w // 2, 2, d).transpose(0, 1, 3, 2, 4, 5)
    return y.reshape(-1, 4 * d)


def _principal(flat: np.ndarray, count: int) -> np.ndarray:
    """Leading principal axes, [size, count] orthonormal columns."""
    centred = flat - flat.mean(0)
    _, vectors = np.linalg.eigh(centred.T.astype(np.float64) @ centred)
    return vectors[:, ::-1][:, :count].astype(np.float32)


def perplexity(counts: Any) -> float:
    """2^H of how often each code was used: how many codes of equal use the codebook is worth. counts [K]."""
    share = np.asarray(counts, np.float64)
    share = share[share > 0] / share.sum()
    return float(np.exp2(-(share * np.log2(share)).sum()))
