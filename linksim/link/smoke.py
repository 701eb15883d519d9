"""Plug-ins are tested before they run: a few of the laws, on few frames, in a fraction of a second.

What a small sample cannot see (a gain half a dB off, an estimate that is a little too sure of itself) is left to
``linksim check channel``; noise that is 3 dB off, a seed that is ignored or a batch that matters is seen here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from linksim import registry
from linksim.channel.laws import check_channel
from linksim.laws import LawResult
from linksim.packet.laws import check_erasure

SECONDS = 20.0  # that a test may take at most; it takes about 0.1 where a plug-in is not slow
FRAMES = 200
_KINDS = ("channels", "erasures", "impairments")


def _laws(kind: str, component: Any, seed: int) -> list[LawResult]:
    if kind == "erasures":
        return check_erasure(component, frames=FRAMES, seed=seed)
    frames = 64 if getattr(component, "block_symbols", 0) else FRAMES
    return check_channel(component, frames=frames, seed=seed)


def broken_laws(kind: str, component: Any) -> list[LawResult]:
    """The laws that a component fails twice, on two independent samples: chance breaks none."""
    once = [result for result in _laws(kind, component, 0) if not result.passed]
    if not once:
        return []
    names = {result.name for result in once}
    again = _laws(kind, component, 1)
    return [result for result in again if result.name in names and not result.passed]


def is_foreign(spec: Any) -> bool:
    """Whether a spec names something that linksim does not ship, at any depth: a file, a notebook's, a package's."""
    if isinstance(spec, list | tuple):
        return any(is_foreign(item) for item in spec)
    if not isinstance(spec, Mapping):
        return False
    if "plugin" in spec or any(is_foreign(value) for value in spec.values()):
        return True
    found = (registry.entries(k).get(str(spec.get("name"))) for k in _KINDS)
    return any(e is not None and e.module.partition(".")[0] != "linksim" for e in found)


def verdict(kind: str, component: Any, spec: Mapping[str, Any]) -> str | None:
    """Why a plug-in may not run, in one line, or None."""
    broken = broken_laws(kind, component)
    if not broken:
        return None
    one = {"channels": "channel", "erasures": "erasure"}[kind]
    first, more = broken[0], len(broken) - 1
    measured = (
        ""
        if first.measured != first.measured
        else f"{first.measured:.4g}, should be {first.expected:.4g}, "
    )
    also = f" (and {more} more)" if more else ""
    return (
        f"breaks the law {first.name!r}: {measured}{first.text}{also}; "
        f"see: linksim check {one} '{command_form(spec)}'; `unchecked: true` beside `plugin` runs it all the same"
    )


def command_form(spec: Mapping[str, Any]) -> str:
    """A spec as ``linksim check`` takes it."""
    if set(spec) == {"plugin"}:
        return str(spec["plugin"])
    return (
        "{"
        + ", ".join(f"{key}: {json.dumps(value, default=str)}" for key, value in spec.items())
        + "}"
    )
