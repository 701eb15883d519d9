"""The parts of a scenario, built once in each process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from linksim import registry
from linksim.errors import LinksimError
from linksim.link.system import LinkPoint, System
from linksim.scenario import Point


class Components:
    """Builds each component of a scenario once. Args: base: folder that relative plug-ins start from."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self._built: dict[str, Any] = {}

    def get(self, kind: str, spec: Any) -> Any:
        """The component that ``spec`` describes."""
        key = f"{kind} {json.dumps(spec, sort_keys=True, default=str)}"
        if key not in self._built:
            self._built[key] = registry.create(kind, spec, base=self.base)
        return self._built[key]

    def system(self, point: Point) -> System:
        """The system of a point."""
        return self.get("systems", point.system_spec)

    def link_point(self, point: Point) -> LinkPoint:
        """The point as systems see it, its components built."""
        return LinkPoint(
            kind=point.link,
            channel=self.get("channels", point.channel_spec) if point.channel_spec else None,
            es_n0_db=_or_nan(point.es_n0_db),
            snr_amc_db=_or_nan(point.snr_amc_db),
            cbr=_or_nan(point.cbr),
            erasure=self.get("erasures", point.erasure_spec) if point.erasure_spec else None,
            bpp=_or_nan(point.bpp),
            csi_tx=point.csi_tx,
            failure=point.failure,
            budget=point.budget,
            operating=point.operating,
        )


def reason(error: Exception) -> str:
    """One line: the message of linksim's own errors, and the kind of any other."""
    text = " ".join(str(error).split())
    return text if isinstance(error, LinksimError) else f"{type(error).__name__}: {text}"


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
