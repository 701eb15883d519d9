"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

_SUFFIX = ".tmp"


@contextlib.contextmanager
def written_whole(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """Give a temporary name beside ``path`` to write to; what is there at the end takes the place of ``path``.

    The name is new every time, so processes that write one file do not meet: the last to end stays. A process killed
    at any moment leaves the old file (or none) and at most a temporary one, which :func:`remove_leftovers` takes away.

    Args:   path: in a folder that exists; durable: force it to disk first, so that it survives a power cut too.
    Raises: OSError: as the system gave it. After any error the temporary file is gone, and ``path`` is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
    try:
        yield temporary
        if durable:
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if durable:
        _sync_folder(path.parent)


def write_atomically(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write ``data`` as ``path``, in a folder made where there is none. See :func:`written_whole`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path, durable=durable) as temporary:
        temporary.write_bytes(data)


def remove_leftovers(folder: Path) -> int:
    """Delete temporary files that a killed process left in ``folder``. Returns: how many."""
    count = 0
    for path in folder.glob(f".*{_SUFFIX}"):
        path.unlink(missing_ok=True)
        count += 1
    return count


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the file system can."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
