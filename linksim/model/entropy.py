"""Bits that symbols cost under the models of the latents, as differentiable estimates.

The coder's integer tables (``linksim.codec.tables``) are made from the same densities.
"""

from __future__ import annotations

import keras
from keras import ops

SCALE_MIN = 0.1  # smallest standard deviation of a latent, in quantisation steps
FLOOR = 1e-9  # of a probability under the prior of z, so that its logarithm stays finite
TAIL = 1e-8  # below the probability where the Gaussian goes over into its tail formula
MIXTURE = 3  # logistic components per channel of the prior of z


RAW_MAX = 4.0  # of the network's log scale, in units of the latent's own size


def gaussian_bits(residual, scale):
    """Bits of residual = y - mu under N(0, scale^2) integrated over unit steps. Shapes equal, as is the result."""
    edge = ops.abs(residual) - 0.5  # folded: float32 keeps the precision of one tail only
    upper = ops.erfc(edge / (scale * 1.4142135623730951))
    lower = ops.erfc((edge + 1.0) / (scale * 1.4142135623730951))
    near = -ops.log2(ops.maximum(0.5 * (upper - lower), TAIL))
    # far out Q(t) ~ phi(t) / t, so that the gradient does not vanish where float32 does
    t = ops.maximum(edge / scale, 5.0)
    far = 0.7213475204444817 * t * t + ops.log2(t * 2.5066282746310002)
    return ops.where(edge < 5.2 * scale, near, far)


class MixturePrior(keras.layers.Layer):
    """Prior of z: per channel a mixture of logistics whose parameters depend on the quality.

    Args:
      name:     full dotted name.
      anchors:  K.
      channels: C.
    """

    def __init__(self, name: str, anchors: int, channels: int) -> None:
        super().__init__(name=name)
        self.logits = self._table("logits", anchors, channels, [0.0] * MIXTURE)
        self.means = self._table("means", anchors, channels, [-2.0, 0.0, 2.0])
        self.log_scales = self._table("log_scales", anchors, channels, [0.5] * MIXTURE)

    def _table(self, name: str, anchors: int, channels: int, start: list[float]):
        weight = self.add_weight(shape=(anchors, channels, MIXTURE), initializer="zeros", name=name)
        weight.assign(
            ops.broadcast_to(ops.convert_to_tensor(start, "float32"), (anchors, channels, MIXTURE))
        )
        return weight

    def call(self, z, phi):
        """Bits of each entry. Args: z [B, h, w, C] (integers, or with noise); phi [B, K]. Returns: [B, h, w, C]."""
        weight, mean, rate = (
            ops.tensordot(phi, table, 1)[:, None, None]
            for table in (self.logits, self.means, self.log_scales)
        )
        rate = ops.exp(-rate)
        centred = z[..., None] - mean
        step = ops.sigmoid((centred + 0.5) * rate) - ops.sigmoid((centred - 0.5) * rate)
        probability = ops.sum(ops.softmax(weight, -1) * step, -1)
        return -ops.log2(ops.maximum(probability, FLOOR))
