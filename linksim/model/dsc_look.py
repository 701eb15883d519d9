"""What side information may add to distributed coding, each nothing at the start: weights without them can be trained
on with them."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from linksim.model.attention import Linear, normalised
from linksim.model.dsc_config import PLACES, DscConfig, coordinates, waves
from linksim.model.layers import Residual, conv, depth_to_space, leaky, space_to_depth


class Look(keras.layers.Layer):
    """A block of cross-attention at 1/8 resolution: every place asks the whole of the side information.

    ::

        h --> norm + place --> queries --> attention --(sees)--+--> norm --> MLP --+--> h
        features + place --> keys, values --^                  |                   |
        |______________________________________________________|___________________|

    Args: cfg; name: full dotted name; heads: of the attention.

    Source: Vaswani et al. (2017), attention; what asks and what answers are two pictures.
    """

    def __init__(self, cfg: DscConfig, name: str, heads: int = 4) -> None:
        super().__init__(name=name)
        width = cfg.width8
        self.width, self.heads = width, heads
        self.place = Linear(f"{name}.place", PLACES, width)
        self.query = Linear(f"{name}.query", width, width)
        self.key = Linear(f"{name}.key", width, width)
        self.value = Linear(f"{name}.value", width, width)
        self.merge = Linear(f"{name}.merge", width, width, scale=0.0)
        self.up = Linear(f"{name}.up", width, 2 * width)
        self.down = Linear(f"{name}.down", 2 * width, width, scale=0.0)

    def _heads(self, x):
        """[B,n,width] -> [B,heads,n,width/heads]."""
        depth = self.width // self.heads
        return ops.transpose(ops.reshape(x, (-1, x.shape[1], self.heads, depth)), (0, 2, 1, 3))

    def call(self, h, features, sees):
        """h, features [B,h,w,width8]; sees [B], 1 where the decoder has side information -> [B,h,w,width8]."""
        _, rows, columns, width = h.shape
        place = self.place(ops.convert_to_tensor(waves(rows, columns).reshape(1, -1, PLACES)))
        t = ops.reshape(h, (-1, rows * columns, width))
        there = ops.reshape(features, (-1, rows * columns, width))
        query = self._heads(self.query(normalised(t) + place))
        key = self._heads(self.key(normalised(there) + place))
        value = self._heads(self.value(there))
        score = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2)))
        mixed = ops.matmul(ops.softmax(score * (width // self.heads) ** -0.5, -1), value)
        mixed = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (-1, rows * columns, width))
        t = t + sees[:, None, None] * self.merge(mixed)
        t = t + self.down(leaky(self.up(normalised(t))))
        return ops.reshape(t, (-1, rows, columns, width))


class Own(keras.layers.Layer):
    """What a linear map of patches becomes where the decoder sees side information, added to what it is elsewhere.

    Of a picture whose lower half the decoder has, colours and light need few bits and single edges many: g_a scales
    what the quantiser shall heed less, and g_s undoes it. The row next to the border (``mirror``) has a map of its own.

    Args: name: full dotted name; inputs, outputs: channels of a patch; mirror: see DscConfig.

    Source: the weights of reverse water-filling, which are those of the variances given the side information: Wyner
    (1978), "The rate-distortion function for source coding with side information at the decoder - II".
    """

    def __init__(self, name: str, inputs: int, outputs: int, *, mirror: bool) -> None:
        super().__init__(name=name)
        self.mirror = mirror
        self.map = conv(f"{name}.map", (2 if mirror else 1) * inputs, outputs, 1, scale=0.0)

    def call(self, patches, sees):
        """patches [B,h,w,inputs]; sees [B], 1 where the decoder has side information -> [B,h,w,outputs]."""
        if self.mirror:
            at_border = np.zeros((1, patches.shape[1], 1, 1), np.float32)
            at_border[:, -1] = 1.0
            patches = ops.concatenate([patches, patches * at_border], -1)
        return sees[:, None, None, None] * self.map(patches)


class Seam(keras.layers.Layer):
    """The two halves of a mirrored picture put together again, and convolved across their border at 1/4 resolution.

    The cells next to the border of the picture as decoded so far lie above those of the side information as it is, so
    that an edge that runs from one into the other is one edge.

    # deviates: the paper's decoder sees side information at its coarsest resolution alone.

    Args: cfg, with ``mirror``; name: full dotted name.
    """

    ROWS = 4  # of cells, of either half

    def __init__(self, cfg: DscConfig, name: str) -> None:
        super().__init__(name=name)
        n = cfg.seam
        self.features = conv(f"{name}.features", cfg.width4, n, 1)
        self.inp = conv(f"{name}.inp", 48 + 3, n, 3)
        self.blocks = [Residual(f"{name}.block.{i}", n, n) for i in range(cfg.seam_blocks)]
        self.out = conv(f"{name}.out", n, 48, 3, scale=0.0)

    def call(self, h, pixels, now):
        """What to add, [B,H/4,W/4,48].

        Args: h [B,H/4,W/4,width4]; pixels of the SI-net (mirrored), and now, the picture so far, [B,H/4,W/4,48].
        """
        _, height, width, _ = now.shape
        rows = min(self.ROWS, height)
        upper = now[:, height - rows :]
        mirrored = depth_to_space(pixels[:, height - rows :], 4)
        lower = space_to_depth(ops.flip(mirrored, 1), 4)
        both = ops.concatenate([upper, lower], 1)
        place = ops.ones_like(both[..., :1]) * coordinates(2 * rows, width)
        side = ops.concatenate([ops.zeros_like(upper[..., :1]), ops.ones_like(lower[..., :1])], 1)
        own = self.features(leaky(h[:, height - rows :]))
        t = self.inp(ops.concatenate([both, place, side], -1))
        t = t + ops.concatenate([own, ops.zeros_like(own)], 1)
        for block in self.blocks:
            t = block(t)
        found = self.out(leaky(t))[:, :rows]
        return ops.pad(found, ((0, 0), (height - rows, 0), (0, 0), (0, 0)))
