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
import hashlib
import importlib.machinery
import importlib.util
import inspect
import sys
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType, UnionType
from typing import Any, TypeVar, Union

from linksim.errors import ComponentError, DuplicateNameError, UnknownNameError

KINDS = {
    "channels": "channel",
    "impairments": "impairment",
    "erasures": "packet loss process",
    "codecs": "source codec",
    "joints": "joint source-channel coder",
    "systems": "system",
    "channel_codes": "channel code",
    "metrics": "metric",
    "images": "image source",
}

# What a component of each kind must have; the protocols in types.py and link/system.py say what it means.
NEEDS = {
    "channels": ("__call__",),
    "impairments": ("__call__",),
    "erasures": ("__call__",),
    "codecs": ("min_bits", "encode", "decode", "distortion"),
    "joints": ("min_uses", "side_bits", "encode", "decode"),
    "systems": ("family", "links", "preview", "simulate"),
    "channel_codes": ("plan", "encode", "decode", "error_rate"),
    "metrics": ("__call__", "unit", "higher_is_better"),
    "images": ("__len__", "key", "digest", "size", "load"),
}
NEEDS_OF_SET_METRICS = ("features", "distance", "unit", "higher_is_better", "min_images")

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


def whole_plugin(kind: str, plugin: str, base: Path | None = None) -> str:
    """``file.py`` as ``file.py:Class`` where the file defines one class alone; ``file.py:Class`` as it is.

    Raises: ComponentError: if the file is missing, not importable, or leaves the choice open.
    """
    if not plugin.endswith(".py"):
        return plugin
    what = f"plug-in {KINDS[kind]} {plugin!r}"
    classes = _classes(_module(what, (base or Path.cwd()) / plugin))
    if len(classes) != 1:
        raise ComponentError(
            f"{what}: it has {', '.join(classes) or 'no classes'}; write {plugin}:ClassName"
        )
    return f"{plugin}:{classes[0]}"


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
    module = _module(what, path)
    cls = getattr(module, attribute, None)
    if not isinstance(cls, type):
        raise ComponentError(
            f"{what}: {path.name} has no class {attribute!r}; it has {_classes(module) or 'no classes'}"
        )
    return cls


def _classes(module: ModuleType) -> list[str]:
    """Names of the classes that a module itself defines, those with a leading underscore left out."""
    own = (
        n
        for n, v in vars(module).items()
        if isinstance(v, type) and v.__module__ == module.__name__
    )
    return [name for name in own if not name.startswith("_")]


class _FromSource(importlib.machinery.SourceFileLoader):
    """Reads and writes no byte code: what is cached counts as fresh where a file was edited within a second."""

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        return self.source_to_code(self.get_data(path), path)


def _module(what: str, path: Path) -> ModuleType:
    """The module in a plug-in's file, imported once in a process as long as the file stays the same."""
    if not path.is_file():
        raise ComponentError(f"{what}: there is no file {path}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ComponentError(f"{what}: {path} cannot be read: {error.strerror}") from None
    # By content, so that a file edited beside a running notebook is read again.
    key = hashlib.blake2b(str(path.resolve()).encode() + b"\0" + content, digest_size=8)
    module_name = f"linksim_plugin_{path.stem}_{key.hexdigest()}"
    module = sys.modules.get(module_name)
    if module is None:
        loader = _FromSource(module_name, str(path))
        spec = importlib.util.spec_from_file_location(module_name, path, loader=loader)
        assert spec is not None and spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module
        try:
            spec.loader.exec_module(module)
        except BaseException as error:
            del sys.modules[module_name]
            if isinstance(error, KeyboardInterrupt):
                raise
            said = " ".join(str(error).split())
            raise ComponentError(
                f"{what}: importing it raised {type(error).__name__}: {said}"
            ) from error
    return module


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


def spelled_out(kind: str, spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """A channel's entry with ``impairments:`` as the impaired channel that it stands for; anything else as it is."""
    if kind != "channels" or "impairments" not in spec or spec.get("name") == "impaired":
        return spec
    inner = {k: v for k, v in spec.items() if k != "impairments"}
    return {"name": "impaired", "channel": inner, "impairments": spec["impairments"]}


def create(kind: str, spec: str | Mapping[str, Any], *, base: Path | None = None) -> Any:
    """Build a component from its scenario form.

    Args:
      spec: "name", or a mapping with ``name`` or ``plugin`` and the component's parameters.
      base: folder that a plug-in's relative path starts from.
    Raises:
      UnknownNameError, ComponentError: with one clear line.
    """
    _check_kind(kind)
    given = {"name": spec} if isinstance(spec, str) else dict(spelled_out(kind, spec))
    name, plugin = given.pop("name", None), given.pop("plugin", None)
    if (name is None) == (plugin is None):
        raise ComponentError(f"a {KINDS[kind]} is given by `name` or by `plugin`, got {spec!r}")
    cls = load_file(kind, plugin, base) if plugin is not None else find(kind, str(name)).load()
    what = f"{KINDS[kind]} {name or plugin!r}"
    made = build(cls, given, what=what)
    _check_form(kind, made, what)
    return made


def _check_form(kind: str, made: Any, what: str) -> None:
    """Raise ComponentError where a component lacks what its kind must have (a class of another kind, a typing slip)."""
    needs = NEEDS[kind]
    if kind == "metrics" and hasattr(made, "extractor"):
        needs = NEEDS_OF_SET_METRICS
    lacking = [name for name in needs if not hasattr(made, name)]
    if lacking:
        names = ", ".join(f"{n}()" if n.startswith("__") else n for n in lacking)
        raise ComponentError(
            f"{what}: {type(made).__name__} has no {names}; a {KINDS[kind]} needs it"
        )


def build(cls: type, given: Mapping[str, Any], *, what: str) -> Any:
    """Call ``cls`` with validated parameters. Raises ComponentError naming the parameter at fault."""
    known = parameters(cls)
    for key in given:
        if key not in known:
            raise ComponentError(f"{what} has no parameter {key!r}; {nearest(key, list(known))}")
    unknown = unknown_key(cls, given)
    if unknown is not None:
        raise ComponentError(f"{what}: {unknown[1]}")
    try:
        if is_dataclass(cls):
            from pydantic import TypeAdapter  # 0.1 s that `list` and `--help` do without

            return TypeAdapter(cls).validate_python(dict(given))
        return cls(**given)
    except Exception as error:
        raise ComponentError(f"{what}: {_reason(error)}") from error


def unknown_key(cls: type, given: Mapping[str, Any]) -> tuple[tuple[str | int, ...], str] | None:
    """The first key, at any depth, that a dataclass inside the parameters does not know (pydantic passes over them).

    Returns: its path in ``given`` and what to say, or None.
    """
    try:
        hints = typing.get_type_hints(cls) if is_dataclass(cls) else {}
    except (NameError, TypeError):  # a plug-in's annotations may not resolve
        return None
    for key, value in given.items():
        found = _unknown_in(hints.get(key), value, (key,))
        if found is not None:
            return found
    return None


def _unknown_in(
    hint: Any, value: Any, path: tuple[str | int, ...]
) -> tuple[tuple[str | int, ...], str] | None:
    choices = typing.get_args(hint) if _is_union(hint) else (hint,)
    if isinstance(value, list | tuple):
        inner = [a for c in choices for a in typing.get_args(c) if a is not Ellipsis]
        options = Union[tuple(inner)] if inner else None  # noqa: UP007
        found = (_unknown_in(options, item, (*path, i)) for i, item in enumerate(value))
        return next((f for f in found if f is not None), None)
    classes = [c for c in choices if isinstance(c, type) and is_dataclass(c)]
    if not isinstance(value, Mapping) or not classes:
        return None
    problems = []
    for cls in classes:
        known = [f.name for f in fields(cls) if f.init]
        key = next((k for k in value if k not in known), None)
        if key is None:
            deeper = unknown_key(cls, value)
            if deeper is None:
                return None  # this one takes it
            problems.append(((*path, *deeper[0]), deeper[1]))
            continue
        text = f"{'.'.join(map(str, path))} has no parameter {key!r}; {nearest(str(key), known)}"
        problems.append(((*path, str(key)), text))
    return problems[0]


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (Union, UnionType)


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
