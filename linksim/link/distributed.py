"""Distributed source coding across the link: the receiver holds a correlated picture, the transmitter does not.

image -> encoder -> packets -> [ link ] -> packets --> decoder -> image
                                                          ^
correlated image ( -> a link of its own ) ----------------+
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from linksim import registry
from linksim.codec.dsc import Dsc, Fill, Mode
from linksim.codec.indices import PriorName
from linksim.errors import BudgetError
from linksim.link.amc import Amc
from linksim.link.carrier import Carrier, Ends
from linksim.link.system import LinkPoint, Outcome, System
from linksim.seeds import FrameSeeds
from linksim.types import Decoded, Ledger, Packets, Status
from linksim.units import n0_from_es_n0_db

Side = Literal["paired", "wrong", "random", "none"]


@dataclass(frozen=True)
class SideLink:
    """How the side information came to the receiver: over the same kind of channel, by a system of its own.

    Its channel uses are not this image's: it was there before. The caption has to say what it cost.

    Args:
      system:   that carried it, by name or as a mapping (``{name: separated, codec: vvc}``).
      es_n0_db: of its transmission, known to its transmitter [dB]; None: that of the point.
      cbr:      complex channel uses per sample of the side information (link: phy).
      bpp:      bits per pixel of it (link: packet).
    """

    system: Any
    es_n0_db: float | None = None
    cbr: float | None = None
    bpp: float | None = None

    def __post_init__(self) -> None:
        for name in ("cbr", "bpp"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be above 0, got {value}")

    def point(self, point: LinkPoint) -> LinkPoint:
        """The point that the side information met. Raises BudgetError without a budget."""
        budget = "cbr" if point.kind == "phy" else "bpp"
        if getattr(self, budget) is None:
            raise BudgetError(f"side_link needs `{budget}` on link: {point.kind}")
        changed = replace(point, **{budget: getattr(self, budget)})
        if self.es_n0_db is None or point.kind != "phy":
            return changed
        n0_from_es_n0_db(self.es_n0_db)
        return replace(changed, es_n0_db=self.es_n0_db, snr_amc_db=self.es_n0_db)


@dataclass(frozen=True)
class Distributed:
    """Neural distributed source coding over the digital link or over packets.

    Args:
      weights:      name of shipped weights ("dsc-faces", "dsc-stereo"), or path of an exported .npz.
      mode:         who sees the side information: "distributed" (the decoder), "joint" (both ends; a bound: the encoder
                    then sees what the decoder has), "separate" (nobody).
      side:         what the receiver holds: "paired" (the image's own), "wrong" (the next image's), "random" (noise) or
                    "none".
      side_link:    how it came there; without one, undamaged.
      send:         whether anything is sent; false: side information alone, at rate 0.
      prior:        of the indices: "transformer", "order-0" (adaptive) or "none" (fixed length).
      packets:      packets of an image, each with some rows of it, each decodable alone.
      fill:         what stands in for lost indices: what the prior expects ("prior"), or the side information alone.
      channel_code: channel code, by name or as a mapping with its parameters.
      amc:          how the MCS is chosen.
      backend:      of the demapper: "fast" or "sionna".
      mtu:          bytes of a network packet at most, headers included (packet link).
    """

    weights: str
    mode: Mode = "distributed"
    side: Side = "paired"
    side_link: SideLink | None = None
    send: bool = True
    prior: PriorName = "transformer"
    packets: int = 1
    fill: Fill = "side"
    channel_code: Any = "ldpc-5g"
    amc: Amc = field(default_factory=Amc)
    backend: Literal["fast", "sionna"] = "fast"
    mtu: int = 1500

    family: ClassVar[str] = "distributed"
    links: ClassVar[frozenset[str]] = frozenset({"phy", "packet"})

    def __post_init__(self) -> None:
        _ = self._carrier  # refuses what it cannot use
        _ = self._transmitter
        if self.side_link is not None and self.side in ("random", "none"):
            raise ValueError(f"side_link carries side information, and side is {self.side!r}")
        if not self.send and (self.mode == "separate" or self.side == "none"):
            raise ValueError(
                "send: false shows what side information is worth alone; "
                f"mode {self.mode} with side: {self.side} has none"
            )
        if self.mode == "joint" and self.side != "paired":
            raise ValueError(f"mode joint needs side: paired, got {self.side!r}")

    @cached_property
    def _carrier(self) -> Carrier:
        return Carrier(self.channel_code, self.amc, self.backend, self.mtu)

    @cached_property
    def _transmitter(self) -> Dsc:
        return Dsc(self.weights, self.mode, self.prior, self.packets, self.fill)

    @cached_property
    def _receiver(
        self,
    ) -> Dsc:  # an instance of its own: a receiver shares nothing with the transmitter
        return Dsc(self.weights, self.mode, self.prior, self.packets, self.fill)

    @cached_property
    def _side_system(self) -> System:
        assert self.side_link is not None
        return registry.create("systems", self.side_link.system)

    @property
    def side_offset(self) -> int | None:
        """See System.simulate: whose side information to bring."""
        if self.mode == "separate":
            return None
        return {"paired": 0, "wrong": 1}.get(self.side)

    def preview(self, point: LinkPoint, height: int, width: int) -> str:
        """See System.preview."""
        if self.side_link is not None and self.side_offset is not None:
            self._side_system.preview(self.side_link.point(point), height, width)
        if not self.send:
            return "nothing is sent"
        least = self._transmitter.min_bits(height, width)
        count = self._transmitter.packets(height, width)
        return self._carrier.preview(point, height, width, least, "dsc", count)

    def simulate(
        self,
        images: np.ndarray,
        point: LinkPoint,
        seeds: FrameSeeds,
        side: np.ndarray | None = None,
    ) -> Outcome:
        """See System.simulate. Raises ValueError: side information missing, not wanted, grey or of another size."""
        held = self._held(images, point, seeds, side)
        if not self.send:
            assert held is not None
            shown = self._receiver.side_only(held)
            count = len(images)
            return Outcome(shown, (Status.OK,) * count, Ledger.zeros(count), (None,) * count)
        known = held if self.mode == "joint" else None

        height, width = images.shape[1:3]

        def encode(rows: np.ndarray, budgets: np.ndarray) -> Packets:
            seen = None if known is None else known[rows]
            return self._transmitter.encode(images[rows], budgets, seen)

        def decode(rows: np.ndarray, delivered: Any) -> Decoded:
            mine = None if held is None else held[rows]
            return self._receiver.decode(delivered, height, width, mine)

        ends = Ends(
            images,
            encode,
            decode,
            lambda budgets: self._transmitter.distortion(images, budgets),
            self._transmitter.packets(height, width),
        )
        return self._carrier.simulate(ends, point, seeds)

    def _held(
        self, images: np.ndarray, point: LinkPoint, seeds: FrameSeeds, side: np.ndarray | None
    ) -> np.ndarray | None:
        """What the receiver holds, [B,H,W,3] uint8, or None."""
        if self.side_offset is None:
            if side is not None:
                raise ValueError(
                    f"mode {self.mode} with side: {self.side} takes no side information, got some"
                )
            if self.mode == "separate" or self.side == "none":
                return None
            noise = [s.child("side", "random").generator() for s in seeds]
            return np.stack([g.integers(0, 256, images.shape[1:], np.uint8) for g in noise])
        if side is None:
            raise ValueError(
                f"mode {self.mode} with side: {self.side} needs side information [B, H, W, 3], got none"
            )
        if side.shape != images.shape or side.dtype != np.uint8:
            raise ValueError(
                f"side information must be {list(images.shape)} uint8 like the images, got {list(side.shape)} "
                f"{side.dtype}"
            )
        if self.side_link is None:
            return side
        met = self.side_link.point(point)
        return self._side_system.simulate(side, met, seeds.child("side", "link")).images
