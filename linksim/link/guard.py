"""The one door to channels and packet loss processes: what a plug-in does wrong becomes one clear line.

Every system sends through here. A component that raises, or whose output has the wrong form, ends its own point with a
ComponentError; nothing that it returns reaches a demapper or a decoder unchecked.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linksim.channel import received as channel_output
from linksim.errors import ComponentError, LinksimError
from linksim.packet import losses
from linksim.seeds import FrameSeeds
from linksim.types import Channel, ErasureProcess, Received


def send(channel: Channel, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
    """``channel(x, n0, seed)``, checked. Raises ComponentError: naming channel and fault."""
    try:
        found = channel(x, n0, seed)
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


def _name(component: Any) -> str:
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
