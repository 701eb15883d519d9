"""Markov chains whose states lose packets: closed forms, and walks from per-frame seeds.

State s_n of packet n follows a chain with transition matrix P and stationary distribution pi; packet n is lost with
probability e(s_n). Every walk starts from pi, so that the first packet is like any other.

    loss rate            pi . e
    P(a burst ends)      P(lost, then not) / P(lost)  =  sum_ij pi_i e_i P_ij (1 - e_j) / pi . e
    mean burst [packets] 1 / P(a burst ends)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from linksim.seeds import FrameSeeds

_TOLERANCE = 1e-9


def stationary(transition: np.ndarray) -> np.ndarray:
    """pi with pi P = pi.

    Args:    transition: [K, K] float64, rows sum to 1.
    Returns: [K] float64.
    Raises:  ValueError: if P is no transition matrix, or has several stationary distributions.
    """
    matrix = np.asarray(transition, np.float64)
    if matrix.ndim != 2 or len(matrix) != matrix.shape[1] or len(matrix) < 1:
        raise ValueError(f"transition must be a square matrix, got shape {matrix.shape}")
    if not ((matrix >= 0) & (matrix <= 1)).all():
        raise ValueError(f"transition must hold probabilities in [0, 1], got {matrix.tolist()}")
    sums = matrix.sum(axis=1)
    off = np.flatnonzero(np.abs(sums - 1) > _TOLERANCE)
    if off.size:
        raise ValueError(
            f"row {off[0]} of transition sums to {sums[off[0]]:.6g}; every row must sum to 1"
        )
    states = len(matrix)
    equations = matrix.T - np.eye(states)
    if np.linalg.matrix_rank(equations, tol=1e-12) < states - 1:
        raise ValueError(
            "transition has more than one stationary distribution; connect its states with each other"
        )
    system = np.vstack([equations, np.ones(states)])
    solution = np.linalg.lstsq(system, np.eye(states + 1)[-1], rcond=None)[0]
    found = np.clip(solution, 0.0, None)
    found[found < 1e-15] = 0.0
    return found / found.sum()


def loss_rate(transition: np.ndarray, loss: np.ndarray) -> float:
    """Closed form of the share of packets lost. Args: transition [K, K]; loss [K], e."""
    return float(stationary(transition) @ np.asarray(loss, np.float64))


def mean_burst(transition: np.ndarray, loss: np.ndarray) -> float:
    """Closed form of the mean length of a run of losses [packets]; NaN if there is none, inf if it never ends."""
    matrix, lost = np.asarray(transition, np.float64), np.asarray(loss, np.float64)
    flow = stationary(matrix) * lost
    rate = float(flow.sum())
    if rate <= 0:
        return float("nan")
    ends = float(flow @ matrix @ (1 - lost))
    return rate / ends if ends > 0 else float("inf")


def walk(
    transition: np.ndarray, loss: np.ndarray, num_packets: Sequence[int], seed: FrameSeeds
) -> list[np.ndarray]:
    """Draw losses; see types.ErasureProcess. A longer frame begins like a shorter one.

    Two uniform draws a packet: of the state, and of the loss in it. States are in rising order of loss where a process
    wants more loss to mean more of the same losses.
    """
    if len(num_packets) != len(seed):
        raise ValueError(f"{len(num_packets)} frames of packets but {len(seed)} seeds")
    longest = max(num_packets, default=0)
    if longest == 0:
        return [np.zeros(0, bool) for _ in num_packets]
    draws = seed.child("erasure").uniform(longest, 2)  # [B, P, 2]
    start = np.cumsum(stationary(transition))[:-1]
    rows = np.cumsum(np.asarray(transition, np.float64), axis=1)[:, :-1]
    lost = np.empty((len(seed), longest), bool)
    of_state = np.asarray(loss, np.float64)
    state = (draws[:, 0, 0, None] >= start).sum(axis=1)
    for n in range(longest):
        if n:
            state = (draws[:, n, 0, None] >= rows[state]).sum(axis=1)
        lost[:, n] = draws[:, n, 1] < of_state[state]
    return [lost[b, :count] for b, count in enumerate(num_packets)]
