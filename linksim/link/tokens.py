"""Weakly coupled: packets of entropy-coded tokens; what is lost is filled in by the receiver's prior.

image -> tokeniser -> tokens -> [ prior, range coder ] -> N packets (-> parity) -> [ link ] -> tokens that arrived
                                                                                                  |
image_hat <- g_s <- codes  <------------- [ prior: what the others most likely were ] <-----------+
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np

from linksim.codec.indices import PriorName
from linksim.codec.token_fill import Conceal
from linksim.codec.token_layout import Interleave, padded
from linksim.codec.tokens import TokenCodec
from linksim.errors import BudgetError, ComponentError
from linksim.link.amc import Amc
from linksim.link.slices import Judge, SliceLink
from linksim.link.system import LinkPoint, Outcome, apply_failure_policy, final_status
from linksim.link.token_packets import layout_of, unwrap
from linksim.link.token_parity import (
    Belief,
    Drawn,
    Losses,
    Protection,
    choose,
    expected,
    least_regret,
)
from linksim.link.token_quality import shipped
from linksim.link.token_sender import TokenSender
from linksim.packet import crc
from linksim.packet.base_layer import BaseLayer
from linksim.packet.token_header import MAX_STAGES, Check, Form, TokenFormat
from linksim.seeds import FrameSeeds
from linksim.types import Decoded, Status


@dataclass(frozen=True)
class Uep:
    """Unequal error protection on the phy link: a lower MCS for the packets on which most depends.

    Args:
      packets: of each description, its first ones.
      steps:   entries of the MCS table below the others'.
    """

    packets: int = 1
    steps: int = 4

    def __post_init__(self) -> None:
        if self.packets < 1 or self.steps < 1:
            raise ValueError(
                f"packets and steps must be at least 1, got {self.packets} and {self.steps}"
            )


@dataclass(frozen=True)
class Tokens:
    """Packetised tokens with a masked-transformer prior that compresses them and conceals losses.

    Args:
      weights:      name of shipped weights ("tokens"), or path of an exported .npz.
      prior:        what the tokens are coded with: "transformer", "order-0" (adaptive) or "none" (fixed length).
      decoder:      weights whose decoder draws the pictures instead ("tokens-perceptual"), of the same codebooks; "":
                    those of ``weights``.
      packets:      N, of an image, parity included.
      parity:       P of them are Reed-Solomon parity: any N - P of the N give all tokens. "auto": as many as suit the
                    losses that the transmitter believes in (``linksim.link.token_parity``); both ends derive it.
      base:         so many of the stages make a base layer, which alone is protected: every packet decodes alone and
                    carries parity too, and with at most P of the N packets lost the base layer of their positions comes
                    back (``linksim.packet.base_layer``). 0: none; "auto": chosen as parity is.
      descriptions: D, that the N - P packets of tokens are dealt to; a packet is coded given the earlier ones of its
                    description and is lost with any of them. None: N - P (intra-slice: every packet decodes alone);
                    1: layered; 2..5: multiple description. "auto": N - P, 2 or 1, chosen as parity is.
      believed_loss: share of packets that the transmitter believes to be lost, for "auto"; None: the mean rate and mean
                    burst of the loss process (packet link), the losses that the fading law gives at the SNR that it
                    believes in (phy).
      believed_burst: mean length of a run of losses [packets] that it believes in; None: that of the process, or with a
                    ``believed_loss`` that of losses without memory.
      interleave:   positions of a packet: "random" (low discrepancy), "checker" or "raster".
      conceal:      what stands in for lost tokens: "none" (a learned vector, which the decoder was trained with),
                    "one-shot" (their expectation), "iterative" (drawn in ``steps`` rounds), "posterior-mean" (the mean
                    picture of ``samples`` draws), "mean-token" (the mean code, and the decoder is told of no loss).
      steps, temperature, samples: of these draws.
      blend:        of "iterative": 1 shows the draw, 0 its expectation, what is between lies on the line between them.
      fraction:     of the positions that is sent, chosen by the prior's uncertainty, while the rest is generated
                    (semantic compression; needs descriptions: 1); 1 sends all.
      header:       "session" (what does not change between pictures is agreed upon beforehand) or "full" (every packet
                    says everything).
      check:        checksum of a packet on the packet link: "crc-16" or "crc-8".
      uep:          {packets: ..., steps: ...}: unequal error protection (phy).
      shares:       of the channel uses that the packets of a description get in turn, for layouts whose packets differ
                    in size (phy); None: equal.
      channel_code: channel code, by name or as a mapping with its parameters (phy).
      amc:          how the MCS is chosen; ``target`` is the error rate of a packet (phy).
      backend:      of the demapper: "fast" or "sionna".
      mtu:          bytes of a packet at most, header and checksum included (packet link).
    """

    weights: str = "tokens"
    prior: PriorName = "transformer"
    decoder: str = ""
    packets: int = 10
    parity: int | Literal["auto"] = 0
    base: int | Literal["auto"] = 0
    descriptions: int | Literal["auto"] | None = None
    believed_loss: float | None = None
    believed_burst: float | None = None
    interleave: Interleave = "random"
    conceal: Conceal = "one-shot"
    steps: int = 8
    temperature: float = 1.0
    samples: int = 4
    blend: float = 1.0
    fraction: float = 1.0
    header: Form = "session"
    check: Check = "crc-16"
    uep: Uep | None = None
    shares: tuple[float, ...] | None = None
    channel_code: Any = "ldpc-5g"
    amc: Amc = field(default_factory=Amc)
    backend: Literal["fast", "sionna"] = "fast"
    mtu: int = 1500

    family: ClassVar[str] = "weak"
    links: ClassVar[frozenset[str]] = frozenset({"phy", "packet"})

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"fraction must be in (0, 1], got {self.fraction}")
        if self.steps < 1 or self.samples < 1 or not self.temperature >= 0:
            raise ValueError(
                "steps and samples must be at least 1 and temperature at least 0, got "
                f"{self.steps}, {self.samples} and {self.temperature}"
            )
        if not 0 <= self.blend <= 1:
            raise ValueError(f"blend must be in 0..1, got {self.blend}")
        if not 0 <= self._parity < self.packets:
            raise ValueError(f"parity must be 0..{self.packets - 1}, got {self.parity} (or auto)")
        if self._adapts and (self.fraction < 1 or self.uep is not None):
            raise ValueError(
                "parity, base and descriptions: auto go with neither fraction nor uep, which ask for a layout that is "
                "fixed; give numbers"
            )
        if not 0 <= self._base < MAX_STAGES:
            raise ValueError(f"base must be 0..{MAX_STAGES - 1} stages, got {self.base} (or auto)")
        if self.base != 0 and self.descriptions not in (None, "auto"):
            raise ValueError(
                f"with a base layer every packet decodes alone: leave descriptions out, got {self.descriptions}"
            )
        if self._base and self._adapts and self._base not in (known := shipped().bases):
            raise ValueError(
                f"parity: auto knows base layers of {', '.join(map(str, known))} stages, got {self.base}; give parity "
                "a number"
            )
        if self._base and (self.fraction < 1 or self.uep is not None):
            raise ValueError("a base layer goes with neither fraction nor uep; leave them out")
        if not self._adapts and (self.believed_loss, self.believed_burst) != (None, None):
            raise ValueError(
                "believed_loss and believed_burst say what parity, base and descriptions: auto go by; without them "
                "nothing does"
            )
        Belief(self.believed_loss or 0.0, self.believed_burst or 1.0)  # refuses what none can be
        if self.fraction < 1 and self._descriptions != 1:
            raise ValueError(
                f"fraction below 1 needs descriptions: 1, got {self._descriptions} (each choice follows from what was "
                "sent before)"
            )
        if self.shares is not None:
            object.__setattr__(self, "shares", tuple(self.shares))
        if self.uep is not None and self.uep.packets * self._descriptions >= self._source:
            raise ValueError(
                f"uep protects the first {self.uep.packets} of each description's packets, and there are no others: "
                f"{self._source} packets in {self._descriptions} descriptions; give fewer descriptions"
            )
        _ = self._link  # refuses what it cannot use
        if self._base:
            BaseLayer(self.packets, self._parity)
        fixed = (self._source, self._parity, self._descriptions)
        TokenFormat(0, 8, 8, 1 + self._base, *fixed, check=self.check, base=self._base)

    # ------------------------------------------------------------------------------------------ what is agreed

    @property
    def _source(self) -> int:
        """Packets that carry tokens."""
        return self.packets if self._base else self.packets - self._parity

    @property
    def _base(self) -> int:
        """0 where it is still to be chosen."""
        return 0 if self.base == "auto" else self.base

    @property
    def _parity(self) -> int:
        """0 where it is still to be chosen."""
        return 0 if self.parity == "auto" else self.parity

    @property
    def _descriptions(self) -> int:
        if self.descriptions is None or self.descriptions == "auto":
            return self._source
        return self.descriptions

    @property
    def _adapts(self) -> bool:
        return "auto" in (self.parity, self.base, self.descriptions)

    @cached_property
    def _settled(self) -> dict[Protection, Tokens]:
        """Systems whose protection has been chosen."""
        return {}

    def _for(self, point: LinkPoint, height: int, width: int) -> tuple[Tokens, str]:
        """This system with its protection chosen, and what rows declare of it."""
        if point.kind == "phy" and point.csi_tx == "instantaneous":
            raise ComponentError(
                "parity, base and descriptions: auto go by one budget in bytes, and with csi_tx: instantaneous every "
                "image has its own; give numbers"
            )
        rows, columns = padded(height, width)
        auto = self.descriptions == "auto"
        chosen, losses = choose(
            shipped(),
            self._ways(point, height, width),
            self.packets,
            overhead=self._format(self._transmitter, height, width, point.kind).overhead_bytes,
            positions=rows * columns,
            parities=None if self.parity == "auto" else [self.parity],
            descriptions=None if auto or self.descriptions is None else self._descriptions,
            modes=auto,
            bases=None if self.base == "auto" else [self._base],
        )
        if chosen not in self._settled:
            self._settled[chosen] = replace(
                self,
                parity=chosen.parity,
                base=chosen.base,
                descriptions=None if chosen.base else chosen.descriptions,
                believed_loss=None,
                believed_burst=None,
            )
        return self._settled[chosen], chosen.note(self.packets, losses)

    def _ways(self, point: LinkPoint, height: int, width: int) -> Sequence[tuple[int, Losses]]:
        """Bytes of an image's packets and what is lost of them, as the transmitter believes."""
        if point.kind == "phy" and (self.believed_loss, self.believed_burst) == (None, None):
            if point.csi_tx == "none":
                raise ComponentError(
                    "parity, base and descriptions: auto need believed_loss here: with csi_tx: none the transmitter "
                    "knows of no fading law"
                )
            return [(n, Drawn(lost)) for n, lost in self._link.ways(point, height, width)]
        process = point.erasure if point.kind == "packet" else None
        belief = Belief.of(process, self.believed_loss, self.believed_burst)
        _, rooms = self._link.describe(point, height, width, self._judge(height, width))
        return [(int(rooms.total[0]), belief)]

    @cached_property
    def _link(self) -> SliceLink:
        rank = [n // self._descriptions for n in range(self._source)]
        low = [0 if self.uep is None or r >= self.uep.packets else self.uep.steps for r in rank]
        shares = [1.0 if self.shares is None else self.shares[r % len(self.shares)] for r in rank]
        more = self.packets - self._source
        lowered = tuple(low) + (0,) * more
        weights = tuple(shares) + (max(shares),) * more
        return SliceLink(self.channel_code, self.amc, self.backend, self.mtu, lowered, weights)

    @cached_property
    def _transmitter(self) -> TokenCodec:
        return TokenCodec(self.weights, self.prior, self.decoder)

    @cached_property
    def _receiver(
        self,
    ) -> TokenCodec:  # an instance of its own: a receiver shares nothing with the transmitter
        return TokenCodec(self.weights, self.prior, self.decoder)

    def _format(self, codec: TokenCodec, height: int, width: int, kind: str) -> TokenFormat:
        """What all packets have in common; on the phy link a block has a CRC of its own."""
        rows, columns = padded(height, width)
        sent = 0 if self.fraction == 1 else max(round(self.fraction * rows * columns), 1)
        try:
            return TokenFormat(
                crc.crc16(codec.digest + self.prior.encode()),
                rows,
                columns,
                codec.stages,
                self._source,
                self._parity,
                self._descriptions,
                self.interleave,
                sent,
                self.header,
                "none" if kind == "phy" else self.check,
                self._base,
            )
        except ValueError as error:
            raise BudgetError(f"pictures of {height}x{width}: {error}") from error

    # ------------------------------------------------------------------------------------------------- budget

    def preview(self, point: LinkPoint, height: int, width: int) -> str:
        """See System.preview."""
        self._check(point)
        if self._adapts:
            return self._for(point, height, width)[0].preview(point, height, width)
        text, rooms = self._link.describe(point, height, width, self._judge(height, width))
        form = self._format(self._transmitter, height, width, point.kind)
        try:
            layout_of(form)
        except ValueError as error:
            raise BudgetError(f"pictures of {height}x{width}: {error}") from error
        room = int(np.minimum(rooms.each, rooms.total[:, None]).min()) - form.overhead_bytes
        most = int(rooms.total[0]) - self.packets * form.overhead_bytes
        if (room < 1 or most < self.packets) and point.csi_tx != "instantaneous":
            raise BudgetError(
                f"{text} leave {max(most, 0)} bytes for tokens, after {form.overhead_bytes} bytes of header and CRC "
                "in each; raise the budget or send fewer packets"
            )
        parity = f", {self.parity} of them parity" if self.parity else ""
        if self._base:
            parity = f", any {self.packets - self._parity} of which give {self._base} stages of all positions"
        return f"{text}{parity}, {max(most, 0)} bytes for the codec"

    def _judge(self, height: int, width: int) -> Judge | None:
        """What decides on the MCS where the fade is not known; None: the numbers are of pictures with all positions."""
        if self.fraction < 1:
            return None
        rows, columns = padded(height, width)
        overhead = self._format(self._transmitter, height, width, "phy").overhead_bytes
        protection = Protection(self._parity, self._descriptions, self._base)

        def judge(ways: Sequence[tuple[int, np.ndarray]]) -> int:
            found = [
                expected(
                    shipped(),
                    Drawn(lost),
                    self.packets,
                    protection,
                    total=total,
                    overhead=overhead,
                    positions=rows * columns,
                )
                for total, lost in ways
            ]
            best = least_regret(found)
            return len(ways) - 1 if best is None else best

        return judge

    def _check(self, point: LinkPoint) -> None:
        if point.budget == "mean":
            raise ComponentError(
                "tokens serves budget: per_image; it has no operating point for a set"
            )

    # --------------------------------------------------------------------------------------------- transmitter

    def simulate(self, images: np.ndarray, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        """See System.simulate."""
        self._check(point)
        height, width = images.shape[1:3]
        if self._adapts:
            chosen, note = self._for(point, height, width)
            return replace(chosen.simulate(images, point, seeds), note=note)
        rooms = self._link.rooms(point, height, width, seeds, self._judge(height, width))
        form = self._format(self._transmitter, height, width, point.kind)
        sent = TokenSender(self._transmitter).send(images, rooms, form)
        crossed = self._link.cross(sent, rooms, point, seeds)
        outage = [not packets for packets in sent]
        decoded = self._decode(crossed.arrived, outage, (height, width), point.kind, seeds)
        return Outcome(
            apply_failure_policy(decoded, images.shape, point.failure),
            final_status(decoded, images.shape),
            crossed.ledger,
            crossed.mcs,
            crossed.papr_db,
        )

    # ------------------------------------------------------------------------------------------------ receiver

    def _decode(
        self,
        arrived: Sequence[Sequence[bytes | None]],
        outage: Sequence[bool],
        size: tuple[int, int],
        kind: str,
        seeds: FrameSeeds,
    ) -> Decoded:
        """Pictures of what arrived, whatever it is.

        Args: outage: of each image, whether nothing was sent (which a receiver sees). size: of the pictures.
        """
        codec = self._receiver
        mine = self._format(codec, *size, kind)
        rows, layouts, bodies, heads = [], [], [], []
        for b, packets in enumerate(arrived):
            opened = unwrap(packets, mine)
            if opened is not None:
                rows.append(b)
                layouts.append(opened[0])
                bodies.append(opened[1])
                heads.append(opened[2])
        reads = codec.unpack(bodies, layouts, heads) if rows else []
        useful = [i for i, read in enumerate(reads) if read.decodable.any()]
        images: list[np.ndarray | None] = [None] * len(arrived)
        status = [Status.OUTAGE if gone else Status.FAILED for gone in outage]
        if useful:
            shown = codec.conceal(
                [reads[i] for i in useful],
                [layouts[i] for i in useful],
                *size,
                seeds.take([rows[i] for i in useful]),
                self.conceal,
                self.steps,
                self.temperature,
                self.samples,
                self.blend,
            )
            for i, image in zip(useful, shown, strict=True):
                images[rows[i]] = image
                whole = reads[i].decodable.all()
                status[rows[i]] = Status.OK if whole else Status.CONCEALED
        return Decoded(tuple(images), tuple(status))
