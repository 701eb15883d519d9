"""The rest of the way, as an impairment sees it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from linksim.seeds import FrameSeeds
from linksim.types import Received


class Rest:
    """Everything behind one impairment: call it to send a batch on.

    Args:
      channel:     what stands at the end.
      impairments: those still to come, each with the name of its seed.
      n0:          noise power per complex symbol, linear.
      seed:        of the frames.
    """

    def __init__(
        self,
        channel: Any,
        impairments: Sequence[tuple[str, Any]],
        n0: float,
        seed: FrameSeeds,
    ) -> None:
        self.channel, self.n0, self.seed = channel, n0, seed
        self._impairments = impairments

    def __call__(self, x: np.ndarray) -> Received:
        """Send x [B, S'] complex64 on, which may be longer than what came in. Returns: Received of that length."""
        if not self._impairments:
            return self.channel(x, self.n0, self.seed)
        (name, first), *others = self._impairments
        behind = Rest(self.channel, others, self.n0, self.seed)
        return first(x, self.seed.child("impairment", name), behind)
