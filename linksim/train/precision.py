"""bfloat16 inside the wide layers, float32 around them: what enters and leaves a part, entropies and losses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from linksim.errors import ScenarioError

KEPT = (
    "out",
    "linear",
)  # a part's own layers of these names stay in float32, and with them what it returns


def lower_precision(net: Any, parts: Iterable[str]) -> None:
    """Let the layers inside some parts compute in bfloat16; their weights stay float32. In place.

    Raises: ScenarioError: the task names no such part.
    """
    import keras

    parts = tuple(parts)
    if not parts:
        raise ScenarioError("this model trains in float32 alone", key="precision")
    policy = keras.DTypePolicy("mixed_bfloat16")
    for part in parts:
        for layer in _inner(net.parts[part]):
            layer.dtype_policy = policy


def _inner(part: Any) -> Iterator[Any]:
    for layer in part._layers:
        if layer.name.rsplit(".", 1)[-1] not in KEPT:
            yield from layer._flatten_layers()


@contextmanager
def full_precision(net: Any) -> Iterator[None]:
    """All layers in float32 for a while: validation measures what the simulator will run."""
    import keras

    layers = [layer for part in net.parts.values() for layer in part._flatten_layers()]
    policies = [layer.dtype_policy for layer in layers]
    plain = keras.DTypePolicy("float32")
    try:
        for layer in layers:
            layer.dtype_policy = plain
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy
