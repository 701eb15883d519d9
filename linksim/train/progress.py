"""What a training run tells while it runs; the command line has a livelier one."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Protocol


class Progress(Protocol):
    """Where a training run reports to."""

    def note(self, text: str) -> None:
        """A line worth keeping: a validation, a resumption."""
        ...

    def update(self, step: int, steps: int, figures: Mapping[str, float], speed: float) -> None:
        """Means of the figures since the last update; speed [images/s] in this session; ``steps`` to go to."""
        ...


class PlainProgress:
    """Plain lines on stderr. Args: batch: images a step, for the time left."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def note(self, text: str) -> None:
        """See ``Progress.note``."""
        print(text, file=sys.stderr, flush=True)

    def update(self, step: int, steps: int, figures: Mapping[str, float], speed: float) -> None:
        """See ``Progress.update``."""
        text = " ".join(f"{k} {v:.4f}" for k, v in figures.items())
        hours = (steps - step) * self.batch / max(speed, 1e-9) / 3600
        self.note(f"step {step}/{steps} {text} {speed:.1f} images/s {hours:.1f} h left")
