"""What can be known of a fade from its past: the ground of outdated channel knowledge."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim.channel.motion import Motion
from linksim.seeds import FrameSeeds


@dataclass(frozen=True)
class Past:
    """A fade as it was, and what that says of it now: h = predicted + e, with e independent of h_past.

    Args:
      h:         [B, S] or [B, 1] complex, as it was.
      predicted: likewise, E[h now | h then]; its power is 1 - error.
      error:     E|e|^2.
    """

    h: np.ndarray
    predicted: np.ndarray
    error: float


def mixed(
    motion: Motion, num_symbols: int, seed: FrameSeeds, delay: int | None, rho: float | None
) -> Past:
    """The past of coefficients CN(0, 1).

    Args:
      delay: how long ago, in symbols of channel time; the correlation is then J0(2 pi f_D delay), and what was is the
             very process that leads to what is. Needs a ``doppler``.
      rho:   instead, the correlation itself, -1..1: h_past = rho h + sqrt(1 - rho^2) h', h' a fade of its own.
    Raises:  ValueError: where ``delay`` is asked of a fade that has no time.
    """
    if (delay is None) == (rho is None):
        raise ValueError(f"give either delay or rho, got {delay} and {rho}")
    if delay is not None:
        if motion.doppler is None:
            raise ValueError(
                "delay needs a channel with doppler, whose fade has a past; give rho instead"
            )
        from scipy.special import j0

        rho = float(j0(2 * np.pi * motion.doppler * delay))
        then = motion.scattered(num_symbols, seed, delay)
    else:
        assert rho is not None
        now = motion.scattered(num_symbols, seed)
        other = motion.scattered(num_symbols, seed.child("fading", "another"))
        then = np.float32(rho) * now + np.float32(np.sqrt(1 - rho**2)) * other
    return Past(then, np.float32(rho) * then, 1 - rho**2)
