"""Muon for convolutional networks: orthogonalised momentum for kernels, Adam for everything else.

Source: Jordan et al. (2024), Muon; Liu et al. (2025), arXiv:2502.16982, whose scaling lets it share Adam's step size.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

SMALLEST_SIDE = 32  # of a matrix worth orthogonalising; tables with a row per anchor stay with Adam


class ConvMuon(keras.optimizers.Muon):
    """Keras' Muon, for kernels [k,k,in,out] too, as matrices [k k in, out]; no weight decay."""

    def __init__(self, learning_rate: float, clip_norm: float) -> None:
        super().__init__(
            learning_rate,
            global_clipnorm=clip_norm,
            weight_decay=None,
            adam_weight_decay=None,
        )

    def _should_use_adamw(self, variable: Any) -> bool:
        shape = variable.shape
        if len(shape) not in (2, 4):
            return True
        rows = _size(shape[:-1])
        return min(rows, int(shape[-1])) < SMALLEST_SIDE

    def _muon_update_step(self, gradient: Any, variable: Any, lr: Any, m: Any) -> None:
        self.assign_add(m, (gradient - m) * (1.0 - self.momentum))
        blend = gradient * (1.0 - self.momentum) + self.momentum * m if self.nesterov else m
        flat = ops.reshape(blend, (_size(variable.shape[:-1]), variable.shape[-1]))
        step = self.lr_adjust(lr * self.zeropower_via_newtonschulz5(flat, self.ns_steps))
        self.assign_sub(variable, ops.reshape(step, variable.shape))


def _size(shape: Any) -> int:
    product = 1
    for side in shape:
        product *= int(side)
    return product
