"""The form of a scenario file: which keys there are, what each may hold, and what it means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from linksim import registry
from linksim.scenario import sweep
from linksim.scenario.sweep import Believed, SweepError

_NUMBER = {
    "anyOf": [
        {"type": "number"},
        {"type": "string", "description": 'a fraction such as "1/24", or 1e-3'},
    ]
}
_RANGE = {
    "type": "object",
    "description": "start, start + step, ... up to and including stop",
    "properties": {"start": _NUMBER, "stop": _NUMBER, "step": _NUMBER},
    "required": ["start", "stop", "step"],
    "additionalProperties": False,
}
_SWEEP = {"anyOf": [_NUMBER, {"type": "array", "items": _NUMBER, "minItems": 1}, _RANGE]}


def _swept(parse: Callable[[Any], Any]) -> Any:
    """A sweep axis whose values ``parse`` reads."""
    return Annotated[
        tuple[float, ...],
        BeforeValidator(lambda value: sweep.expand(value, parse)),
        WithJsonSchema(_SWEEP),
    ]


def _belief(value: Any) -> Believed:
    return value if isinstance(value, Believed) else Believed.read(value)


def _entries(what: str) -> Callable[[Any], tuple[dict[str, Any], ...]]:
    """Reads a list of components, each a name or a mapping with ``name`` (or ``plugin``), ``label`` and parameters."""

    def read(value: Any) -> tuple[dict[str, Any], ...]:
        listed = [value] if isinstance(value, str | Mapping) else value
        if not isinstance(listed, list | tuple):
            raise ValueError(f"must be a list of {what}s, got {value!r}")
        if not listed:
            raise ValueError(f"the list is empty; name at least one {what}")
        return tuple(_entry(item, what, i) for i, item in enumerate(listed))

    return read


def _entry(item: Any, what: str, i: int) -> dict[str, Any]:
    if isinstance(item, str):
        return {"name": item}
    if not isinstance(item, Mapping) or not all(isinstance(key, str) for key in item):
        raise SweepError(f"must be the name of a {what} or a mapping, got {item!r}", i)
    for key in ("name", "plugin", "label"):
        text = item.get(key, "x")
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise SweepError(f"must be text of one line, got {text!r}", i, key)
    return dict(item)


def _component(kinds: tuple[str, ...], what: str, more: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schema of one component entry."""
    names = sorted({name for kind in kinds for name in registry.entries(kind)})
    return {
        "anyOf": [
            {"type": "string", "enum": names, "description": f"a {what} by name"},
            {
                "type": "object",
                "description": f"a {what} with a label and parameters of its own",
                "properties": {
                    "name": {"type": "string", "enum": names},
                    "plugin": {
                        "type": "string",
                        "description": "file.py:Class, beside the scenario, instead of a name",
                    },
                    "label": {
                        "type": "string",
                        "description": "how tables and figures call it; by default its name",
                    },
                    **more,
                },
                "additionalProperties": True,
            },
        ]
    }


_UNCHECKED: dict[str, Any] = {
    "unchecked": {
        "type": "boolean",
        "description": "true: a plug-in runs though it has not passed the laws of its kind (linksim check)",
    }
}

_SYSTEM_KEYS: dict[str, Any] = {
    "codec": {
        "anyOf": [{"type": "string"}, {"type": "object"}],
        "description": "source codec of a separated system, by name or with its parameters",
    },
    "joint": {
        "anyOf": [{"type": "string"}, {"type": "object"}],
        "description": "joint coder of a joint system, by name or with its parameters",
    },
    "channel_code": {
        "anyOf": [{"type": "string"}, {"type": "object"}],
        "description": "channel code, by name or with its parameters",
    },
    "amc": {
        "type": "object",
        "description": "adaptive modulation and coding, such as {rule: target, target: 0.01} or {rule: fixed, mcs: 5}",
    },
    "harq": {
        "type": "object",
        "description": "send blocks again that did not arrive: {kind: ir | chase, max_transmissions: 1..4}; the budget "
        "is then met in the mean (phy)",
    },
}


_CHANNEL_KEYS: dict[str, Any] = {
    **_UNCHECKED,
    "impairments": {
        "type": "array",
        "minItems": 1,
        "items": {"anyOf": [{"type": "string"}, {"type": "object"}]},
        "description": "impairments around the channel, from the digital side inwards, by name or with parameters",
    },
}


def _listed(kinds: tuple[str, ...], what: str, more: Mapping[str, Any] | None = None) -> Any:
    """A list of components. The JSON schema is filled in on demand: names come from the registry."""

    class _Names:
        @staticmethod
        def __get_pydantic_json_schema__(_core: Any, _handler: Any) -> dict[str, Any]:
            one = _component(kinds, what, more or {})
            return {"anyOf": [{"type": "array", "items": one, "minItems": 1}, one]}

    return Annotated[tuple[dict[str, Any], ...], BeforeValidator(_entries(what)), _Names()]


def _image_entry(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"source": value}
    if not isinstance(value, Mapping):
        raise ValueError(f"must be the name of an image source or a mapping, got {value!r}")
    if ("source" in value) == ("plugin" in value):
        raise ValueError(
            f"is given by `source` or by `plugin`, got {dict(value)!r}; try {{source: samples}}"
        )
    for key in ("source", "plugin"):
        if not isinstance(value.get(key, ""), str):
            raise SweepError(f"must be text, got {value[key]!r}", key)
    return dict(value)


class _ImageNames:
    @staticmethod
    def __get_pydantic_json_schema__(_core: Any, _handler: Any) -> dict[str, Any]:
        names = list(registry.entries("images"))
        return {
            "anyOf": [
                {"type": "string", "enum": names},
                {
                    "type": "object",
                    "properties": {
                        "source": {"type": "string", "enum": names},
                        "plugin": {"type": "string", "description": "file.py:Class"},
                    },
                    "additionalProperties": True,
                },
            ]
        }


def _metric_forms(value: Any) -> Any:
    """A list of names, or of mappings of a name and parameters."""
    if not isinstance(value, list | tuple):
        return value
    for i, item in enumerate(value):
        named = isinstance(item, Mapping) and isinstance(item.get("name"), str)
        if not isinstance(item, str) and not named:
            raise ValueError(
                f"metrics.{i} must be a name or {{name: ..., parameters}}, got {item!r}"
            )
    # a mapping of a name alone is the name
    return tuple(
        dict(item) if isinstance(item, Mapping) and set(item) != {"name"} else _bare(item)
        for item in value
    )


def _bare(item: Any) -> str:
    return str(item if isinstance(item, str) else item["name"])


class _MetricNames:
    @staticmethod
    def __get_pydantic_json_schema__(_core: Any, _handler: Any) -> dict[str, Any]:
        name = {"type": "string", "enum": list(registry.entries("metrics"))}
        spelled = {"type": "object", "properties": {"name": name}, "required": ["name"]}
        return {"type": "array", "items": {"anyOf": [name, spelled]}, "minItems": 1}


def _tupled(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _grid_numbers(value: Any) -> Any:
    return None if value is None else sweep.expand(value)


ERROR_RATE = "error-rate"  # beside the metrics, in stop.ci_width
MIN_FOR_WIDTH = 10  # images; the spread of fewer says little
_WIDTHS = {
    "anyOf": [
        {
            "type": "object",
            "additionalProperties": {"type": "number", "exclusiveMinimum": 0},
            "minProperties": 1,
        },
        {"type": "null"},
    ]
}


def _widths(value: Any) -> dict[str, float] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping) or not value:
        raise ValueError(f"must map metrics to widths, such as {{psnr: 0.2}}, got {value!r}")
    found = {}
    for name, width in value.items():
        try:
            found[str(name)] = sweep.positive(width)
        except (SweepError, ValueError) as problem:
            raise SweepError(str(problem), str(name)) from problem
    return found


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Axes(_Strict):
    """What is swept: every combination of the values becomes a point of each system.

    A key "<system label>.<parameter>", such as vvc.preset or vvc.amc.mcs, sweeps a parameter of that system alone.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "additionalProperties": False,
            "patternProperties": {
                r"^.+\.[^.]+$": {"description": "values of a parameter of one system"}
            },
        },
    )

    es_n0_db: _swept(sweep.db) | None = Field(  # type: ignore[valid-type]
        None, description="true Es/N0 per complex channel use, averaged over fading, dB (phy)"
    )
    snr_amc_db: Annotated[
        Believed,
        BeforeValidator(_belief),
        WithJsonSchema(
            {
                "anyOf": [
                    *_SWEEP["anyOf"],
                    {
                        "type": "object",
                        "properties": {"offset_db": _SWEEP},
                        "required": ["offset_db"],
                        "additionalProperties": False,
                    },
                ]
            }
        ),
    ] = Field(
        default=Believed(),
        validate_default=False,
        description="Es/N0 that the transmitter believes in, dB: values, or {offset_db: ...} from the true one (phy)",
    )
    cbr: _swept(sweep.positive) | None = Field(  # type: ignore[valid-type]
        None,
        description="all-in complex channel uses per source sample (H*W*3), such as 1/24 (phy)",
    )
    erasure_rate: _swept(sweep.probability) | None = Field(  # type: ignore[valid-type]
        None, description="share of packets lost, the parameter `rate` of the processes (packet)"
    )
    bpp: _swept(sweep.positive) | None = Field(  # type: ignore[valid-type]
        None, description="all-in bits per pixel (H*W), headers included (packet)"
    )


class Stop(_Strict):
    """When a point has seen enough images; looked at after each cell, in the order of the images.

    It ends at the first of: ``max_images`` seen; ``max_failed`` failed; every interval of ``ci_width`` narrow enough.
    The last two wait for ``min_images``.
    """

    max_failed: int | None = Field(
        default=None,
        ge=1,
        description="stop a point after this many failed images (in any realisation); null: never",
    )
    max_images: int | None = Field(
        default=None, ge=1, description="stop a point after this many images; null: see all"
    )
    ci_width: Annotated[
        dict[str, float] | None, BeforeValidator(_widths), WithJsonSchema(_WIDTHS)
    ] = Field(
        default=None,
        description="stop a point when the 95 % confidence interval of each metric named here (of its mean over "
        f"images, in the metric's unit) is at most this wide, from {MIN_FOR_WIDTH} images on; {ERROR_RATE}: the share "
        "of frames that fail, 0..1. Such as {psnr: 0.2, error-rate: 0.02}",
    )
    min_images: int = Field(default=0, ge=0, description="but not before this many images")

    @model_validator(mode="after")
    def _fits(self) -> Stop:
        if self.max_images is not None and self.min_images > self.max_images:
            raise ValueError(
                f"stop.min_images is {self.min_images}, above stop.max_images, {self.max_images}; lower it"
            )
        return self


class Grid(_Strict):
    """The picture grid: reconstructions of chosen images, systems x SNRs (or loss rates)."""

    images: Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_tupled)] = Field(
        min_length=1, description="positions of the images in their source, from 0"
    )
    es_n0_db: Annotated[
        tuple[float, ...] | None, BeforeValidator(_grid_numbers), WithJsonSchema(_SWEEP)
    ] = Field(
        default=None, description="columns of the grid, of the swept values; by default all (phy)"
    )
    erasure_rate: Annotated[
        tuple[float, ...] | None, BeforeValidator(_grid_numbers), WithJsonSchema(_SWEEP)
    ] = Field(
        default=None,
        description="columns of the grid, of the swept values; by default all (packet)",
    )


class Figures(_Strict):
    """What is drawn at the end of a run."""

    grid: Grid | None = Field(default=None, description="draw a picture grid as well as the curves")
    width: Literal["column", "page"] = Field(default="column", description="width of the curves")
    published: list[str] = Field(
        default_factory=list, description="published curves to draw beside ours, by name"
    )


class ScenarioFile(_Strict):
    """One study: images, a link, its axes, the systems that cross it and the metrics that judge them."""

    model_config = ConfigDict(title="linksim scenario")

    name: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="short name, also of the results folder; by default the file's name",
    )
    description: str = Field(default="", description="what the study is for, in one line")
    seed: int = Field(default=0, ge=0, description="root of every random number in the run")
    images: Annotated[dict[str, Any], BeforeValidator(_image_entry), _ImageNames()] = Field(
        description="where the images come from: {source: name, ...parameters}; paths start at the scenario's folder"
    )
    link: Literal["phy", "packet"] = Field(
        default="phy",
        description="phy: symbols over a noisy channel; packet: packets that are lost",
    )
    channels: _listed(("channels",), "channel", _CHANNEL_KEYS) = Field(  # type: ignore[valid-type]
        ({"name": "awgn"},), description="channels to cross (phy)"
    )
    erasures: _listed(("erasures",), "packet loss process", _UNCHECKED) = Field(  # type: ignore[valid-type]
        ({"name": "iid"},), description="packet loss processes (packet)"
    )
    axes: Axes = Field(description="what is swept")
    systems: _listed(("systems", "codecs", "joints"), "system", _SYSTEM_KEYS) = Field(  # type: ignore[valid-type]
        description="the systems compared: a system, a source codec (then a separated system) or a joint coder, by name"
    )
    csi_tx: Literal["instantaneous", "mean", "none"] = Field(
        default="mean",
        description="what the transmitter knows of the fade, the same for all systems",
    )
    budget: Literal["per_image", "mean"] = Field(
        default="per_image",
        description="whether every image meets the budget, or the set in its mean",
    )
    failure: Literal["mean-grey", "good-prefix", "exclude"] = Field(
        default="mean-grey",
        description="what stands in for an image that the link failed to deliver",
    )
    realisations: int = Field(default=1, ge=1, description="channel realisations of each image")
    stop: Stop = Field(default=Stop(), description="stopping rule of each point")
    batch: int = Field(
        default=16, ge=1, le=4096, description="images of a cell, the unit of resuming"
    )
    metrics: Annotated[
        tuple[str | dict[str, Any], ...], BeforeValidator(_metric_forms), _MetricNames()
    ] = Field(
        default=("mse", "psnr"),
        min_length=1,
        description="figures of merit, by name or with parameters: {name: fid, min_images: 100}",
    )
    figures: Figures = Field(default=Figures(), description="what is drawn at the end")
