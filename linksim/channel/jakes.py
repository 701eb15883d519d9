"""The Clarke process: fading of a receiver that moves through scattering from all sides.

    h(t) = sum_k sqrt(e_k) J_k(2 pi f_D t) z_k,    z_k ~ CN(0, 1) independent, e_0 = 1, else 2

By Neumann's addition theorem, J_0(x - x') = sum_k e_k J_k(x) J_k(x'), this is a Gaussian process whose autocorrelation
is J_0(2 pi f_D tau): exactly, not in the limit of many sinusoids. J_k(x) vanishes for k > x, so that a longer frame
only draws more coefficients, and begins like a shorter one.

The number of terms grows with the time passed. From x = 512, that is after 81 / f_D, one such expansion is faded into
the next over another 512, with weights cos and sin, so that the process stays Gaussian of unit power. Within the fade
the autocorrelation at a lag of x is J_0(x) cos(pi/2 x / 512), off by 0.0013 at most up to a lag of 50 and by 0.036 at
any; a frame of up to 81 / f_D is exact.

Source: Clarke, "A statistical theory of mobile-radio reception", BSTJ 47(6), 1968; Abramowitz & Stegun, 9.1.75.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from linksim.seeds import FrameSeeds

_FLAT = 512.0  # radians from its centre over which an expansion stands alone
_REACH = 2 * _FLAT  # where it has faded out
_PERIOD = _FLAT + _REACH  # from centre to centre
BLOCK = 256  # times that are computed together, whatever the frame's length, so that its bits do not depend on it


def clarke(times: np.ndarray, doppler: float, seed: FrameSeeds) -> np.ndarray:
    """Samples of the process.

    Args:
      times:   [S] int64, ascending, in symbols; may begin below 0. S is a multiple of BLOCK: what is computed together
               must not depend on where a frame ends, so the caller goes on to the next multiple and cuts.
      doppler: f_D T_s, largest Doppler shift over the symbol rate, >= 0.
      seed:    B seeds; one of them always gives the same process, whatever times are asked for.
    Returns: [B, S] complex64, CN(0, 1) at every time.
    """
    from linksim.channel.fast.bessel import accumulate

    batch, count = len(seed), len(times)
    if count % BLOCK:
        raise ValueError(f"the number of times must be a multiple of {BLOCK}, got {count}")
    h = np.zeros((batch, count), np.complex64)
    if not batch or not count:
        return h
    blocks = np.ascontiguousarray(times, np.int64).reshape(-1, BLOCK)
    pieces = [_pieces(block.tobytes(), float(doppler)) for block in blocks]
    orders: dict[int, int] = {}
    for number, _, basis in itertools.chain(*pieces):
        orders[number] = max(orders.get(number, 0), len(basis))
    drawn = {number: _coefficients(number, most, seed) for number, most in orders.items()}
    for start, found in zip(range(0, count, BLOCK), pieces, strict=True):
        for number, columns, basis in found:
            out = np.zeros((batch, basis.shape[1], 2), np.float32)
            accumulate(drawn[number], basis, out)
            h[:, start + columns] += out.view(np.complex64)[:, : len(columns), 0]
    return h


def _coefficients(number: int, orders: int, seed: FrameSeeds) -> np.ndarray:
    """sqrt(e_k) z_k of one expansion. Returns: [B, orders, 2] float32."""
    own = seed.child("fading", "expansion", number) if number else seed.child("fading")
    z = own.complex_normal(orders)
    z[:, 1:] *= np.float32(math.sqrt(2))
    return z.view(np.float32).reshape(len(seed), orders, 2)


@lru_cache(maxsize=64)
def _pieces(block: bytes, doppler: float) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """The expansions that a block of times meets.

    Returns: of each its number, the columns of the block that it reaches, and [K, C] float32, weight J_k(x), with C the
             number of columns rounded up to a multiple of 8.
    """
    from linksim.channel.fast.bessel import bessel, num_orders

    x = 2 * np.pi * doppler * np.frombuffer(block, np.int64)
    first = math.floor((x.min() - _REACH) / _PERIOD)
    found = []
    for number in range(first, math.ceil((x.max() + _REACH) / _PERIOD) + 1):
        local = x - number * _PERIOD
        columns = np.flatnonzero(np.abs(local) < _REACH)
        if not len(columns):
            continue
        local = local[columns]
        fade = np.clip((np.abs(local) - _FLAT) / _FLAT, 0, 1)
        padding = (0, -len(columns) % 8)
        local, weight = (
            np.pad(local, padding, mode="edge"),
            np.pad(np.cos(np.pi / 2 * fade), padding),
        )
        found.append((number, columns, bessel(local, weight, num_orders(np.abs(local).max()))))
    return found
