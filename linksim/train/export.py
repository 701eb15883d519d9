"""Export: float16 weights of a run's last checkpoint, with a model card."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from linksim.errors import MissingAssetError
from linksim.model.store import assign, read_arrays, variables, write_bundle
from linksim.train.config import TrainConfig
from linksim.train.loop import CHECKPOINT, VALIDATION, check_digest
from linksim.train.origin import history_of
from linksim.train.session import by_device, read_sessions

PRIVATE = (
    "output",
    "cache",
    "start_from",
    "licence",
)  # of the recipe: paths of a machine, told elsewhere
NO_LICENCE = "The recipe states no licence; the terms of the training data apply."


def validation(folder: Path, step: int) -> list[dict[str, float]]:
    """The last validation at or before a step."""
    path = folder / VALIDATION
    if not path.is_file():
        return []
    header, *lines = [line.split(",") for line in path.read_text().splitlines()]
    rows = [dict(zip(header, map(_number, line), strict=True)) for line in lines]
    steps = [row["step"] for row in rows if row["step"] <= step]
    return [row for row in rows if steps and row["step"] == max(steps)]


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


def export(config: TrainConfig, base: Path, name: str, target: Path, history: str = "") -> Path:
    """Write ``target/name.npz`` and ``name.json`` from a run's last checkpoint (its moving average).

    Args:
      config: the recipe.
      base:   folder that its relative paths start from.
      name:   of the weights.
      target: folder to write to.
      history: a remark on what went before this run; what it started from is told without.
    Returns: the path of the weights.
    Raises: MissingAssetError: no checkpoint. RunStateError: it is another run's. ComponentError: too large, or not
      finite.
    """
    from linksim.train.data import digest
    from linksim.train.prepare import make_task, network_of

    checkpoint = base / config.output / CHECKPOINT
    if not checkpoint.is_file():
        raise MissingAssetError(f"no checkpoint at {checkpoint}; train first")
    state = read_arrays(checkpoint)
    check_digest(checkpoint, state, config)
    task = make_task(config, base)
    net = network_of(task)
    arrays = {n.removeprefix("ema/"): v for n, v in state.items() if n.startswith("ema/")}
    assign(net, arrays, what=checkpoint.name)
    kept = task.exported(net)
    arrays = {path: arrays[path] for path in variables(kept)}
    step, seconds = int(state["step"]), float(state["seconds"])
    origin = origin_of(state)
    recipe = {k: v for k, v in asdict(config).items() if k not in PRIVATE}
    card = {
        "name": name,
        "network": config.model,
        "architecture": task.architecture(net),
        "steps": step,
        "images_seen": step * config.batch,
        "hours": round(seconds / 3600, 2),
        "device": by_device(read_sessions(state), seconds),
        "command": "linksim train RECIPE.yaml && linksim export RECIPE.yaml --name " + name,
        "recipe": recipe,
        "started_from": [{k: v for k, v in card.items() if k != "history"} for card in origin],
        "history": history_of(origin) + ([{"note": history}] if history else []),
        "data": [{"path": s.path, "sha256": digest(s)} for s in (*config.train, config.validation)],
        "validation": validation(base / config.output, step),
        "validation_note": task.validation_note,
        "licence": config.licence or NO_LICENCE,
    }
    path = target / f"{name}.npz"
    write_bundle(path, arrays, card)
    write_bundle(path, arrays, card | {"golden": type(task).golden(path)})
    return path


def origin_of(state: dict[str, Any]) -> list[dict[str, Any]]:
    """What a checkpoint says that its run started from."""
    import json

    return json.loads(str(state["origin"])) if "origin" in state else []
