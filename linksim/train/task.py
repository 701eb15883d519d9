"""What a training task is: the one thing that the loop, the steppers and the export know about a network."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from linksim.model.store import HasParts
from linksim.seeds import Seed
from linksim.train.config import TrainConfig
from linksim.train.data import Mixture
from linksim.train.turn import Turn


@dataclass(frozen=True)
class Task(ABC):
    """What is optimised and what is reported. A network's task is one subclass, named in ``linksim.train.tasks``.

    Args:
      config: of the run; ``config.options`` is the task's own.
      images: to train on.
      seed:   root of all draws.
      cache:  folder for what is computed once from the images.
    """

    config: TrainConfig
    images: Mixture
    seed: Seed
    cache: Path

    # columns of validation.csv that its figure shows: abscissa, ordinate, and what tells curves apart, if anything
    figure_axes: ClassVar[tuple[str, ...]] = ("step", "loss")
    # parts whose inner layers may compute in bfloat16
    low_precision: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def network(self) -> Any:
        """A fresh network with ``parts``; its variables are drawn from ``seed`` alone."""

    def begin(self, net: Any, loaded: frozenset[str]) -> None:  # noqa: B027, most need nothing
        """Set what depends on data, once, at the start of a run and after ``start_from``. In place.

        Args:
          net:    the network.
          loaded: names of the parts that ``start_from`` has filled.
        """

    @abstractmethod
    def batch(self, step: int, net: Any) -> dict[str, np.ndarray]:
        """Everything random about a step: a function of (seed, step). May run in another thread."""

    @abstractmethod
    def loss(self, net: Any, batch: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The scalar to minimise and the figures to log, in keras.ops.

        Returns: the scalar; name -> scalar, ``loss`` among them. Two names are special: ``state`` holds new values of
          variables that are not trainable (path -> tensor), ``carry`` tensors that later turns find in their batch.
        """

    def turns(self, net: Any) -> tuple[Turn, ...]:
        """Who is optimised in a step, one after the other. By default everything by ``loss``."""
        return (Turn(self.loss),)

    @abstractmethod
    def validate(self, net: Any, images: np.ndarray) -> list[dict[str, float]]:
        """Rows of ``validation.csv``: figures of the network in use, on [N, H, W, 3] uint8."""

    # ------------------------------------------------------------------------------------------- for the export

    def architecture(self, net: Any) -> dict[str, Any]:
        """What the network is built from, for the card."""
        return asdict(net.cfg)

    def exported(self, net: Any) -> HasParts:
        """The network whose parts are exported: all but what only training needs."""
        return net

    @property
    def validation_note(self) -> str:
        """What the card's validation rows are."""
        return f"first {self.config.validation_images} images of {self.config.validation.path}"

    @staticmethod
    def golden(path: Path) -> list[dict[str, Any]]:
        """What the exported weights must give on any machine, for the card. Args: path: of the .npz."""
        raise NotImplementedError

    @classmethod
    def differences(cls, path: Path, golden: list[dict[str, Any]]) -> list[str]:
        """Where the weights no longer give their golden outputs, one line each. Numbers may differ by 1 % or 0.1."""
        return list(_differences(cls.golden(path), golden, "golden"))


def _differences(now: Any, then: Any, where: str):
    if isinstance(then, Mapping):
        if set(now) != set(then):
            yield f"{where}: {sorted(now)} instead of {sorted(then)}"
            return
        for key in then:
            yield from _differences(now[key], then[key], f"{where}.{key}")
    elif isinstance(then, list):
        if len(now) != len(then):
            yield f"{where}: {len(now)} entries instead of {len(then)}"
            return
        for i, (a, b) in enumerate(zip(now, then, strict=True)):
            yield from _differences(a, b, f"{where}[{i}]")
    elif isinstance(then, float):
        if not abs(now - then) <= max(0.1, 0.01 * abs(then)):
            yield f"{where}: {now} instead of {then}"
    elif now != then:
        yield f"{where}: {now!r} instead of {then!r}"
