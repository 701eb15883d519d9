"""The run folder: append-only storage of a run.

    run.json               resolved scenario, versions, digests, seed, command, started, finished
    run.lock               held by the one process that writes
    run.log                when which cell was written (times live here, so that rows are the same in every run)
    parts/CELL.parquet     the rows of one cell
    features/CELL.EXTRACTOR.npy, features/reference.EXTRACTOR.SHARD.npy
    reconstructions/POINT/IMAGE.png, reconstructions/original/IMAGE.png
    table.csv  figures/

Every file is written under a temporary name, forced to disk and renamed, features before the part that names them: a
part that can be read is complete. Merging runs of one scenario is copying their parts and features together.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence, Sized
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.atomic import remove_leftovers, write_atomically
from linksim.errors import RunStateError
from linksim.results import manifest as manifest_file
from linksim.results import parts
from linksim.results.lock import FolderLock
from linksim.results.manifest import guarded
from linksim.results.parts import DamagedPartError, PartInfo

if TYPE_CHECKING:
    import pandas as pd

_NAME = re.compile(r"[A-Za-z0-9_-]+")


class RunFolder:
    """A run on disk. ``RunFolder(path)`` reads; :meth:`create_or_open` returns one that also writes.

    Args:   path: the folder.
    Raises: RunStateError: if there is no run in it, or one of another format.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.notes: list[str] = []
        self.manifest: dict[str, Any] = manifest_file.read(self.path)
        self._lock: FolderLock | None = None
        self._seen: dict[str, tuple[tuple[int, int], PartInfo]] = {}
        self._num_written = 0

    # -------------------------------------------------------------------------------------------------- opening

    @classmethod
    def create_or_open(cls, path: str | Path, manifest: Mapping[str, Any]) -> RunFolder:
        """Open a folder for writing: a new one, or one that holds the same scenario.

        Args:
          manifest: what run.json will say; ``scenario_digest`` decides what "the same scenario" is.
        Raises:
          RunStateError: if the folder holds another scenario or another format, another process writes to it, or it
            cannot be written.
        """
        path = Path(path)
        if path.exists() and not path.is_dir():
            raise RunStateError(f"{path} is a file, not a folder; choose another --out")
        with guarded(path, "open"):
            path.mkdir(parents=True, exist_ok=True)
            lock = FolderLock(path)
        try:
            if (path / "run.json").exists():
                manifest_file.check_same(path, manifest_file.read(path), manifest)
            elif any(path.glob("parts/*.parquet")):
                raise RunStateError(
                    f"{path} holds parts but no run.json, so nobody knows of what; choose another --out"
                )
            with guarded(path, "open"):
                for place in (path, path / "parts", path / "features"):
                    remove_leftovers(place)
                manifest_file.begin(path, manifest)
            folder = cls(path)
            folder._lock = lock
        except BaseException:
            lock.release()
            raise
        folder._log("opened")
        return folder

    def close(self) -> None:
        """Let other processes write."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -------------------------------------------------------------------------------------------------- writing

    def done(self) -> set[str]:
        """Cells that are complete: a readable part, and the feature files that it names.

        A damaged part is renamed to ``CELL.parquet.damaged`` (with a line in ``notes``), so that its cell is redone.
        """
        complete = set()
        for path in self._part_files():
            try:
                info = parts.check(path)
                for extractor in info.extractors:
                    self._check_features(info, extractor)
            except DamagedPartError as error:
                self._set_aside(path, str(error))
                continue
            stat = path.stat()
            self._seen[path.name] = ((stat.st_mtime_ns, stat.st_size), info)
            if info.key == self.manifest["rows_key"]:
                complete.add(info.cell)
        return complete

    def whole_parts(self) -> Iterator[tuple[Path, PartInfo]]:
        """Files of the complete cells, read whole and compared with their digests; of a damaged one a note is left."""
        for path in self._part_files():
            try:
                info = parts.check(path)
                for extractor in info.extractors:
                    self._check_features(info, extractor)
            except DamagedPartError as error:
                self._note(f"{path} is damaged and left out ({error})")
                continue
            if info.key == self.manifest["rows_key"]:
                yield path, info

    def columns(self, cell: str, names: Sequence[str]) -> dict[str, list[Any]]:
        """Columns of a cell's rows, those of ``names`` that it has. Raises RunStateError: if it cannot be read."""
        try:
            arrow = parts.read(self._part(cell), names)
        except (DamagedPartError, FileNotFoundError) as error:
            raise RunStateError(
                f"{self._part(cell)} cannot be read: {error}; run again to redo it"
            ) from None
        return arrow.to_pydict()

    def write(
        self,
        cell: str,
        rows: pd.DataFrame | Sequence[Mapping[str, Any]],
        features: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Keep the rows of a cell and the features of its frames.

        Args:
          cell:     id.
          rows:     one per frame, all of one point.
          features: extractor -> [N, D], in the order of the rows; kept as float32.
        Raises:
          RunStateError: if the disk is full or the folder not writable. What was there stays untouched.
        """
        records: Sequence[Mapping[str, Any]]
        records = list(rows) if isinstance(rows, Sequence) else rows.to_dict("records")  # type: ignore[assignment]
        features = features or {}
        points = {row["point"] for row in records}
        if len(points) != 1 or {row["cell"] for row in records} != {cell}:
            raise ValueError(f"cell {cell} needs rows of its own and of one point, got {points}")
        for extractor, values in features.items():
            if np.ndim(values) != 2 or len(values) != len(records):
                raise ValueError(
                    f"features {extractor!r} must be [{len(records)}, D], got {np.shape(values)}"
                )
        self._must_write()
        key = self.manifest["rows_key"]
        info = PartInfo(cell, str(points.pop()), len(records), tuple(features), key)
        with guarded(self.path, f"write cell {cell} to"):
            for extractor, values in features.items():
                write_atomically(self._features(cell, extractor), _npy(values))
            write_atomically(self._part(cell), parts.encode(records, info))
        self._num_written += 1
        self._log(f"cell {cell} point {info.point} rows {info.num_rows}")

    def adopt(self, info: PartInfo, path: Path) -> None:
        """Keep a cell of another run folder as it is.

        Args:   info, path: as that folder's :meth:`whole_parts` gave them.
        Raises: RunStateError: if it cannot be written.
        """
        self._must_write()
        with guarded(self.path, f"write cell {info.cell} to"):
            for extractor in info.extractors:
                name = self._features(info.cell, extractor).name
                source = path.parents[1] / "features" / name
                write_atomically(self._features(info.cell, extractor), source.read_bytes())
            write_atomically(self._part(info.cell), path.read_bytes())
        self._num_written += 1
        self._log(f"cell {info.cell} point {info.point} rows {info.num_rows} from {path}")

    def has_reference(self, extractor: str, shard: int) -> bool:
        """Whether the features of a shard's originals are there."""
        return self._features("reference", extractor, shard).exists()

    def write_reference(self, extractor: str, shard: int, features: np.ndarray) -> None:
        """Keep the features [N, D] of a shard's originals. Raises RunStateError as :meth:`write` does."""
        self._must_write()
        with guarded(self.path, f"write the {extractor} features of the originals to"):
            write_atomically(self._features("reference", extractor, shard), _npy(features))

    def write_picture(self, point: str, item: int, image: np.ndarray) -> None:
        """Keep a picture [H, W, 3] uint8 for the grid; ``point`` is a point's id or "original"."""
        from PIL import Image

        buffer = BytesIO()
        Image.fromarray(np.asarray(image, np.uint8), "RGB").save(buffer, "png")
        self.write_png(point, item, buffer.getvalue())

    def write_png(self, point: str, item: int, png: bytes) -> None:
        """The same of a picture that is a PNG already."""
        self._must_write()
        with guarded(self.path, f"write picture {item} of point {point} to"):
            write_atomically(self.picture(point, item), png)

    def picture(self, point: str, item: int) -> Path:
        """Where the picture of image number ``item`` at a point is, or would be."""
        return self.path / "reconstructions" / _plain_name(point) / f"{item}.png"

    def finish(
        self,
        *,
        cells: Sized,
        failed_points: Sequence[tuple[str, str]] = (),
        seconds: float | None = None,
        whole: bool = True,
    ) -> None:
        """Record that the run has ended, and write table.csv.

        A second run that had nothing to do leaves both as they were.

        Args:
          cells:         all cells of the run.
          failed_points: (point id, reason) of the points that could not be simulated.
          seconds:       wall time of this pass.
          whole:         False where cells are known to be missing: run.json then says that it is not finished.
        """
        self._must_write()
        failed = [list(pair) for pair in failed_points]
        self._log(f"finished{'' if seconds is None else f' after {seconds:.1f} s'}")
        old = self.manifest
        if (
            (self.path / "table.csv").exists()
            and bool(old.get("finished")) == whole
            and not self._num_written
            and old.get("failed_points") == failed
        ):
            return
        self.manifest = {
            **old,
            "finished": manifest_file.now() if whole else None,
            "num_cells": len(cells),
            "failed_points": failed,
        }
        with guarded(self.path, "write run.json to"):
            write_atomically(self.path / "run.json", manifest_file.to_json(self.manifest))
        from linksim.results.text import save_csv  # views are built on this class

        save_csv(self)

    # -------------------------------------------------------------------------------------------------- reading

    def points(self) -> list[dict[str, Any]]:
        """What each point is: id, system, family, link, channel and ``axes``, in the order of the run.

        The order is that of the scenario's systems, then of its channels or loss processes, then of the axes.
        """
        found: dict[str, dict[str, Any]] = {}
        for info in self._index():
            if info.point not in found:
                first = parts.read(self._part(info.cell)).slice(0, 1).to_pylist()[0]
                found[info.point] = {
                    "id": info.point,
                    **{k: first.get(k) for k in ("system", "family", "link", "channel")},
                    "axes": {k: v for k, v in first.items() if parts.is_axis(k)},
                }
        scenario = self.manifest.get("scenario") or {}
        places = [*(scenario.get("channels") or ()), *(scenario.get("erasures") or ())]
        rank = _ranks(scenario.get("systems") or ()), _ranks(places)

        def order(point: dict[str, Any]) -> tuple[Any, ...]:
            place = point["channel"] or point["axes"].get("erasure")
            return (
                rank[0].get(point["system"], len(rank[0])),
                rank[1].get(place, len(rank[1])),
                _natural(point),
            )

        return sorted(found.values(), key=order)

    def frame(self, point: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """The rows of one point, by cell and in the order of writing. ``columns``: those to read."""
        tables = [parts.read(self._part(info.cell), columns) for info in self._index(point)]
        if not tables:
            raise RunStateError(f"{self.path} has no rows of point {point}")
        return parts.concat(tables).to_pandas()

    def rows(self) -> pd.DataFrame:
        """All rows, by point (in the order of the run), cell, and order of writing (image, realisation)."""
        import pandas as pd

        tables = [
            parts.read(self._part(info.cell))
            for point in self.points()
            for info in self._index(point["id"])
        ]
        return parts.concat(tables).to_pandas() if tables else pd.DataFrame(columns=parts.FIXED)

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        """All rows in the order of :meth:`rows`; holds one part at a time."""
        for point in self.points():
            for info in self._index(point["id"]):
                yield from parts.read(self._part(info.cell)).to_pylist()

    def features(self, point: str, extractor: str) -> np.ndarray:
        """Features [N, D] float32 of a point's frames, in the order of :meth:`frame`.

        Raises: RunStateError: if a cell of the point has none.
        """
        found = []
        for info in self._index(point):
            if extractor not in info.extractors:
                raise RunStateError(
                    f"cell {info.cell} of {self.path} has no {extractor!r} features; it has "
                    f"{', '.join(info.extractors) or 'none'}"
                )
            found.append(_load(self._features(info.cell, extractor)))
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    def reference(self, extractor: str) -> np.ndarray:
        """Features [N, D] float32 of the originals, shard by shard; [0, 0] where there are none."""
        files = sorted((self.path / "features").glob(f"reference.{_plain_name(extractor)}.*.npy"))
        found = [_load(path) for path in files]
        return np.concatenate(found) if found else np.zeros((0, 0), np.float32)

    def state(self) -> tuple[Any, ...]:
        """Something that changes whenever a view could."""
        listing = [self.path / "run.json", *self._part_files()]
        listing += sorted((self.path / "features").glob("*.npy"))
        marks = tuple((p.name, p.stat().st_mtime_ns, p.stat().st_size) for p in listing)
        return (self.path.resolve(), marks)

    # -------------------------------------------------------------------------------------------------- details

    def _part(self, cell: str) -> Path:
        return self.path / "parts" / f"{_plain_name(cell)}.parquet"

    def _part_files(self) -> list[Path]:
        return sorted((self.path / "parts").glob("[!.]*.parquet"))

    def _features(self, cell: str, extractor: str, shard: int | None = None) -> Path:
        middle = "" if shard is None else f".{shard:06d}"
        name = f"{_plain_name(cell)}.{_plain_name(extractor)}{middle}.npy"
        return self.path / "features" / name

    def _check_features(self, info: PartInfo, extractor: str) -> None:
        path = self._features(info.cell, extractor)
        try:
            shape = np.lib.format.open_memmap(path, mode="r").shape
        except Exception as error:  # damaged headers raise nearly every kind
            raise DamagedPartError(f"its {extractor} features cannot be read: {error}") from error
        if len(shape) != 2 or shape[0] != info.num_rows:
            raise DamagedPartError(f"{extractor} features {shape} for {info.num_rows} rows")

    def _index(self, point: str | None = None) -> list[PartInfo]:
        """Parts of this run, by cell; footers are read once. A damaged part is left out, with a note."""
        found = []
        for path in self._part_files():
            stat = path.stat()
            mark = (stat.st_mtime_ns, stat.st_size)
            if path.name not in self._seen or self._seen[path.name][0] != mark:
                try:
                    self._seen[path.name] = (mark, parts.check(path))
                except DamagedPartError as error:
                    self._note(f"part {path.name} is damaged and left out ({error}); run again")
                    continue
            info = self._seen[path.name][1]
            if info.key == self.manifest["rows_key"] and point in (None, info.point):
                found.append(info)
        return found

    def _set_aside(self, path: Path, reason: str) -> None:
        if self._lock is None:
            self._note(f"part {path.name} is damaged and left out ({reason}); run again")
            return
        with guarded(self.path, f"set aside the damaged part {path.name} in"):
            os.replace(path, path.with_name(path.name + ".damaged"))
        self._note(f"part {path.name} was damaged ({reason}); set aside, its cell is redone")
        self._log(self.notes[-1])

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _must_write(self) -> None:
        if self._lock is None:
            raise RunStateError(
                f"{self.path} is open for reading; RunFolder.create_or_open opens it for writing"
            )

    def _log(self, text: str) -> None:
        with (
            contextlib.suppress(OSError),  # losing a line of the log is no reason to end a run
            open(self.path / "run.log", "a", encoding="utf-8") as file,
        ):
            file.write(f"{manifest_file.now()} {text}\n")


def _ranks(entries: Sequence[Any]) -> dict[str, int]:
    """Label -> position in the scenario."""
    labels = (e.get("label") or e.get("name") if isinstance(e, Mapping) else e for e in entries)
    return {str(label): i for i, label in enumerate(labels)}


def _natural(point: Mapping[str, Any]) -> tuple[Any, ...]:
    """A sort key for points: numbers as numbers, absent values first."""

    def key(value: Any) -> tuple[int, float, str]:
        if value is None:
            return (0, 0.0, "")
        if isinstance(value, int | float):
            return (1, float(value), "")
        return (2, 0.0, str(value))

    head = [key(point[name]) for name in ("link", "system", "channel")]
    return (*head, *((name, key(value)) for name, value in sorted(point["axes"].items())))


# ------------------------------------------------------------------------------------------------------ helpers


def _plain_name(name: str) -> str:
    """``name``, which becomes part of a file's name. Raises ValueError if that could lead elsewhere."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"ids and extractor names are letters, digits, - and _, got {name!r}")
    return name


def _npy(values: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, np.ascontiguousarray(values, np.float32), allow_pickle=False)
    return buffer.getvalue()


def _load(path: Path) -> np.ndarray:
    try:
        # Mapped, not read: a damaged header may announce more than the file holds, or than there is memory.
        return np.array(np.lib.format.open_memmap(path, mode="r"))
    except Exception as error:  # damaged headers raise nearly every kind
        reason = " ".join(str(error).split())
        raise RunStateError(
            f"{path} cannot be read: {reason}; run again to redo its cell"
        ) from None
