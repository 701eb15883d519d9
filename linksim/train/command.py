"""Training as a process: which backend, how many threads, one run per folder."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable
from pathlib import Path

from linksim.atomic import remove_leftovers
from linksim.errors import ScenarioError
from linksim.train.config import TrainConfig, load_config
from linksim.train.progress import Progress


def choose_backend(threads: int) -> None:
    """TensorFlow unless KERAS_BACKEND says otherwise. Call before Keras is imported. Args: threads: on a CPU."""
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if os.environ["KERAS_BACKEND"] == "tensorflow":
        from linksim import quiet

        tf = quiet.load("tensorflow")
        with contextlib.suppress(RuntimeError):  # a process that has computed keeps its threads
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(threads)


def train(
    recipe: Path,
    until: int | None = None,
    threads: int = 2,
    progress: Callable[[TrainConfig], Progress] | None = None,
    validated: Callable[[Path, tuple[str, ...]], object] | None = None,
) -> Path:
    """Train, or go on training.

    Args:
      recipe:    YAML file.
      until:     stop at this step.
      threads:   of a CPU backend.
      progress:  makes what is reported to; plain lines on stderr without.
      validated: called with the output folder and the columns to draw after each validation.
    Returns: the output folder.
    """
    from linksim.results.lock import FolderLock
    from linksim.train.prepare import make_folder, prepare

    config = load_config(recipe)
    choose_backend(threads)
    output = recipe.parent / config.output
    make_folder(output)
    lock = FolderLock(output)
    try:
        remove_leftovers(output)  # of a kill while a checkpoint was written
        report = progress(config) if progress else None
        prepare(config, recipe.parent, report, validated).train(until)
    finally:
        lock.release()
    return output


def export(
    recipe: Path, name: str, target: Path | None = None, history: str = "", bits: str = "7"
) -> Path:
    """Export a run's last checkpoint, see ``linksim.train.export``.

    Args:   target: folder; the shipped weights without. bits: how finely kernels are rounded, "7" or "7,f_e=5,f_d=5";
            "0": as float16.
    Raises: ScenarioError: a name that is not one of a file, bits that are no numbers. ComponentError: bits beyond
      1..12, or of parts that are not there.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name):
        raise ScenarioError(
            f"must be lower-case letters, digits and hyphens, got {name!r}", key="--name"
        )
    rounding = parse_bits(bits)
    config = load_config(recipe)
    choose_backend(os.cpu_count() or 1)
    from linksim.model.store import SHIPPED
    from linksim.train.export import export as write

    return write(config, recipe.parent, name, target or SHIPPED, history, rounding)


def parse_bits(text: str) -> int | dict[str, int] | None:
    """Bits as the command line has them: "7", "7,f_e=5,f_d=5" or "0". Raises: ScenarioError."""
    if text.strip() == "0":
        return None
    whole, *parts = (part.strip() for part in text.split(","))
    found = {"": whole, **dict(part.partition("=")[::2] for part in parts)}
    if len(found) <= len(parts) or not all(re.fullmatch(r"0*[1-9]\d?", n) for n in found.values()):
        raise ScenarioError(
            "must be 0 (float16 as it is), 1..12, or such a number and those of some parts, like 7,f_e=5,f_d=5; "
            f"got {text!r}",
            key="--bits",
        )
    by_part = {part: int(bits) for part, bits in found.items()}
    return by_part if parts else by_part[""]
