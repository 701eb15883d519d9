"""Losses played back from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from linksim.errors import ComponentError
from linksim.seeds import FrameSeeds

MAX_BYTES = 1 << 28  # of a file: a quarter of a billion packets
SUFFIXES = (".txt", ".csv", ".npy")


@dataclass(frozen=True)
class Trace:
    """Losses of a measured trace, 1 for a lost packet and 0 for one that arrived.

    The trace is a ring: behind its last packet comes its first. Every frame reads it from a place of its own, drawn
    uniformly from the frame's seed ("random", so that every packet of a frame, the first included, is lost with the
    trace's rate), or from the same one (a number). Frames do not go on where another frame stopped: what a frame loses
    would then depend on its neighbours.

    Args:
      path:  .txt, digits 0 and 1 with any white space between them and comments from # on; .csv, one column or one row
             of 0 and 1, a heading above it allowed; or .npy, a vector of numbers or booleans.
      start: "random", or the position of the first packet, from 0.
    Raises: ComponentError: if the file is missing, too large, or holds anything else.
    """

    path: Path
    start: Literal["random"] | int = "random"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", Path(self.path))
        if self.start != "random":
            if isinstance(self.start, str | bool) or not isinstance(self.start, int):
                raise ValueError(f"start must be `random` or a position from 0, got {self.start!r}")
            if not 0 <= self.start < len(self._lost):
                raise ValueError(
                    f"start must be a position 0..{len(self._lost) - 1} of the trace, got {self.start}"
                )
        else:
            _ = self._lost

    @cached_property
    def _lost(self) -> np.ndarray:
        """[N] bool."""
        return read_trace(self.path)

    @classmethod
    def examples(cls, folder: Path) -> list[dict[str, Any]]:
        """See registry.examples."""
        path = folder / "trace.txt"
        path.write_text("0001100010000000\n0111110000001000 # 32 packets\n")
        return [{"path": str(path)}, {"path": str(path), "start": 3}]

    @property
    def uses_seed(self) -> bool:
        """Whether frames differ."""
        return self.start == "random"

    @property
    def loss_rate(self) -> float | None:
        """The fraction of the trace's packets that are lost; None where all frames start at one place."""
        return float(self._lost.mean()) if self.start == "random" else None

    @property
    def mean_burst(self) -> float | None:
        """Mean length of a run of losses on the ring [packets]; NaN without losses, inf if nothing arrives.

        None where all frames start at one place.
        """
        if self.start != "random":
            return None
        lost = int(self._lost.sum())
        bursts = int((self._lost & ~np.roll(self._lost, -1)).sum())
        if not lost:
            return float("nan")
        return lost / bursts if bursts else float("inf")

    def __call__(self, num_packets: Sequence[int], seed: FrameSeeds) -> list[np.ndarray]:
        """See types.ErasureProcess."""
        if len(num_packets) != len(seed):
            raise ValueError(f"{len(num_packets)} frames of packets but {len(seed)} seeds")
        size = len(self._lost)
        if self.start == "random":
            starts = (seed.child("erasure").uniform(1)[:, 0] * size).astype(np.int64)
        else:
            starts = np.full(len(seed), self.start, np.int64)
        return [
            self._lost[(first + np.arange(count)) % size]
            for first, count in zip(starts, num_packets, strict=True)
        ]


def read_trace(path: Path) -> np.ndarray:
    """The trace in a file.

    Returns: [N] bool, True where lost; N >= 1.
    Raises:  ComponentError, with one line.
    """
    reader = {".txt": _text, ".csv": _csv, ".npy": _npy}.get(path.suffix.lower())
    if reader is None:
        raise ComponentError(
            f"{path}: a loss trace is a file {', '.join(SUFFIXES)}, got {path.suffix!r}"
        )
    try:
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise ComponentError(f"{path}: {size} bytes, more than {MAX_BYTES}; cut the trace")
        with path.open("rb") as file:
            lost = reader(file, size)
    except OSError as error:
        raise ComponentError(f"{path}: cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        if isinstance(error, ComponentError):
            raise
        raise ComponentError(f"{path}: {error}") from error
    if not lost.size:
        raise ComponentError(f"{path}: holds no packet; give at least one 0 or 1")
    return lost


def _bits(data: bytes) -> np.ndarray:
    """Digits as booleans. Raises ValueError naming the first other byte."""
    digits = np.frombuffer(data, np.uint8)
    wrong = np.flatnonzero((digits != ord("0")) & (digits != ord("1")))
    if wrong.size:
        raise ValueError(f"must hold 0 and 1 alone, got {chr(digits[wrong[0]])!r}")
    return digits == ord("1")


def _text(file: BinaryIO, size: int) -> np.ndarray:
    lines = (line.partition(b"#")[0] for line in file.read().splitlines())
    return _bits(b"".join(b"".join(line.split()) for line in lines))


def _csv(file: BinaryIO, size: int) -> np.ndarray:
    rows = [
        [cell.strip().strip(b'"') for cell in line.split(b",")]
        for line in file.read().removeprefix(b"\xef\xbb\xbf").splitlines()
        if line.strip()
    ]
    if rows and not any(cell in (b"0", b"1") for cell in rows[0]):
        rows = rows[1:]  # a heading
    if len(rows) > 1 and any(len(row) != 1 for row in rows):
        widths = sorted({len(row) for row in rows})
        raise ValueError(
            f"must be one column or one row, got {len(rows)} rows of {widths[-1]} columns; keep the column of losses"
        )
    cells = rows[0] if len(rows) == 1 else [row[0] for row in rows]
    wrong = next((cell for cell in cells if cell not in (b"0", b"1")), None)
    if wrong is not None:
        shown = wrong[:20].decode("ascii", "replace")
        raise ValueError(f"must hold 0 and 1 alone, got {shown!r}")
    return _bits(b"".join(cells))


def _npy(file: BinaryIO, size: int) -> np.ndarray:
    """A vector; what the header announces is held against the file's length before anything is read."""
    form = np.lib.format
    try:
        version = form.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        head = form.read_array_header_1_0 if version == (1, 0) else form.read_array_header_2_0
        shape, _, dtype = head(file)
    except Exception as error:  # NumPy evaluates the header as Python literals: it may raise much
        raise ValueError("is not a .npy file that NumPy can read without pickle") from error
    if len(shape) != 1 or dtype.kind not in "biuf":
        raise ValueError(f"must be a vector of numbers 0 and 1, got {dtype} of shape {shape}")
    if shape[0] * dtype.itemsize != size - file.tell():
        raise ValueError(
            f"announces {shape[0]} packets and holds {size - file.tell()} bytes; it is cut or damaged"
        )
    values = np.frombuffer(file.read(), dtype)
    wrong = np.flatnonzero((values != 0) & (values != 1))
    if wrong.size:
        raise ValueError(f"must hold 0 and 1 alone, got {values[wrong[0]]} at position {wrong[0]}")
    return values != 0
