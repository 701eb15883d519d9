"""A YAML file as plain values, with the line on which each key stands."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from linksim.errors import ScenarioError

KeyPath = tuple[str | int, ...]

# Written in the singular or the plural, never both: an override in one form replaces the other.
_OTHER_FORM = {
    "channel": "channels",
    "channels": "channel",
    "erasure": "erasures",
    "erasures": "erasure",
}
_MAX_NODES = 100_000  # aliases of aliases grow without bound; no scenario is this long


@dataclass
class Document:
    """What a scenario file says, and where.

    Args:
      value:  the top-level mapping.
      file:   where it was read, if it was.
      places: key path -> 1-based line, or the text of the ``--set`` override that put it there.
    """

    value: dict[str, Any]
    file: Path | None = None
    places: dict[KeyPath, int | str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Document:
        """Read a file. Raises ScenarioError with file and line if it is not one YAML mapping."""
        try:
            text = path.read_text(encoding="utf-8")
        except OSError as error:
            raise ScenarioError(
                f"cannot be read: {error.strerror or error}; give the path of a scenario YAML",
                file=path,
            ) from error
        except UnicodeDecodeError as error:
            raise ScenarioError(
                f"is not UTF-8 text (byte {error.start}); give the path of a scenario YAML",
                file=path,
            ) from error
        return cls.parse(text, path)

    @classmethod
    def parse(cls, text: str, file: Path | None = None) -> Document:
        """Parse YAML text. Raises ScenarioError as in :meth:`read`."""
        places: dict[KeyPath, int | str] = {}
        try:
            loader = yaml.SafeLoader(text)
            node = loader.get_single_node()
            if node is not None:
                _Walk(places, file).visit(node, ())
            value = loader.construct_document(node) if node is not None else None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            said = ", ".join(part for part in (error.context, error.problem) if part)
            raise ScenarioError(
                f"broken YAML: {said}", file=file, line=mark.line + 1 if mark else None
            ) from error
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            if isinstance(error, ScenarioError):
                raise
            raise ScenarioError(f"broken YAML: {_first_line(error)}", file=file) from error
        if not isinstance(value, dict):
            what = "nothing" if value is None else f"a {type(value).__name__}"
            raise ScenarioError(f"must hold a mapping of keys, got {what}", file=file)
        return cls(value, file, places)

    def error(self, message: str, path: Iterable[str | int] = ()) -> ScenarioError:
        """A ScenarioError at ``path``, or at the nearest key above it that stands in the file."""
        path = tuple(path)
        place: int | str | None = None
        for length in range(len(path), 0, -1):
            place = self.places.get(path[:length])
            if place is not None:
                break
        key = ".".join(str(part) for part in path) or None
        if isinstance(place, str):
            return ScenarioError(message, file=place, key=key)
        return ScenarioError(message, file=self.file, line=place, key=key)

    def override(self, text: str) -> None:
        """Apply one ``key=value`` of ``--set``; the value is YAML, list items are addressed by number.

        Raises: ScenarioError naming the override.
        """
        what = f"--set {text}"
        key, equals, raw = text.partition("=")
        if not key.strip() or not equals:
            raise ScenarioError(
                "must be key=value, such as axes.es_n0_db=[0,5] or seed=7", file=what
            )
        try:
            value = yaml.safe_load(raw)
        except (yaml.YAMLError, ValueError) as error:
            raise ScenarioError(
                f"the value is broken YAML: {_first_line(error)}", file=what, key=key
            ) from error
        path = self._set(tuple(key.strip().split(".")), value, what)
        if path[0] in _OTHER_FORM and len(path) == 1:
            self.value.pop(_OTHER_FORM[str(path[0])], None)
        for known in [p for p in self.places if p[: len(path)] == path]:
            del self.places[known]
        self.places[path] = what

    def _set(self, parts: tuple[str, ...], value: Any, what: str) -> KeyPath:
        """Put ``value`` at the key path that ``parts`` spell. Returns: that path."""
        here: Any = self.value
        path: KeyPath = ()
        step: Any
        while True:
            if isinstance(here, list):
                step, used = _index(parts[0], len(here), what, path), 1
            else:
                step, used = _key(here, parts, path)
            parts, path = parts[used:], (*path, step)
            if not parts:
                here[step] = value
                return path
            below = here[step] if isinstance(here, list) else here.get(step)
            if isinstance(below, str) and path[0] != "axes" and len(path) <= 2:
                below = {"name": below}  # `systems.0.preset=fast` where systems.0 is just `vvc`
            if below is None:
                below = {}
            if not isinstance(below, dict | list):
                raise ScenarioError(
                    f"{'.'.join(map(str, path))} is {below!r}, which has no key {parts[0]!r}",
                    file=what,
                )
            here[step] = below
            here = below

    def rename(self, old: str, new: KeyPath) -> None:
        """Let keys below the top-level key ``old`` be found under ``new`` too."""
        for path, place in list(self.places.items()):
            if path[0] == old:
                self.places[(*new, *path[1:])] = place
                if len(path) == 1:
                    self.places[new[:1]] = place


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _index(text: str, length: int, what: str, path: KeyPath) -> int:
    if not text.isdecimal() or int(text) >= length:
        raise ScenarioError(
            f"{'.'.join(map(str, path))} is a list: address its items by number, 0..{length - 1}, got {text!r}",
            file=what,
        )
    return int(text)


def _key(here: dict[str, Any], parts: Sequence[str], path: KeyPath) -> tuple[str, int]:
    """The key that the first of ``parts`` spell, and how many: axes such as `vvc.preset` have dots of their own."""
    for used in range(len(parts), 1, -1):
        joined = ".".join(parts[:used])
        if joined in here:
            return joined, used
    if path == ("axes",) and len(parts) > 1 and parts[0] not in here:
        return ".".join(parts), len(parts)
    return parts[0], 1


class _Walk:
    """Notes the line of every key, and refuses keys that are given twice or are not text."""

    def __init__(self, places: dict[KeyPath, int | str], file: Path | None) -> None:
        self.places, self.file = places, file
        self.above: list[int] = []

    def visit(self, node: yaml.Node, path: KeyPath) -> None:
        if len(self.places) > _MAX_NODES or id(node) in self.above:
            raise ScenarioError(
                "aliases (*name) refer to themselves or unfold without end",
                file=self.file,
                line=node.start_mark.line + 1,
            )
        self.above.append(id(node))
        if isinstance(node, yaml.MappingNode):
            self._mapping(node, path)
        elif isinstance(node, yaml.SequenceNode):
            for i, item in enumerate(node.value):
                self.places[(*path, i)] = item.start_mark.line + 1
                self.visit(item, (*path, i))
        self.above.pop()

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> None:
        seen: dict[Hashable, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:merge":
                self.visit(value, path)
                continue
            if key.tag != "tag:yaml.org,2002:str":
                raise ScenarioError(
                    f"keys must be text, got {getattr(key, 'value', key.tag)!r}; put it in quotes",
                    file=self.file,
                    line=line,
                    key=".".join(map(str, path)) or None,
                )
            if key.value in seen:
                raise ScenarioError(
                    f"is given twice, first on line {seen[key.value]}; keep one",
                    file=self.file,
                    line=line,
                    key=".".join(map(str, (*path, key.value))),
                )
            seen[key.value] = line
            self.places[(*path, key.value)] = line
            self.visit(value, (*path, key.value))


def number(value: Any) -> float:
    """A finite number from YAML: a number, or text such as "1/24" or 1e-3 (which YAML 1.1 reads as text).

    Raises: ValueError.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"must be a number, got {value!r}")
    try:
        if isinstance(value, str) and "/" in value:
            over, _, under = value.partition("/")
            found = float(over) / float(under)
        else:
            found = float(value)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise ValueError(f"must be a number or a fraction such as 1/24, got {value!r}") from None
    if not math.isfinite(found):
        raise ValueError(f"must be a finite number, got {value!r}")
    return found
