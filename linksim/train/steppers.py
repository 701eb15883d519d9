"""One optimisation step, on TensorFlow and on JAX, behind one interface.

The losses are written once, in keras.ops (see ``Task.loss``). A step is one or more turns (``Turn``): each moves its
variables by its own loss with an optimiser of its own; then the moving average of all weights follows. Variables that
are not trainable get no gradient; a loss names what they become under ``state``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from linksim.errors import RunStateError, ScenarioError
from linksim.model.store import belongs, variables
from linksim.train.config import TrainConfig
from linksim.train.turn import Turn, check_names


class Stepper(Protocol):
    """What the training loop needs of a backend."""

    def steps(
        self, batches: Sequence[Mapping[str, np.ndarray]], rates: Sequence[float]
    ) -> Mapping[str, Any]:
        """One step for each batch, with its learning rate.

        Returns: figure -> [n] values before each step, perhaps still being computed: ``np.asarray`` waits for them.
        """
        ...

    def state(self) -> dict[str, np.ndarray]:
        """Everything that the next step depends on."""
        ...

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Undo everything since ``state`` was taken."""
        ...


def make_stepper(net: Any, turns: Sequence[Turn], config: TrainConfig) -> Stepper:
    """The stepper for the backend that Keras runs on."""
    import keras

    backend = keras.backend.backend()
    if config.precision == "auto" and backend != "tensorflow":
        raise ScenarioError(
            f"auto is TensorFlow's own choice, and KERAS_BACKEND is {backend}; bfloat16 works on both",
            key="precision",
        )
    movers = [Mover(net, turn, config) for turn in turns]
    if backend == "tensorflow":
        from linksim.train.tensorflow_stepper import TensorFlowStepper

        return TensorFlowStepper(net, movers, config.ema, mixed=config.precision == "auto")
    if backend == "jax":
        from linksim.train.jax_stepper import JaxStepper

        return JaxStepper(net, movers, config.ema)
    raise RunStateError(
        f"training runs on KERAS_BACKEND=tensorflow or jax, this process has {backend}"
    )


class Mover:
    """A turn made concrete: its variables, their rate factors, and its optimiser.

    Args: net: the network; turn; config: for ``freeze``, ``rate_factors`` and the optimiser.
    """

    def __init__(self, net: Any, turn: Turn, config: TrainConfig) -> None:
        named = variables(net)
        check_names(config.freeze, named, "freeze")
        check_names(config.rate_factors, named, "rate_factors")
        self.turn = turn
        self.paths = [
            path
            for path, variable in named.items()
            if variable.trainable
            and (turn.parts is None or any(belongs(path, part) for part in turn.parts))
            and not any(belongs(path, name) for name in config.freeze)
        ]
        if not self.paths:
            raise ScenarioError("freeze leaves nothing to train", key="freeze")
        self.factors = [turn.rate * _factor(config.rate_factors, path) for path in self.paths]
        self.optimizer = _optimizer(config.optimizer, config.clip_norm, turn)
        self.optimizer.build([named[path] for path in self.paths])

    def slot(self, index: int) -> str:
        """Name in a checkpoint of one of the optimiser's variables."""
        return f"optimizer{'.' if self.turn.name else ''}{self.turn.name}/{index:04d}"


def _factor(factors: Mapping[str, float], path: str) -> float:
    fitting = [name for name in factors if belongs(path, name)]
    return factors[max(fitting, key=len)] if fitting else 1.0


def _optimizer(name: str, clip_norm: float, turn: Turn) -> Any:
    import keras

    if name == "muon":
        from linksim.train.muon import ConvMuon

        return ConvMuon(1e-3, clip_norm)
    beta_1, beta_2 = turn.adam
    return keras.optimizers.Adam(1e-3, beta_1, beta_2, global_clipnorm=clip_norm)
