"""What travels through a link, and the protocols of the parts that handle it.

    images [B,H,W,3] uint8
       | codec.encode -> Packets            | joint.encode -> Symbols
       +--------------+---------------------+
                      v
           link: Frame  x [B,S], num_symbols [B], Ledger     <- only link/ makes one
                      v
           channel(x, n0, seed) -> Received  y, h, n0_eff    (y = h x + w)
                      v
           link: Delivered  packets, ok, symbols
       +--------------+---------------------+
       | codec.decode -> Decoded            | joint.decode -> Decoded

B is the number of frames in a batch: one image in one realisation each. Everything here is a value: frozen, and with
no reference back to the transmitter.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from linksim.seeds import FrameSeeds
from linksim.units import linear_to_db

# --------------------------------------------------------------------------------------------------- values


class Status(IntEnum):
    """What became of one image."""

    OK = 0  # everything that was sent arrived
    CONCEALED = 1  # something was lost, and the decoder or the failure policy made up for it from what did arrive
    FAILED = 2  # the link failed: the picture is the declared fallback
    OUTAGE = 3  # nothing was sent: the codec has no picture that fits the budget

    @property
    def failed(self) -> bool:
        """Whether the image counts in ``num_failed``."""
        return self >= Status.FAILED


@dataclass(frozen=True)
class Packet:
    """One packet of a source codec: bytes that the link delivers whole or not at all.

    Args:
      data:         what is sent, the codec's own header in front.
      header_bytes: how many of them are that header (counted under ``headers`` in the ledger).
      kind:         "payload" or "side" (side information: levels, hyper-latents).
    """

    data: bytes
    header_bytes: int = 0
    kind: Literal["payload", "side"] = "payload"

    def __post_init__(self) -> None:
        if not 0 <= self.header_bytes <= len(self.data):
            raise ValueError(
                f"header_bytes must be in 0..{len(self.data)}, got {self.header_bytes}"
            )

    @property
    def num_bits(self) -> int:
        """Bits of the whole packet."""
        return 8 * len(self.data)


@dataclass(frozen=True)
class Packets:
    """The packets of a batch: ``of[b]`` are those of image b, in sending order; an empty tuple is an outage."""

    of: tuple[tuple[Packet, ...], ...]

    def __len__(self) -> int:
        return len(self.of)

    def num_bits(self) -> np.ndarray:
        """Bits per image, headers included. Returns: [B] int64."""
        return np.array([sum(p.num_bits for p in packets) for packets in self.of], np.int64)


@dataclass(frozen=True)
class Symbols:
    """Channel symbols made by a joint encoder, zero padded to the longest frame.

    Args:
      x:           [B, S] complex64, mean power 1 over the first num_symbols[b] of each row.
      num_symbols: [B] int64, complex channel uses of each image.
    """

    x: np.ndarray
    num_symbols: np.ndarray

    def __post_init__(self) -> None:
        if self.x.ndim != 2 or self.x.dtype != np.complex64:
            raise ValueError(f"x must be [B, S] complex64, got {self.x.shape} {self.x.dtype}")
        if self.num_symbols.shape != self.x.shape[:1]:
            raise ValueError(f"num_symbols must be [{len(self.x)}], got {self.num_symbols.shape}")
        if len(self.x) and int(self.num_symbols.max()) > self.x.shape[1]:
            raise ValueError(
                f"num_symbols up to {self.num_symbols.max()} in a frame of {self.x.shape[1]}"
            )


@dataclass(frozen=True)
class Payload:
    """What a transmitter hands to the link: packets, symbols, or both (symbols with side information)."""

    packets: Packets | None = None
    symbols: Symbols | None = None


@dataclass(frozen=True)
class Ledger:
    """Where the budget of each image went; ``total`` is what the row reports and never less than what was sent.

    The unit is complex channel uses on ``link: phy`` and bits on ``link: packet``. An information bit of a coded block
    is booked at its modulation's bits per symbol; everything that the channel code adds is ``parity``.

    Args: each [B] float64.
    """

    payload: np.ndarray
    side_information: np.ndarray
    headers: np.ndarray
    crc: np.ndarray
    padding: np.ndarray
    parity: np.ndarray
    pilots: np.ndarray
    retransmissions: np.ndarray

    @classmethod
    def zeros(cls, batch: int, **given: np.ndarray) -> Ledger:
        """A ledger of zeros but for the entries given."""
        empty = {f.name: np.zeros(batch) for f in fields(cls)}
        return cls(**{**empty, **{k: np.asarray(v, np.float64) for k, v in given.items()}})

    @property
    def total(self) -> np.ndarray:
        """[B] float64, the sum of all entries."""
        return np.sum([getattr(self, f.name) for f in fields(self)], axis=0)

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def entries(self) -> dict[str, np.ndarray]:
        """Name -> [B], in the order of the class."""
        return {f.name: getattr(self, f.name) for f in fields(self)}


@dataclass(frozen=True)
class Frame:
    """The channel input of a batch, both branches joined. Only ``link/`` makes one.

    Args:
      x:           [B, S] complex64, zero padded; unit power per complex symbol (in expectation for QAM).
      num_symbols: [B] int64.
      ledger:      whose total equals num_symbols; what the channel adds (pilots, prefix) is booked when it is crossed.
    """

    x: np.ndarray
    num_symbols: np.ndarray
    ledger: Ledger

    def papr_db(self) -> np.ndarray:
        """Peak-to-average power ratio of each frame's symbols. Returns: [B] float64, dB; NaN of a silent frame.

        Of the symbols themselves, that is, of what an amplifier meets on a single carrier without pulse shaping. Over
        an OFDM channel they are the subcarriers', and the waveform has the PAPR of a Gaussian signal for every system.
        """
        power = np.abs(self.x.astype(np.complex128)) ** 2
        inside = np.arange(self.x.shape[1]) < self.num_symbols[:, None]
        power = np.where(inside, power, 0.0)
        mean = power.sum(axis=1) / np.maximum(self.num_symbols, 1)
        loud = mean > 0
        ratio = power.max(axis=1, initial=0.0) / np.where(loud, mean, 1.0)
        return np.where(loud, 10 * np.log10(np.where(loud, ratio, 1.0)), np.nan)


@dataclass(frozen=True)
class Received:
    """The scalar equivalent of what a channel does to a frame: y = h x + w.

    Args:
      y:      [B, S] complex64.
      h:      [B, S] or [B, 1] complex64, the coefficient as the receiver knows it; E|h|^2 = 1.
      n0_eff: [B, S], [B, 1] or scalar float32, noise power per complex symbol of w, >= 0.
    """

    y: np.ndarray
    h: np.ndarray
    n0_eff: np.ndarray | float

    def full(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """y, h, n0_eff, each broadcast to [B, S]."""
        shape = self.y.shape
        n0 = np.broadcast_to(np.asarray(self.n0_eff, np.float32), shape)
        return self.y, np.broadcast_to(self.h, shape), n0

    def slice(self, start: int, stop: int) -> Received:
        """The received symbols start..stop-1 of every frame."""
        y, h, n0 = self.full()
        return Received(y[:, start:stop], h[:, start:stop], n0[:, start:stop])

    def take(self, rows: np.ndarray | Sequence[int]) -> Received:
        """The frames at ``rows``."""
        y, h, n0 = self.full()
        index = np.asarray(rows)
        return Received(y[index], h[index], n0[index])


@dataclass(frozen=True)
class Delivered:
    """What the link hands to a decoder: nothing that a CRC did not let through.

    Args:
      packets: packets[b][p]: the bytes of a packet that arrived (ok), or, if not, the prefix of it that did,
               which may be empty.
      ok:      ok[b][p]: whether the packet arrived whole.
      symbols: the received symbols of a joint system, or None.
      size:    (H, W) of the pictures, which the session declares out of band, as VVC's parameter sets do; None where
               the packets say it.
      num_symbols: [B], how many of the received symbols are each frame's; None: all of them.
    """

    packets: tuple[tuple[bytes, ...], ...] = ()
    ok: tuple[tuple[bool, ...], ...] = ()
    symbols: Received | None = None
    size: tuple[int, int] | None = None
    num_symbols: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.packets) if self.symbols is None else len(self.symbols.y)

    def length(self, b: int) -> int:
        """Received symbols of frame b."""
        most = 0 if self.symbols is None else self.symbols.y.shape[1]
        return most if self.num_symbols is None else min(most, int(self.num_symbols[b]))

    def without_prefixes(self) -> Delivered:
        """The same with every incomplete packet emptied."""
        packets = tuple(
            tuple(data if good else b"" for data, good in zip(row, ok, strict=True))
            for row, ok in zip(self.packets, self.ok, strict=True)
        )
        return replace(self, packets=packets)


@dataclass(frozen=True)
class Decoded:
    """What a decoder made of a delivery.

    Args:
      images: B arrays [H, W, 3] uint8, or None where there is no picture (the failure policy then fills it).
      status: B values of Status.
    """

    images: tuple[np.ndarray | None, ...]
    status: tuple[Status, ...]


@dataclass(frozen=True)
class TxKnowledge:
    """What the transmitter may know, equal for all systems (``csi_tx`` of the scenario).

    Args:
      snr_amc_db: [B] float64, the Es/N0 that the transmitter believes in, dB. With instantaneous CSI it includes the
                  fade |h|^2 of the frame.
      csi_tx:     "instantaneous", "mean" or "none".
      gains:      [L] float64, draws of the power gain |h|^2 from the fading law (for csi_tx "mean"); all 1 on AWGN.
      by_order:   bits per symbol -> the same in dB as a code over QAM of that order sees a frame whose gain varies
                  within it: [B] believed, or [L] draws, Es/N0. Empty where no frame's gain varies.
    """

    snr_amc_db: np.ndarray
    csi_tx: Literal["instantaneous", "mean", "none"] = "mean"
    gains: np.ndarray = field(default_factory=lambda: np.ones(1))
    by_order: Mapping[int, np.ndarray] = field(default_factory=dict)

    def snr_db(self, num_bits_per_symbol: int) -> np.ndarray:
        """Es/N0 [dB] that a code over this QAM believes in: [B], or with mean CSI [L] draws of the fading law."""
        if num_bits_per_symbol in self.by_order:
            return self.by_order[num_bits_per_symbol]
        if self.csi_tx != "mean":
            return self.snr_amc_db
        return self.snr_amc_db[0] + linear_to_db(self.gains)


# ------------------------------------------------------------------------------------------------- protocols


@runtime_checkable
class Channel(Protocol):
    """Symbols -> Received. Register under ``linksim.channels``; parameters are dataclass fields."""

    def __call__(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        """Send a batch through the channel.

        Args:
          x:    [B, S] complex64, E|x|^2 = 1, zero padded.
          n0:   noise power per complex symbol, linear, >= 0.
          seed: B seeds; frame b's fade and noise may depend on seed[b] alone, and the fade not on x or n0.
        """
        ...


@runtime_checkable
class Impairment(Protocol):
    """What stands between a frame and its channel. Register under ``linksim.impairments``.

    Class attributes (or properties) that it may have: ``distorts = "phase noise"`` names what makes y - h x more than
    noise of power n0 (leave it out where nothing does); ``innermost = True``: it must be the last of a list;
    ``fits(channel)`` raises ValueError where it cannot stand before a channel.
    """

    def __call__(
        self, x: np.ndarray, seed: FrameSeeds, rest: Callable[[np.ndarray], Received]
    ) -> Received:
        """Send a batch on, and account for what becomes of it.

        Args:
          x:    [B, S] complex64, as for a channel.
          seed: B seeds of its own.
          rest: sends [B, S'] complex64 through what follows (linksim.channel.impairment.rest).
        Returns: Received of [B, S]: h is what the receiver knows, n0_eff the power of y - h x beyond it.
        """
        ...


@runtime_checkable
class ErasureProcess(Protocol):
    """Which packets are lost. Register under ``linksim.erasures``.

    A class with a parameter ``rate`` gets it from the axis erasure_rate (unless its ``takes_rate(parameters)``
    says no). Closed forms are attributes: ``loss_rate``, the share of packets lost, and ``mean_burst``, the mean length
    of a run of losses; ``linksim.packet.laws`` holds a process to them. Every process starts from its stationary state,
    and more packets begin like fewer.
    """

    def __call__(self, num_packets: Sequence[int], seed: FrameSeeds) -> list[np.ndarray]:
        """Draw losses. Args: num_packets: per frame, P_b. Returns: per frame [P_b] bool, True where LOST."""
        ...


@runtime_checkable
class Codec(Protocol):
    """Images <-> packets. Register under ``linksim.codecs``. The link builds one instance for each end."""

    def min_bits(self, height: int, width: int) -> int:
        """The smallest budget [bits] that the codec may serve at this size; below it every image is an outage."""
        ...

    def encode(self, images: np.ndarray, budget_bits: np.ndarray) -> Packets:
        """Code each image into at most its budget.

        Args:
          images:      [B, H, W, 3] uint8.
          budget_bits: [B] int64, packets and codec headers included.
        Returns: Packets; no packets for an image whose smallest picture does not fit.
        """
        ...

    def decode(self, delivered: Delivered) -> Decoded:
        """Make pictures of what arrived. Never raises on any bytes: the status says what happened."""
        ...

    def distortion(self, images: np.ndarray, budget_bits: np.ndarray) -> np.ndarray:
        """MSE that each image would have at each of M budgets (used by AMC under mean CSI).

        Args:    images [B, H, W, 3] uint8; budget_bits [M] int64.
        Returns: [B, M] float64, mean squared error on the 0..255 scale; +inf for an outage.
        """
        ...


@runtime_checkable
class Joint(Protocol):
    """Images <-> channel symbols. Register under ``linksim.joints``. The link builds one instance for each end."""

    def min_uses(self, height: int, width: int) -> int:
        """The smallest number of complex channel uses that the system can work with."""
        ...

    def side_bits(self, height: int, width: int) -> int:
        """Bits of side information an image needs at most (0: none); the link sends them through the real code.

        A coder with the attribute ``side_is_optional = True`` can do with less: it gets as many as a declared share of
        the budget has room for, or none where that is below its ``least_side_bits(height, width)``.
        """
        ...

    def encode(
        self, images: np.ndarray, uses: np.ndarray, tx: TxKnowledge, side_bits: int | None = None
    ) -> Payload:
        """Map images to at most ``uses[b]`` symbols each, with unit mean power per frame.

        Args:    images [B, H, W, 3] uint8; uses [B] int64, what is left for symbols after side information; side_bits:
                 room for side information (None: as ``side_bits`` says).
        Returns: Payload with symbols, and packets of kind "side" where the decoder needs side information.
        """
        ...

    def decode(self, delivered: Delivered) -> Decoded:
        """Make pictures of the received symbols and the side information that arrived. Never raises on damage."""
        ...


@runtime_checkable
class Preparing(Protocol):
    """What a codec offers beside ``Codec`` that keeps what it has coded, for other points and other runs."""

    def prepare(self, images: np.ndarray, budget_bits: np.ndarray) -> None:
        """Told before a batch is coded which budgets the point's schemes have, whatever the SNR.

        Args: images [B, H, W, 3] uint8; budget_bits [M] int64.
        """
        ...


@runtime_checkable
class Levelled(Protocol):
    """What a codec offers beside ``Codec`` where one quality setting can serve a whole set (``budget: mean``)."""

    def quality_levels(self) -> tuple[int, ...]:
        """Quality levels in each tier, the best tier last; levels count through all tiers from 0.

        Within a tier a level costs more bits than the one before; a tier is used where no level of the next one fits.
        """
        ...

    def encode_at(self, images: np.ndarray, level: int) -> Packets:
        """Code every image at one level, whatever it takes. Args: images [B, H, W, 3] uint8."""
        ...


@dataclass(frozen=True)
class Demand:
    """Channel uses that images ask for at each operating point of a joint coder.

    Args:
      grid: [M] float64, increasing: operating points (NTSCC: eta), M >= 2.
      uses: [B, M] int64, not falling along M: complex channel uses for symbols.
    """

    grid: np.ndarray
    uses: np.ndarray

    def __post_init__(self) -> None:
        if self.grid.ndim != 1 or len(self.grid) < 2 or not (np.diff(self.grid) > 0).all():
            raise ValueError("grid must be [M] increasing, M >= 2")
        if self.uses.ndim != 2 or self.uses.shape[1] != len(self.grid):
            raise ValueError(f"uses must be [B, {len(self.grid)}], got {self.uses.shape}")
        if (np.diff(self.uses, axis=1) < 0).any() or (self.uses < 0).any():
            raise ValueError("uses must be >= 0 and must not fall along the grid")

    def at(self, value: float) -> np.ndarray:
        """Uses at an operating point, linear between those of the grid. Returns: [B] int64, rounded down."""
        found = [np.interp(value, self.grid, row) for row in self.uses.astype(np.float64)]
        return np.floor(np.array(found) + 1e-9).astype(np.int64)


@runtime_checkable
class Elastic(Protocol):
    """What a joint coder offers beside ``Joint`` where one operating point serves a whole set (``budget: mean``).

    A coder of constant rate has the attribute ``constant_rate = True`` instead: every image takes the budget.
    """

    def demand(self, images: np.ndarray, tx: TxKnowledge) -> Demand:
        """What images ask for; ``encode`` is then given that many uses, image by image.

        Args:    images [B, H, W, 3] uint8. The grid must be the same for all images.
        Returns: Demand, after side information.
        """
        ...


@dataclass(frozen=True)
class BlockPlan:
    """Shape of one coded transmission, fixed by the point alone.

    Args:
      info_bits:           A, bits of the transport block that the link may fill (its CRC not among them).
      crc_bits:            all CRC bits added (transport block and code blocks).
      coded_bits:          G, bits sent over the channel.
      num_code_blocks:     C.
      num_bits_per_symbol: Qm.
      target_rate:         R, the MCS's nominal code rate.
    """

    info_bits: int
    crc_bits: int
    coded_bits: int
    num_code_blocks: int
    num_bits_per_symbol: int
    target_rate: float

    @property
    def num_symbols(self) -> int:
        """Complex channel uses."""
        return self.coded_bits // self.num_bits_per_symbol


@runtime_checkable
class ChannelCode(Protocol):
    """Transport blocks <-> coded bits, error detection included. Register under ``linksim.channel_codes``."""

    def plan(self, num_symbols: int, num_bits_per_symbol: int, target_rate: float) -> BlockPlan:
        """The block that fits ``num_symbols`` complex uses at this MCS. Raises BudgetError if none does."""
        ...

    def encode(self, bits: np.ndarray, plan: BlockPlan) -> np.ndarray:
        """[B, A] uint8 -> [B, G] uint8."""
        ...

    def decode(self, llr: np.ndarray, plan: BlockPlan) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Decode and check.

        Args:    llr [B, G] float32, ln p(1)/p(0).
        Returns: bits [B, A] uint8; ok [B] bool, every CRC right; good_prefix [B] int64, leading bits of the block that
                 lie in code blocks whose own CRCs are right (A where ok).
        """
        ...

    def error_rate(self, es_n0_db: np.ndarray, plan: BlockPlan) -> np.ndarray:
        """Probability that a transport block fails on AWGN, from measured counts (AMC's view of the code).

        Args:    es_n0_db [...], dB.
        Returns: [...] float64 in [0, 1], falling with es_n0_db.
        """
        ...


@runtime_checkable
class HybridCode(ChannelCode, Protocol):
    """A channel code that can send a block again, in redundancy versions, and decode what came together (HARQ)."""

    def encode(self, bits: np.ndarray, plan: BlockPlan, rv: int = 0) -> np.ndarray:
        """As ChannelCode.encode, in redundancy version ``rv`` (0..3)."""
        ...

    def decode(
        self, llr: np.ndarray, plan: BlockPlan, rvs: Sequence[int] = (0,)
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As ChannelCode.decode, from T = len(rvs) transmissions.

        Args: llr [B, T G] float32, one transmission behind the other; rvs: their redundancy versions.
        """
        ...

    def combined_error_rate(
        self, es_n0_db: np.ndarray, plan: BlockPlan, rvs: Sequence[int]
    ) -> np.ndarray:
        """Probability that T transmissions together do not deliver a block on AWGN.

        Args:    es_n0_db [..., T], dB, of each transmission; rvs: their redundancy versions.
        Returns: [...] float64 in [0, 1].
        """
        ...


class ImageMetric(Protocol):
    """A figure of merit of one image against its original. Register under ``linksim.metrics``."""

    unit: str
    higher_is_better: bool

    def __call__(self, reference: np.ndarray, image: np.ndarray) -> np.ndarray:
        """Args: both [B, H, W, 3] uint8. Returns: [B] float64."""
        ...


class SetMetric(Protocol):
    """A distance between two sets of images, computed from features. Register under ``linksim.metrics``.

    ``extractor`` names the feature extractor, so that metrics that share it (FID and KID) extract once.
    """

    unit: str
    higher_is_better: bool
    extractor: str
    min_images: int

    def features(self, images: np.ndarray) -> np.ndarray:
        """Args: [B, H, W, 3] uint8. Returns: [B, D] float32."""
        ...

    def distance(self, reference: np.ndarray, features: np.ndarray) -> float:
        """Args: [N, D] and [M, D] float32. Returns: the distance."""
        ...
