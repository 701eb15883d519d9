"""The training loop: deterministic start, checkpoints, resume, CSV logs, validation, live progress."""

from __future__ import annotations

import csv
import math
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from linksim.errors import RunStateError, ScenarioError
from linksim.model.store import assign, read_arrays, variables, write_arrays
from linksim.seeds import Seed
from linksim.train.config import TrainConfig
from linksim.train.data import Mixture, load
from linksim.train.steppers import Stepper, make_stepper

CHECKPOINT = "checkpoint.npz"


def rate_at(config: TrainConfig, step: int) -> float:
    """Learning rate of a step: linear warm-up, then a cosine down to ``final_rate``."""
    warm = min(1.0, (step + 1) / max(config.warmup, 1))
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(step / config.steps, 1.0)))
    return config.learning_rate * warm * (config.final_rate + (1 - config.final_rate) * cosine)


@dataclass
class Run:
    """A training run on disk and in memory.

    Args:
      config:  what to run.
      task:    loss, batches and validation.
      net:     the network.
      stepper: its optimiser.
      images:  for validation.
      output:  folder of ``checkpoint.npz``, ``log.csv`` and ``validation.csv``.
    """

    config: TrainConfig
    task: Any
    net: Any
    stepper: Stepper
    images: np.ndarray
    output: Path
    step: int = 0
    seconds: float = 0.0  # trained so far, over all sessions

    def resume(self) -> bool:
        """Continue from the folder's checkpoint, if it has one. Raises RunStateError if it is another run's."""
        path = self.output / CHECKPOINT
        if not path.is_file():
            return False
        arrays = read_arrays(path)
        if (found := str(arrays["digest"])) != self.config.digest():
            raise RunStateError(
                f"{path} is of a run with other settings ({found}, this one is "
                f"{self.config.digest()}); give another `output`, or start from exported weights"
            )
        self.stepper.restore(arrays)
        self.step, self.seconds = int(arrays["step"]), float(arrays["seconds"])
        for name in ("log.csv", "validation.csv"):
            self._cut(self.output / name)
        return True

    def _cut(self, path: Path) -> None:
        # lines written after the checkpoint will be written again
        if path.is_file():
            lines = path.read_text().splitlines(keepends=True)
            kept = [n for n in lines[1:] if n.endswith("\n") and int(n.split(",")[0]) <= self.step]
            path.write_text("".join(lines[:1] + kept))

    def save(self) -> None:
        """Write the checkpoint."""
        facts = {
            "digest": np.array(self.config.digest()),
            "step": np.array(self.step),
            "seconds": np.array(self.seconds),
        }
        write_arrays(self.output / CHECKPOINT, self.stepper.state() | facts, compress=False)

    def averaged(self) -> dict[str, np.ndarray]:
        """The moving average of the weights, by path."""
        state = self.stepper.state()
        return {name: state[f"ema/{name}"] for name in variables(self.net)}

    def validate(self) -> list[dict[str, float]]:
        """Validate the moving average and append to ``validation.csv``."""
        state = self.stepper.state()
        assign(self.net, {n: state[f"ema/{n}"] for n in variables(self.net)})
        rows = self.task.validate(self.net, self.images)
        self.stepper.restore(state)
        for row in rows:
            append(self.output / "validation.csv", {"step": self.step} | row)
        return rows

    def train(self, until: int | None = None) -> None:
        """Go on to ``until`` (or the configured end), or to SIGTERM or SIGINT, and leave a checkpoint."""
        config, stop = self.config, Interrupt()
        until = config.steps if until is None else min(until, config.steps)
        start, done, window, began = time.time(), self.step, [], self.seconds
        with stop:
            while self.step < until and not stop.asked:
                batch = self.task.batch(self.step, self.net)
                window.append(self.stepper.step(batch, rate_at(config, self.step)))
                self.step += 1
                self.seconds = began + time.time() - start
                if self.step % config.log_every == 0:
                    mean = {k: float(np.mean([w[k] for w in window])) for k in window[0]}
                    if not math.isfinite(mean["loss"]):
                        raise RunStateError(
                            f"the loss is {mean['loss']} at step {self.step}; resume from "
                            f"{self.output / CHECKPOINT} with a lower learning_rate"
                        )
                    speed = (self.step - done) * config.batch / (time.time() - start)
                    append(self.output / "log.csv", {"step": self.step} | mean)
                    figures = " ".join(f"{k} {v:.4f}" for k, v in mean.items())
                    say(f"step {self.step}/{config.steps} {figures} {speed:.1f} images/s")
                    window = []
                if self.step % config.validate_every == 0:
                    for row in self.validate():
                        say("  " + " ".join(f"{k} {v:.4f}" for k, v in row.items()))
                if self.step % config.checkpoint_every == 0:
                    self.save()
        self.save()


class Interrupt:
    """Turns SIGTERM and SIGINT into a request to stop after the current step."""

    def __init__(self) -> None:
        self.asked = False
        self._old: dict[int, Any] = {}

    def __enter__(self) -> Interrupt:
        for number in (signal.SIGTERM, signal.SIGINT):
            self._old[number] = signal.signal(number, self._ask)
        return self

    def _ask(self, *_: object) -> None:
        self.asked = True

    def __exit__(self, *_: object) -> None:
        for number, old in self._old.items():
            signal.signal(number, old)


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a line to a CSV file, with a header if it is new."""
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row))
        if new:
            writer.writeheader()
        writer.writerow({k: f"{v:.9g}" if isinstance(v, float) else v for k, v in row.items()})


def say(text: str) -> None:
    """A line of progress, on stderr."""
    print(text, file=sys.stderr, flush=True)


def prepare(config: TrainConfig, base: Path) -> Run:
    """Load data, build the network and resume where the output folder has a checkpoint.

    Args:
      config: the recipe.
      base:   folder that its relative paths start from.
    """
    from linksim.train.ntc_task import NtcTask

    tasks = {"ntc": NtcTask}
    if config.model not in tasks:
        raise ScenarioError(
            f"model must be one of {sorted(tasks)}, got {config.model!r}", key="model"
        )
    output = base / config.output
    cache = base / config.cache if config.cache else output / "data"
    seed = Seed.root(config.seed)
    arrays = tuple(load(source, cache, seed) for source in config.train)
    mixture = Mixture(arrays, tuple(source.weight for source in config.train), seed)
    images = load(config.validation, cache, seed)[: config.validation_images]
    task = tasks[config.model](config, mixture, seed)
    net = task.network()
    if config.start_from:
        assign(net, read_arrays(base / config.start_from), what=config.start_from)
    stepper = make_stepper(
        net, task.loss, clip_norm=config.clip_norm, ema=config.ema, optimizer=config.optimizer
    )
    output.mkdir(parents=True, exist_ok=True)
    run = Run(config, task, net, stepper, images, output)
    if run.resume():
        say(f"resumed at step {run.step} after {run.seconds / 3600:.2f} h")
    return run
