"""What the link counts on in a packet loss process, checked at one place for the laws and for the link."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def fault(lost: Any, num_packets: Sequence[int]) -> str | None:
    """What is wrong with the output of a loss process.

    Args:    num_packets: per frame, P_b.
    Returns: one line, or None where there is one [P_b] bool array per frame.
    """
    if not isinstance(lost, list | tuple) or len(lost) != len(num_packets):
        got = f"{len(lost)} of them" if isinstance(lost, list | tuple) else type(lost).__name__
        return f"must return a list of {len(num_packets)} arrays, one per frame, got {got}"
    for b, (row, count) in enumerate(zip(lost, num_packets, strict=True)):
        if not isinstance(row, np.ndarray) or row.dtype != bool:
            kind = getattr(row, "dtype", type(row).__name__)
            return f"losses of frame {b} are {kind}, must be an array of bool, True where lost"
        if row.shape != (count,):
            return f"losses of frame {b} have shape {row.shape}, must be ({count},)"
    return None
