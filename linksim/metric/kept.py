"""Features of originals, kept from run to run: an original's features are the same in every study that it is in.

    magic | u32 D | D x float32, little endian | BLAKE2b-128 of all before        one file an image

The key is the extractor's name, the digest of its weights, and the image's size and content. A file that is not what
was written counts as absent. The folder is bounded: the files longest not used go first. An extractor takes part
through a method ``weights_digest()`` of its metrics.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import warnings
from pathlib import Path

import numpy as np

from linksim import assets
from linksim.atomic import write_atomically
from linksim.metric.pair import check_images
from linksim.types import SetMetric

LIMIT = 1 << 30  # bytes of all files, kept for each of the folders apart
_FOLDERS = 256
_MAGIC = b"linksim features 1\n"
_COUNT = struct.Struct("<I")
_DIGEST = 16
_MOST = 1 << 20  # values of an image


def features(metric: SetMetric, images: np.ndarray) -> np.ndarray:
    """``metric.features(images)``, those of images seen before read from disk. Args: [B, H, W, 3] uint8."""
    weights = getattr(metric, "weights_digest", None)
    if weights is None:
        return metric.features(images)
    check_images(images)
    base = hashlib.blake2b(f"{metric.extractor} {weights()}".encode(), digest_size=20)
    paths = [_path(base, image) for image in images]
    found = [_read(path) for path in paths]
    missing = [b for b, values in enumerate(found) if values is None]
    if missing:
        made = metric.features(images[missing])
        for b, values in zip(missing, made, strict=True):
            found[b] = values
        _write_all({paths[b]: found[b] for b in missing})
    whole = [values for values in found if values is not None]
    return np.stack(whole) if whole else metric.features(images)


def _path(base: hashlib.blake2b, image: np.ndarray) -> Path:
    state = base.copy()
    state.update(repr(image.shape).encode())
    state.update(np.ascontiguousarray(image).tobytes())
    key = state.hexdigest()
    return assets.cache_folder("features") / key[:2] / f"{key}.features"


def dump(values: np.ndarray) -> bytes:
    """A file's bytes. Args: [D] float32."""
    body = _MAGIC + _COUNT.pack(len(values)) + values.astype("<f4").tobytes()
    return body + hashlib.blake2b(body, digest_size=_DIGEST).digest()


def parse(blob: bytes) -> np.ndarray | None:
    """[D] float32 of a file, or None where its bytes are not what was written."""
    body, digest = blob[:-_DIGEST], blob[-_DIGEST:]
    start = len(_MAGIC) + _COUNT.size
    if not body.startswith(_MAGIC) or len(body) < start:
        return None
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        return None
    (count,) = _COUNT.unpack_from(body, len(_MAGIC))
    if len(body) != start + 4 * count:
        return None
    return np.frombuffer(body, "<f4", offset=start).astype(np.float32)


def _read(path: Path) -> np.ndarray | None:
    try:
        if path.stat().st_size > 4 * _MOST:
            return None
        values = parse(path.read_bytes())
        if values is not None:
            os.utime(path)  # in use: the last to go
        return values
    except OSError:
        return None


def _write_all(made: dict[Path, np.ndarray | None]) -> None:
    """Keep features. A disk that refuses costs the cache, not the run: it warns and goes on."""
    try:
        for path, values in made.items():
            if values is not None and values.ndim == 1 and len(values) < _MOST:
                write_atomically(path, dump(values), durable=False)  # a cache
        for folder in {path.parent for path in made}:
            _trim(folder)
    except OSError as error:
        warnings.warn(
            f"features cannot be kept in {assets.cache_folder('features')} ({error.strerror or error}); the run goes "
            "on without, set LINKSIM_CACHE to a folder with space",
            stacklevel=3,
        )


def _trim(folder: Path) -> None:
    """Remove the files longest not used until the folder is within its share of LIMIT, leftovers of kills too."""
    files = []
    for entry in os.scandir(folder):
        with contextlib.suppress(OSError):  # another process may have removed it
            stat = entry.stat()
            files.append((stat.st_mtime_ns, stat.st_size, entry.path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= LIMIT // _FOLDERS:
            return
        with contextlib.suppress(OSError):
            os.unlink(path)
        total -= size
