"""Finding, in a correlated picture, what belongs to a place: attention along rows, or over the whole picture."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from linksim.model.layers import conv

FAR = -30.0  # added to the score of a place outside the window
AROUND = 5  # side of the window in which ``RowFit`` compares [cells of 4 pixels]
SHARPNESS = (
    600.0  # its factor at the start: a mean squared difference of 0.005 of the range counts 3 nats
)


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

    def call(self, here, there, value, more=None):
        """Look up.

        Args:    here [B,h,w,C]; there [B,h,2w,C]; value [B,h,2w,D]; more [B,h,w,2w], to add to the scores.
        Returns: [B,h,w,D+2]: the value found, the mean shift and its spread (in windows).
        """
        width = here.shape[2]
        shift, inside = self._window(width)
        score = (
            ops.matmul(self.query(here), ops.transpose(self.key(there), (0, 1, 3, 2)))
            * self.dim**-0.5
        )  # [B,h,w,2w]
        if more is not None:
            score = score + more
        bias = ops.take(self.bias, shift, axis=0)
        weight = ops.softmax(ops.where(inside, score + bias, FAR), -1)
        # a sample outside the window counts for nothing, however uniform the scores
        weight = ops.where(inside, weight, 0.0)
        span = np.float32(self.farthest - self.nearest)
        places = ops.convert_to_tensor((shift / span).astype(np.float32))
        mean = ops.sum(weight * places, -1, keepdims=True)
        spread = ops.sum(weight * ops.square(places), -1, keepdims=True) - ops.square(mean)
        return ops.concatenate([ops.matmul(weight, value), mean, spread], -1)


class RowFit(keras.layers.Layer):
    """How well the other view of a stereo pair, shifted, fits what is known of this one: block matching as a score.

    The squared difference of 4x4 means over a window of ``AROUND`` x ``AROUND`` cells, times a learned factor. It needs
    no training to find a shift; the attention's features add to it what a first guess of the picture lacks.

    Source: Ayzik & Avidan (2020), DSIN: the side information's patches found by the decoder's first reconstruction.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        start = keras.initializers.Constant(float(np.log(SHARPNESS)))
        self.log_factor = self.add_weight(shape=(1,), initializer=start, name="log_factor")

    def call(self, guess, pixels):
        """guess [B,h,w,48], pixels [B,h,2w,48] of every second column, both around 0 -> score [B,h,w,2w] <= 0."""
        here = _around(_means(guess), 1)
        there = _around(_means(pixels), 2)
        norms = (
            ops.sum(ops.square(here), -1)[..., None] + ops.sum(ops.square(there), -1)[:, :, None]
        )
        error = norms - 2.0 * ops.matmul(here, ops.transpose(there, (0, 1, 3, 2)))
        error = ops.stop_gradient(ops.maximum(error, 0.0) / here.shape[-1])
        return -ops.exp(self.log_factor) * error


def _means(pixels):
    """[B,h,w,48] of 4x4 pixels -> [B,h,w,3]."""
    _, height, width, _ = pixels.shape
    return ops.mean(ops.reshape(pixels, (-1, height, width, 16, 3)), 3)


def _around(x, step: int):
    """The cells around each, ``step`` apart along rows: [B,h,w,C] -> [B,h,w,AROUND^2 C]; mirrored at the edges."""
    _, height, width, _ = x.shape
    reach = AROUND // 2
    rows, columns = reach, step * reach
    wide = ops.pad(x, ((0, 0), (rows, rows), (columns, columns), (0, 0)), "symmetric")
    return ops.concatenate(
        [
            wide[:, r : r + height, c : c + width]
            for r in range(2 * rows + 1)
            for c in range(0, 2 * columns + 1, step)
        ],
        -1,
    )


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
