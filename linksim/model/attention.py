"""Conditioned attention over windows of an embedding map: the workhorse at 1/16 resolution.

::

    t --> norm --*(1 + a(c)) + b(c)--> attention in windows --+--> norm --*(1 + a'(c)) + b'(c)--> MLP --+--> t
    |________________________________________________________|  |______________________________________|

c is a condition per embedding (SNR, rate). A map no larger than a window is attended to as a whole; on larger ones
every other block shifts its windows by half a window. Positions enter as a bias that depends on their difference.

Source: Liu et al. (2021), Swin transformer; Peebles & Xie (2023), adaptive layer norm with zeros at the start.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from linksim.model.layers import leaky


class Linear(keras.layers.Layer):
    """x W + b over the last axis, built at once.

    Args: name: full dotted name; inputs, outputs: channels; scale: variance of W times fan-in (0: zeros).
    """

    def __init__(self, name: str, inputs: int, outputs: int, scale: float = 1.0) -> None:
        super().__init__(name=name)
        self.inputs, self.outputs = inputs, outputs
        start = keras.initializers.VarianceScaling(scale, "fan_in") if scale else "zeros"
        self.kernel = self.add_weight(shape=(inputs, outputs), initializer=start, name="kernel")
        self.bias = self.add_weight(shape=(outputs,), initializer="zeros", name="bias")

    def call(self, x):
        """[..., inputs] -> [..., outputs]."""
        shape = ops.shape(x)
        flat = ops.matmul(ops.reshape(x, (-1, self.inputs)), self.kernel) + self.bias
        return ops.reshape(flat, (*shape[:-1], self.outputs))


def normalised(x):
    """Zero mean and unit variance over the last axis."""
    x = x - ops.mean(x, -1, keepdims=True)
    return x * ops.rsqrt(ops.mean(ops.square(x), -1, keepdims=True) + 1e-5)


def _offsets(window: int) -> np.ndarray:
    """[window^2, window^2] int: which entry of the bias table belongs to a pair of positions."""
    row, column = np.divmod(np.arange(window * window), window)
    down = row[:, None] - row[None] + window - 1
    right = column[:, None] - column[None] + window - 1
    return (down * (2 * window - 1) + right).astype(np.int32)


class WindowAttention(keras.layers.Layer):
    """Multi-head self-attention inside square windows.

    Args: name: full dotted name; width: channels; heads: dividing width; window: side of a window [embeddings].
    """

    def __init__(self, name: str, width: int, heads: int, window: int) -> None:
        super().__init__(name=name)
        if width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}")
        self.width, self.heads, self.window = width, heads, window
        self.qkv = Linear(f"{name}.qkv", width, 3 * width)
        self.out = Linear(f"{name}.out", width, width, scale=0.01)
        self.table = self.add_weight(
            shape=((2 * window - 1) ** 2, heads), initializer="zeros", name="table"
        )
        self._index = _offsets(window).reshape(-1)

    def call(self, x, shift: bool = False):
        """[B, h, w, C] -> [B, h, w, C]; shift: windows begin half a window earlier."""
        _, height, width, _ = x.shape
        side = self.window
        if height <= side and width <= side:
            shift = False
        before = side // 2 if shift else 0
        tall, wide = -(-(height + before) // side) * side, -(-(width + before) // side) * side
        pad = (before, tall - height - before), (before, wide - width - before)
        padded = any(p for pair in pad for p in pair)
        bias = ops.reshape(ops.take(self.table, self._index, axis=0), (side**2, side**2, -1))
        bias = ops.transpose(bias, (2, 0, 1))[None]
        if padded:
            inside = np.pad(np.ones((height, width), np.float32), pad)
            x = ops.pad(x, ((0, 0), *pad, (0, 0)))
            hidden = (1.0 - _windows_np(inside, side)) * -1e4  # [windows, side^2]
            bias = bias + ops.convert_to_tensor(hidden[:, None, None, :])
        rows, columns = tall // side, wide // side
        if rows == columns == 1:
            t = self._attend(ops.reshape(x, (-1, side * side, self.width)), bias, 1)
            t = ops.reshape(t, (-1, tall, wide, self.width))
            return t[:, :height, :width] if padded else t
        t = ops.reshape(x, (-1, rows, side, columns, side, self.width))
        t = ops.reshape(ops.transpose(t, (0, 1, 3, 2, 4, 5)), (-1, side * side, self.width))
        t = self._attend(t, bias, rows * columns)
        t = ops.reshape(t, (-1, rows, columns, side, side, self.width))
        t = ops.reshape(ops.transpose(t, (0, 1, 3, 2, 4, 5)), (-1, tall, wide, self.width))
        return t[:, before : before + height, before : before + width] if padded else t

    def _attend(self, t, bias, windows: int):
        """t [B * windows, T, C]; bias [1 or windows, heads, T, T]."""
        tokens, depth = self.window**2, self.width // self.heads
        qkv = ops.reshape(self.qkv(t), (-1, tokens, 3, self.heads, depth))
        q, k, v = ops.unstack(ops.transpose(qkv, (2, 0, 3, 1, 4)), 3)
        score = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2))) * depth**-0.5
        if bias.shape[0] == 1:
            score = score + bias
        else:
            score = ops.reshape(score, (-1, windows, self.heads, tokens, tokens)) + bias
            score = ops.reshape(score, (-1, self.heads, tokens, tokens))
        mixed = ops.transpose(ops.matmul(ops.softmax(score, -1), v), (0, 2, 1, 3))
        return self.out(ops.reshape(mixed, (-1, tokens, self.width)))


def _windows_np(x: np.ndarray, side: int) -> np.ndarray:
    """[H, W] -> [windows, side^2]."""
    rows, columns = x.shape[0] // side, x.shape[1] // side
    return x.reshape(rows, side, columns, side).transpose(0, 2, 1, 3).reshape(-1, side * side)


class Block(keras.layers.Layer):
    """Attention and MLP, both behind a norm that the condition modulates.

    Args: name; width, heads, window: see ``WindowAttention``; hidden: of the MLP; condition: channels of c;
      shift: of the windows.
    """

    def __init__(
        self,
        name: str,
        *,
        width: int,
        heads: int,
        window: int,
        hidden: int,
        condition: int,
        shift: bool,
    ) -> None:
        super().__init__(name=name)
        self.shift = shift
        self.modulation = Linear(f"{name}.modulation", condition, 4 * width, scale=0.0)
        self.attention = WindowAttention(f"{name}.attention", width, heads, window)
        self.up = Linear(f"{name}.up", width, hidden)
        self.down = Linear(f"{name}.down", hidden, width, scale=0.01)

    def call(self, t, c):
        """t [B, h, w, C], c [B, h, w, condition] -> [B, h, w, C]."""
        a0, b0, a1, b1 = ops.split(self.modulation(c), 4, axis=-1)
        t = t + self.attention(normalised(t) * (1.0 + a0) + b0, shift=self.shift)
        return t + self.down(leaky(self.up(normalised(t) * (1.0 + a1) + b1)))
