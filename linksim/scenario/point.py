"""One point of a study: everything that determines its rows but the images."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Point:
    """A system at one place of the sweep.

    Args:
      id:           hash of everything that determines the rows, images, seed and realisations aside.
      system_label: how tables call the system.
      system_spec:  what ``registry.create("systems", ...)`` takes.
      link:         "phy" or "packet".
      channel_label, channel_spec: the channel (phy), or None.
      erasure_label, erasure_spec: the packet loss process (packet), or None.
      es_n0_db:     true Es/N0, dB (phy).
      snr_amc_db:   Es/N0 that the transmitter believes in, dB (phy).
      cbr:          all-in complex channel uses per source sample (phy).
      erasure_rate: packet loss rate, where it is swept (packet).
      bpp:          all-in bits per pixel (packet).
      csi_tx, budget, failure: the scenario's declarations.
      operating:    with budget "mean": what the run has found for the set (see ``linksim.runner.operating``).
      axes:         sweep axis -> value, the columns of the point's rows, in the table's order.
    """

    id: str
    system_label: str
    system_spec: dict[str, Any]
    link: Literal["phy", "packet"]
    channel_label: str | None = None
    channel_spec: dict[str, Any] | None = None
    erasure_label: str | None = None
    erasure_spec: dict[str, Any] | None = None
    es_n0_db: float | None = None
    snr_amc_db: float | None = None
    cbr: float | None = None
    erasure_rate: float | None = None
    bpp: float | None = None
    csi_tx: Literal["instantaneous", "mean", "none"] = "mean"
    budget: Literal["per_image", "mean"] = "per_image"
    failure: Literal["mean-grey", "good-prefix", "exclude"] = "mean-grey"
    axes: dict[str, Any] = field(default_factory=dict)
    operating: dict[str, float] | None = None

    @property
    def title(self) -> str:
        """The point for people: "vvc, rayleigh, es_n0_db 4, cbr 0.0417"."""
        values = (
            f"{axis} {value:.4g}" if isinstance(value, float) else f"{axis} {value}"
            for axis, value in self.axes.items()
            if axis != "erasure"
        )
        where = self.channel_label or self.erasure_label
        return ", ".join([self.system_label, *([where] if where else []), *values])


def digest(value: Any, size: int = 12) -> str:
    """Hex hash of a value in canonical JSON. Args: size: bytes."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.blake2b(text.encode(), digest_size=size).hexdigest()
