"""A channel's fades and noise as arrays, for training through it in any framework.

Every channel that declares no distortion is affine in x: neither h nor w depends on what is sent (laws "fade does not
depend on x or n0" and "noise does not depend on x"; "gradient in x" measures it). Silence through the channel therefore
gives w, and a training step is

    h, w, n0_eff = draws(channel, num_symbols, n0, FrameSeeds.of(step, batch))
    y = h * x + w            # keras.ops, TensorFlow, JAX: the gradient flows through x
"""

from __future__ import annotations

import numpy as np

from linksim.channel.received import fault
from linksim.errors import ComponentError
from linksim.seeds import FrameSeeds
from linksim.types import Channel


def draws(
    channel: Channel, num_symbols: int, n0: float, seed: FrameSeeds
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """h, w and n0_eff of one batch. A channel that distorts or estimates is drawn as its ``perfect()``.

    Args:    num_symbols: S. n0: linear, per complex symbol. seed: B seeds.
    Returns: h [B, S] complex64; w [B, S] complex64; n0_eff [B, S] float32.
    Raises:  ComponentError: if the channel's output has the wrong form, or it declares distortion without a
             ``perfect()``.
    """
    if getattr(channel, "distorts", "") or getattr(channel, "csi_rx", "perfect") != "perfect":
        perfect = getattr(channel, "perfect", None)
        if perfect is None:
            raise ComponentError(
                f"channel {type(channel).__name__} is not y = h x + w and offers no perfect() that is"
            )
        channel = perfect()
    silence = np.zeros((len(seed), num_symbols), np.complex64)
    received = channel(silence, n0, seed)
    problem = fault(received, silence)
    if problem:
        raise ComponentError(f"channel {type(channel).__name__}: {problem}")
    w, h, noise = received.full()
    return np.array(h), np.array(w), np.array(noise)
