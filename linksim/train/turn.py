"""One turn of a step: a loss and the variables that it moves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from linksim.errors import ScenarioError
from linksim.model.store import belongs

Loss = Callable[[Any, Mapping[str, Any]], tuple[Any, dict[str, Any]]]


@dataclass(frozen=True)
class Turn:
    """Who moves, and by what.

    Args:
      loss:  ``loss(net, batch) -> (scalar, figures)``, see ``Task.loss``.
      parts: names of the parts that move; None: all.
      name:  of its optimiser's state in checkpoints; the first turn has none.
      rate:  factor of the learning rate.
      adam:  beta_1, beta_2 of Adam.
    """

    loss: Loss
    parts: tuple[str, ...] | None = None
    name: str = ""
    rate: float = 1.0
    adam: tuple[float, float] = (0.9, 0.999)


def check_names(names: Iterable[str], paths: Iterable[str], key: str) -> None:
    """Raises ScenarioError for a name that no variable lies under."""
    paths = list(paths)
    for name in names:
        if not any(belongs(path, name) for path in paths):
            parts = sorted({path.split("/")[0].split(".")[0] for path in paths})
            raise ScenarioError(f"the network has no {name!r}; its parts are {parts}", key=key)
