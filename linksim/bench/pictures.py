"""Pictures for benchmarks: different crops of photographs that are always here, and those of a folder or a tar file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from linksim import registry
from linksim.image.decode import resize


def photos(count: int, size: int = 128, seed: int = 1) -> np.ndarray:
    """[count, size, size, 3] uint8, no two alike, the same for the same seed."""
    source = registry.create("images", {"name": "samples", "size": 2 * size})
    rng = np.random.default_rng([seed, size])
    found = []
    for i in range(count):
        photo = source.load(i % len(source))
        side = int(rng.integers(size, 2 * size + 1))
        top, left = (int(rng.integers(0, 2 * size - side + 1)) for _ in range(2))
        crop = np.ascontiguousarray(photo[top : top + side, left : left + side])
        found.append(resize(crop[:, ::-1] if rng.random() < 0.5 else crop, size, size))
    return np.stack(found)


def write_photos(folder: Path, count: int, size: int = 128) -> Path:
    """The same as PNG files in a new folder. Returns: the folder."""
    from PIL import Image

    folder.mkdir(parents=True)
    for start in range(0, count, 64):
        for i, photo in enumerate(photos(min(64, count - start), size, seed=start)):
            Image.fromarray(photo).save(folder / f"{start + i:05d}.png")
    return folder


def load(path: Path, limit: int, size: int = 128) -> np.ndarray:
    """The first pictures of a tar file, or of a folder and its folders (scaled to ``size``), [B, H, W, 3] uint8."""
    tar = path.suffix == ".tar"
    more = {} if tar else {"recursive": True, "size": size}
    name = "tar" if tar else "folder"
    source = registry.create("images", {"name": name, "path": str(path), "limit": limit, **more})
    return np.stack([source.load(i) for i in range(len(source))])
