"""Laws for training through a channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from linksim.channel.lawbook.bench import Bench
from linksim.laws import Broken, NotApplicable, Outcome

_FRAMES, _STEP, _TOLERANCE = 4, 1e-2, 1e-2


def gradient(bench: Bench) -> Outcome:
    """dy/dx as training uses it is dy/dx as the channel has it."""
    if getattr(bench.channel, "differentiable", False):
        return _of_tensor(bench)
    if bench.imperfect:
        raise NotApplicable(f"declares {bench.imperfect}, and does not claim `differentiable`")
    return _affine(bench)


def _affine(bench: Bench) -> Outcome:
    """y(x + d) - y(x) = h d for any d: h and w drawn once give y = h x + w in any framework."""
    x, seeds = bench.x(_FRAMES), bench.seeds(_FRAMES)
    step = bench.seeds(_FRAMES, "step").complex_normal(bench.symbols)
    base, moved = bench.send(x, bench.n0, seeds), bench.send(x + step, bench.n0, seeds)
    slope = moved.y.astype(np.complex128) - base.y - base.h * step.astype(np.complex128)
    worst = float(np.abs(slope).max())
    text = "largest |y(x + d) - y(x) - h d|: affine in x, so dy/dx is h (channel/draws.py)"
    return worst < 1e-4, worst, 0.0, text


def _of_tensor(bench: Bench) -> Outcome:
    """The twin ``tensor`` gives what the channel gives, and its gradient is that of finite differences."""
    tensor = getattr(bench.channel, "tensor", None)
    if tensor is None:
        raise Broken("claims `differentiable` and has no method tensor(x, n0, seed)")
    x, seeds = bench.x(_FRAMES), bench.seeds(_FRAMES)
    direction = bench.seeds(_FRAMES, "step").complex_normal(bench.symbols)
    weights = bench.seeds(_FRAMES, "weights").complex_normal(bench.symbols).astype(np.complex128)

    def loss(at: np.ndarray) -> float:
        y = bench.send(at.astype(np.complex64), bench.n0, seeds).y
        return float((weights.conj() * y).real.sum())

    along, values = _autodiff(tensor, x, bench.n0, seeds, weights, direction)
    plain = bench.send(x, bench.n0, seeds).y
    off = float(np.abs(values - plain).max())
    if off > 1e-3:
        raise Broken(f"tensor(x) differs from the channel's own y by up to {off:.3g}")
    difference = (loss(x + _STEP * direction) - loss(x - _STEP * direction)) / (2 * _STEP)
    scale = float(np.sqrt((np.abs(weights) ** 2).sum() * (np.abs(direction) ** 2).mean()))
    relative = abs(along - difference) / max(scale, 1e-30)
    text = f"autodiff of tensor() against finite differences {difference:.4g} (+-{_TOLERANCE:g} of the scale)"
    return relative <= _TOLERANCE, along, difference, text


def _autodiff(
    tensor: Any, x: np.ndarray, n0: float, seeds: Any, weights: np.ndarray, direction: np.ndarray
) -> tuple[float, np.ndarray]:
    """Derivative of Re<weights, y> along ``direction``, and y, by TensorFlow."""
    import tensorflow as tf

    real, imag = tf.Variable(x.real.copy()), tf.Variable(x.imag.copy())
    with tf.GradientTape() as tape:
        y = tensor(tf.complex(real, imag), n0, seeds)
        y = y[0] if isinstance(y, tuple) else y
        total = tf.reduce_sum(tf.math.real(tf.constant(weights.conj(), tf.complex64) * y))
    grads = tape.gradient(total, [real, imag])
    if any(g is None for g in grads):
        raise Broken("no gradient flows from tensor(x) to x")
    along = float((grads[0].numpy() * direction.real + grads[1].numpy() * direction.imag).sum())
    return along, y.numpy()
