"""Pictures in tar shards, read in place."""

from __future__ import annotations

import glob
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from linksim.errors import ImageError
from linksim.image import decode
from linksim.image.source import Source, check_whole, resolve


@dataclass(frozen=True)
class Member:
    """One picture file inside a shard. Args: key; shard; offset and length of its bytes."""

    key: str
    shard: Path
    offset: int
    length: int

    def read(self) -> bytes:
        """The file's bytes. Raises ImageError where the shard is shorter than it says."""
        with open(self.shard, "rb") as file:
            file.seek(self.offset)
            data = file.read(self.length)
        if len(data) != self.length:
            raise ImageError(f"{self.key}: the shard {self.shard} is cut off inside it")
        return data


class Tar(Source):
    """The pictures in one or more uncompressed tar shards, in shard and member order.

    Nothing is extracted: a member is read at its offset. Links, devices, paths that leave the archive, members of more
    than ``max_member_mib`` and pictures of more than ``decode.MAX_PIXELS`` are refused by name.

    Args:
      path:            a shard, a glob pattern (``train-*.tar``) or a list of either; variables are expanded.
      size:            resize with Lanczos so that the short side has this many pixels.
      crop:            "square" cuts out the centre square first, "none" keeps the whole; by default square where
                       ``size`` is given.
      limit:           read only the first so many.
      skip_unreadable: leave out members that are no pictures or are damaged, instead of stopping at them; decodes every
                       member once to find out.
      max_member_mib:  size limit of a member, MiB.
    Raises:
      ImageError: if there is no such shard, it is not a plain tar file or a member is refused.
    """

    def __init__(
        self,
        path: str | Sequence[str],
        size: int | None = None,
        crop: decode.Crop | None = None,
        limit: int | None = None,
        skip_unreadable: bool = False,
        max_member_mib: int = 64,
    ) -> None:
        check_whole("limit", limit, 1, 1 << 40)
        check_whole("max_member_mib", max_member_mib, 1, 1 << 20)
        self.crop = decode.check_fit(size, crop)
        self.target = size
        self._members: list[Member] = []
        seen: set[str] = set()
        for shard in _shards([path] if isinstance(path, str) else path):
            for member in _members(shard, max_member_mib << 20):
                if len(self._members) == limit:
                    return
                if skip_unreadable and not decode.is_readable(member.read(), member.key):
                    continue
                if member.key in seen:
                    raise ImageError(f"{member.key}: two members have this name; repack the shard")
                seen.add(member.key)
                self._members.append(member)
        if not self._members:
            raise ImageError(f"path: {path} holds no pictures")

    def __len__(self) -> int:
        return len(self._members)

    def key(self, index: int) -> str:
        """``shard.tar/member.jpg``."""
        return self._members[index].key

    def size(self, index: int) -> tuple[int, int]:
        """See ImageSource.size."""
        member = self._members[index]
        return decode.fitted_size(
            decode.read_size(member.read(), member.key), self.target, self.crop
        )

    def load(self, index: int) -> np.ndarray:
        """See ImageSource.load."""
        member = self._members[index]
        return decode.fit(decode.read(member.read(), member.key), self.target, self.crop)


def _shards(paths: Sequence[str]) -> list[Path]:
    """Files that the names and patterns stand for; a pattern's in alphabetical order."""
    found: list[Path] = []
    for path in paths:
        full = resolve(path)
        if full.is_file():
            found.append(full)
            continue
        matches = sorted(glob.glob(str(full)))
        if not matches:
            raise ImageError(f"path: there is no tar file {full}")
        found.extend(Path(match) for match in matches)
    names = [shard.name for shard in found]
    for name in names:
        if names.count(name) > 1:
            raise ImageError(f"path: two shards are called {name}; keys would not be unique")
    return found


def _members(shard: Path, max_bytes: int) -> Iterator[Member]:
    """The regular files of a shard, in order, checked."""
    try:
        with tarfile.open(shard, "r:") as archive:
            for info in archive:
                key = f"{shard.name}/{info.name}"
                if info.isdir():
                    continue
                if not info.isfile() or info.issparse():
                    raise ImageError(
                        f"{key}: not a regular file (a link or device); repack the shard"
                    )
                name = PurePosixPath(info.name)
                if name.is_absolute() or ".." in name.parts:
                    raise ImageError(f"{key}: a path outside the archive; repack the shard")
                if info.size > max_bytes:
                    raise ImageError(
                        f"{key}: {info.size} bytes, above the limit of {max_bytes}; raise max_member_mib"
                    )
                if not name.name.startswith("."):
                    yield Member(key, shard, info.offset_data, info.size)
    except (tarfile.TarError, OSError, EOFError) as error:
        raise ImageError(
            f"path: {shard} is not a readable, uncompressed tar file ({error}); "
            "unpack a compressed one first"
        ) from error
