"""Export: float16 weights of a run's last checkpoint, with a model card.

What a recipe froze is not written again: the card says which file it comes from. A perceptual decoder of NTSCC is the
file of its ``g_s``, and names ``ntscc`` for the rest. Kernels that a fine-tune moved but little are written as
differences from where they started, which take fewer bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from linksim.errors import ComponentError, MissingAssetError, ScenarioError
from linksim.model.store import (
    KERNELS,
    Bits,
    assign,
    belongs,
    beside,
    load_bundle,
    read_arrays,
    root_mean_square,
    variables,
    write_bundle,
)
from linksim.train.config import TrainConfig
from linksim.train.loop import CHECKPOINT, VALIDATION, check_digest
from linksim.train.origin import history_of, sources
from linksim.train.session import by_device, read_sessions

PRIVATE = (
    "output",
    "cache",
    "start_from",
    "licence",
)  # of the recipe: paths of a machine, told elsewhere
NEAR = 0.7  # a difference's RMS over the variable's: half a bit a weight
ALIKE = 2.0**-6  # largest difference of one variable over its RMS: what rounding to six bits makes
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


def export(
    config: TrainConfig,
    base: Path,
    name: str,
    target: Path,
    history: str = "",
    bits: Bits = None,
) -> Path:
    """Write ``target/name.npz`` and ``name.json`` from a run's last checkpoint (its moving average).

    Args:
      config: the recipe.
      base:   folder that its relative paths start from.
      name:   of the weights.
      target: folder to write to.
      history: a remark on what went before this run; what it started from is told without.
      bits:   how finely kernels are rounded, see ``linksim.model.store.half``.
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
    shared, less = shared_parts(config, base, kept, arrays, target, name)
    elsewhere = [part for entry in shared for part in entry["parts"]]
    arrays = {k: v for k, v in arrays.items() if not any(belongs(k, part) for part in elsewhere)}
    scales: dict[str, float] = {}
    if bits is not None:
        scales = {path: root_mean_square(arrays[path]) for path in less}
        arrays |= {path: arrays[path] - value for path, value in less.items()}
    else:
        shared = [{k: v for k, v in entry.items() if k != "differences"} for entry in shared]
        shared = [entry for entry in shared if entry["parts"]]
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
    if shared:
        card["shared"] = shared
    path = target / f"{name}.npz"
    write_bundle(path, arrays, card, bits, scales)
    write_bundle(path, arrays, card | {"golden": type(task).golden(path)}, bits, scales)
    return path


def shared_parts(
    config: TrainConfig,
    base: Path,
    net: Any,
    arrays: Mapping[str, np.ndarray],
    target: Path,
    name: str,
) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """What a network takes from other files: what the recipe froze, where a file has it, and what others differ from.

    The file is that of the name that the run started from, in ``target`` or shipped; where it does not have what was
    frozen (any more), all of it is exported once more.

    Args:    net: what is exported; arrays: its variables by path; name: of the new file.
    Returns: entries of the card's ``shared``; path -> what a variable is written as the difference from.
    """
    entries: list[dict[str, Any]] = []
    less: dict[str, np.ndarray] = {}
    frozen = {path for path in arrays if any(belongs(path, part) for part in config.freeze)}
    moved = {path for path in arrays if path.endswith(KERNELS)} - frozen
    try:
        used = sources(net, config, base)
    except (MissingAssetError, ComponentError, ScenarioError):
        return entries, less
    for start, _, chosen in reversed(used):  # where several fill a variable, the last one counts
        own = frozen & set(chosen)
        frozen -= own
        weights = Path(start.weights).stem
        try:
            found = load_bundle(beside(target, weights))
        except (MissingAssetError, ComponentError):
            continue
        if not all(_same(found.arrays, arrays, p) for p in own):
            own = set()
        near = {path for path in moved if _near(found.arrays, arrays, path)}
        if weights == name or not (own or near):
            continue
        moved -= near
        less |= {path: found.arrays[path] for path in near}
        entries.append(
            {
                "weights": weights,
                "sha256": found.card["sha256"],
                "parts": _names(net, own),
                "parameters": int(sum(arrays[path].size for path in own)),
                **({"differences": sorted(near)} if near else {}),
            }
        )
    return entries[::-1], less


def _near(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray], path: str) -> bool:
    """Whether a variable has moved so little that its difference takes fewer bits."""
    if path not in one or one[path].shape != two[path].shape:
        return False
    return root_mean_square(two[path] - one[path]) < NEAR * root_mean_square(two[path])


def _same(one: Mapping[str, np.ndarray], two: Mapping[str, np.ndarray], path: str) -> bool:
    """Whether a variable is the same but for an export's rounding."""
    if path not in one or one[path].shape != two[path].shape:
        return False
    return bool(np.abs(one[path] - two[path]).max() <= ALIKE * root_mean_square(two[path]))


def _names(net: Any, paths: set[str]) -> list[str]:
    """Parts that lie wholly in ``paths`` by their names, the other variables by their paths."""
    names: list[str] = []
    for part, layer in net.parts.items():
        own = [w.path for w in layer.weights]
        inside = [path for path in own if path in paths]
        names += [part] if len(inside) == len(own) else inside
    return names


def origin_of(state: dict[str, Any]) -> list[dict[str, Any]]:
    """What a checkpoint says that its run started from."""
    import json

    return json.loads(str(state["origin"])) if "origin" in state else []
