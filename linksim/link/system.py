"""What a system is, what a point asks of it, and what comes out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np

from linksim.errors import BudgetError, ComponentError
from linksim.link import overhead
from linksim.seeds import FrameSeeds
from linksim.types import Channel, Decoded, ErasureProcess, Ledger, Status
from linksim.units import channel_uses, n0_from_es_n0_db, payload_bits

CsiTx = Literal["instantaneous", "mean", "none"]
Failure = Literal["mean-grey", "good-prefix", "exclude"]

OperatingPoint = Mapping[
    str, float
]  # one for a whole set of images: {"level": 31, "mcs": 7}, {"eta": 0.21}
Frames = Callable[
    [], Iterable[tuple[np.ndarray, FrameSeeds]]
]  # every batch of a set, as often as it is called

GREY = 128  # level of the declared fallback picture


@dataclass(frozen=True)
class LinkPoint:
    """One point of a sweep, as a system meets it: the same for every system.

    Args:
      kind:       "phy" or "packet".
      channel:    what symbols cross (phy).
      es_n0_db:   true Es/N0 [dB] (phy).
      snr_amc_db: Es/N0 [dB] that the transmitter believes in (phy).
      cbr:        all-in complex channel uses per source sample (phy).
      erasure:    which packets are lost (packet).
      bpp:        all-in bits per pixel (packet).
      csi_tx:     what the transmitter knows of the fade.
      failure:    what stands in for a picture that did not arrive.
      budget:     "per_image": every image meets cbr or bpp; "mean": the set does, in its mean.
      operating:  with budget "mean", what ``System.calibrate`` found for the set.
    """

    kind: Literal["phy", "packet"]
    channel: Channel | None = None
    es_n0_db: float = float("nan")
    snr_amc_db: float = float("nan")
    cbr: float = float("nan")
    erasure: ErasureProcess | None = None
    bpp: float = float("nan")
    csi_tx: CsiTx = "mean"
    failure: Failure = "mean-grey"
    budget: Literal["per_image", "mean"] = "per_image"
    operating: OperatingPoint | None = None

    def settled(self, key: str) -> float:
        """A value of the set's operating point. Raises ComponentError: there is none."""
        if self.operating is None or key not in self.operating:
            raise ComponentError(
                f"budget: mean needs an operating point with {key!r}, got {self.operating}; run it through the runner, "
                "which calls calibrate on the whole set first"
            )
        return self.operating[key]

    @property
    def n0(self) -> float:
        """True noise power per complex symbol."""
        return n0_from_es_n0_db(self.es_n0_db)

    def uses(self, height: int, width: int) -> int:
        """Complex channel uses of one image that carry data: the budget less the channel's pilots, prefix and guards.

        Raises: BudgetError: where that is none.
        """
        return overhead.data_uses(self.channel, self.all_uses(height, width))

    def all_uses(self, height: int, width: int) -> int:
        """Complex channel uses of one image, everything in it. Raises BudgetError where that is none."""
        uses = channel_uses(self.cbr, height, width)
        if uses < 1:
            raise BudgetError(
                f"cbr={self.cbr:g} gives {height}x{width} no channel use; raise cbr to at least "
                f"{1 / (3 * height * width):.3g}"
            )
        return uses

    def bits(self, height: int, width: int) -> int:
        """Bits of one image on a packet link. Raises BudgetError where that is not a byte."""
        bits = payload_bits(self.bpp, height, width)
        if bits < 8:
            raise BudgetError(
                f"bpp={self.bpp:g} gives {height}x{width} less than a byte; raise bpp to at least "
                f"{8 / (height * width):.3g}"
            )
        return bits


@dataclass(frozen=True)
class Outcome:
    """What became of a batch at one point.

    Args:
      images: [B, H, W, 3] uint8, the failure policy applied.
      status: B values of Status.
      ledger: complex channel uses (phy) or bits (packet) of each image.
      mcs:    B names of the MCS used, or None.
      papr_db: [B] float64, peak-to-average power ratio of each transmitted frame, dB (phy); None where none was sent.
      transmissions: [B] int64, how often each was sent, where it may be sent again (HARQ); else None.
      note:   what every row of the batch declares, or None.
    """

    images: np.ndarray
    status: tuple[Status, ...]
    ledger: Ledger
    mcs: tuple[str | None, ...]
    papr_db: np.ndarray | None = None
    transmissions: np.ndarray | None = None
    note: str | None = None


@runtime_checkable
class System(Protocol):
    """A whole system: transmitter, link and receiver. Register under ``linksim.systems``."""

    @property
    def family(self) -> str:
        """separated, joint, weak or distributed."""
        ...

    @property
    def links(self) -> frozenset[str]:
        """The kinds of link it can cross: "phy", "packet"."""
        ...

    def preview(self, point: LinkPoint, height: int, width: int) -> str:
        """How the point's budget would be spent, in a line; simulates nothing. Raises BudgetError if it cannot be."""
        ...

    def simulate(self, images: np.ndarray, point: LinkPoint, seeds: FrameSeeds) -> Outcome:
        """Send images [B, H, W, 3] uint8 across the link, frame b with seeds[b].

        A system whose receiver holds correlated pictures also has ``side_offset``: 0 for those that belong to the
        images, n for those of the images n places further in the source, None for none. Unless that is None,
        ``simulate`` is called with ``side`` [B, H, W, 3] uint8 besides.
        """
        ...


@runtime_checkable
class Calibrated(Protocol):
    """A system that can serve a whole set at one operating point (``budget: mean``)."""

    def calibrate(self, frames: Frames, point: LinkPoint) -> OperatingPoint:
        """The operating point at which the set's mean budget comes closest to the point's from below.

        Called once for a point and the whole set; what it returns comes back as ``LinkPoint.operating``. Depends on its
        arguments alone.

        Args: frames: gives all batches [B, H, W, 3] uint8 with their frames' seeds, each time it is called.
        Raises: BudgetError: even the least takes more.
        """
        ...


def mse_of_grey(images: np.ndarray) -> np.ndarray:
    """Error of the fallback picture in the place of each. Args: images [B, H, W, 3] uint8. Returns: [B] float64."""
    return np.mean((images.astype(np.float64) - GREY) ** 2, axis=(1, 2, 3))


def apply_failure_policy(decoded: Decoded, shape: tuple[int, ...], policy: Failure) -> np.ndarray:
    """The pictures that the receiver shows.

    A picture of another size than the declared one is a failed one: its header was damaged beyond what a CRC sees.

    Args:    shape: (B, H, W, 3).
    Returns: [B, H, W, 3] uint8. Under every policy a picture that is not there is grey; "exclude" leaves such rows out
             of the means later, "good-prefix" has already let the decoder use what came before the first error.
    """
    shown = np.full(shape, GREY, np.uint8)
    for b, (image, status) in enumerate(zip(decoded.images, decoded.status, strict=True)):
        if image is not None and not status.failed and image.shape == shape[1:]:
            shown[b] = image
    return shown


def final_status(decoded: Decoded, shape: tuple[int, ...]) -> tuple[Status, ...]:
    """Status of each picture, a missing or wrongly sized one counted as failed."""
    return tuple(
        Status.FAILED
        if not status.failed and (image is None or image.shape != shape[1:])
        else Status(status)
        for image, status in zip(decoded.images, decoded.status, strict=True)
    )
