"""The one door to plug-ins while a link runs: what one of them does wrong becomes one clear line.

Every system sends through here. A component that raises, or whose output has the wrong form, ends its own point with a
ComponentError; nothing that it returns reaches a demapper or a decoder unchecked.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.channel import received as channel_output
from linksim.errors import ComponentError, LinksimError
from linksim.packet import losses
from linksim.seeds import FrameSeeds
from linksim.types import Channel, ErasureProcess, ImageMetric, Received

if TYPE_CHECKING:  # link.system itself sends through here
    from linksim.link.system import LinkPoint, Outcome, System


def send(channel: Channel, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
    """``channel(x, n0, seed)``, checked. Raises ComponentError: naming channel and fault."""
    try:
        found = channel(x, n0, seed)
    except MemoryError:
        raise
    except (Exception, SystemExit) as error:
        raise _raised("channel", channel, error) from error
    problem = channel_output.fault(found, x)
    if problem:
        raise ComponentError(f"channel {_name(channel)}: {problem}")
    return found


def lose(process: ErasureProcess, num_packets: Sequence[int], seed: FrameSeeds) -> list[np.ndarray]:
    """``process(num_packets, seed)``, checked. Raises ComponentError: naming process and fault."""
    try:
        found = process(num_packets, seed)
    except (Exception, SystemExit) as error:
        raise _raised("packet loss process", process, error) from error
    problem = losses.fault(found, num_packets)
    if problem:
        raise ComponentError(f"packet loss process {_name(process)}: {problem}")
    return found


def simulate(
    label: str,
    system: System,
    images: np.ndarray,
    point: LinkPoint,
    seeds: FrameSeeds,
    side: Mapping[str, Any] | None = None,
) -> Outcome:
    """``system.simulate(images, point, seeds)``, checked.

    Args:   side: keyword arguments of systems with side information.
    Raises: LinksimError: naming system and fault.
    """
    try:
        found = system.simulate(images, point, seeds, **(side or {}))
    except LinksimError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        raise _raised("system", label, error) from error
    problem = _outcome_fault(found, images)
    if problem:
        raise ComponentError(f"system {label}: {problem}")
    return found


def _outcome_fault(outcome: Any, images: np.ndarray) -> str | None:
    from linksim.link.system import Outcome

    if not isinstance(outcome, Outcome):
        return f"returned {type(outcome).__name__}; return linksim.link.system.Outcome"
    shown, batch = outcome.images, len(images)
    if getattr(shown, "shape", None) != images.shape or shown.dtype != np.uint8:
        got = f"{getattr(shown, 'shape', type(shown).__name__)} {getattr(shown, 'dtype', '')}"
        return f"images are {got}, must be {images.shape} uint8"
    for name, listed in (("status", outcome.status), ("mcs", outcome.mcs)):
        if len(listed) != batch:
            return f"{name} has {len(listed)} entries for {batch} images"
    for name, entry in outcome.ledger.entries().items():
        values = np.asarray(entry)
        if values.shape != (batch,) or not np.isfinite(values).all() or (values < 0).any():
            return f"the ledger's {name} must be [{batch}] numbers >= 0, got {values!r}"
    return None


def score(name: str, metric: ImageMetric, images: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """``metric(images, shown)``, checked. Returns: [B] float64. Raises LinksimError: naming metric and fault."""
    try:
        found = np.asarray(metric(images, shown), np.float64)
    except LinksimError:
        raise
    except Exception as error:
        raise _raised("metric", name, error) from error
    if found.shape != (len(images),):
        raise ComponentError(
            f"metric {name}: returned shape {found.shape}, must be ({len(images)},)"
        )
    if np.isnan(found).any():
        raise ComponentError(
            f"metric {name}: NaN for {int(np.isnan(found).sum())} of {len(found)} images"
        )
    return found


def _name(component: Any) -> str:
    if isinstance(component, str):
        return component
    return getattr(component, "__qualname__", None) or type(component).__qualname__


def _raised(kind: str, component: Any, error: BaseException) -> ComponentError:
    """The error that a component raised, with the place in its own file."""
    if isinstance(error, LinksimError):
        return ComponentError(f"{kind} {_name(component)}: {error}")
    frames = traceback.extract_tb(error.__traceback__)[1:]
    place = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())
    return ComponentError(
        f"{kind} {_name(component)} raised {type(error).__name__}{': ' if said else ''}{said}{place}"
    )
