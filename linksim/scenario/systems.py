"""System entries of a scenario: from `vvc` to the whole specification of a system."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from linksim import registry
from linksim.errors import LinksimError
from linksim.scenario.components import Locate, check, component_class
from linksim.scenario.document import KeyPath
from linksim.scenario.sweep import Believed, SweepError

# The key of an entry that overrides the axis of this name.
BELIEVED = "snr_amc_db"

# The parameter of a system class that holds its coder -> the system that a bare coder stands for.
_SLOTS = {"codec": "separated", "joint": "joint"}


@dataclass(frozen=True)
class SystemEntry:
    """One entry of ``systems``.

    Args:
      label: how tables and figures call it.
      spec:  what ``registry.create("systems", spec)`` takes; the coder in its slot as a mapping.
      origin: path in the spec -> path in the entry, where they differ.
      believed: Es/N0 that its transmitter takes the channel for, where that is not what the axis says.
    """

    label: str
    spec: dict[str, Any]
    origin: Mapping[KeyPath, KeyPath] = field(default_factory=dict)
    believed: Believed | None = None

    def written_at(self, path: KeyPath) -> KeyPath:
        """Where in the entry a path of the spec was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origin:
                return (*self.origin[path[:length]], *path[length:])
        return path


def read(entry: Mapping[str, Any], folder: Path, error: Locate) -> SystemEntry:
    """Resolve an entry.

    Args:   error: makes the error for a key path below the entry.
    Raises: ScenarioError.
    """
    given = dict(entry)
    label, name, plugin = (given.pop(key, None) for key in ("label", "name", "plugin"))
    believed = _believed(given, error)
    if name is not None and plugin is not None:
        raise error((), "is given by `name` or by `plugin`, got both; keep one")
    coder: dict[str, Any] = {}
    origin: dict[KeyPath, KeyPath] = {}
    if plugin is not None:
        head = {"plugin": plugin}
        slot = next((s for s in _SLOTS if s in given), None)
    else:
        system, slot = _look_up(name, given, error)
        head = {"name": system}
        if slot is not None and name is not None and name != system:
            coder, origin[slot, "name"] = {"name": name}, ("name",)
    if slot is not None:
        coder = _merge(coder, given.pop(slot, {}), slot, error)
        _route(given, head, coder, slot, origin, folder, error)
    label = label or name or (str(plugin).rpartition(":")[2] if plugin else _coder_name(coder))
    spec = {**head, **({slot: coder} if slot else {}), **given}
    return SystemEntry(label, spec, origin, believed)


def _believed(given: dict[str, Any], error: Locate) -> Believed | None:
    """Takes ``snr_amc_db`` out of an entry: one value for this system alone."""
    if BELIEVED not in given:
        return None
    try:
        found = Believed.read(given.pop(BELIEVED))
    except SweepError as problem:
        raise error((BELIEVED, *problem.path), str(problem)) from problem
    if len(found.absolute or found.offsets) != 1:
        raise error(
            (BELIEVED,), "of one system is a single value; to sweep it use the axis snr_amc_db"
        )
    return found


def _look_up(name: str | None, given: Mapping[str, Any], error: Locate) -> tuple[str, str | None]:
    """The system that an entry stands for, and the slot of its coder."""
    if name is None:
        for slot, system in _SLOTS.items():
            if slot in given:
                return system, slot
        raise error((), f"needs a `name`, `plugin`, `codec` or `joint`, got {dict(given)!r}")
    if name in registry.entries("systems"):
        return name, next((s for s, system in _SLOTS.items() if system == name or s in given), None)
    for slot, system in _SLOTS.items():
        if name in registry.entries(f"{slot}s"):
            return system, slot
    known = [n for kind in ("systems", "codecs", "joints") for n in registry.entries(kind)]
    raise error(("name",), f"unknown system {name!r}; {registry.nearest(name, known)}")


def _merge(coder: dict[str, Any], inner: Any, slot: str, error: Locate) -> dict[str, Any]:
    """The coder's own mapping on top of its name."""
    inner = {"name": inner} if isinstance(inner, str) else inner
    if not isinstance(inner, Mapping):
        raise error((slot,), f"must be a name or a mapping of parameters, got {inner!r}")
    for key in ("name", "plugin"):
        if key in inner and coder and inner[key] != coder.get("name"):
            raise error(
                (slot, key),
                f"names a second coder beside {coder['name']!r}; give the parameters alone",
            )
    coder = {**coder, **inner}
    if "name" not in coder and "plugin" not in coder:
        raise error((), f"needs a {slot}: `{slot}: name` or `{slot}: {{name: ..., ...}}`")
    return coder


def _route(
    given: dict[str, Any],
    head: Mapping[str, Any],
    coder: dict[str, Any],
    slot: str,
    origin: dict[KeyPath, KeyPath],
    folder: Path,
    error: Locate,
) -> None:
    """Move parameters that only the coder knows from the entry into the coder: {name: vvc, preset: fast}."""
    try:
        system = registry.parameters(component_class("systems", head, folder))
        inner = registry.parameters(component_class(f"{slot}s", coder, folder))
    except LinksimError:
        return  # `check` finds and places it
    for key in list(given):
        if key in system:
            continue
        if key not in inner:
            known = ["label", *system, *inner]
            raise error(
                (key,), f"the system has no parameter {key!r}; {registry.nearest(key, known)}"
            )
        if key in coder:
            raise error((key,), f"is given twice, here and in {slot}.{key}; keep one")
        coder[key], origin[slot, key] = given.pop(key), (key,)


def _coder_name(coder: Mapping[str, Any]) -> str:
    return str(coder.get("name") or str(coder.get("plugin", "")).rpartition(":")[2])


def with_parameter(
    entry: SystemEntry, dotted: str, value: Any, folder: Path
) -> tuple[dict[str, Any], KeyPath]:
    """The spec with one parameter changed.

    Args:    dotted: path of the parameter, from the system (codec.preset, amc.mcs) or its coder (preset).
    Returns: the new spec, and the path in it that was set.
    """
    path: KeyPath = tuple(dotted.split("."))
    slot = next((s for s in _SLOTS if isinstance(entry.spec.get(s), Mapping)), None)
    if slot is not None and path[0] != slot:
        try:
            system = registry.parameters(component_class("systems", entry.spec, folder))
            inner = registry.parameters(component_class(f"{slot}s", entry.spec[slot], folder))
        except LinksimError:
            system, inner = {}, {}
        if path[0] not in system and path[0] in inner:
            path = (slot, *path)
    return _replaced(entry.spec, path, value), path


def _replaced(spec: Any, path: KeyPath, value: Any) -> Any:
    if not path:
        return value
    below = spec.get(path[0]) if isinstance(spec, Mapping) else None
    return {
        **(spec if isinstance(spec, Mapping) else {}),
        path[0]: _replaced(below, path[1:], value),
    }


def links(spec: Mapping[str, Any], folder: Path, error: Locate) -> frozenset[str]:
    """Check a spec and say which kinds of link the system can cross. Raises ScenarioError."""
    system = check("systems", spec, folder, error)
    crosses = getattr(system, "links", None)
    if not crosses:
        raise error(
            (), f"system {type(system).__name__} does not say what it crosses; give it `links`"
        )
    return frozenset(crosses)
