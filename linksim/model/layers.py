"""Layers shared by the learned transforms: conditioning on a scalar, residual blocks, pixel shuffling.

Every layer builds its variables in its constructor and is named by its full dotted path (``g_a.block8.0.conv0``), so
that the names in a weights file depend on nothing but the architecture. Keras alone, both backends.
"""

from __future__ import annotations

import keras
from keras import ops

SLOPE = 0.125  # of the leaky ReLU: a power of two, so that fixed-point arithmetic has it exactly


def leaky(x):
    """Leaky ReLU with slope ``SLOPE``."""
    return ops.leaky_relu(x, SLOPE)


def space_to_depth(x, block: int):
    """[B, H, W, C] -> [B, H/block, W/block, block*block*C]."""
    _, height, width, channels = x.shape
    x = ops.reshape(x, (-1, height // block, block, width // block, block, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, height // block, width // block, block * block * channels))


def depth_to_space(x, block: int):
    """[B, H, W, block*block*C] -> [B, H*block, W*block, C]; undoes ``space_to_depth``."""
    _, height, width, channels = x.shape
    depth = channels // (block * block)
    x = ops.reshape(x, (-1, height, width, block, block, depth))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, height * block, width * block, depth))


def hat_basis(quality, anchors: int):
    """Weights of piecewise-linear interpolation between equally spaced anchors.

    Args:
      quality: [B] float, in 0..1.
      anchors: K >= 2, at 0, 1/(K-1), ..., 1.
    Returns: phi [B, K], rows summing to 1, at most two entries not zero.
    """
    position = ops.expand_dims(quality * (anchors - 1), -1)
    return ops.maximum(0.0, 1.0 - ops.abs(position - ops.arange(anchors, dtype="float32")))


def conv(
    name: str, inputs: int, outputs: int, kernel: int, stride: int = 1, scale: float = 1.0
) -> keras.layers.Conv2D:
    """A built, zero-padded 2-D convolution with random weights of variance scale / fan-in (0: zeros)."""
    start = keras.initializers.VarianceScaling(scale, "fan_in") if scale else "zeros"
    layer = keras.layers.Conv2D(
        outputs,
        kernel,
        strides=stride,
        padding="same",
        kernel_initializer=start,
        name=name,
    )
    layer.build((None, None, None, inputs))
    return layer


class Anchored(keras.layers.Layer):
    """A vector per channel that depends on the quality: phi @ W.

    Args:
      name:     full dotted name.
      anchors:  K.
      channels: C.
      values:   initial value at each anchor, K numbers (every channel the same); zeros without.
    """

    def __init__(self, name: str, anchors: int, channels: int, values=None) -> None:
        super().__init__(name=name)
        self.table = self.add_weight(shape=(anchors, channels), initializer="zeros", name="table")
        if values is not None:
            start = ops.convert_to_tensor(values, "float32")[:, None]
            self.table.assign(ops.broadcast_to(start, (anchors, channels)))

    def call(self, phi):
        """phi [B, K] -> [B, 1, 1, C]."""
        return ops.matmul(phi, self.table)[:, None, None, :]


class PatchLinear(keras.layers.Layer):
    """A linear transform of patches, forwards or backwards: the skeleton that a deep branch adds to.

    Its matrix starts as the principal axes of image patches (``linksim.train.start``), so that training starts from
    classical transform coding. Axes and scales are kept apart: the entries of the matrix then are of one size.

    Args:
      name:     full dotted name.
      block:    side of a patch [pixels].
      channels: C, coefficients kept.
      inverse:  coefficients -> patches instead of patches -> coefficients.
    """

    def __init__(self, name: str, block: int, channels: int, *, inverse: bool) -> None:
        super().__init__(name=name)
        self.block, self.inverse = block, inverse
        size = 3 * block * block
        shape = (channels, size) if inverse else (size, channels)
        self.matrix = self.add_weight(
            shape=shape, initializer=keras.initializers.Orthogonal(), name="matrix"
        )
        self.log_scale = self.add_weight(shape=(channels,), initializer="zeros", name="log_scale")

    def call(self, x):
        """[B, H, W, 3] -> [B, H/block, W/block, C], or back."""
        if self.inverse:
            return depth_to_space(ops.matmul(x * ops.exp(self.log_scale), self.matrix), self.block)
        return ops.matmul(space_to_depth(x, self.block), self.matrix) * ops.exp(-self.log_scale)


class Modulation(keras.layers.Layer):
    """x (1 + scale(q)) + shift(q), channel by channel; the identity at the start."""

    def __init__(self, name: str, anchors: int, channels: int) -> None:
        super().__init__(name=name)
        self.scale = Anchored(f"{name}.scale", anchors, channels)
        self.shift = Anchored(f"{name}.shift", anchors, channels)

    def call(self, x, phi):
        """x [B, H, W, C], phi [B, K] -> [B, H, W, C]."""
        return x * (1.0 + self.scale(phi)) + self.shift(phi)


class Residual(keras.layers.Layer):
    """x + conv3x3(leaky(conv3x3(leaky(x)))), C -> hidden -> C. Nearly the identity at the start, so that a network can
    be trained on with more of them."""

    def __init__(self, name: str, channels: int, hidden: int) -> None:
        super().__init__(name=name)
        self.conv0 = conv(f"{name}.conv0", channels, hidden, 3)
        self.conv1 = conv(f"{name}.conv1", hidden, channels, 3, scale=0.01)

    def call(self, x):
        """[B, H, W, C] -> [B, H, W, C]."""
        return x + self.conv1(leaky(self.conv0(leaky(x))))
