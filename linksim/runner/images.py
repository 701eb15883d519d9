"""The images of a run, cut into shards, and its metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linksim import registry
from linksim.errors import LinksimError, MissingAssetError, ScenarioError
from linksim.image.source import ImageSource, group_by_size
from linksim.scenario import Scenario
from linksim.types import ImageMetric, SetMetric


@dataclass(frozen=True)
class Shard:
    """Consecutive images of one size.

    Args: index: position in the run. items: positions in the source. keys, digests: of those images.
    """

    index: int
    items: tuple[int, ...]
    keys: tuple[str, ...]
    digests: tuple[str, ...]
    height: int
    width: int


def open_source(scenario: Scenario) -> ImageSource:
    """The scenario's images. Raises ScenarioError if there are none."""
    source: ImageSource = registry.create("images", scenario.image_spec, base=scenario.folder)
    if len(source) == 0:
        raise ScenarioError("there are no images", file=scenario.file, key="images")
    return source


def shards(source: ImageSource, batch: int) -> list[Shard]:
    """Cut the source into batches of at most ``batch`` images of one size."""
    return [
        _shard(source, index, items, source.size(items[0]))
        for index, items in enumerate(group_by_size(source, batch))
    ]


def _shard(source: ImageSource, index: int, items: list[int], size: tuple[int, int]) -> Shard:
    return Shard(
        index,
        tuple(items),
        tuple(source.key(i) for i in items),
        tuple(source.digest(i) for i in items),
        *size,
    )


def open_metrics(
    forms: Sequence[str | Mapping[str, Any]],
) -> tuple[dict[str, ImageMetric], dict[str, SetMetric], dict[str, str]]:
    """Image metrics, set metrics, and the reasons for those that cannot be computed here, by name.

    Args: forms: names, or mappings of a name and parameters.
    """
    of_images: dict[str, ImageMetric] = {}
    of_sets: dict[str, SetMetric] = {}
    absent: dict[str, str] = {}
    for form in forms:
        name = form if isinstance(form, str) else form["name"]
        try:
            metric = registry.create("metrics", form)
        except (MissingAssetError, LinksimError) as error:
            if not isinstance(error, MissingAssetError) and not isinstance(
                error.__cause__, MissingAssetError
            ):
                raise
            absent[name] = str(error.__cause__ or error)
            continue
        if hasattr(metric, "extractor"):
            of_sets[name] = metric
        else:
            of_images[name] = metric
    return of_images, of_sets, absent
