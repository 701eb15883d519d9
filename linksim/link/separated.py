"""Separated source and channel coding: any source codec over the digital link or over packets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, ClassVar, Literal

import numpy as np

from linksim import registry
from linksim.errors import ComponentError
from linksim.link.amc import Amc
from linksim.link.carrier import Carrier, Ends
from linksim.link.harq import Harq
from linksim.link.separated_set import SeparatedSet
from linksim.link.set_budget import levelled
from linksim.link.system import Frames, LinkPoint, OperatingPoint, Outcome
from linksim.seeds import FrameSeeds
from linksim.types import Codec, Preparing


@dataclass(frozen=True)
class Separated:
    """Source codec + channel code + QAM under adaptive modulation and coding.

        image -> codec -> packet -> [ framing | CRC | channel code | QAM ] -> channel -> ... -> codec -> image

    On ``link: packet`` the codec's packet is cut into network packets instead, and any loss the CRCs show is a loss of
    the picture (or of its tail, under ``failure: good-prefix``).

    Args:
      codec:        source codec, by name or as a mapping with its parameters.
      channel_code: channel code, likewise.
      amc:          how the MCS is chosen.
      backend:      of the demapper: "fast" or "sionna".
      mtu:          bytes of a network packet at most, headers included (packet link).
      harq:         {kind: ir | chase, max_transmissions: 1..4}: send a block again that did not arrive (phy link; on
                    the packet link it says nothing). The budget is then met in the mean (linksim/link/harq.py).
    """

    codec: Any
    channel_code: Any = "ldpc-5g"
    amc: Amc = field(default_factory=Amc)
    backend: Literal["fast", "sionna"] = "fast"
    mtu: int = 1500
    harq: Harq | None = None

    family: ClassVar[str] = "separated"
    links: ClassVar[frozenset[str]] = frozenset({"phy", "packet"})

    def __post_init__(self) -> None:
        _ = self._carrier  # refuses what it cannot use

    @cached_property
    def _carrier(self) -> Carrier:
        return Carrier(self.channel_code, self.amc, self.backend, self.mtu, self.harq)

    @cached_property
    def _encoder(self) -> Codec:
        return registry.create("codecs", self.codec)

    @cached_property
    def _decoder(
        self,
    ) -> Codec:  # an instance of its own: a receiver shares nothing with the transmitter
        return registry.create("codecs", self.codec)

    @property
    def _codec_name(self) -> str:
        codec = self.codec
        return codec if isinstance(codec, str) else str(codec.get("name", codec.get("plugin")))

    @cached_property
    def _set(self) -> SeparatedSet:
        if self.harq is not None:
            raise ComponentError("harq and budget: mean do not go together; leave one of them out")
        codec = levelled(self._encoder, self._codec_name)
        return SeparatedSet(codec, self._decoder, self._carrier.digital, self.amc, self.mtu)

    def calibrate(self, frames: Frames, point: LinkPoint) -> OperatingPoint:
        """See Calibrated.calibrate: the codec's quality level, and the MCS where one serves the set."""
        return self._set.calibrate(frames, point)

    def preview(self, point: LinkPoint, height: int, width: int) -> str:
        """See System.preview."""
        if point.budget == "mean":
            levels = sum(self._set.codec.quality_levels())
            packet = point.kind == "packet"
            budget = point.bits(height, width) // 8 if packet else point.uses(height, width)
            unit = "bytes" if packet else "uses"
            return f"{budget} {unit} in the set's mean, one of {levels} quality levels"
        least = self._encoder.min_bits(height, width)
        return self._carrier.preview(point, height, width, least, self._codec_name)

    def simulate(self, images: np.ndarray, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        """See System.simulate."""
        if point.budget == "mean":
            return self._set.simulate(images, point, seeds)
        ends = Ends(
            images,
            lambda rows, budgets: self._encoder.encode(images[rows], budgets),
            lambda _, delivered: self._decoder.decode(delivered),
            lambda budgets: self._encoder.distortion(images, budgets),
        )
        if isinstance(self._encoder, Preparing):
            ends = replace(ends, prepare=partial(self._encoder.prepare, images))
        return self._carrier.simulate(ends, point, seeds)
