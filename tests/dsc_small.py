"""A small, untrained network of distributed coding as exported weights, and pictures for it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

from linksim import quiet

SIZE = (32, 48)


def options(alignment: str = "global", mirror: bool = True, **more) -> dict:
    """A small architecture."""
    widths = {"width4": 8, "width8": 12, "hidden8": 8, "blocks_a": 1, "blocks_side": 1}
    small = {"blocks_s": 2, "attention": 8, "dim": 6, "sizes": (24, 20, 16), "strides": (2, 1, 1)}
    prior = {"prior_dim": 16, "prior_heads": 2, "prior_layers": 1, "prior_hidden": 24}
    return {"alignment": alignment, "mirror": mirror, **widths, **small, **prior, **more}


@cache
def _arrays(alignment: str, more: tuple) -> dict[str, np.ndarray]:
    quiet.load("keras")
    from linksim.model.dsc import DscConfig, DscNet
    from linksim.model.store import gather

    rng = np.random.default_rng(3)
    arrays = gather(DscNet(DscConfig(**options(alignment, **dict(more)))))
    for name in sorted(arrays):
        value = arrays[name]
        if name.endswith("usage"):
            arrays[name] = rng.uniform(1, 9, value.shape).astype(np.float32)
        elif name.endswith("codebook"):
            arrays[name] = rng.normal(0, 1.0, value.shape).astype(np.float32)
        elif value.ndim > 1:
            fan_in = value.size / value.shape[-1]
            arrays[name] = rng.normal(0, fan_in**-0.5, value.shape).astype(np.float32)
    return arrays


def write(folder: Path, alignment: str = "global", network: str = "dsc", **more) -> str:
    """Write the weights. Returns: the path that ``weights`` takes."""
    from linksim.model.store import write_bundle

    path = folder / f"small-{'-'.join([alignment, *more])}.npz"
    card = {"network": network, "architecture": options(alignment, **more)}
    write_bundle(path, _arrays(alignment, tuple(more.items())), card)
    return str(path)


def pictures(count: int, seed: int = 0, size: tuple[int, int] = SIZE) -> np.ndarray:
    """[count, *size, 3] uint8, smooth with some noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0 : size[0], 0 : size[1]]
    found = []
    for _ in range(count):
        a, b, c = rng.uniform(0.02, 0.3, 3)
        planes = [np.sin(a * x + b * y), np.cos(b * x - c * y), np.sin(c * x + 1)]
        found.append(128 + 90 * np.stack(planes, -1) + rng.normal(0, 6, (*size, 3)))
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)
