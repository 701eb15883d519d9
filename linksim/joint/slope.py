"""Gradients of a loss by channel symbols, on the backend that Keras runs on."""

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


def update_noise(update: int, shape: tuple[int, ...]) -> np.ndarray:
    """What a transmitter tries its symbols against before an update, the same for all frames and in every run.

    Args: update: 0, 1, ...; shape: (h, w, symbols). Returns: N(0, 1), [1, h, w, symbols] float32.
    """
    rng = Seed.root(0).child("ntscc", "update", update).generator()
    return rng.standard_normal((1, *shape), np.float32)
