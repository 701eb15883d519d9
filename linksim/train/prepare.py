"""From a recipe to a run: data, network, weights to start from, checkpoint to go on from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from linksim.errors import LinksimError, RunStateError, ScenarioError
from linksim.seeds import Seed
from linksim.train.config import TrainConfig
from linksim.train.data import Mixture, load
from linksim.train.loop import CHECKPOINT, LOG, VALIDATION, Run, Validated
from linksim.train.origin import load_parts
from linksim.train.precision import lower_precision
from linksim.train.progress import PlainProgress, Progress
from linksim.train.steppers import make_stepper
from linksim.train.task import Task
from linksim.train.tasks import task_class


def make_task(config: TrainConfig, base: Path) -> Task:
    """The task of a recipe, with its training images. Args: base: folder that relative paths start from."""
    kind = task_class(config.model)
    cache = cache_of(config, base)
    seed = Seed.root(config.seed)
    arrays = tuple(load(source, cache, seed) for source in config.train)
    mixture = Mixture(arrays, tuple(source.weight for source in config.train), seed)
    return kind(config, mixture, seed, cache)


def cache_of(config: TrainConfig, base: Path) -> Path:
    """Folder of decoded images."""
    return base / config.cache if config.cache else base / config.output / "data"


def network_of(task: Task):
    """A task's fresh network. Raises ScenarioError for options that it does not know."""
    try:
        return task.network()
    except LinksimError:
        raise
    except (TypeError, ValueError) as error:
        raise ScenarioError(f"{task.config.model}: {error}", key="options") from error


def prepare(
    config: TrainConfig,
    base: Path,
    progress: Progress | None = None,
    validated: Validated | None = None,
) -> Run:
    """Load data, build the network and resume where the output folder has a checkpoint.

    Args:
      config:    the recipe.
      base:      folder that its relative paths start from.
      progress:  where to report to; plain lines on stderr without.
      validated: called with the output folder and the task's ``figure_axes`` after each validation.
    Raises: LinksimError: the data, the recipe, the weights to start from, or the output folder.
    """
    progress = progress or PlainProgress(config.batch)
    task = make_task(config, base)
    images = load(config.validation, task.cache, task.seed)[: config.validation_images]
    net = network_of(task)
    output = base / config.output
    fresh = not (output / CHECKPOINT).is_file()
    origin: list[dict[str, Any]] = []
    if fresh:
        if foreign := [name for name in (LOG, VALIDATION) if (output / name).is_file()]:
            raise RunStateError(
                f"{output} has {foreign[0]} but no checkpoint: it is not the folder of a run that can be resumed; "
                "give another `output`, or empty it"
            )
        loaded, origin = load_parts(net, config, base, progress.note)
        task.begin(net, loaded)
    if config.precision == "bfloat16":
        lower_precision(net, task.low_precision)
    stepper = make_stepper(net, task.turns(net), config)
    run = Run(config, task, net, stepper, images, output, progress, origin, validated)
    if fresh:
        make_folder(output)
        run.save()  # a kill before the first checkpoint resumes too, and a full disk shows now
    else:
        run.resume()
        progress.note(f"resumed at step {run.step} after {run.seconds / 3600:.2f} h")
    return run


def make_folder(path: Path) -> None:
    """Raises RunStateError if it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunStateError(f"{path} cannot be made ({error.strerror or error})") from error
