"""One writer to a run folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
import platform
from pathlib import Path
from typing import IO

from linksim.errors import RunStateError

NAME = "run.lock"


class FolderLock:
    """An exclusive lock on a run folder, held until :meth:`release` or the end of the process.

    The kernel holds it (``flock``), so a lock file that a killed process left behind blocks nobody.

    Raises: RunStateError: if another process, or another writer of this one, holds it.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / NAME
        # "a+" neither truncates nor needs the file: the holder's name must survive an unsuccessful attempt.
        self._file: IO[str] | None = open(path, "a+", encoding="utf-8")  # noqa: SIM115
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "another process"
            self._file.close()
            raise RunStateError(
                f"{folder} is being written by {holder}; wait for that run to end, or choose another --out"
            ) from None
        except OSError:
            self._file.close()
            raise
        with contextlib.suppress(
            OSError
        ):  # who holds it is a courtesy; a full disk must not hide behind it
            self._file.seek(0)
            self._file.truncate()
            self._file.write(f"process {os.getpid()} on {platform.node() or 'this machine'}\n")
            self._file.flush()

    def release(self) -> None:
        """Let others in; a second call does nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None
