"""Component entries of a scenario: checked, with their paths made absolute, and in the form that ids hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from linksim import registry
from linksim.errors import LinksimError, ScenarioError
from linksim.scenario.document import KeyPath

Locate = Callable[[KeyPath, str], ScenarioError]

_ASSETS = "$LINKSIM_ASSETS"


def is_path_key(key: str) -> bool:
    """Whether a parameter of this name holds a path, by convention."""
    return key in ("path", "paths", "folder", "file", "files") or key.endswith(("_path", "_file"))


def absolute(spec: Any, folder: Path, key: str = "") -> Any:
    """A spec with plug-in files and path parameters made absolute, and $LINKSIM_ASSETS put in.

    Args:   folder: that relative paths start from.
    Raises: ValueError: if $LINKSIM_ASSETS is used and not set.
    """
    if isinstance(spec, Mapping):
        return {k: absolute(v, folder, k) for k, v in spec.items()}
    if isinstance(spec, list | tuple):
        return [absolute(v, folder, key) for v in spec]
    if not isinstance(spec, str):
        return spec
    if spec.startswith(_ASSETS) and spec[len(_ASSETS) :][:1] in ("", "/"):
        named = os.environ.get(_ASSETS[1:])
        if not named:
            raise ValueError(
                f"{spec!r} needs the environment variable LINKSIM_ASSETS, the folder of the data sets; set it"
            )
        return str(Path(named).expanduser().resolve()) + spec[len(_ASSETS) :]
    if key == "plugin" or is_path_key(key):
        return str((folder / Path(spec).expanduser()).absolute())
    return spec


def identity(spec: Any, folder: Path, key: str = "") -> Any:
    """A spec as ids hash it: free of machine paths, with the content of files that it names."""
    if isinstance(spec, Mapping):
        return {k: identity(v, folder, k) for k, v in spec.items()}
    if isinstance(spec, list | tuple):
        return [identity(v, folder, key) for v in spec]
    if isinstance(spec, str) and (key == "plugin" or is_path_key(key)):
        text = absolute(spec, folder, key)
        name, _, attribute = text.rpartition(":") if key == "plugin" else (text, "", "")
        if Path(name).is_file():
            stat = Path(name).stat()
            return [_content(name, stat.st_mtime_ns, stat.st_size), attribute]
    return spec


@lru_cache(maxsize=256)
def _content(name: str, mtime_ns: int, size: int) -> str:
    """Digest of a file, which may be large and is asked for by every point."""
    with open(name, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def component_class(kind: str, spec: Mapping[str, Any], folder: Path) -> type:
    """The class that a spec names, by ``name`` or ``plugin``. Raises LinksimError."""
    if "plugin" in spec:
        return registry.load_file(kind, str(spec["plugin"]), folder)
    return registry.find(kind, str(spec["name"])).load()


def check(kind: str, spec: Mapping[str, Any], folder: Path, error: Locate) -> Any:
    """Build a component to see whether it can be.

    Args:
      spec:  with ``name`` or ``plugin`` and parameters.
      error: makes the error for a key path below the spec.
    Returns: the component.
    Raises:  ScenarioError, as ``error`` makes it.
    """
    if ("name" in spec) == ("plugin" in spec):
        raise error(
            (), f"a {registry.KINDS[kind]} is given by `name` or by `plugin`, got {dict(spec)!r}"
        )
    full = registry.spelled_out(kind, spec)
    if full is not spec:
        spec, error = full, _above(error, "channel")
    named = "plugin" if "plugin" in spec else "name"
    try:
        cls = component_class(kind, spec, folder)
    except LinksimError as problem:
        raise error((named,), str(problem)) from problem
    what = f"{registry.KINDS[kind]} {str(spec[named])!r}"
    known = registry.parameters(cls)
    for key, value in spec.items():
        if key == named:
            continue
        if key not in known:
            raise error(
                (key,), f"{what} has no parameter {key!r}; {registry.nearest(key, list(known))}"
            )
        slot = f"{key}s"  # `codec`, `joint`, `channel_code`: components inside a component
        if slot in registry.KINDS:
            inner = {"name": value} if isinstance(value, str) else value
            if not isinstance(inner, Mapping):
                raise error((key,), f"must be a name or a mapping, got {value!r}")
            check(slot, inner, folder, _below(error, key))
        elif key in registry.KINDS and isinstance(value, list | tuple):  # `impairments`
            for i, item in enumerate(value):
                inner = {"name": item} if isinstance(item, str) else item
                if not isinstance(inner, Mapping):
                    raise error((key, i), f"must be a name or a mapping, got {item!r}")
                check(key, inner, folder, _below(error, key, i))
    unknown = registry.unknown_key(cls, {k: v for k, v in spec.items() if k != named})
    if unknown is not None:
        raise error(*unknown)
    try:
        return registry.create(kind, absolute(spec, folder))
    except (LinksimError, ValueError) as problem:
        raise error(_fault(problem, spec), str(problem)) from problem


def _below(error: Locate, *keys: str | int) -> Locate:
    return lambda path, text: error((*keys, *path), text)


def _above(error: Locate, key: str) -> Locate:
    """For errors below ``key``, which is not written: what it holds stands beside it."""
    return lambda path, text: error(path[1:] if path[:1] == (key,) else path, text)


def _fault(problem: Exception, spec: Mapping[str, Any]) -> KeyPath:
    """The key path of the parameter that a class refused, as far as it is in the spec."""
    details = getattr(problem.__cause__, "errors", None)
    loc: tuple[Any, ...] = details()[0]["loc"] if callable(details) else ()
    path: KeyPath = ()
    here: Any = spec
    for step in loc:
        if not isinstance(here, Mapping) or step not in here:
            break
        path, here = (*path, step), here[step]
    return path
