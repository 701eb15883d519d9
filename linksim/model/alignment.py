"""Finding, in a correlated picture, what belongs to a place: attention along rows, or over the whole picture."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from linksim.model.layers import conv

FAR = -30.0  # added to the score of a place outside the window


class RowAttention(keras.layers.Layer):
    """Attention along the rows of the other view of a rectified stereo pair.

    The other view is sampled twice as densely along the row as the queries are, so that shifts of half a query position
    are told apart; a shift in between comes out as a mixture, and the mean shift and the weights' spread go along.

    Args:
      name:     full dotted name.
      channels: of the queries' and the keys' input.
      dim:      of queries and keys.
      nearest, farthest: window of shifts, in samples of the other view (x_other = 2 x + shift).
    """

    def __init__(self, name: str, channels: int, dim: int, nearest: int, farthest: int) -> None:
        super().__init__(name=name)
        self.dim, self.nearest, self.farthest = dim, nearest, farthest
        self.query = conv(f"{name}.query", channels, dim, 1)
        self.key = conv(f"{name}.key", channels, dim, 1)
        self.bias = self.add_weight(
            shape=(farthest - nearest + 1,), initializer="zeros", name="bias"
        )

    def _window(self, width: int) -> tuple[np.ndarray, np.ndarray]:
        """Which sample is at which shift: [w, 2w] of 0..n-1, and whether it is inside the window."""
        shift = np.arange(2 * width)[None, :] - 2 * np.arange(width)[:, None] - self.nearest
        inside = (shift >= 0) & (shift <= self.farthest - self.nearest)
        return np.where(inside, shift, 0), inside

    def call(self, here, there, value):
        """Look up.

        Args:    here [B,h,w,C]; there [B,h,2w,C]; value [B,h,2w,D].
        Returns: [B,h,w,D+2]: the value found, the mean shift and its spread (in windows).
        """
        width = here.shape[2]
        shift, inside = self._window(width)
        score = (
            ops.matmul(self.query(here), ops.transpose(self.key(there), (0, 1, 3, 2)))
            * self.dim**-0.5
        )  # [B,h,w,2w]
        bias = ops.take(self.bias, shift, axis=0)
        weight = ops.softmax(ops.where(inside, score + bias, FAR), -1)
        # a sample outside the window counts for nothing, however uniform the scores
        weight = ops.where(inside, weight, 0.0)
        span = np.float32(self.farthest - self.nearest)
        places = ops.convert_to_tensor((shift / span).astype(np.float32))
        mean = ops.sum(weight * places, -1, keepdims=True)
        spread = ops.sum(weight * ops.square(places), -1, keepdims=True) - ops.square(mean)
        return ops.concatenate([ops.matmul(weight, value), mean, spread], -1)


class GlobalAttention(keras.layers.Layer):
    """Attention over all positions of the other picture.

    Args:
      name:     full dotted name.
      channels: of the queries' and the keys' input.
      dim:      of queries and keys.
      value:    channels looked up.
    """

    def __init__(self, name: str, channels: int, dim: int, value: int) -> None:
        super().__init__(name=name)
        self.dim = dim
        self.query = conv(f"{name}.query", channels, dim, 1)
        self.key = conv(f"{name}.key", channels, dim, 1)
        self.value = conv(f"{name}.value", channels, value, 1)

    def call(self, here, there):
        """here [B,h,w,C], there [B,h,w,C] -> [B,h,w,value]."""
        _, height, width, _ = here.shape
        count = height * width
        query = ops.reshape(self.query(here), (-1, count, self.dim))
        key = ops.reshape(self.key(there), (-1, count, self.dim))
        value = ops.reshape(self.value(there), (-1, count, self.value.filters))
        score = ops.matmul(query, ops.transpose(key, (0, 2, 1))) * self.dim**-0.5
        found = ops.matmul(ops.softmax(score, -1), value)
        return ops.reshape(found, (-1, height, width, self.value.filters))
