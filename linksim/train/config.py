"""What a training run is: a YAML file read into a frozen, checked value."""

from __future__ import annotations

import hashlib
import json
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import yaml

from linksim.errors import ScenarioError


@dataclass(frozen=True)
class DataSource:
    """Images to train on.

    Args:
      path:   glob of tar shards or folders, relative to the assets folder (``LINKSIM_ASSETS``) or absolute.
      weight: share of a batch's images drawn from here (shares are normalised).
      crops:  0: the images are used as they are, all of one size; else how many random square crops to cut from
              them once, at random scales, resized to ``size``.
      size:   side of the crops [pixels].
    """

    path: str
    weight: float = 1.0
    crops: int = 0
    size: int = 128

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ValueError(f"weight must be above 0, got {self.weight}")
        if self.crops < 0 or self.size < 1:
            raise ValueError(f"crops must be >= 0 and size >= 1, got {self.crops} and {self.size}")


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Args:
      model:            "ntc".
      train:            sources of training images.
      validation:       source of validation images.
      validation_images: how many of them to use.
      output:           folder of checkpoints and logs (created), absolute or relative to the YAML file.
      cache:            folder of decoded images; ``output``/data without.
      seed:             root of all randomness.
      batch:            images a step.
      steps:            steps of the whole run.
      optimizer:        "adam" or "muon" (orthogonalised momentum for the kernels, Adam for the rest).
      learning_rate:    peak of Adam's step size, after ``warmup`` steps.
      final_rate:       where the cosine ends, as a share of the peak.
      warmup:           steps of linear warm-up.
      clip_norm:        largest global norm of the gradient.
      ema:              momentum of the weights' moving average (which is validated and exported).
      quality_power:    qualities are drawn as u^power, u uniform: above 1 favours low rates.
      balance:          each image's loss is divided by (lambda / 1e-3)^balance, so that rates weigh alike.
      checkpoint_every: steps between checkpoints.
      validate_every:   steps between validations.
      log_every:        steps that a line of the log averages over.
      start_from:       exported weights (.npz) to start from; random ones without.
      options:          of the architecture.
    """

    train: tuple[DataSource, ...]
    validation: DataSource
    output: str
    model: str = "ntc"
    cache: str | None = None
    validation_images: int = 64
    seed: int = 0
    batch: int = 8
    steps: int = 100_000
    optimizer: Literal["adam", "muon"] = "adam"
    learning_rate: float = 1e-3
    final_rate: float = 0.02
    warmup: int = 500
    clip_norm: float = 1.0
    ema: float = 0.999
    quality_power: float = 1.25
    balance: float = 0.45
    checkpoint_every: int = 2000
    validate_every: int = 2000
    log_every: int = 100
    start_from: str | None = None
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("train must name at least one source of images")
        for name in ("batch", "steps", "checkpoint_every", "validate_every", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in [0, 1), got {self.ema}")

    def digest(self) -> str:
        """Hash of what the loss curve depends on: a checkpoint resumes only under an equal one.

        Settings at their defaults stay out, so that a version with more settings resumes an older run.
        """
        free = ("output", "cache", "checkpoint_every", "validate_every", "validation_images")
        content = {
            item.name: value
            for item in fields(self)
            if item.name not in free and (value := asdict(self)[item.name]) != _default(item)
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if callable(item.default_factory) else item.default


def load_config(path: str | Path) -> TrainConfig:
    """Read a training recipe. Raises ScenarioError with the file and the key at fault."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

    path = Path(path)
    try:
        content = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ScenarioError(f"cannot be read: {error}", file=path) from error
    with_config(ConfigDict(extra="forbid"))(TrainConfig)
    try:
        config = TypeAdapter(TrainConfig).validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(p) for p in first["loc"])
        raise ScenarioError(
            f"{first['msg']}, got {first['input']!r}", file=path, key=key
        ) from error
    return config
