"""Gradients of a loss by channel symbols, on the backend that Keras runs on, and the update of symbols by them.

Source: Marino et al. (2018), iterative amortized inference, ICML.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from linksim.errors import RunStateError
from linksim.seeds import Seed


def slope(loss: Callable[[Any], Any], s: Any) -> Any:
    """Gradient by ``s`` of the sum of what ``loss`` gives for each picture; a constant to gradients around it.

    Args:    loss: s -> [B], in keras.ops; s: tensor [B, ...], each picture's loss depends on its own alone.
    Returns: like s.
    Raises:  RunStateError: Keras runs on another backend than TensorFlow and JAX.
    """
    import keras
    from keras import ops

    backend = keras.backend.backend()
    s = ops.stop_gradient(ops.convert_to_tensor(s))
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(s)
            value = ops.sum(loss(s))
        found = tape.gradient(value, s)
    elif backend == "jax":
        import jax

        found = jax.grad(lambda moved: ops.sum(loss(moved)))(s)
    else:
        raise RunStateError(
            f"slopes of symbols need KERAS_BACKEND=tensorflow or jax, this process has {backend}"
        )
    return ops.stop_gradient(found)


def mse_slope(net: Any, x: Any, s: Any, snr_db: Any, k: Any, noise: Any) -> Any:
    """Gradient of each frame's ln (MSE + 1) by its symbols, over a flat channel at the SNR believed.

    Args:    net: an NtsccNet; x [B,H,W,3], 0..255; s [B,h,w,symbols]; snr_db [B], believed; k [B,h,w]; noise, N(0, 1),
             like s or of one frame.
    Returns: like s. Raises: see ``slope``.
    """
    from linksim.model.ntscc import ln_mse

    return slope(lambda moved: ln_mse(x, net.through(moved, snr_db, k, noise)), s)


def updated(net: Any, x: Any, s: Any, snr_db: Any, k: Any, noise: Any) -> Any:
    """Symbols moved once by f_u, which sees the mean slope behind noise and behind its negative.

    Both slopes are in one graph: one keeps the cores busy where the other leaves them idle.

    Args, returns, raises: as ``mse_slope``; a net with blocks_u.
    """
    both = [mse_slope(net, x, s, snr_db, k, sign * noise) for sign in (1.0, -1.0)]
    return net.updated(s, (both[0] + both[1]) / 2.0, snr_db, k)


def update_noise(update: int, shape: tuple[int, ...]) -> np.ndarray:
    """What a transmitter tries its symbols against before an update, the same for all frames and in every run.

    Args: update: 0, 1, ...; shape: (h, w, symbols). Returns: N(0, 1), [1, h, w, symbols] float32.
    """
    rng = Seed.root(0).child("ntscc", "update", update).generator()
    return rng.standard_normal((1, *shape), np.float32)
