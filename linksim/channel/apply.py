"""The one place where noise is added: what an author of a flat channel needs."""

from __future__ import annotations

import math

import numpy as np

from linksim.seeds import FrameSeeds
from linksim.types import Received


def faded(x: np.ndarray, h: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
    """y = h x + w with w ~ CN(0, n0), drawn from ``seed.child("noise")``.

    The noise has the power asked for, whatever x and h are: it is never scaled by the power that a batch or a fade
    happens to have. A longer frame begins with the noise of a shorter one, so systems of different lengths meet the
    same channel.

    Args:
      x:    [B, S] complex64, E|x|^2 = 1.
      h:    [B, S] or [B, 1] complex, E|h|^2 = 1, made of draws from ``seed.child("fading")``.
      n0:   noise power per complex symbol, linear, >= 0.
      seed: B seeds.
    Returns: Received, complex64.
    Raises:  ValueError: on shapes that do not fit or a noise power that is negative or NaN.
    """
    check_input(x, n0, seed)
    h = np.asarray(h, np.complex64)
    if h.shape not in ((len(x), x.shape[1]), (len(x), 1)):
        raise ValueError(f"h must be [{len(x)}, {x.shape[1]}] or [{len(x)}, 1], got {h.shape}")
    y = h * np.asarray(x, np.complex64)
    if n0 > 0:
        y += np.float32(math.sqrt(n0)) * seed.child("noise").complex_normal(x.shape[1])
    return Received(y, h, np.asarray(n0, np.float32))


def check_input(x: np.ndarray, n0: float, seed: FrameSeeds) -> None:
    """Raise ValueError unless x is [B, S] with B seeds and n0 is a finite number >= 0."""
    if x.ndim != 2:
        raise ValueError(f"x must be [B, S], got {x.shape}")
    if len(seed) != len(x):
        raise ValueError(f"x has {len(x)} frames but there are {len(seed)} seeds")
    if not (n0 >= 0 and math.isfinite(n0)):
        raise ValueError(f"n0 must be a finite number >= 0, got {n0}")
