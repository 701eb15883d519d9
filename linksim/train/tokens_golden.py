"""Golden outputs of a tokeniser's weights: what tokens made once must decode to, on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from linksim.train.golden import block_means, golden_picture

AGREE = 0.97  # share of first tokens that must be found again: a tie may fall to the other side


def _network(path: Path) -> Any:
    from linksim.model.store import assign, load_bundle
    from linksim.model.token_net import TokenConfig, TokenNet

    bundle = load_bundle(str(path))
    net = TokenNet(TokenConfig(**bundle.card["architecture"]))
    assign(net, bundle.arrays, what=path.name)
    return net


def _tokens(net: Any) -> np.ndarray:
    return np.asarray(net.encode(golden_picture()[None].astype(np.float32)))


def _shown(net: Any, index: np.ndarray, stages: int) -> list[float]:
    from linksim.model.token_net import there_at
    from linksim.train.tokens_task import decoded

    there = there_at(net.cfg.stages, stages, np.zeros(index.shape[1:3], int))
    return block_means(decoded(net, index, there)[0])


def _bits(net: Any, index: np.ndarray) -> dict[str, float]:
    """What the prior charges for the tokens, in each context mode."""
    from linksim.train.token_prior_task import MODES, prior_row

    row = prior_row(net, index.astype(np.int32), net.cfg.stages)
    return {mode: round(row[mode], 4) for mode in MODES}


def golden(path: Path) -> list[dict[str, Any]]:
    """Tokens of the golden picture [h w S] in raster order, block means of what one stage and all decode to, and, of
    weights with a prior, bits a token."""
    net = _network(path)
    index = _tokens(net)
    entry = {
        "block_means": _shown(net, index, net.cfg.stages),
        "block_means_of_one": _shown(net, index, 1),
        "grid": list(index.shape[1:]),
        "tokens": index.reshape(-1).tolist(),
    }
    return [entry | ({"bits": _bits(net, index)} if net.prior else {})]


def differences(path: Path, entries: list[dict[str, Any]]) -> list[str]:
    """Where tokens no longer decode to the same pictures, or the picture no longer becomes these tokens."""
    net = _network(path)
    found = []
    for entry in entries:
        index = np.array(entry["tokens"]).reshape(1, *entry["grid"])
        for name, stages in (("block_means", net.cfg.stages), ("block_means_of_one", 1)):
            error = np.abs(np.subtract(_shown(net, index, stages), entry[name])).max()
            if error >= 0.1:
                found.append(f"{name}: off by up to {error:.2f}")
        if "bits" in entry:
            now = _bits(net, index)
            found += [
                f"{mode}: {now[mode]:.3f} bits a token instead of {bits:.3f}"
                for mode, bits in entry["bits"].items()
                if abs(now[mode] - bits) > 0.01 * bits
            ]
        agree = float((_tokens(net)[..., 0] == index[..., 0]).mean())
        if agree < AGREE:
            found.append(f"only {agree:.0%} of the first tokens are found again")
    return found
