"""One optimisation step, on TensorFlow and on JAX, behind one interface.

The loss is written once, in keras.ops: ``loss(net, batch) -> (scalar, {name: scalar})``. A stepper owns the weights,
Adam's state and the moving average, and gives them out as plain arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np

from linksim.errors import RunStateError
from linksim.model.store import variables

Loss = Callable[[Any, Mapping[str, Any]], tuple[Any, dict[str, Any]]]


class Stepper(Protocol):
    """What the training loop needs of a backend."""

    def step(self, batch: Mapping[str, np.ndarray], rate: float) -> dict[str, float]:
        """One step with learning rate ``rate``. Returns: the loss's figures before the step."""
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Undo everything since ``state`` was taken."""
        ...


def make_stepper(
    net: Any, loss: Loss, *, clip_norm: float, ema: float, optimizer: str = "adam"
) -> Stepper:
    """The stepper for the backend that Keras runs on. Args: optimizer: "adam" or "muon"."""
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        return TensorFlowStepper(net, loss, _optimizer(optimizer, clip_norm), ema)
    if backend == "jax":
        return JaxStepper(net, loss, _optimizer(optimizer, clip_norm), ema)
    raise RunStateError(
        f"training runs on KERAS_BACKEND=tensorflow or jax, this process has {backend}"
    )


def _optimizer(name: str, clip_norm: float) -> Any:
    import keras

    if name == "muon":
        from linksim.train.muon import ConvMuon

        return ConvMuon(1e-3, clip_norm)
    return keras.optimizers.Adam(1e-3, global_clipnorm=clip_norm)


class TensorFlowStepper:
    """Eager variables, one compiled function per batch shape."""

    def __init__(self, net: Any, loss: Loss, optimizer: Any, ema: float) -> None:
        import tensorflow as tf

        self.named: dict[str, Any] = variables(net)
        weights = list(self.named.values())
        self.optimizer = optimizer
        self.optimizer.build(weights)
        self.average = [tf.Variable(w.value, trainable=False) for w in weights]

        @tf.function
        def run(batch):
            with tf.GradientTape() as tape:
                value, figures = loss(net, batch)
            self.optimizer.apply(tape.gradient(value, [w.value for w in weights]), weights)
            for mean, weight in zip(self.average, weights, strict=True):
                mean.assign(ema * mean + (1.0 - ema) * weight.value)
            return figures

        self._run = run

    def step(self, batch, rate):
        """See ``Stepper.step``."""
        import tensorflow as tf

        self.optimizer.learning_rate.assign(rate)
        figures = self._run({name: tf.constant(value) for name, value in batch.items()})
        return {name: float(value) for name, value in figures.items()}

    def state(self):
        """See ``Stepper.state``."""
        arrays = {f"weights/{n}": v.numpy() for n, v in self.named.items()}
        arrays |= {f"ema/{n}": v.numpy() for n, v in zip(self.named, self.average, strict=True)}
        for i, slot in enumerate(self.optimizer.variables):
            arrays[f"optimizer/{i:04d}"] = slot.numpy()
        return arrays

    def restore(self, state):
        """See ``Stepper.restore``."""
        for (name, variable), mean in zip(self.named.items(), self.average, strict=True):
            variable.assign(state[f"weights/{name}"])
            mean.assign(state[f"ema/{name}"])
        for i, slot in enumerate(self.optimizer.variables):
            slot.assign(state[f"optimizer/{i:04d}"])


class JaxStepper:
    """Pure function of arrays; the network's own variables are only read for their shapes."""

    def __init__(self, net: Any, loss: Loss, optimizer: Any, ema: float) -> None:
        import jax
        import jax.numpy as jnp
        import keras

        self.named: dict[str, Any] = variables(net)
        weights = list(self.named.values())
        self.optimizer = optimizer
        self.optimizer.build(weights)
        slots = self.optimizer.variables
        self._rate = next(i for i, s in enumerate(slots) if s is self.optimizer.learning_rate)
        self.weights = [jnp.array(w.value) for w in weights]
        self.average = [jnp.array(w.value) for w in weights]
        self.slots = [jnp.array(s.value) for s in slots]

        def value(arrays, batch):
            with keras.StatelessScope(state_mapping=list(zip(weights, arrays, strict=True))):
                return loss(net, batch)

        @jax.jit
        def run(arrays, average, slots, batch):
            (_, figures), gradient = jax.value_and_grad(value, has_aux=True)(arrays, batch)
            arrays, slots = self.optimizer.stateless_apply(slots, gradient, arrays)
            average = [ema * m + (1.0 - ema) * w for m, w in zip(average, arrays, strict=True)]
            return arrays, average, slots, figures

        self._run = run

    def step(self, batch, rate):
        """See ``Stepper.step``."""
        self.slots[self._rate] = np.float32(rate)
        self.weights, self.average, slots, figures = self._run(
            self.weights, self.average, self.slots, dict(batch)
        )
        self.slots = list(slots)
        return {name: float(value) for name, value in figures.items()}

    def state(self):
        """See ``Stepper.state``."""
        arrays = {
            f"weights/{n}": np.asarray(v) for n, v in zip(self.named, self.weights, strict=True)
        }
        arrays |= {f"ema/{n}": np.asarray(v) for n, v in zip(self.named, self.average, strict=True)}
        return arrays | {f"optimizer/{i:04d}": np.asarray(s) for i, s in enumerate(self.slots)}

    def restore(self, state):
        """See ``Stepper.restore``."""
        import jax.numpy as jnp

        self.weights = [jnp.array(state[f"weights/{n}"]) for n in self.named]
        self.average = [jnp.array(state[f"ema/{n}"]) for n in self.named]
        self.slots = [jnp.array(state[f"optimizer/{i:04d}"]) for i in range(len(self.slots))]
