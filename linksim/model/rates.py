"""How many bits each embedding of a picture is worth: NTC's entropy model as a judge of content."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from linksim.graphs import Graphs
from linksim.model.ntc_config import STRIDE_Z
from linksim.model.store import load_bundle

QUALITY = 0.4  # of NTC at which rates are estimated: about 0.17 bpp on faces


@lru_cache(maxsize=4)
def _network(weights: str) -> Graphs:
    from linksim.model.ntc import NtcConfig, NtcNet
    from linksim.model.store import assign

    bundle = load_bundle(weights)
    net = NtcNet(NtcConfig(**bundle.card["architecture"]))
    assign(net, bundle.arrays, what=f"weights of {weights}")
    return Graphs(lambda: net)


def embedding_bits(images: np.ndarray, weights: str = "ntc") -> np.ndarray:
    """-log2 P(y_i | z) of each embedding, all channels, with real rounding.

    Args:    images [B, H, W, 3] uint8, any size; weights: of NTC.
    Returns: [B, ceil(H/16), ceil(W/16)] float64.
    """
    from keras import ops

    from linksim.model.entropy import gaussian_bits

    graphs = _network(weights)
    net = graphs.net

    def bits_of(x: Any, quality: Any) -> Any:
        phi = net.basis(quality)
        y, z = net.analyse(x, phi)
        u = y * ops.exp(net.gain(phi))
        residual, _, sigma = net.quantise(u, ops.round(z), phi)
        return ops.sum(gaussian_bits(residual, sigma), -1)

    height, width = images.shape[1:3]
    pad = ((0, 0), (0, -height % STRIDE_Z), (0, -width % STRIDE_Z), (0, 0))
    quality = np.full(len(images), QUALITY)
    (found,) = graphs.shared("bits", (np.pad(images, pad, "edge"), quality), function=bits_of)
    rows, columns = -(-height // 16), -(-width // 16)
    return found[:, :rows, :columns].astype(np.float64)
