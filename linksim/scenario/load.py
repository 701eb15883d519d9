"""Reads scenario files."""

from __future__ import annotations

import copy
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from linksim.errors import ScenarioError
from linksim.registry import nearest
from linksim.scenario.document import Document, KeyPath
from linksim.scenario.schema import ScenarioFile
from linksim.scenario.study import Scenario
from linksim.scenario.sweep import SweepError

_SINGULAR = {"channel": "channels", "erasure": "erasures"}


def load(path: str | Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read and check a scenario.

    Args:
      overrides: "key=value" each, applied in order; keys are dotted, list items numbered, values YAML.
    Raises:
      ScenarioError: with file (or override), line and key of the mistake.
    """
    return _checked(Document.read(Path(path)), overrides, Path(path).absolute().parent)


def from_mapping(value: Mapping[str, Any], folder: str | Path | None = None) -> Scenario:
    """A scenario from plain values, such as the ``scenario`` of a run.json.

    Args:   folder: that relative paths start from; by default the current one.
    Raises: ScenarioError, without a file.
    """
    document = Document(copy.deepcopy(dict(value)))
    return _checked(document, (), Path(folder) if folder is not None else Path.cwd())


def json_schema() -> dict[str, Any]:
    """JSON schema of a scenario file, for editors; names come from the registry of this installation."""
    schema = ScenarioFile.model_json_schema()
    for one, many in _SINGULAR.items():
        form = copy.deepcopy(schema["properties"][many])
        schema["properties"][one] = {**form, "description": f"another way to write `{many}`"}
        schema["properties"][one].pop("default", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _checked(document: Document, overrides: Sequence[str], folder: Path) -> Scenario:
    for text in overrides:
        document.override(text)
    for one, many in _SINGULAR.items():
        if one not in document.value:
            continue
        if many in document.value:
            raise document.error(f"is given beside `{many}`; keep one of the two", (one,))
        value = document.value.pop(one)
        listed = isinstance(value, list)
        document.value[many] = value if listed else [value]
        document.rename(one, (many,) if listed else (many, 0))
    try:
        form = ScenarioFile.model_validate(document.value)
    except ValidationError as error:
        raise _explained(error, document) from None
    return Scenario(document, form, folder)


def _explained(error: ValidationError, document: Document) -> ScenarioError:
    """The first mistake that pydantic found, in one line, at its place."""
    items = error.errors()
    # An unknown key often explains the missing one: `chanels` for `channels`.
    item = next((i for i in items if i["type"] == "extra_forbidden"), items[0])
    path = _in_document(tuple(item["loc"]), document.value)
    got = _short(item["input"])
    kind, said = item["type"], str(item["msg"])
    if kind == "extra_forbidden":
        known = _keys_at(path[:-1])
        message = f"unknown key {path[-1]!r}; {nearest(str(path[-1]), known)}"
    elif kind == "missing":
        message = "is missing, and a scenario cannot do without it"
    elif kind == "literal_error":
        known = [
            part.strip("'") for part in item["ctx"]["expected"].replace(" or ", ", ").split(", ")
        ]
        message = f"must be one of {', '.join(known)}, got {got}"
    elif kind == "value_error":
        cause = item["ctx"]["error"]
        path = (*path, *cause.path) if isinstance(cause, SweepError) else path
        message = str(cause)
    elif kind == "string_pattern_mismatch":
        message = f"must be letters, digits, '.', '_' and '-', got {got}"
    elif kind in ("model_type", "dict_type", "model_attributes_type"):
        message = f"must be a mapping of keys, got {got}"
    elif kind in ("too_short",):
        message = "the list is empty; give at least one item"
    else:
        message = f"{said.replace('Input should be', 'must be', 1)}, got {got}"
    if len(items) > 1:
        message += f" (and {len(items) - 1} more)"
    return document.error(message, path)


def _in_document(loc: tuple[int | str, ...], value: Any) -> KeyPath:
    """The part of a pydantic location that exists in the file; its last step may be a key that is missing."""
    path: KeyPath = ()
    for step in loc:
        if isinstance(value, Mapping) and isinstance(step, str):
            path = (*path, step)
            if step not in value:
                break
            value = value[step]
        elif isinstance(value, list) and isinstance(step, int) and step < len(value):
            path, value = (*path, step), value[step]
        else:
            break
    return path


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _keys_at(path: KeyPath) -> list[str]:
    """The keys that the form knows below ``path``."""
    model: type[BaseModel] = ScenarioFile
    for step in path:
        model = next(iter(_models(model.model_fields[str(step)].annotation)))
    return list(model.model_fields) + (list(_SINGULAR) if not path else [])


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models among the members of an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [model for part in typing.get_args(annotation) for model in _models(part)]
    return []
