"""The architecture of pictures as tokens. Without Keras."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from linksim.model.ntc_config import NtcConfig
from linksim.model.token_grid import TokenPriorConfig

MEND_HEADS = 5


@dataclass(frozen=True)
class TokenConfig:
    """The architecture.

    Args:
      dim:        d, of y and of the codes.
      stages:     S.
      codes:      K, of each stage.
      bands:      of each stage the first coordinate of y that it quantises and the one after the last; empty: all.
      lagrange:   of each stage the squared error of y that a bit is worth to the encoder; empty: 0, the nearest code.
      survivors:  choices of codes that the encoder keeps after each stage; 1: it takes the best of each stage.
      view:       quality that g_a is told, in 0..1.
      transforms: widths of g_a and g_s.
      mend:       attention blocks of the decoder before g_s.
      prior:      of the masked transformer; None: these weights have none.
    """

    dim: int = 48
    stages: int = 8
    codes: int = 512
    bands: tuple[tuple[int, int], ...] = ()
    lagrange: tuple[float, ...] = ()
    survivors: int = 1
    view: float = 0.4
    transforms: NtcConfig = field(default_factory=NtcConfig)
    mend: int = 0
    prior: TokenPriorConfig | None = None

    def __post_init__(self) -> None:
        if isinstance(self.transforms, Mapping):  # from YAML and JSON
            object.__setattr__(self, "transforms", NtcConfig(**self.transforms))
        if isinstance(self.prior, Mapping):
            object.__setattr__(self, "prior", TokenPriorConfig(**self.prior))
        object.__setattr__(self, "bands", tuple((int(a), int(b)) for a, b in self.bands))
        object.__setattr__(self, "lagrange", tuple(float(v) for v in self.lagrange))
        for name in ("bands", "lagrange"):
            if len(found := getattr(self, name)) not in (0, self.stages):
                raise ValueError(
                    f"{name} must be one for each of {self.stages} stages or none, got {len(found)}"
                )
        if any(not 0 <= a < b <= self.dim for a, b in self.bands):
            raise ValueError(f"bands must lie in 0..{self.dim}, got {self.bands}")
        if self.lagrange and min(self.lagrange) < 0:
            raise ValueError(f"lagrange must be >= 0, got {self.lagrange}")
        for name in ("dim", "stages", "survivors"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.codes < 2 or self.codes & (self.codes - 1):
            raise ValueError(f"codes must be a power of two, got {self.codes}")
        if self.mend < 0 or (self.mend and self.transforms.latent % MEND_HEADS):
            raise ValueError(
                f"mend must be >= 0 blocks, the transforms' latent a multiple of {MEND_HEADS} where there are some, "
                f"got {self.mend} and {self.transforms.latent}"
            )
        if self.dim > self.transforms.latent:
            raise ValueError(
                f"dim must be at most the transforms' latent = {self.transforms.latent}, got {self.dim}"
            )

    @property
    def bits(self) -> int:
        """Of one token at fixed length."""
        return self.codes.bit_length() - 1
