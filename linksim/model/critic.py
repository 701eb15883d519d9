"""A patch discriminator: tells photographs from decoded pictures, patch by patch.

    x [B,H,W,3] --> conv /2 --> conv /2 --> conv /2 --> conv --> logits [B,H/8,W/8,1]

Every convolution is divided by its spectral norm, followed by power iteration: the discriminator is Lipschitz and needs
no gradient penalty, so it trains on both backends by first derivatives alone.

Source: Isola et al. (2017), PatchGAN; Miyato et al. (2018), spectral normalisation.
"""

from __future__ import annotations

import keras
from keras import ops

from linksim.model.layers import leaky


class SpectralConv(keras.layers.Layer):
    """A convolution with a kernel of spectral norm about 1.

    Args: name: full dotted name; inputs, outputs: channels; kernel: side; stride.
    """

    def __init__(self, name: str, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__(name=name)
        self.stride, self.outputs = stride, outputs
        self.kernel = self.add_weight(
            shape=(kernel, kernel, inputs, outputs),
            initializer=keras.initializers.VarianceScaling(1.0, "fan_in"),
            name="kernel",
        )
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")
        # the leading right singular vector, as far as it is known
        self.vector = self.add_weight(
            shape=(outputs,), initializer="random_normal", trainable=False, name="vector"
        )

    def _iterate(self):
        """One power iteration. Returns: left and right singular vectors, without gradient."""
        flat = ops.stop_gradient(ops.reshape(self.kernel, (-1, self.outputs)))
        left = _unit(ops.matmul(flat, ops.stop_gradient(self.vector)[:, None]))
        right = _unit(ops.matmul(ops.transpose(flat), left))
        return left, right

    def call(self, x):
        """[B, H, W, inputs] -> [B, H/stride, W/stride, outputs]."""
        left, right = self._iterate()
        flat = ops.reshape(self.kernel, (-1, self.outputs))
        norm = ops.sum(left * ops.matmul(flat, right))
        y = ops.conv(
            x, self.kernel / norm, self.stride, padding="same", data_format="channels_last"
        )
        return y + self.bias

    def updates(self) -> dict:
        """Variable path -> its value after one more power iteration."""
        return {self.vector.path: self._iterate()[1][:, 0]}


def _unit(x):
    return x / ops.sqrt(ops.sum(ops.square(x)) + 1e-12)


class PatchCritic(keras.layers.Layer):
    """The discriminator. Args: name: of the part; width: channels behind the first convolution."""

    def __init__(self, name: str = "critic", width: int = 32) -> None:
        super().__init__(name=name)
        sizes = [(3, width, 2), (width, 2 * width, 2), (2 * width, 3 * width, 2), (3 * width, 1, 1)]
        self.convs = [
            SpectralConv(f"{name}.conv{i}", inputs, outputs, 4 if stride == 2 else 3, stride)
            for i, (inputs, outputs, stride) in enumerate(sizes)
        ]

    def call(self, x):
        """x [B,H,W,3] in -1..1 -> logits [B,H/8,W/8,1], above 0 where it looks like a photograph."""
        for conv in self.convs[:-1]:
            x = leaky(conv(x))
        return self.convs[-1](x)

    def updates(self) -> dict:
        """See SpectralConv.updates."""
        return {path: value for conv in self.convs for path, value in conv.updates().items()}
