"""The architecture of nonlinear transform coding. Without Keras."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

STRIDE = 16  # of y against x
STRIDE_Z = 64  # of z against x


@dataclass(frozen=True)
class NtcConfig:
    """The architecture.

    Args:
      width4, width8, width16:    channels at 1/4, 1/8 and 1/16 resolution.
      hidden4, hidden8, hidden16: channels inside their residual blocks.
      blocks8, blocks16:          how many of these.
      blocks4:                    how many at 1/4 resolution in g_a, and how many more than one in g_s.
      more8:                      how many more at 1/8 resolution in g_s.
      latent, side:               channels of y and of z.
      hyper, hyper_out, context:  channels inside h_a and h_s, at the end of h_s, and inside ctx.
      slices:                     channels of y in each slice, in coding order.
      anchors:                    of the quality axis.
      lambda_min, lambda_max:     at quality 0 and 1.
    """

    width4: int = 64
    width8: int = 128
    width16: int = 160
    hidden4: int = 64
    hidden8: int = 64
    hidden16: int = 96
    blocks4: int = 0
    blocks8: int = 2
    blocks16: int = 1
    more8: int = 0
    latent: int = 160
    hyper: int = 96
    hyper_out: int = 128
    side: int = 64
    context: int = 64
    slices: tuple[int, ...] = (16, 32, 48, 64)
    anchors: int = 9
    lambda_min: float = 1e-4
    lambda_max: float = 0.06

    def __post_init__(self) -> None:
        object.__setattr__(self, "slices", tuple(self.slices))  # lists from YAML and JSON
        if sum(self.slices) != self.latent or min(self.slices) < 1:
            raise ValueError(f"slices must sum to latent = {self.latent}, got {self.slices}")

    def bounds(self) -> list[tuple[int, int]]:
        """First channel and end of each slice."""
        ends = list(accumulate(self.slices))
        return list(zip([0, *ends[:-1]], ends, strict=True))

    def lagrangian(self, quality: float) -> float:
        """Lambda of R [bpp] + lambda * MSE [0..255 scale] that a quality in 0..1 stands for (log-linear)."""
        return self.lambda_min * (self.lambda_max / self.lambda_min) ** quality
