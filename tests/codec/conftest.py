"""A small untrained network as exported weights: the codec's laws hold for any weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pictures_small import pictures

SMALL = {"width4": 8, "width8": 8, "width16": 16, "hidden4": 8, "hidden8": 8, "hidden16": 8}
SMALL |= {"blocks8": 1, "latent": 48, "hyper": 16, "hyper_out": 16, "side": 8, "context": 8}
SMALL |= {"slices": [8, 40]}


def write_small(folder: Path, name: str, seed: int) -> str:
    """Export an untrained network. Returns: the path of its weights."""
    import keras

    from linksim.model.ntc import NtcConfig, NtcNet
    from linksim.model.store import gather, write_bundle
    from linksim.train.start import start_from_patches

    keras.utils.set_random_seed(seed)
    net = NtcNet(NtcConfig(**SMALL))
    start_from_patches(net, pictures(24, 64, 64, seed=7))
    rng = np.random.default_rng(seed)
    for out in net.ctx.out:  # zeros at the start
        out.kernel.assign(rng.normal(0, 0.1, out.kernel.shape).astype(np.float32))
    path = folder / f"{name}.npz"
    write_bundle(path, gather(net), {"name": name, "network": "ntc", "architecture": SMALL})
    return str(path)


@pytest.fixture(scope="session")
def weights(tmp_path_factory) -> str:
    return write_small(tmp_path_factory.mktemp("weights"), "small", 3)


@pytest.fixture(scope="session")
def other_weights(tmp_path_factory) -> str:
    return write_small(tmp_path_factory.mktemp("weights"), "other", 4)


@pytest.fixture(scope="session")
def brighter(weights, tmp_path_factory) -> str:
    """A decoder of the same packets that shows other pictures: twice as contrasty."""
    from linksim.model.store import load_bundle, write_bundle

    bundle = load_bundle(weights)
    arrays = {
        k: v + np.log(2) if k == "g_s.linear/log_scale" else v for k, v in bundle.arrays.items()
    }
    card = {"network": "ntc-perceptual", "architecture": bundle.card["architecture"]}
    path = tmp_path_factory.mktemp("weights") / "brighter.npz"
    write_bundle(path, arrays, card)
    return str(path)


@pytest.fixture(scope="session")
def codec(weights):
    from linksim.codec.ntc import Ntc

    return Ntc(weights)
