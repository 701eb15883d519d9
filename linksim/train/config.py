"""What a training run is: a YAML file read into a frozen, checked value."""

from __future__ import annotations

import hashlib
import json
from dataclasses import Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from linksim.errors import ScenarioError
from linksim.scenario.document import Document

COUNTS = ("batch", "steps", "steps_per_call", "checkpoint_every", "validate_every", "log_every")
# what the loss curve does not depend on
FREE = (
    *("output", "cache", "checkpoint_every", "validate_every", "validation_images"),
    *("steps_per_call", "licence"),
)
# settings of sources and starts that came later, and their defaults
LATER = {"pairs": "none", "fit": False}


@dataclass(frozen=True)
class DataSource:
    """Images to train on.

    Args:
      path:   glob of tar shards or folders, relative to the assets folder (``LINKSIM_ASSETS``) or absolute.
      weight: share of a batch's images drawn from here (shares are normalised).
      crops:  0: the images are used as they are, all of one size; else how many random square crops to cut from
              them once, at random scales, resized to ``size``.
      size:   side of the crops, height of the views of pairs (twice as wide) [pixels].
      pairs:  "none"; "files": stereo pairs ``*_L``, ``*_R``; "synthetic": ``crops`` pairs made of single photographs.
    """

    path: str
    weight: float = 1.0
    crops: int = 0
    size: int = 128
    pairs: Literal["none", "files", "synthetic"] = "none"

    def __post_init__(self) -> None:
        if self.weight <= 0:
            raise ValueError(f"weight must be above 0, got {self.weight}")
        if self.crops < 0 or self.size < 1:
            raise ValueError(f"crops must be >= 0 and size >= 1, got {self.crops} and {self.size}")


@dataclass(frozen=True)
class StartFrom:
    """Exported weights that fill a network at the start of a run.

    Args:
      weights: name of shipped weights ("ntc"), or path of an exported .npz or of a run's checkpoint.npz, which alone
               has the discriminator (``parts: [critic]``), relative to the recipe.
      parts:   names of the parts taken ("g_a", "h_s.conv0"); all that both have, if none are named.
      fit:     the weights may be of a network with fewer latents or more: the leading ones are taken
               (``linksim.model.ntc.fitted``).
    """

    weights: str
    parts: tuple[str, ...] = ()
    fit: bool = False


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    Args:
      model:            a name in ``linksim.train.tasks``, or module:Class.
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
      validate_every:   steps between validations; where they are fewer than ``steps``, the last step has one too.
      log_every:        steps that a line of the log averages over.
      start_from:       exported weights to start from: a name or .npz that fills the whole network, or a list of
                        ``StartFrom`` that fill parts; random ones without.
      freeze:           parts (or layers: "g_a.block8") that stay as they are.
      rate_factors:     part or layer -> factor of its learning rate; the longest name that fits counts.
      precision:        "float32"; "bfloat16" inside the parts whose task allows it; or "auto": TensorFlow chooses the
                        products that a CPU with bfloat16 units makes faster. Weights and validation stay float32.
      steps_per_call:   steps of one call into the compiled function (JAX); a GPU is then not waited for.
      licence:          note on the data's terms, for the model card.
      options:          of the task.
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
    start_from: str | tuple[StartFrom, ...] | None = None
    freeze: tuple[str, ...] = ()
    rate_factors: dict[str, float] = field(default_factory=dict)
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    steps_per_call: int = 1
    licence: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.train:
            raise ValueError("train must name at least one source of images")
        for name in COUNTS:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, factor in self.rate_factors.items():
            if factor <= 0:
                raise ValueError(f"rate_factors.{name} must be above 0, got {factor}; or freeze it")
        if not 0 <= self.ema < 1:
            raise ValueError(f"ema must be in [0, 1), got {self.ema}")

    @property
    def starts(self) -> tuple[StartFrom, ...]:
        """``start_from`` as a list."""
        if isinstance(self.start_from, str):
            return (StartFrom(self.start_from),)
        return self.start_from or ()

    def digest(self) -> str:
        """Hash of what the loss curve depends on: a checkpoint resumes only under an equal one.

        Settings at their defaults stay out, so that a version with more settings resumes an older run.
        """
        content = {
            item.name: value
            for item in fields(self)
            if item.name not in FREE and (value := asdict(self)[item.name]) != _default(item)
        }
        starts = content.get("start_from", ())
        starts = () if isinstance(starts, str) else starts
        for entry in (*content["train"], content["validation"], *starts):
            for name, default in LATER.items():
                if entry.get(name) == default:
                    del entry[name]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _default(item: Field[Any]) -> Any:
    return item.default_factory() if callable(item.default_factory) else item.default


def load_config(path: str | Path) -> TrainConfig:
    """Read a training recipe. Raises ScenarioError with the file and the key at fault."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

    path = Path(path)
    content = Document.read(path).value
    for kind in (DataSource, StartFrom, TrainConfig):
        with_config(ConfigDict(extra="forbid"))(kind)
    try:
        config = TypeAdapter(TrainConfig).validate_python(content)
    except ValidationError as error:
        # of the forms that a key may have, the one that fitted furthest
        first = max(error.errors(), key=lambda e: len(e["loc"]))
        key = ".".join(str(p) for p in first["loc"])
        got = repr(first["input"])[:200]
        raise ScenarioError(f"{first['msg']}, got {got}", file=path, key=key) from error
    return config
