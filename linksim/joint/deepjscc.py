"""DeepJSCC: every embedding gets the same number of symbols. The ablation that NTSCC's variable rate is held to.

The network is NTSCC's, fine-tuned at one constant rate for as many steps; its card says which.

Source: Bourtsoulatze et al. (2019), IEEE TCCN 5(3); conditioning on the SNR as Xu et al. (2022), IEEE TCSVT 32(4).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from linksim.joint.ntscc import Ntscc
from linksim.types import Decoded, Delivered, Payload, TxKnowledge


@dataclass(frozen=True)
class DeepJscc:
    """Fixed-rate joint coding by a network, conditioned on the SNR.

    Args: weights: name of shipped weights, or path of an exported .npz (its card beside it); updates: see ``Ntscc``.
    """

    weights: str = "deepjscc"
    updates: int | None = None

    constant_rate: ClassVar[bool] = True
    noiseless_psnr_db: ClassVar[float] = Ntscc.noiseless_psnr_db

    def __post_init__(self) -> None:
        _ = self._coder  # wrong arguments show now

    @cached_property
    def _coder(self) -> Ntscc:
        return Ntscc(weights=self.weights, profile="uniform", updates=self.updates)

    def min_uses(self, height: int, width: int) -> int:
        """See Joint.min_uses."""
        return self._coder.min_uses(height, width)

    def side_bits(self, height: int, width: int) -> int:
        """See Joint.side_bits: none."""
        return 0

    def encode(
        self, images: np.ndarray, uses: np.ndarray, tx: TxKnowledge, side_bits: int | None = None
    ) -> Payload:
        """See Joint.encode."""
        return self._coder.encode(images, uses, tx, 0)

    def decode(self, delivered: Delivered) -> Decoded:
        """See Joint.decode."""
        return self._coder.decode(delivered)
