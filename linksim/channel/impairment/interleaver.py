"""Interleaving of symbols along a frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim.channel.impairment.rest import Rest
from linksim.seeds import FrameSeeds
from linksim.types import Received


@dataclass(frozen=True)
class Interleaver:
    """Block interleaver of symbols: written by rows, sent by columns, put back in order by the receiver.

    Neighbours of a frame travel ``rows`` symbols apart, so that a fade of up to so many symbols meets none of a row's
    symbols twice. It moves fades about within rows * columns symbols and cannot make more of them; a fading channel's
    own ``interleaving`` spreads a frame over longer times. It is no impairment by itself, it goes into the same list.

    A last block that the frame does not fill is sent whole, so that a longer frame begins like a shorter one; what is
    sent in the rest of it is somebody else's, and not in the ledger.

    Args: rows: the depth. columns: symbols of a row.
    """

    rows: int = 32
    columns: int = 64

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1 or self.rows * self.columns > 1 << 22:
            raise ValueError(
                f"rows and columns must be at least 1 and their product at most {1 << 22}, got "
                f"{self.rows} and {self.columns}"
            )

    def __call__(self, x: np.ndarray, seed: FrameSeeds, rest: Rest) -> Received:
        """See types.Impairment."""
        size = x.shape[1]
        padded = np.pad(x, ((0, 0), (0, -size % (self.rows * self.columns))))
        sent = _turned(padded, self.rows, self.columns)
        parts = rest(np.ascontiguousarray(sent)).full()
        back = (_turned(part, self.columns, self.rows)[:, :size] for part in parts)
        return Received(*(np.ascontiguousarray(part) for part in back))


def _turned(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Blocks written by rows and read by columns. Args: values [B, N rows columns]."""
    blocks = values.reshape(len(values), -1, rows, columns)
    return blocks.swapaxes(2, 3).reshape(values.shape)
