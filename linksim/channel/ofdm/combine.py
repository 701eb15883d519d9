"""From the antennas' cells to one scalar channel per cell."""

from __future__ import annotations

from typing import Literal

import numpy as np

Equaliser = Literal["mrc", "zf", "mmse"]
_TINY = np.float32(1e-20)


def combine(y: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Maximum-ratio combining of antennas with noise of equal power; one antenna passes as it is.

        y = sum_r h_r* y_r / |h|,    h = |h| = sqrt(sum_r |h_r|^2): the noise power stays what it was on one antenna.

    Args:    y, h [B, R, ...] complex64.
    Returns: y, h [B, ...] complex64.
    Source:  Tse & Viswanath (2005), Sec. 3.3.1.
    """
    if y.shape[1] == 1:
        return y[:, 0], h[:, 0]
    # antenna by antenna: the order of a sum must not depend on how many frames there are
    power, matched = np.zeros(h[:, 0].shape, np.float32), np.zeros_like(y[:, 0])
    for r in range(y.shape[1]):
        power += h[:, r].real ** 2 + h[:, r].imag ** 2
        matched += np.conj(h[:, r]) * y[:, r]
    amplitude = np.sqrt(power)
    return matched / np.maximum(amplitude, _TINY), amplitude.astype(np.complex64)


def equalise(
    y: np.ndarray, h: np.ndarray, n0: np.ndarray, kind: Equaliser
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The scalar channel y = h x + w in another form; |h|^2 / n0 stays, and with it every LLR.

    "mrc":  as it is, noise of power n0 whatever the fade.
    "zf":   y / h = x + w / h. This is also the unbiased MMSE equaliser: over one scalar they are the same.
    "mmse": g y with g = h* / (|h|^2 + n0), the estimate of x of least mean squared error; h becomes its bias g h < 1.

    Args:    y, h [...] complex64; n0 [...] float32.
    Returns: y, h, n0 in that form.
    """
    if kind == "mrc":
        return y, h, n0
    power = h.real**2 + h.imag**2
    g = np.conj(h) / np.maximum(power + n0 if kind == "mmse" else power, _TINY)
    bias = (g * h).real.astype(np.complex64) if kind == "mmse" else np.ones_like(h)
    return g * y, bias, (g.real**2 + g.imag**2) * n0
