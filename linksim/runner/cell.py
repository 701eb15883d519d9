"""One cell: a point meets a shard of images."""

from __future__ import annotations

import hashlib
import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from linksim import __version__, registry
from linksim.errors import ComponentError, ImageError, RunStateError
from linksim.image.source import ImageSource, pixel_digest
from linksim.link import guard
from linksim.link.system import Calibrated, Outcome, System
from linksim.metric import kept
from linksim.runner.components import Components
from linksim.runner.images import Shard, open_metrics
from linksim.runner.limit import time_limit
from linksim.runner.side import side_arguments
from linksim.scenario import Point, Scenario
from linksim.seeds import FrameSeeds, Seed
from linksim.types import Status

_SHARDS = 2  # that a bench holds: its own, and one that it helps with


def cell_id(point: Point, shard: Shard, scenario: Scenario, metrics: list[str]) -> str:
    """Hash of everything that determines the rows of a cell."""
    parts = [
        __version__,
        point.id,
        shard.keys,
        shard.digests,
        scenario.realisations,
        scenario.seed,
        sorted(metrics),
        *([point.operating] if point.operating is not None else []),
    ]
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=12).hexdigest()


@dataclass(frozen=True)
class Order:
    """What a bench has to know of a scenario: plain values, which travel to other processes.

    Args:
      folder:       that relative paths start from.
      images:       spec of the source.
      metrics:      those that can be computed: names, or mappings of a name and parameters.
      seed:         root of all randomness.
      realisations: of each image.
      pictures:     positions of the images whose reconstructions are kept.
      timeout_s:    that a cell may take; None: as long as it does.
    """

    folder: Path
    images: dict[str, Any]
    metrics: tuple[str | Mapping[str, Any], ...]
    seed: int
    realisations: int
    pictures: frozenset[int]
    timeout_s: float | None = None

    @classmethod
    def of(
        cls,
        scenario: Scenario,
        metrics: Sequence[str | Mapping[str, Any]],
        timeout_s: float | None = None,
    ) -> Order:
        """What ``scenario`` says."""
        grid = scenario.figures.grid
        return cls(
            Path(scenario.folder),
            scenario.image_spec,
            tuple(metrics),
            scenario.seed,
            scenario.realisations,
            frozenset(grid.images if grid is not None else ()),
            timeout_s,
        )


@dataclass(frozen=True)
class CellResult:
    """What came of a cell.

    Args:
      rows:       one per frame.
      features:   extractor -> [N, D].
      references: extractor -> [images, D], features of the originals, where they were asked for.
      pictures:   (point's id or "original", item) -> PNG.
    """

    rows: list[dict[str, Any]] = field(default_factory=list)
    features: dict[str, np.ndarray] = field(default_factory=dict)
    references: dict[str, np.ndarray] = field(default_factory=dict)
    pictures: dict[tuple[str, int], bytes] = field(default_factory=dict)


class Bench:
    """The place where shards meet points; writes nothing.

    Args:
      order:  what to do.
      source: its images, if they are open already.
    Raises: LinksimError: if the images or the metrics are not on this machine.
    """

    def __init__(self, order: Order, source: ImageSource | None = None) -> None:
        self.order = order
        self.parts = Components(order.folder)
        self.source: ImageSource = (
            registry.create("images", order.images, base=order.folder) if source is None else source
        )
        self.checks = source is None  # whoever cut the shards has read its own images
        self.of_images, of_sets, absent = open_metrics(list(order.metrics))
        if absent:
            raise RunStateError("; ".join(f"{name}: {why}" for name, why in absent.items()))
        self.extractors = {metric.extractor: metric for metric in of_sets.values()}
        self.root = Seed.root(order.seed)
        self._loaded: OrderedDict[int, tuple[np.ndarray, FrameSeeds]] = OrderedDict()

    def simulate(
        self,
        point: Point,
        shard: Shard,
        cell: str,
        *,
        pictures: bool = False,
        references: Sequence[str] = (),
    ) -> CellResult:
        """Rows and features of one cell.

        Args: pictures: whether the point is in the picture grid. references: extractors to use on the originals too.
        """
        images, seeds = self._frames(shard)
        with time_limit(self.order.timeout_s, "on one batch of images"):
            return self._simulate(point, shard, cell, images, seeds, pictures, references)

    def _simulate(
        self,
        point: Point,
        shard: Shard,
        cell: str,
        images: np.ndarray,
        seeds: FrameSeeds,
        pictures: bool,
        references: Sequence[str],
    ) -> CellResult:
        system = self.parts.system(point)
        side = side_arguments(system, self.source, shard.items, self.order.realisations)
        outcome = guard.simulate(
            point.system_label, system, images, self.parts.link_point(point), seeds, side
        )
        scores = {
            name: guard.score(name, metric, images, outcome.images)
            for name, metric in self.of_images.items()
        }
        features = {
            name: metric.features(outcome.images) for name, metric in self.extractors.items()
        }
        return CellResult(
            list(self._rows(point, shard, cell, system, outcome, scores)),
            features,
            self.references(shard, references),
            dict(self._pictures(point, shard, images, outcome)) if pictures else {},
        )

    def calibrate(self, point: Point, shards: Sequence[Shard]) -> dict[str, float]:
        """The point's operating point for all images (``budget: mean``). Raises LinksimError: there is none."""
        system = self.parts.system(point)
        if not isinstance(system, Calibrated):
            raise ComponentError(
                f"{point.system_label} has no operating point that a set could share; use budget: per_image"
            )
        frames = partial(map, self._frames, shards)
        found = system.calibrate(frames, self.parts.link_point(point))
        return {key: float(value) for key, value in found.items()}

    def references(self, shard: Shard, extractors: Sequence[str]) -> dict[str, np.ndarray]:
        """Extractor -> features [images, D] of the shard's originals."""
        if not extractors:
            return {}
        originals = self._frames(shard)[0][:: self.order.realisations]
        return {name: kept.features(self.extractors[name], originals) for name in extractors}

    def _frames(self, shard: Shard) -> tuple[np.ndarray, FrameSeeds]:
        """[B, H, W, 3]: every image, once for each realisation; and the seeds of the frames."""
        if shard.index not in self._loaded:
            while len(self._loaded) >= _SHARDS:
                self._loaded.popitem(last=False)
            pictures = [self.source.load(i) for i in shard.items]
            if self.checks:
                self._check(shard, pictures)
            repeats = self.order.realisations
            # The seed of a frame comes from the image's name and the realisation alone: every system, and every other
            # batch size, meets the same fades.
            seeds = FrameSeeds(
                tuple(
                    self.root.child("frame", key, r) for key in shard.keys for r in range(repeats)
                )
            )
            self._loaded[shard.index] = np.repeat(np.stack(pictures), repeats, axis=0), seeds
        self._loaded.move_to_end(shard.index)
        return self._loaded[shard.index]

    def _check(self, shard: Shard, pictures: Sequence[np.ndarray]) -> None:
        """Raises ImageError: if the images here are not those of the machine that began the run."""
        for item, key, digest, picture in zip(
            shard.items, shard.keys, shard.digests, pictures, strict=True
        ):
            if self.source.key(item) != key or (
                pixel_digest(picture) != digest and self.source.digest(item) != digest
            ):
                raise ImageError(
                    f"image {item} is {self.source.key(item)!r} here and not the {key!r} that the run began with; "
                    "give every machine the same images"
                )

    def _rows(
        self,
        point: Point,
        shard: Shard,
        cell: str,
        system: System,
        outcome: Outcome,
        scores: dict[str, np.ndarray],
    ) -> Iterator[dict[str, Any]]:
        pixels = shard.height * shard.width
        books = outcome.ledger.entries()
        total = outcome.ledger.total
        repeats = self.order.realisations
        phy = point.link == "phy"
        for b in range(len(outcome.images)):
            status = Status(outcome.status[b])
            yield {
                "point": point.id,
                "cell": cell,
                "system": point.system_label,
                "family": system.family,
                "link": point.link,
                "channel": point.channel_label,
                **point.axes,
                "image": shard.keys[b // repeats],
                "realisation": b % repeats,
                "status": status.name,
                "failed": status.failed,
                "cbr": float(total[b]) / (3 * pixels) if phy else float("nan"),
                "bpp": float("nan") if phy else float(total[b]) / pixels,
                "mcs": outcome.mcs[b],
                "papr_db": float("nan") if outcome.papr_db is None else float(outcome.papr_db[b]),
                **_extras(outcome, b),
                **{f"ledger_{name}": float(entry[b]) for name, entry in books.items()},
                **{f"metric_{name}": float(score[b]) for name, score in scores.items()},
            }

    def _pictures(
        self, point: Point, shard: Shard, images: np.ndarray, outcome: Outcome
    ) -> Iterator[tuple[tuple[str, int], bytes]]:
        """The reconstructions that the picture grid shows (first realisation), and their originals."""
        for position, item in enumerate(shard.items):
            if item in self.order.pictures:
                b = position * self.order.realisations
                yield ("original", item), _png(images[b])
                yield (point.id, item), _png(outcome.images[b])


def _png(image: np.ndarray) -> bytes:
    """Args: image [H, W, 3] uint8."""
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray(np.asarray(image, np.uint8), "RGB").save(buffer, "png")
    return buffer.getvalue()


def _extras(outcome: Outcome, b: int) -> dict[str, Any]:
    """Columns that only some systems have."""
    found: dict[str, Any] = {}
    if outcome.transmissions is not None:
        found["transmissions"] = int(outcome.transmissions[b])
    if outcome.note is not None:
        found["note"] = outcome.note
    return found
