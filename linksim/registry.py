"""Components by name: one registry for channels, codecs, metrics and everything else that can be plugged in.

A component is a class, best a frozen dataclass whose fields are its parameters. It becomes known in one of three ways:

  1. an installed package's entry point in the group ``linksim.<kind>`` (linksim's own components use the same door);
  2. the decorator :func:`register`, for a notebook;
  3. ``{plugin: file.py:Class, ...}`` in a scenario.

Listing names reads entry-point metadata only, so it imports no component; a component is imported when it is created.
"""

from __future__ import annotations

import ast
import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, TypeVar

from linksim.errors import ComponentError, DuplicateNameError, UnknownNameError

KINDS = {
    "channels": "channel",
    "erasures": "packet loss process",
    "codecs": "source codec",
    "joints": "joint source-channel coder",
    "systems": "system",
    "channel_codes": "channel code",
    "metrics": "metric",
    "images": "image source",
}

T = TypeVar("T", bound=type)
_decorated: dict[tuple[str, str], type] = {}


@dataclass(frozen=True)
class Entry:
    """One registered component, not yet imported.

    Args: kind: a key of KINDS. name: kebab-case. target: "module:Class". origin: the distribution it comes from.
    """

    kind: str
    name: str
    target: str
    origin: str
    module: str
    attribute: str

    def load(self) -> type:
        """Import the class. Raises ComponentError if that fails."""
        if (self.kind, self.name) in _decorated:
            return _decorated[self.kind, self.name]
        try:
            loaded = EntryPoint(self.name, self.target, f"linksim.{self.kind}").load()
        except Exception as error:
            raise ComponentError(
                f"{KINDS[self.kind]} {self.name!r} ({self.target}, from {self.origin}) cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error
        return loaded

    def summary(self) -> str:
        """First line of the class's docstring, read from the source without importing it."""
        if (self.kind, self.name) in _decorated:
            return (inspect.getdoc(_decorated[self.kind, self.name]) or "").partition("\n")[0]
        try:
            spec = importlib.util.find_spec(self.module)
            tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))  # type: ignore[union-attr,arg-type]
        except Exception:
            return ""
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == self.attribute:
                return (ast.get_docstring(node) or "").partition("\n")[0]
        return ""


@cache
def _installed(kind: str) -> dict[str, Entry]:
    found: dict[str, Entry] = {}
    for point in entry_points(group=f"linksim.{kind}"):
        origin = f"{point.dist.name} {point.dist.version}" if point.dist else "unknown package"
        entry = Entry(kind, point.name, point.value, origin, point.module, point.attr)
        other = found.get(point.name)
        if other is not None and other.target != entry.target:
            raise DuplicateNameError(
                f"two {KINDS[kind]}s are called {point.name!r}: {other.target} ({other.origin}) and "
                f"{entry.target} ({entry.origin}); uninstall one or rename its entry point"
            )
        found[point.name] = entry
    return found


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {sorted(KINDS)}, got {kind!r}")


def entries(kind: str) -> dict[str, Entry]:
    """All components of a kind, by name, in alphabetical order."""
    _check_kind(kind)
    known = dict(_installed(kind))
    for (of_kind, name), cls in _decorated.items():
        if of_kind == kind:
            target = f"{cls.__module__}:{cls.__qualname__}"
            known[name] = Entry(
                kind, name, target, "registered in this process", cls.__module__, cls.__name__
            )
    return dict(sorted(known.items()))


def register(kind: str, name: str) -> Callable[[T], T]:
    """Class decorator: make a class known under ``name`` in this process.

    Raises: DuplicateNameError: if the name is taken by another class (running a notebook cell again is fine).
    """
    _check_kind(kind)

    def add(cls: T) -> T:
        here = f"{cls.__module__}:{cls.__qualname__}"
        taken = entries(kind).get(name)
        if taken is not None and taken.target != here:
            raise DuplicateNameError(
                f"two {KINDS[kind]}s are called {name!r}: {taken.target} ({taken.origin}) and {here}; rename one"
            )
        _decorated[kind, name] = cls
        return cls

    return add


def unregister(kind: str, name: str) -> None:
    """Forget a class made known by :func:`register`."""
    _decorated.pop((kind, name), None)


def nearest(word: str, known: list[str]) -> str:
    """'; did you mean x?' for the closest known words, or a list of all of them."""
    close = difflib.get_close_matches(word, known, n=2, cutoff=0.55)
    if close:
        return f"did you mean {' or '.join(repr(c) for c in close)}?"
    return f"known: {', '.join(known) or 'none'}"


def find(kind: str, name: str) -> Entry:
    """The component called ``name``. Raises UnknownNameError, which offers the nearest names."""
    known = entries(kind)
    if name not in known:
        raise UnknownNameError(f"unknown {KINDS[kind]} {name!r}; {nearest(name, list(known))}")
    return known[name]


def load_file(kind: str, plugin: str, base: Path | None = None) -> type:
    """The class that ``file.py:Class`` names.

    Args: base: folder that a relative path starts from (the scenario's).
    Raises: ComponentError: if the file is missing, not importable or has no such class.
    """
    path_text, _, attribute = plugin.rpartition(":")
    what = f"plug-in {KINDS[kind]} {plugin!r}"
    if not path_text or not attribute:
        raise ComponentError(f"{what}: write it as file.py:ClassName")
    path = (base or Path.cwd()) / path_text
    if not path.is_file():
        raise ComponentError(f"{what}: there is no file {path}")
    module_name = f"linksim_plugin_{path.stem}_{abs(hash(str(path.resolve())))}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[module_name]
            if isinstance(error, KeyboardInterrupt):
                raise
            raise ComponentError(
                f"{what}: importing it raised {type(error).__name__}: {error}"
            ) from error
    cls = getattr(module, attribute, None)
    if not isinstance(cls, type):
        names = [
            n
            for n, v in vars(module).items()
            if isinstance(v, type) and v.__module__ == module_name
        ]
        raise ComponentError(
            f"{what}: {path.name} has no class {attribute!r}; it has {names or 'no classes'}"
        )
    return cls


def parameters(cls: type) -> dict[str, Any]:
    """Parameter name -> default (``inspect.Parameter.empty`` where there is none)."""
    if is_dataclass(cls):
        empty = inspect.Parameter.empty
        return {
            f.name: f.default
            if f.default is not MISSING
            else (f.default_factory() if f.default_factory is not MISSING else empty)
            for f in fields(cls)
            if f.init
        }
    signature = inspect.signature(cls)
    return {
        n: p.default
        for n, p in signature.parameters.items()
        if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)
    }


def examples(cls: type, folder: Path) -> list[dict[str, Any]]:
    """Parameter sets of a component that tests and documentation can use.

    They come from the classmethod ``examples(folder)`` where the class has one; ``folder`` is an empty one where it may
    write files that its parameters name.

    Returns: one mapping per set; a single empty one where every parameter has a default.
    Raises:  ComponentError: where a parameter has none and the class has no ``examples``.
    """
    given = getattr(cls, "examples", None)
    if given is not None:
        return [dict(example) for example in given(folder)]
    needed = [n for n, v in parameters(cls).items() if v is inspect.Parameter.empty]
    if needed:
        raise ComponentError(
            f"{cls.__module__}:{cls.__qualname__} needs {', '.join(needed)}; give it a classmethod "
            "examples(folder) that returns parameter sets to test it with"
        )
    return [{}]


def create(kind: str, spec: str | Mapping[str, Any], *, base: Path | None = None) -> Any:
    """Build a component from its scenario form.

    Args:
      spec: "name", or a mapping with ``name`` or ``plugin`` and the component's parameters.
      base: folder that a plug-in's relative path starts from.
    Raises:
      UnknownNameError, ComponentError: with one clear line.
    """
    _check_kind(kind)
    given = {"name": spec} if isinstance(spec, str) else dict(spec)
    name, plugin = given.pop("name", None), given.pop("plugin", None)
    if (name is None) == (plugin is None):
        raise ComponentError(f"a {KINDS[kind]} is given by `name` or by `plugin`, got {spec!r}")
    cls = load_file(kind, plugin, base) if plugin is not None else find(kind, str(name)).load()
    return build(cls, given, what=f"{KINDS[kind]} {name or plugin!r}")


def build(cls: type, given: Mapping[str, Any], *, what: str) -> Any:
    """Call ``cls`` with validated parameters. Raises ComponentError naming the parameter at fault."""
    known = parameters(cls)
    for key in given:
        if key not in known:
            raise ComponentError(f"{what} has no parameter {key!r}; {nearest(key, list(known))}")
    try:
        if is_dataclass(cls):
            from pydantic import TypeAdapter  # 0.1 s that `list` and `--help` do without

            return TypeAdapter(cls).validate_python(dict(given))
        return cls(**given)
    except Exception as error:
        raise ComponentError(f"{what}: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    details = getattr(error, "errors", None)
    if not callable(details):
        return str(error) or type(error).__name__
    parts = []
    for item in details():
        place = ".".join(str(p) for p in item["loc"])
        message = item["msg"].removeprefix("Value error, ")
        parts.append(f"{place}: {message}, got {item['input']!r}" if place else message)
    return "; ".join(parts)
