"""The stepper for JAX: a pure function of arrays; the network's own variables are read for their shapes alone.

Steps are dispatched and not waited for, several in one call where the loop hands over several batches, so that a GPU
stays busy while the host makes the next ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from linksim.model.store import variables
from linksim.train.steppers import Mover


class JaxStepper:
    """See ``Stepper``. Args: net: the network; movers: the turns of a step; ema: momentum of the moving average."""

    def __init__(self, net: Any, movers: Sequence[Mover], ema: float) -> None:
        import jax
        import jax.numpy as jnp

        self.named: dict[str, Any] = variables(net)
        self.movers = movers
        weights = list(self.named.values())
        self._rates = [_place_of_rate(mover.optimizer) for mover in movers]
        self.weights = {n: jnp.array(w.value) for n, w in self.named.items()}
        self.average = {n: jnp.array(w.value) for n, w in self.named.items()}
        self.slots = [[jnp.array(s.value) for s in m.optimizer.variables] for m in movers]

        def value(chosen, arrays, batch, loss):
            import keras

            arrays = {**arrays, **chosen}
            mapping = [(w, arrays[n]) for n, w in zip(self.named, weights, strict=True)]
            with keras.StatelessScope(state_mapping=mapping):
                return loss(net, batch)

        def step(carried, given):
            arrays, average, slots = carried
            batch, rate = given
            figures: dict[str, Any] = {}
            after = []
            for mover, own, place in zip(movers, slots, self._rates, strict=True):
                own = [rate if i == place else s for i, s in enumerate(own)]
                chosen = {path: arrays[path] for path in mover.paths}
                (_, found), gradient = jax.value_and_grad(value, has_aux=True)(
                    chosen, arrays, batch, mover.turn.loss
                )
                found = dict(found)
                state, carry = found.pop("state", {}), found.pop("carry", {})
                new, own = mover.optimizer.stateless_apply(
                    own, [gradient[p] for p in mover.paths], [chosen[p] for p in mover.paths]
                )
                moved = {
                    path: array if factor == 1.0 else chosen[path] + factor * (array - chosen[path])
                    for path, array, factor in zip(mover.paths, new, mover.factors, strict=True)
                }
                arrays = {**arrays, **moved, **state}
                batch = {**batch, **carry}
                figures |= found
                after.append(list(own))
            average = {n: ema * average[n] + (1.0 - ema) * arrays[n] for n in average}
            return (arrays, average, after), figures

        def run(carried, batches, rates):
            if len(rates) == 1:  # no loop in the compiled function
                carried, figures = step(carried, ({n: b[0] for n, b in batches.items()}, rates[0]))
                return carried, {name: jnp.reshape(f, (1,)) for name, f in figures.items()}
            return jax.lax.scan(step, carried, (batches, rates))

        self._run = jax.jit(run, donate_argnums=0)

    def steps(
        self, batches: Sequence[Mapping[str, np.ndarray]], rates: Sequence[float]
    ) -> Mapping[str, Any]:
        """See ``Stepper.steps``."""
        stacked = {name: np.stack([b[name] for b in batches]) for name in batches[0]}
        carried = (self.weights, self.average, self.slots)
        carried, figures = self._run(carried, stacked, np.asarray(rates, np.float32))
        self.weights, self.average, self.slots = carried
        return figures

    def state(self) -> dict[str, np.ndarray]:
        """See ``Stepper.state``."""
        arrays = {f"weights/{n}": np.asarray(v) for n, v in self.weights.items()}
        arrays |= {f"ema/{n}": np.asarray(v) for n, v in self.average.items()}
        for mover, own in zip(self.movers, self.slots, strict=True):
            arrays |= {mover.slot(i): np.asarray(s) for i, s in enumerate(own)}
        return arrays

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """See ``Stepper.restore``."""
        import jax.numpy as jnp

        self.weights = {n: jnp.array(state[f"weights/{n}"]) for n in self.named}
        self.average = {n: jnp.array(state[f"ema/{n}"]) for n in self.named}
        self.slots = [
            [jnp.array(state[mover.slot(i)]) for i in range(len(own))]
            for mover, own in zip(self.movers, self.slots, strict=True)
        ]


def _place_of_rate(optimizer: Any) -> int:
    return next(i for i, s in enumerate(optimizer.variables) if s is optimizer.learning_rate)
