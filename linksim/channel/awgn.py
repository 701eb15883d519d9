"""Channels without fading."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from linksim.channel.apply import check_input, faded
from linksim.seeds import FrameSeeds
from linksim.types import Received


@dataclass(frozen=True)
class Ideal:
    """No noise and no fading: what is sent arrives, whatever SNR is asked for.

    Useful to see what a system loses by its budget alone.
    """

    adds_noise: ClassVar[bool] = False

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """y = x. See types.Channel; n0 is ignored."""
        check_input(x, n0, seed)
        h = np.ones((len(x), 1), np.complex64)
        return Received(np.array(x, np.complex64), h, np.zeros((), np.float32))


@dataclass(frozen=True)
class Awgn:
    """Additive white Gaussian noise, circular: half of n0 on each real dimension.

    Source: Tse & Viswanath (2005), Sec. 5.1.
    """

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """y = x + w. See types.Channel."""
        return faded(x, np.ones((len(x), 1), np.complex64), n0, seed)
