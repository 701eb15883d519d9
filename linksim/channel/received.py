"""What a receiver counts on in a channel's output, checked at one place for the laws and for the link."""

from __future__ import annotations

from typing import Any

import numpy as np

from linksim.types import Received


def fault(received: Any, x: np.ndarray) -> str | None:
    """What is wrong with the output of a channel that was sent ``x``.

    Args:    x: [B, S] complex64.
    Returns: one line, or None where shapes, types and values are as types.Received says.
    """
    if not isinstance(received, Received):
        return f"returned {type(received).__name__}; return linksim.types.Received"
    for name, array, shapes in (
        ("y", received.y, (x.shape,)),
        ("h", received.h, (x.shape, (len(x), 1))),
    ):
        if not isinstance(array, np.ndarray) or array.dtype != np.complex64:
            return f"{name} is {getattr(array, 'dtype', type(array).__name__)}, must be complex64"
        if array.shape not in shapes:
            wanted = " or ".join(map(str, dict.fromkeys(shapes)))
            return f"{name} has shape {array.shape}, must be {wanted}"
        if not np.isfinite(array).all():
            return f"{name} has {np.count_nonzero(~np.isfinite(array))} values not finite"
    return _noise_fault(received.n0_eff, x)


def _noise_fault(n0_eff: Any, x: np.ndarray) -> str | None:
    try:
        n0 = np.asarray(n0_eff)
    except Exception:
        return f"n0_eff is {type(n0_eff).__name__}, must be float32"
    if n0.dtype != np.float32 and not isinstance(n0_eff, float | int):
        return f"n0_eff is {n0.dtype}, must be float32"
    if n0.shape not in ((), x.shape, (len(x), 1)):
        return f"n0_eff has shape {n0.shape}, must be a scalar, {x.shape} or {(len(x), 1)}"
    if not (np.isfinite(n0).all() and (n0 >= 0).all()):
        return "n0_eff has values that are negative or not finite"
    return None
