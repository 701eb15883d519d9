"""Coded pictures on disk: one file per image and codec configuration, safe against kills, damage and company.

    magic | u32 rungs | rungs x (u8 scale, i32 quality, u8 header bytes, f64 mse, u32 length) | packets | BLAKE2b-128

A file is written beside its place and renamed into it. What its digest does not confirm counts as absent. Writers merge
with what is there under a lock, so processes that fill the same ladder keep each other's work.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"linksim ladder 1\n"
_COUNT = struct.Struct("<I")
_RECORD = struct.Struct("<BiBdI")
_DIGEST = 16

RungKey = tuple[int, int]


@dataclass(frozen=True)
class Rung:
    """One operating point of one image.

    Args:
      data:         the packet, header in front.
      header_bytes: how many of them are the header.
      mse:          mean squared error of the decoded picture, 0..255 scale.
    """

    data: bytes
    header_bytes: int
    mse: float


Rungs = dict[RungKey, Rung]  # (scale, quality) -> rung


def folder() -> Path:
    """Where ladders lie: LINKSIM_CACHE, or the user's cache folder."""
    named = os.environ.get("LINKSIM_CACHE")
    if named:
        return Path(named) / "ladders"
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("linksim")) / "ladders"


def path_of(codec: str, key: str) -> Path:
    """The file of ladder ``key``."""
    return folder() / codec / key[:2] / f"{key}.ladder"


def dump(rungs: Rungs) -> bytes:
    """The file's bytes."""
    order = sorted(rungs)
    table = b"".join(
        _RECORD.pack(*k, rungs[k].header_bytes, rungs[k].mse, len(rungs[k].data)) for k in order
    )
    body = _MAGIC + _COUNT.pack(len(order)) + table + b"".join(rungs[k].data for k in order)
    return body + hashlib.blake2b(body, digest_size=_DIGEST).digest()


def parse(blob: bytes) -> Rungs | None:
    """The rungs of a file, or None where its bytes are not what was written."""
    body, digest = blob[:-_DIGEST], blob[-_DIGEST:]
    if not body.startswith(_MAGIC):
        return None
    if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
        return None
    (count,) = _COUNT.unpack_from(body, len(_MAGIC))
    at = len(_MAGIC) + _COUNT.size
    data_at = at + count * _RECORD.size
    rungs: Rungs = {}
    for scale, quality, header_bytes, mse, length in _RECORD.iter_unpack(body[at:data_at]):
        rungs[scale, quality] = Rung(body[data_at : data_at + length], header_bytes, mse)
        data_at += length
    return rungs


def load(codec: str, key: str) -> Rungs:
    """What is on disk; empty where there is nothing or it is damaged."""
    try:
        return parse(path_of(codec, key).read_bytes()) or {}
    except OSError:
        return {}


def save(codec: str, key: str, rungs: Rungs) -> None:
    """Merge rungs into the file. A disk that refuses costs the cache, not the run: it warns and goes on."""
    path = path_of(codec, key)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent / ".lock"):
            _replace(path, dump({**load(codec, key), **rungs}))
    except OSError as error:
        warnings.warn(
            f"the ladder cache {folder()} cannot be written ({error.strerror or error}); encoding goes on without it, "
            "set LINKSIM_CACHE to a folder with space",
            stacklevel=2,
        )


def _replace(path: Path, blob: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(blob)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """An advisory lock between processes; where the system has none, a lost merge costs only encoding again."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
