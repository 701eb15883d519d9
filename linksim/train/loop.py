"""The training loop: deterministic start, checkpoints, resume, CSV logs, validation. It knows no network."""

from __future__ import annotations

import csv
import json
import math
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from linksim.errors import RunStateError
from linksim.model.store import assign, read_arrays, variables, write_arrays
from linksim.train.config import TrainConfig
from linksim.train.precision import full_precision
from linksim.train.prefetch import Prefetcher
from linksim.train.progress import Progress
from linksim.train.session import device_name, read_sessions
from linksim.train.steppers import Stepper
from linksim.train.task import Task

CHECKPOINT = "checkpoint.npz"
LOG, VALIDATION = "log.csv", "validation.csv"
Validated = Callable[[Path, tuple[str, ...]], object]
AHEAD = 4  # calls that may wait for the device before the host waits for the oldest


def rate_at(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: linear warm-up, then a cosine down to ``final_rate``."""
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(step / config.steps, 1.0)))
    return config.learning_rate * warm * (config.final_rate + (1 - config.final_rate) * cosine)


@dataclass
class Run:
    """A training run on disk and in memory.

    Args:
      config:   what to run.
      task:     loss, batches and validation.
      net:      the network.
      stepper:  its optimiser.
      images:   for validation.
      output:   folder of ``checkpoint.npz``, ``log.csv`` and ``validation.csv``.
      progress: where to report to.
      origin:   cards of the weights that the run started from.
      validated: called with ``output`` and the task's ``figure_axes`` after each validation.
    """

    config: TrainConfig
    task: Task
    net: Any
    stepper: Stepper
    images: np.ndarray
    output: Path
    progress: Progress
    origin: list[dict[str, Any]] = field(default_factory=list)
    validated: Validated | None = None
    step: int = 0
    seconds: float = 0.0  # trained so far, over all sessions
    sessions: list[dict[str, Any]] = field(default_factory=list)

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if it has one. Raises RunStateError if it is another run's."""
        path = self.output / CHECKPOINT
        if not path.is_file():
            return False
        arrays = read_arrays(path)
        check_digest(path, arrays, self.config)
        self.stepper.restore(arrays)
        self.step, self.seconds = int(arrays["step"]), float(arrays["seconds"])
        self.sessions = read_sessions(arrays)
        if "origin" in arrays:
            self.origin = json.loads(str(arrays["origin"]))
        for name in (LOG, VALIDATION):
            self._cut(self.output / name)
        return True

    def _cut(self, path: Path) -> None:
        # lines written after the checkpoint will be written again
        if path.is_file():
            lines = path.read_text().splitlines(keepends=True)
            kept = [n for n in lines[1:] if n.endswith("\n") and int(n.split(",")[0]) <= self.step]
            path.write_text("".join(lines[:1] + kept))

    def save(self) -> None:
        """Write the checkpoint. Raises RunStateError: there is no room for it; the one before is as it was."""
        path = self.output / CHECKPOINT
        facts = {
            "digest": np.array(self.config.digest()),
            "step": np.array(self.step),
            "seconds": np.array(self.seconds),
            "sessions": np.array(json.dumps(self.sessions)),
            "origin": np.array(json.dumps(self.origin)),
        }
        try:
            write_arrays(path, self.stepper.state() | facts, compress=False)
        except OSError as error:
            raise RunStateError(
                f"{path} cannot be written at step {self.step} ({error.strerror or error}); the checkpoint before it "
                "is whole: make room and give the same command to resume from it"
            ) from error

    def averaged(self) -> dict[str, np.ndarray]:
        """The moving average of the weights, by path."""
        state = self.stepper.state()
        return {name: state[f"ema/{name}"] for name in variables(self.net)}

    def validate(self) -> list[dict[str, float]]:
        """Validate the moving average in float32 and append to ``validation.csv``."""
        state = self.stepper.state()
        assign(self.net, {n: state[f"ema/{n}"] for n in variables(self.net)})
        with full_precision(self.net):
            rows = self.task.validate(self.net, self.images)
        self.stepper.restore(state)
        for row in rows:
            append(self.output / VALIDATION, {"step": self.step} | row)
        return rows

    def train(self, until: int | None = None) -> None:
        """Go on to ``until`` (or the configured end), or to SIGTERM or SIGINT, and leave a checkpoint."""
        config = self.config
        until = config.steps if until is None else min(until, config.steps)
        if self.step >= until:
            return
        session = {"device": device_name(), "from": self.step, "to": self.step, "seconds": 0.0}
        self.sessions.append(session)
        start, first, began = time.monotonic(), self.step, self.seconds
        pending: deque[Any] = deque()
        window: list[dict[str, np.ndarray]] = []

        def settle(most: int) -> None:
            while len(pending) > most:
                window.append({k: np.atleast_1d(v) for k, v in pending.popleft().items()})

        def due(every: int) -> bool:
            return self.step % every == 0

        with Interrupt() as stop, Prefetcher(self._batches, self._chunks(until)) as batches:
            for chunk, made in batches:
                rates = [rate_at(config, step) for step in chunk]
                pending.append(self.stepper.steps(made, rates))
                self.step = chunk[-1] + 1
                settle(AHEAD)
                last = self.step == until or stop.asked
                if last or any(
                    map(due, (config.log_every, config.checkpoint_every, config.validate_every))
                ):
                    settle(0)
                    self._check(window)
                spent = time.monotonic() - start
                self.seconds = began + spent
                session.update(to=self.step, seconds=spent)
                if due(config.log_every):
                    mean = {
                        k: float(np.concatenate([w[k] for w in window]).mean()) for k in window[0]
                    }
                    append(self.output / LOG, {"step": self.step} | mean)
                    speed = (self.step - first) * config.batch / spent
                    self.progress.update(self.step, until, mean, speed)
                    window.clear()
                if due(config.validate_every) or config.validate_every < self.step == config.steps:
                    self._report(self.validate())
                if due(config.checkpoint_every) and not last:
                    self.save()
                if last:
                    break
        self.save()

    def _chunks(self, until: int) -> Iterator[list[int]]:
        """Steps of each call: none runs past a step at which something is written."""
        config, step = self.config, self.step
        while step < until:
            ends = [until, step + config.steps_per_call]
            for every in (config.log_every, config.checkpoint_every, config.validate_every):
                ends.append((step // every + 1) * every)
            yield list(range(step, min(ends)))
            step = min(ends)

    def _batches(self, chunk: list[int]) -> tuple[list[int], list[dict[str, np.ndarray]]]:
        return chunk, [self.task.batch(step, self.net) for step in chunk]

    def _check(self, window: list[dict[str, np.ndarray]]) -> None:
        """Raises RunStateError if a loss since the last log is not finite: a checkpoint never holds that."""
        for figures in window:
            if not np.isfinite(figures["loss"]).all():
                raise RunStateError(
                    f"the loss is {figures['loss'][~np.isfinite(figures['loss'])][0]} at or before step {self.step}; "
                    f"resume from {self.output / CHECKPOINT} with a lower learning_rate"
                )

    def _report(self, rows: list[dict[str, float]]) -> None:
        for row in rows:
            text = (f"{k} {v:.4f}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items())
            self.progress.note("  " + " ".join(text))
        if self.validated is not None:
            self.validated(self.output, self.task.figure_axes)


def check_digest(path: Path, arrays: dict[str, np.ndarray], config: TrainConfig) -> None:
    """Raises RunStateError if a checkpoint is not of this recipe."""
    if "digest" not in arrays or "step" not in arrays:
        raise RunStateError(f"{path} is not a checkpoint of a training run; give another `output`")
    if (found := str(arrays["digest"])) != config.digest():
        raise RunStateError(
            f"{path} is of a run with other settings ({found}, this one is "
            f"{config.digest()}); give another `output`, or start from exported weights"
        )


class Interrupt:
    """Turns SIGTERM and SIGINT into a request to stop after the current step; a second one stops at once."""

    def __init__(self) -> None:
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._old[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a line to a CSV file, with a header if it is new. Raises RunStateError: it cannot be written."""
    new = not path.is_file()
    try:
        with path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in row.items()})
    except OSError as error:
        raise RunStateError(
            f"{path} cannot be written ({error.strerror or error}); make room and give the same command to resume"
        ) from error
