"""The stepper for TensorFlow: eager variables, one compiled function per batch shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from linksim.model.store import variables
from linksim.train.steppers import Mover

MIXED = "auto_mixed_precision_onednn_bfloat16"


class TensorFlowStepper:
    """See ``Stepper``.

    Args:
      net:    the network.
      movers: the turns of a step.
      ema:    momentum of the moving average.
      mixed:  let TensorFlow's graph optimiser compute products in bfloat16 where it deems that safe. It does so on CPUs
              with the instructions for it, and for the whole process.
    """

    def __init__(
        self, net: Any, movers: Sequence[Mover], ema: float, *, mixed: bool = False
    ) -> None:
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({MIXED: mixed})
        self.named: dict[str, Any] = variables(net)
        self.movers = movers
        weights = list(self.named.values())
        self.average = [tf.Variable(w.value, trainable=False) for w in weights]

        @tf.function
        def run(batch):
            figures: dict[str, Any] = {}
            for mover in movers:
                chosen = [self.named[path] for path in mover.paths]
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch([w.value for w in chosen])
                    value, found = mover.turn.loss(net, batch)
                found = dict(found)
                state, carry = found.pop("state", {}), found.pop("carry", {})
                gradient = tape.gradient(value, [w.value for w in chosen])
                before = _before(mover, chosen)
                mover.optimizer.apply(gradient, chosen)
                for i, old in before.items():
                    chosen[i].assign(old + mover.factors[i] * (chosen[i].value - old))
                for path, new in state.items():
                    self.named[path].assign(new)
                batch = {**batch, **carry}
                figures |= found
            for mean, weight in zip(self.average, weights, strict=True):
                mean.assign(ema * mean + (1.0 - ema) * weight.value)
            return figures

        self._run = run

    def steps(
        self, batches: Sequence[Mapping[str, np.ndarray]], rates: Sequence[float]
    ) -> Mapping[str, Any]:
        """See ``Stepper.steps``."""
        import tensorflow as tf

        rows = []
        for batch, rate in zip(batches, rates, strict=True):
            for mover in self.movers:
                mover.optimizer.learning_rate.assign(rate)
            rows.append(self._run({name: tf.constant(value) for name, value in batch.items()}))
        return {name: [row[name] for row in rows] for name in rows[0]}

    def state(self) -> dict[str, np.ndarray]:
        """See ``Stepper.state``."""
        arrays = {f"weights/{n}": v.numpy() for n, v in self.named.items()}
        arrays |= {f"ema/{n}": v.numpy() for n, v in zip(self.named, self.average, strict=True)}
        for mover in self.movers:
            for i, slot in enumerate(mover.optimizer.variables):
                arrays[mover.slot(i)] = slot.numpy()
        return arrays

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """See ``Stepper.restore``."""
        for (name, variable), mean in zip(self.named.items(), self.average, strict=True):
            variable.assign(state[f"weights/{name}"])
            mean.assign(state[f"ema/{name}"])
        for mover in self.movers:
            for i, slot in enumerate(mover.optimizer.variables):
                slot.assign(state[mover.slot(i)])


def _before(mover: Mover, chosen: list[Any]) -> dict[int, Any]:
    """Copies of the variables whose rate has a factor: by their place."""
    import tensorflow as tf

    return {
        i: tf.identity(chosen[i].value) for i, factor in enumerate(mover.factors) if factor != 1.0
    }
