"""Files that are either whole or not there."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_SUFFIX = ".tmp"


def write_atomically(path: Path, data: bytes) -> None:
    """Write ``data`` under a temporary name beside ``path``, force it to disk, then rename it.

    A process killed at any moment leaves the old file (or none) and at most a temporary one, which
    :func:`remove_leftovers` takes away.

    Raises: OSError: as the system gave it; the temporary file is gone then.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}{_SUFFIX}")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


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
