"""A small untrained tokeniser with its prior as exported weights: the codec's laws hold for any weights."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np

TRANSFORMS = {"width4": 8, "width8": 8, "width16": 16, "hidden4": 8, "hidden8": 8, "hidden16": 8}
TRANSFORMS |= {"blocks8": 1, "latent": 48, "hyper": 16, "hyper_out": 16, "side": 8, "context": 8}
TRANSFORMS |= {"slices": [8, 40]}
PRIOR = {"dim": 24, "heads": 3, "layers": 2, "hidden": 32, "rows": 8, "columns": 8, "tags": 3}
SMALL = {"dim": 12, "stages": 4, "codes": 32, "transforms": TRANSFORMS, "prior": PRIOR}


@cache
def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights by path, float16 values, large enough that tables are far from flat."""
    from linksim import quiet

    quiet.load("keras")
    from linksim.model.store import gather
    from linksim.model.token_net import TokenConfig, TokenNet

    rng = np.random.default_rng(seed)
    tags = np.random.default_rng((seed, 1))
    found = {}
    for name, value in sorted(gather(TokenNet(TokenConfig(**SMALL))).items()):
        if name == "prior/tag":
            found[name] = tags.normal(0, 0.1, value.shape).astype(np.float16)
            continue
        whole = value.shape
        if ".head" in name or (".token" in name and name.endswith("/kernel")):
            value = _without_tags(value, name)  # so that tags do not change the other weights
        fan_in = max(value.size // max(value.shape[-1], 1), 1) if value.ndim > 1 else 1
        spread = rng.normal(0, 1.0 / np.sqrt(fan_in), value.shape)
        if name.endswith("/gain"):
            spread = 1.0 + 0.2 * rng.normal(0, 1, value.shape)
        elif name.endswith("/codebook"):
            spread = rng.normal(0, 0.4, value.shape)
            if ".stage0/" in name:  # as of a patch's mean
                spread[:, 0] *= 20
        elif name.endswith("/usage"):
            spread = rng.uniform(1, 9, value.shape)
        elif name == "down/kernel":
            spread = 12.0 * spread
        elif ".head" in name or name.startswith("prior/bias"):
            spread = 2.0 * spread if value.ndim > 1 else 0.3 * spread
        elif value.ndim == 1 or not name.startswith("prior"):
            spread = 0.2 * spread
        if whole != spread.shape:
            wide = tags.normal(0, 0.2, whole)
            wide[tuple(slice(n) for n in spread.shape)] = spread
            spread = wide
        found[name] = spread.astype(np.float16)
    return {name: value.astype(np.float32) for name, value in found.items()}


def _without_tags(value: np.ndarray, name: str) -> np.ndarray:
    """The part of a head or of a token's map that meets the codes themselves."""
    return value[: SMALL["dim"]] if ".token" in name else value[..., : SMALL["dim"]]


def write(folder: Path, name: str = "tokens", seed: int = 0) -> str:
    """Export them. Returns: the path of the weights."""
    from linksim.model.store import write_bundle

    path = folder / f"{name}.npz"
    write_bundle(path, arrays(seed), {"name": name, "network": "tokens", "architecture": SMALL})
    return str(path)
