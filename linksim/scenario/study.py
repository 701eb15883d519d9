"""A scenario that has been read and checked, and its points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from linksim import registry
from linksim.errors import LinksimError, MissingAssetError, ScenarioError
from linksim.results.published import published_curve
from linksim.scenario import systems
from linksim.scenario.components import Locate, absolute, check, component_class, identity
from linksim.scenario.document import Document, KeyPath
from linksim.scenario.point import Point, digest
from linksim.scenario.schema import ERROR_RATE, Figures, ScenarioFile, Stop
from linksim.scenario.sweep import Believed, SweepError, anything, expand
from linksim.scenario.systems import SystemEntry

MAX_POINTS = 100_000
_AXES = {
    "phy": ("es_n0_db", "snr_amc_db", "cbr"),
    "packet": ("erasure_rate", "bpp"),
}
_NEEDED = {"phy": ("es_n0_db", "cbr"), "packet": ("bpp",)}
_BELONGS = {"channels": "phy", "csi_tx": "phy", "erasures": "packet"}


@dataclass(frozen=True)
class _Place:
    """A channel or a packet loss process with its label; ``spec`` as written.

    ``takes_rate``: its parameter ``rate`` comes from the axis erasure_rate. ``own_rate``: the closed form of its loss
    rate where it does not, None where it names none. ``unchecked``: it runs without having been put through its laws.
    """

    label: str
    spec: dict[str, Any]
    takes_rate: bool = False
    own_rate: float | None = None
    unchecked: bool = False


@dataclass(frozen=True)
class _Variant:
    """A system with its parameter axes set. Args: axes: axis -> value. spec: as written. believed: see SystemEntry."""

    label: str
    spec: dict[str, Any]
    axes: dict[str, Any] = field(default_factory=dict)
    believed: Believed | None = None


def _written(entry: SystemEntry) -> dict[str, Any]:
    """An entry with everything spelled out."""
    belief = {} if entry.believed is None else {systems.BELIEVED: entry.believed.written()}
    return {**entry.spec, "label": entry.label, **belief}


def _loss_rate(process: Any) -> float | None:
    """The closed form of a loss process, as its column of the table says it."""
    try:
        return round(float(process.loss_rate), 6)
    except (AttributeError, TypeError, ValueError):  # a plug-in may name none, or anything
        return None


def _label(spec: Any) -> str:
    """What a place is called that has no label: its name, and those of its impairments."""
    if not isinstance(spec, Mapping):
        return str(spec)
    name = str(spec.get("name") or str(spec.get("plugin", "")).rpartition(":")[2])
    if name == "impaired" and "channel" in spec:
        name = _label(spec["channel"])
    more = spec.get("impairments")
    return " + ".join([name, *map(_label, more if isinstance(more, list | tuple) else ())])


class Scenario:
    """A study, checked as far as that goes without simulating.

    Built by :func:`linksim.scenario.load`. Attributes are those of the file, plus:

    Attributes:
      file, folder:   where it was read, and where its relative paths start.
      not_applicable: label of a system that was left out -> why.
    """

    def __init__(self, document: Document, form: ScenarioFile, folder: Path) -> None:
        """Raises ScenarioError: if components, labels or axes are wrong."""
        self._document, self._form = document, form
        self.file, self.folder = document.file, folder
        self.name: str = form.name or (document.file.stem if document.file else "scenario")
        self.description, self.seed, self.link = form.description, form.seed, form.link
        self.csi_tx, self.budget, self.failure = form.csi_tx, form.budget, form.failure
        self.realisations, self.batch = form.realisations, form.batch
        self.metric_forms: list[str | dict[str, Any]] = list(form.metrics)
        self.metrics: list[str] = [m if isinstance(m, str) else m["name"] for m in form.metrics]
        self.stop: Stop = form.stop
        self.figures: Figures = form.figures
        self.not_applicable: dict[str, str] = {}
        self._check_keys()
        self._check_metrics()
        self.image_spec: dict[str, Any] = self._images()
        self._places = self._read_places()
        self._systems = self._read_systems()
        self._variants = self._read_variants()
        self._check_figures()

    @property
    def unchecked(self) -> frozenset[str]:
        """Labels of the channels or loss processes that run without having been tested."""
        return frozenset(place.label for place in self._places if place.unchecked)

    # ------------------------------------------------------------------------------------------------- checking

    def _at(self, *prefix: str | int) -> Locate:
        """Makes errors for key paths below ``prefix``."""
        return lambda path, text: self._document.error(text, (*prefix, *path))

    def _check_keys(self) -> None:
        form, error = self._form, self._document.error
        for key, link in _BELONGS.items():
            if key in form.model_fields_set and form.link != link:
                raise error(
                    f"belongs to link: {link}, and this scenario has link: {form.link}", (key,)
                )
        for link, names in _AXES.items():
            for name in names:
                if name in form.axes.model_fields_set and form.link != link:
                    raise error(
                        f"is an axis of link: {link}, and this scenario has link: {form.link}, whose axes are "
                        f"{', '.join(_AXES[form.link])}",
                        ("axes", name),
                    )
        for name in _NEEDED[form.link]:
            if getattr(form.axes, name) is None:
                raise error(f"link: {form.link} needs the axis {name}", ("axes", name))

    def _check_metrics(self) -> None:
        for i, name in enumerate(self.metrics):
            try:
                registry.find("metrics", name)
            except LinksimError as problem:
                raise self._document.error(str(problem), ("metrics", i)) from problem
            self._check_parameters(i)
            if name in self.metrics[:i]:
                raise self._document.error(f"{name!r} is given twice; keep one", ("metrics", i))
        for name in self.stop.ci_width or ():
            if name not in (*self.metrics, ERROR_RATE):
                raise self._document.error(
                    f"{name!r} is not a metric of this scenario; {registry.nearest(name, [*self.metrics, ERROR_RATE])}",
                    ("stop", "ci_width", name),
                )

    def _check_parameters(self, i: int) -> None:
        form = self.metric_forms[i]
        if isinstance(form, str):
            return

        def error(path: KeyPath, text: str) -> ScenarioError:
            return self._document.error(text, ("metrics", i, *path))

        try:
            check("metrics", form, self.folder, error)
        except ScenarioError as problem:
            cause = problem.__cause__
            if not any(
                isinstance(e, MissingAssetError) for e in (cause, cause and cause.__cause__)
            ):
                raise  # weights that are not here are told when it runs

    def _images(self) -> dict[str, Any]:
        written = dict(self._form.images)
        renamed = {("name" if k == "source" else k): v for k, v in written.items()}

        def error(path: KeyPath, text: str) -> ScenarioError:
            written_as = ("source" if step == "name" else step for step in path)
            return self._document.error(text, ("images", *written_as))

        source = check("images", renamed, self.folder, error)
        try:
            empty = len(source) == 0
        except LinksimError as problem:
            raise error((), str(problem)) from problem
        if empty:
            raise error((), "there are no images")
        return absolute(renamed, self.folder)

    def _read_places(self) -> tuple[_Place, ...]:
        """The channels, or the packet loss processes."""
        phy = self.link == "phy"
        kind = "channels" if phy else "erasures"
        found: list[_Place] = []
        for i, entry in enumerate(self._form.channels if phy else self._form.erasures):
            spec = {k: v for k, v in entry.items() if k not in ("label", "unchecked")}
            unchecked = entry.get("unchecked", False)
            if not isinstance(unchecked, bool):
                raise self._document.error(
                    f"must be true or false, got {unchecked!r}", (kind, i, "unchecked")
                )
            rates = () if phy else self._form.axes.erasure_rate or ()
            swept = bool(rates) and self._takes_rate(spec)
            if swept and "rate" in spec:
                raise self._document.error(
                    "the axis erasure_rate sets the rate too; keep one of the two",
                    (kind, i, "rate"),
                )
            own_rate = None
            if not swept:
                made = check(kind, spec, self.folder, self._at(kind, i))
                own_rate = None if phy else _loss_rate(made)
            for j in range(len(rates) if swept else 0):
                error = self._at_rate(i, j)
                check(kind, {**spec, "rate": rates[j]}, self.folder, error)
            label = entry.get("label") or _label(entry)
            found.append(_Place(label, spec, swept, own_rate, unchecked))
        self._check_labels(kind, [place.label for place in found])
        if (
            not phy
            and self._form.axes.erasure_rate is not None
            and not any(place.takes_rate for place in found)
        ):
            raise self._document.error(
                "no packet loss process of this scenario has a parameter `rate`; remove the axis",
                ("axes", "erasure_rate"),
            )
        return tuple(found)

    def _takes_rate(self, spec: Mapping[str, Any]) -> bool:
        """Whether a packet loss process takes its parameter ``rate`` from the axis; false where `check` finds fault.

        A class with a parameter ``rate`` does, unless its ``takes_rate(parameters)`` says that the parameters given
        fix the rate already.
        """
        try:
            cls = component_class("erasures", spec, self.folder)
            if "rate" not in registry.parameters(cls):
                return False
            decides = getattr(cls, "takes_rate", None)
            return bool(decides(spec)) if callable(decides) else True
        except (LinksimError, KeyError):
            return False

    def _at_rate(self, i: int, j: int) -> Locate:
        """Makes errors of loss process i with the j-th value of the axis erasure_rate."""

        def error(path: KeyPath, text: str) -> ScenarioError:
            # A refusal that names no parameter comes from a class that has seen the rate.
            of_rate = path in ((), ("rate",))
            at = ("axes", "erasure_rate", j) if of_rate else ("erasures", i, *path)
            return self._document.error(text, at)

        return error

    def _check_labels(self, key: str, labels: list[str]) -> None:
        for i, label in enumerate(labels):
            if label in labels[:i]:
                raise self._document.error(
                    f"two {key} are called {label!r} ({key}.{labels.index(label)} too); give one a `label` of its own",
                    (key, i),
                )

    def _read_systems(self) -> list[SystemEntry]:
        found = []
        for i, entry in enumerate(self._form.systems):
            found.append(systems.read(entry, self.folder, self._at("systems", i)))
            if found[-1].believed is not None and self.link != "phy":
                raise self._document.error(
                    "belongs to link: phy; remove it", ("systems", i, systems.BELIEVED)
                )
        self._check_labels("systems", [entry.label for entry in found])
        return found

    def _read_variants(self) -> tuple[_Variant, ...]:
        """Every system with every combination of its own axes, those left out that cannot cross the link."""
        swept = self._parameter_axes()
        found: list[_Variant] = []
        for i, entry in enumerate(self._systems):
            mine = swept.get(entry.label, {})
            for combination in itertools.product(*mine.values()):
                spec = entry.spec
                axes: dict[str, Any] = {}
                origin: dict[KeyPath, KeyPath] = {}
                for (axis, dotted), (j, value) in zip(mine, combination, strict=True):
                    changed = SystemEntry(entry.label, spec)
                    spec, path = systems.with_parameter(changed, dotted, value, self.folder)
                    origin[path] = ("axes", axis, j)
                    axes[axis] = value

                crosses = systems.links(spec, self.folder, self._in_system(i, entry, origin))
                if self.link in crosses:
                    found.append(_Variant(entry.label, spec, axes, entry.believed))
                else:
                    kinds = " and ".join(f"link: {kind}" for kind in sorted(crosses))
                    self.not_applicable[entry.label] = (
                        f"not applicable on link: {self.link}; it crosses {kinds}"
                    )
        if not found:
            reasons = "; ".join(f"{label}: {why}" for label, why in self.not_applicable.items())
            raise self._document.error(f"no system can cross this link: {reasons}", ("systems",))
        return tuple(found)

    def _in_system(self, i: int, entry: SystemEntry, origin: Mapping[KeyPath, KeyPath]) -> Locate:
        """Makes errors for key paths in a system's spec. Args: origin: what of it an axis has set."""

        def error(path: KeyPath, text: str) -> ScenarioError:
            for set_at, axis in origin.items():
                # A class may refuse the whole of what holds the swept value: amc where amc.target is swept.
                if path and (path[: len(set_at)] == set_at or set_at[: len(path)] == path):
                    return self._document.error(text, axis)
            return self._document.error(text, ("systems", i, *entry.written_at(path)))

        return error

    def _parameter_axes(self) -> dict[str, dict[tuple[str, str], list[tuple[int, Any]]]]:
        """Label -> {(axis, dotted parameter) -> numbered values}."""
        labels = [entry.label for entry in self._systems]
        found: dict[str, dict[tuple[str, str], list[tuple[int, Any]]]] = {}
        for axis, written in (self._form.axes.model_extra or {}).items():
            label = max(
                (name for name in labels if axis.startswith(f"{name}.")), key=len, default=None
            )
            dotted = axis[len(label) + 1 :] if label is not None else ""
            if label is None or not dotted:
                known = [*_AXES[self.link], *(f"{name}.<parameter>" for name in labels)]
                near = (
                    registry.nearest(axis.partition(".")[0], labels)
                    if "." in axis
                    else registry.nearest(axis, known)
                )
                raise self._document.error(
                    f"is no axis and no system's parameter; {near}", ("axes", axis)
                )
            try:
                values = expand(written, anything)
            except SweepError as problem:
                raise self._document.error(str(problem), ("axes", axis, *problem.path)) from problem
            found.setdefault(label, {})[axis, dotted] = list(enumerate(values))
        return found

    def _check_figures(self) -> None:
        for i, name in enumerate(self.figures.published):
            try:
                published_curve(name)
            except LinksimError as problem:
                raise self._document.error(str(problem), ("figures", "published", i)) from problem
        grid = self.figures.grid
        if grid is None:
            return
        for axis, link in (("es_n0_db", "phy"), ("erasure_rate", "packet")):
            chosen, swept = getattr(grid, axis), getattr(self._form.axes, axis) or ()
            if chosen is None:
                continue
            for i, value in enumerate(chosen):
                if link != self.link or value not in swept:
                    raise self._document.error(
                        f"{value:g} is not swept; choose of {', '.join(f'{v:g}' for v in swept) or 'no values'}",
                        ("figures", "grid", axis, i),
                    )

    # --------------------------------------------------------------------------------------------------- points

    def points(self) -> list[Point]:
        """Every point of the study, system by system. Raises ScenarioError if there are too many."""
        return self._points

    @cached_property
    def _points(self) -> list[Point]:
        found: list[Point] = []
        for point in self._expand():
            found.append(point)
            if len(found) > MAX_POINTS:
                raise self._document.error(f"gives more than {MAX_POINTS} points", ("axes",))
        return found

    def _expand(self) -> Iterator[Point]:
        axes = self._form.axes
        for variant in self._variants:
            for place in self._places:
                if self.link == "phy":
                    for cbr in axes.cbr or ():
                        for es_n0_db in axes.es_n0_db or ():
                            for believed in (variant.believed or axes.snr_amc_db).at(es_n0_db):
                                shown: dict[str, Any] = {"es_n0_db": es_n0_db}
                                if not axes.snr_amc_db.is_truth:
                                    shown["snr_amc_db"] = believed
                                shown["cbr_target"] = cbr
                                yield self._point(
                                    variant,
                                    place,
                                    place.spec,
                                    shown,
                                    es_n0_db=es_n0_db,
                                    snr_amc_db=believed,
                                    cbr=cbr,
                                )
                    continue
                rates: Sequence[float | None] = (
                    (axes.erasure_rate or ()) if place.takes_rate else (None,)
                )
                for bpp in axes.bpp or ():
                    for rate in rates:
                        spec = place.spec if rate is None else {**place.spec, "rate": rate}
                        shown = {"erasure": place.label}
                        if rate is not None or place.own_rate is not None:
                            shown["erasure_rate"] = rate if rate is not None else place.own_rate
                        shown["bpp_target"] = bpp
                        yield self._point(variant, place, spec, shown, erasure_rate=rate, bpp=bpp)

    def _point(
        self,
        variant: _Variant,
        place: _Place,
        spec: dict[str, Any],
        shown: Mapping[str, Any],
        **values: Any,
    ) -> Point:
        phy = self.link == "phy"
        fields: dict[str, Any] = {
            "system_label": variant.label,
            "system_spec": variant.spec,
            "link": self.link,
            "channel_label" if phy else "erasure_label": place.label,
            "channel_spec" if phy else "erasure_spec": spec,
            "csi_tx": self.csi_tx,
            "budget": self.budget,
            "failure": self.failure,
            "axes": {**shown, **variant.axes},
            **values,
        }
        # Labels and axes are columns of the rows, so they are part of what the id stands for.
        identifier = digest(self._identity(fields))
        made = {
            k: absolute(v, self.folder) if k.endswith("_spec") else v for k, v in fields.items()
        }
        return Point(id=identifier, **made)

    def _identity(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        return {
            k: identity(v, self.folder) if k.endswith("_spec") else v for k, v in fields.items()
        }

    def in_grid(self, point: Point) -> bool:
        """Whether the picture grid shows this point."""
        grid = self.figures.grid
        if grid is None:
            return False
        chosen = grid.es_n0_db if self.link == "phy" else grid.erasure_rate
        value = point.es_n0_db if self.link == "phy" else point.erasure_rate
        return chosen is None or value is None or value in chosen

    # -------------------------------------------------------------------------------------------------- writing

    def resolved(self) -> dict[str, Any]:
        """The scenario with everything spelled out, in the form of a scenario file; paths as written."""
        form, axes = self._form, self._form.axes
        phy = self.link == "phy"
        swept: dict[str, Any] = {}
        for name in _AXES[self.link]:
            value = getattr(axes, name)
            if value is not None:
                swept[name] = value.written() if name == "snr_amc_db" else list(value)
        for axis, value in (axes.model_extra or {}).items():
            swept[axis] = list(expand(value, anything))
        places = [
            {**place.spec, "label": place.label, **({"unchecked": True} if place.unchecked else {})}
            for place in self._places
        ]
        return {
            "name": self.name,
            "description": self.description,
            "seed": self.seed,
            "images": dict(form.images),
            "link": self.link,
            "channels" if phy else "erasures": places,
            "axes": swept,
            "systems": [_written(entry) for entry in self._systems],
            **({"csi_tx": self.csi_tx} if phy else {}),
            "budget": self.budget,
            "failure": self.failure,
            "realisations": self.realisations,
            "stop": self.stop.model_dump(mode="json"),
            "batch": self.batch,
            "metrics": list(self.metric_forms),
            "figures": self.figures.model_dump(mode="json"),
        }

    def digest(self) -> str:
        """Hash of what the rows of a run depend on: not its name, nor how it is cut into cells or drawn."""
        parts = {
            k: v
            for k, v in self.resolved().items()
            if k not in ("name", "description", "batch", "figures")
        }
        # Rules that came later count where they are used alone: the digests of older scenarios stay.
        later = ("max_images", "ci_width")
        parts["stop"] = {k: v for k, v in parts["stop"].items() if v is not None or k not in later}
        pictures = self.figures.grid and self.figures.grid.model_dump(mode="json")
        points = [point.id for point in self.points()]  # they hash the content of plug-in files
        return digest([parts, pictures, points], 16)
