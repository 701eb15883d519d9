"""exp and log of float32 vectors, to about 1e-7 relative (polynomials of the Cephes library, S. Moshier)."""

from __future__ import annotations

import numpy as np

from linksim.phy.fast.simd import (
    add,
    as_bits,
    as_floats,
    fma,
    fmax,
    kernel,
    mul,
    nearest,
    shift_left,
    shift_right,
    splat,
    splat32,
    sub,
    to_float,
    to_int,
)


@kernel
def exp(x):
    """e^x lane by lane, for x <= 0; below -87 it stays at e^-87 (1.6e-38)."""
    x = fmax(x, splat(np.float32(-87.0)))
    n = nearest(mul(x, splat(np.float32(1.44269504))))
    # ln 2 in two parts, so that x - n ln 2 is exact
    r = fma(n, splat(np.float32(-0.693359375)), x)
    r = fma(n, splat(np.float32(2.12194440e-4)), r)
    p = splat(np.float32(1.9875691500e-4))
    p = fma(p, r, splat(np.float32(1.3981999507e-3)))
    p = fma(p, r, splat(np.float32(8.3334519073e-3)))
    p = fma(p, r, splat(np.float32(4.1665795894e-2)))
    p = fma(p, r, splat(np.float32(1.6666665459e-1)))
    p = fma(p, r, splat(np.float32(5.0000001201e-1)))
    p = add(fma(p, mul(r, r), r), splat(np.float32(1.0)))
    power = shift_left(to_int(n), splat32(np.int32(23)))  # times 2^n, in the exponent's bits
    return as_floats(add(as_bits(p), power))


@kernel
def log(x):
    """ln x lane by lane, for normal x > 0."""
    bits = as_bits(x)
    # x = 2^n m with m in sqrt(1/2)..sqrt(2)
    n = shift_right(sub(bits, splat32(np.int32(0x3F3504F3))), splat32(np.int32(23)))
    m = as_floats(sub(bits, shift_left(n, splat32(np.int32(23)))))
    r = sub(m, splat(np.float32(1.0)))
    p = splat(np.float32(7.0376836292e-2))
    p = fma(p, r, splat(np.float32(-1.1514610310e-1)))
    p = fma(p, r, splat(np.float32(1.1676998740e-1)))
    p = fma(p, r, splat(np.float32(-1.2420140846e-1)))
    p = fma(p, r, splat(np.float32(1.4249322787e-1)))
    p = fma(p, r, splat(np.float32(-1.6668057665e-1)))
    p = fma(p, r, splat(np.float32(2.0000714765e-1)))
    p = fma(p, r, splat(np.float32(-2.4999993993e-1)))
    p = fma(p, r, splat(np.float32(3.3333331174e-1)))
    square = mul(r, r)
    k = to_float(n)
    tail = fma(mul(p, r), square, mul(k, splat(np.float32(-2.12194440e-4))))
    tail = fma(square, splat(np.float32(-0.5)), tail)
    return fma(k, splat(np.float32(0.693359375)), add(r, tail))
