"""Training images: decoded once into a memory-mapped array, then drawn by step number.

A batch is a function of (seed, step) alone: a resumed run sees the same images, qualities and noise.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linksim.atomic import written_whole
from linksim.errors import ImageError, MissingAssetError
from linksim.seeds import Seed
from linksim.train.config import DataSource

SUFFIXES = (".jpg", ".jpeg", ".png")


def resolve(pattern: str) -> list[Path]:
    """The files and folders that a pattern means. Raises MissingAssetError if there are none."""
    root = os.environ.get("LINKSIM_ASSETS", "")
    found = sorted(glob.glob(pattern if os.path.isabs(pattern) else os.path.join(root, pattern)))
    if not found:
        raise MissingAssetError(
            f"no training images match {pattern!r} under LINKSIM_ASSETS={root!r}; set the variable "
            "to the folder that holds the data"
        )
    return [Path(p) for p in found]


def contents(paths: list[Path]) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of every image in tar shards and folders, in a fixed order."""
    for path in paths:
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.suffix.lower() in SUFFIXES):
                yield file.relative_to(path).as_posix(), file.read_bytes()
        elif path.suffix == ".tar":
            with tarfile.open(path) as tar:
                for member in tar:
                    if member.isfile() and member.name.lower().endswith(SUFFIXES):
                        yield member.name, tar.extractfile(member).read()  # type: ignore[union-attr]
        elif path.suffix.lower() in SUFFIXES:
            yield path.name, path.read_bytes()


def decoded(data: bytes, name: str):
    """A PIL image in RGB. Raises ImageError naming the file."""
    from PIL import Image

    try:
        return Image.open(io.BytesIO(data)).convert("RGB")
    except Exception as error:
        raise ImageError(f"{name} is not a readable image ({error})") from error


def digest(source: DataSource) -> str:
    """SHA-256 over names and bytes of a source's images, for the model card."""
    total = hashlib.sha256()
    for name, data in contents(resolve(source.path)):
        total.update(name.encode() + hashlib.sha256(data).digest())
    return total.hexdigest()


def load(source: DataSource, cache: Path, seed: Seed) -> np.ndarray:
    """The images of a source, decoded once and kept in ``cache``.

    Returns: [N, size, size, 3] uint8, memory-mapped.
    """
    paths = resolve(source.path)
    stamp = [f"{p}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in paths]
    kind = () if source.pairs == "none" else (source.pairs,)
    drawn = seed.key if source.crops else b""  # whole images are the same for every seed
    key = hashlib.sha256(repr((source.crops, source.size, drawn, stamp, *kind)).encode())
    target = cache / f"{key.hexdigest()[:16]}.npy"
    if not target.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        keep(target, _decode(source, paths, seed))
    return np.load(target, mmap_mode="r", allow_pickle=False)


def keep(target: Path, images: np.ndarray) -> None:
    """Write an array whole or not at all; runs that share a cache may do so at the same time."""
    with written_whole(target, durable=False) as part, part.open("wb") as file:
        np.lib.format.write_array(file, images, allow_pickle=False)


def _decode(source: DataSource, paths: list[Path], seed: Seed) -> np.ndarray:
    if source.pairs != "none":
        from linksim.train.pairs import read_pairs, synthetic_pairs

        if source.pairs == "files":
            return read_pairs(paths, source.size)
        rng = seed.child("pairs").generator()
        return synthetic_pairs(paths, source.size, source.crops, rng)
    if source.crops:
        return _crops(source, paths, seed)
    images = []
    for name, data in contents(paths):
        image = np.asarray(decoded(data, name))
        if image.shape != (source.size, source.size, 3):
            raise ImageError(
                f"{name} is {image.shape[1]}x{image.shape[0]}, but size is {source.size}; "
                "set `crops` to cut images of this size"
            )
        images.append(image)
    return np.stack(images)


def _crops(source: DataSource, paths: list[Path], seed: Seed) -> np.ndarray:
    from PIL import Image

    size, rng = source.size, seed.child("crops").generator()
    names = [(n, d) for n, d in contents(paths)]
    images = np.zeros((source.crops, size, size, 3), np.uint8)
    current = -1
    for i in range(source.crops):
        index = i * len(names) // source.crops  # the crops of an image follow each other
        if index != current:
            picture, current = decoded(names[index][1], names[index][0]), index
        short = min(picture.size)
        side = int(np.exp(rng.uniform(np.log(min(size, short)), np.log(short + 0.5))))
        x = int(rng.integers(picture.width - side + 1))
        y = int(rng.integers(picture.height - side + 1))
        crop = picture.crop((x, y, x + side, y + side))
        images[i] = np.asarray(crop.resize((size, size), Image.Resampling.LANCZOS))
    return images


@dataclass(frozen=True)
class Mixture:
    """Several arrays of images drawn from by share.

    Args:
      arrays:  each [N_i, size, size, 3] uint8.
      weights: shares, normalised here.
      seed:    root of the draws.
    """

    arrays: tuple[np.ndarray, ...]
    weights: tuple[float, ...]
    seed: Seed

    def draw(self, step: int, size: int) -> list[tuple[int, int, bool]]:
        """What a step sees: for each image its array, its place there, and whether it is mirrored left to right."""
        rng = self.seed.child("images", step).generator()
        share = np.asarray(self.weights) / sum(self.weights)
        which = rng.choice(len(self.arrays), size, p=share)
        place, flip = rng.random(size), rng.random(size) < 0.5
        return [
            (int(source), int(where * len(self.arrays[source])), bool(mirrored))
            for source, where, mirrored in zip(which, place, flip, strict=True)
        ]

    def batch(self, step: int, size: int) -> np.ndarray:
        """The images of a step, flipped left to right half of the time. Returns: [size, h, w, 3] uint8."""
        images = []
        for source, place, mirrored in self.draw(step, size):
            image = self.arrays[source][place]
            images.append(image[:, ::-1] if mirrored else image)
        return np.stack(images)
