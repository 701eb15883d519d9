"""Rotations of a frame that its receiver knows in the mean alone."""

from __future__ import annotations

import numpy as np

from linksim.types import Received


def rotated(received: Received, phase: np.ndarray, variance: np.ndarray) -> Received:
    """y e^{j phase} for a receiver that knows no more of a Gaussian phase than its variance.

    With a = E[e^{j phase}] = e^{-variance / 2}, y = a h x + (e^{j phase} - a) h x + w: the mean is part of h, and the
    rest, of power |h|^2 (1 - a^2) at E|x|^2 = 1, of the noise.

    Args:
      phase:    [B, S] float64, radians.
      variance: [S] float64, radians^2.
    Returns: Received, [B, S].
    """
    y, h, n0 = received.full()
    mean = np.exp(-0.5 * variance)
    lost = (h.real**2 + h.imag**2) * (-np.expm1(-variance))
    return Received(
        (y * np.exp(1j * phase)).astype(np.complex64),
        (h * mean).astype(np.complex64),
        (n0 + lost).astype(np.float32),
    )


def check_tracking(tracking: int | None) -> None:
    """Raise ValueError unless a tracking interval is at least 1 symbol."""
    if tracking is not None and tracking < 1:
        raise ValueError(
            f"tracking must be at least 1 symbol (or left out for none), got {tracking}"
        )
