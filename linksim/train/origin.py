"""Where a run starts from: exported weights, whole or in parts, and what their cards say went before."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linksim.errors import ComponentError, ScenarioError
from linksim.model.ntc import fitted
from linksim.model.store import Bundle, assign, belongs, load_bundle, read_arrays, variables
from linksim.train.config import StartFrom, TrainConfig
from linksim.train.turn import check_names

AVERAGE = "ema/"  # what a checkpoint calls the moving averages of a run's weights
KEPT = ("name", "network", "sha256", "steps", "images_seen", "hours", "device", "history")


def load_parts(
    net: Any, config: TrainConfig, base: Path, note: Callable[[str], None]
) -> tuple[frozenset[str], list[dict]]:
    """Fill a network as ``start_from`` says. In place.

    Args:
      net:    the network.
      config: the recipe.
      base:   folder that its relative paths start from.
      note:   takes a line on each source whose parts have variables that the network lacks: blocks that it was made
              without, say.
    Returns: names of the parts filled (wholly or partly); per source what its card says (``KEPT``), and ``parts``.
    Raises: MissingAssetError, ComponentError: the weights. ScenarioError: parts that are not there.
    """
    filled: set[str] = set()
    cards = []
    for start, bundle, chosen in sources(net, config, base):
        arrays = bundle.arrays
        if lost := _unused(net, bundle, chosen):
            note(
                f"{start.weights} has {len(lost)} variables that this network lacks, the first {lost[0]}: "
                "it starts without them (`options` say what it has)"
            )
        if start.fit:
            fresh = variables(net)
            arrays = {k: fitted(k, arrays[k], np.asarray(fresh[k].numpy())) for k in chosen}
        assign(net, arrays, what=start.weights, only=chosen)
        parts = [name for name, layer in net.parts.items() if _any(layer, chosen)]
        filled.update(parts)
        cards.append({k: bundle.card[k] for k in KEPT if k in bundle.card} | {"parts": parts})
    return frozenset(filled), cards


def sources(net: Any, config: TrainConfig, base: Path) -> list[tuple[StartFrom, Bundle, list[str]]]:
    """What ``start_from`` names: each entry, its weights, and the variables that it fills. Raises: see load_parts."""
    found = []
    for start in config.starts:
        bundle = _bundle(start.weights, base)
        chosen = _chosen(start, net, bundle, isinstance(config.start_from, str))
        found.append((start, bundle, chosen))
    return found


def _unused(net: Any, bundle: Bundle, chosen: Sequence[str]) -> list[str]:
    """Variables of the parts that a source fills which the network does not have."""
    known = variables(net)
    parts = {path.split("/")[0].split(".")[0] for path in chosen}
    return sorted(
        path
        for path in bundle.arrays
        if path not in known and any(belongs(path, part) for part in parts)
    )


def _bundle(weights: str, base: Path) -> Bundle:
    if not weights.endswith(".npz"):
        return load_bundle(weights)
    path = base / weights
    if path.with_suffix(".json").is_file():
        return load_bundle(str(path))
    arrays = read_arrays(path)
    if "step" in arrays:  # a run's checkpoint, critic and all
        averages = {k.removeprefix(AVERAGE): v for k, v in arrays.items() if k.startswith(AVERAGE)}
        return Bundle({"name": path.parent.name, "steps": int(arrays["step"])}, averages)
    return Bundle({"name": path.stem}, arrays)


def _chosen(start: StartFrom, net: Any, bundle: Bundle, whole: bool) -> list[str]:
    paths = list(variables(net))
    if whole:
        return paths
    if start.parts:
        check_names(start.parts, paths, "start_from.parts")
        chosen = [path for path in paths if any(belongs(path, part) for part in start.parts)]
        if missing := [path for path in chosen if path not in bundle.arrays]:
            raise ComponentError(f"{start.weights} has no {missing[0]}, which start_from asks for")
        return chosen
    if shared := [path for path in paths if path in bundle.arrays]:
        return shared
    raise ScenarioError(f"{start.weights} shares no part with this network", key="start_from")


def _any(layer: Any, chosen: list[str]) -> bool:
    own = {weight.path for weight in layer.weights}
    return any(path in own for path in chosen)


def history_of(cards: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The chain of weights behind a run, the oldest first, from the cards of what it started from.

    What several of them have behind them is told once.
    """
    chain: list[dict[str, Any]] = []
    for card in cards:
        before = card.get("history") or []
        chain += before if isinstance(before, list) else [{"note": before}]
        chain.append({k: v for k, v in card.items() if k != "history"})
    seen: dict[str, dict[str, Any]] = {}
    for link in chain:
        seen.setdefault(link.get("sha256") or repr(sorted(link.items())), link)
    return list(seen.values())
