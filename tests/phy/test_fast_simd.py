"""Vector operations, exp and log of the kernels."""

from __future__ import annotations

import numpy as np

from linksim.phy.fast.lanewise import exp, log
from linksim.phy.fast.simd import (
    add_sat,
    aligned,
    kernel,
    load,
    magnitude,
    negate_where,
    store,
    sub_sat,
)


@kernel
def _functions(x, exponentials, logarithms):
    for t in range(0, x.size, 16):
        store(exponentials, t, exp(load(x, t)))
        store(logarithms, t, log(load(exponentials, t)))


@kernel
def _saturate(a, b, out):
    store(out, 0, add_sat(load(a, 0), load(b, 0)))
    store(out, 32, sub_sat(load(a, 0), load(b, 0)))
    store(out, 64, magnitude(load(a, 0)))
    store(out, 96, negate_where(load(b, 0), load(a, 0)))


def test_exp_and_log() -> None:
    x = np.concatenate([np.linspace(-80, 0, 16 * 500), -np.logspace(-8, 0, 16 * 10)])
    x = x.astype(np.float32)
    exponentials, logarithms = np.empty_like(x), np.empty_like(x)
    _functions(x, exponentials, logarithms)
    assert np.allclose(exponentials, np.exp(x.astype(float)), rtol=3e-7, atol=0)
    assert np.allclose(logarithms, np.log(exponentials.astype(float)), rtol=3e-7, atol=1e-7)


def test_sixteen_bits_saturate() -> None:
    rng = np.random.default_rng(1)
    a, b = rng.integers(-32768, 32768, (2, 32)).astype(np.int16)
    a[:4], b[:4] = (32767, -32768, -32768, 0), (1, -1, 1, -5)
    out = np.empty(128, np.int16)
    _saturate(a, b, out)
    wide, other = a.astype(int), b.astype(int)
    assert np.array_equal(out[:32], np.clip(wide + other, -32768, 32767))
    assert np.array_equal(out[32:64], np.clip(wide - other, -32768, 32767))
    assert np.array_equal(out[64:96].view(np.uint16), abs(wide))
    assert np.array_equal(out[96:], np.where(other < 0, -wide, wide).astype(np.int16))


def test_scratch_starts_on_a_cache_line() -> None:
    for dtype in (np.uint8, np.int16, np.float32):
        assert aligned(100, dtype).ctypes.data % 64 == 0
        assert aligned(100, dtype).shape == (100,)
