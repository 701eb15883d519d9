"""``python -m linksim.train.export CONFIG --name NAME [--to FOLDER]``: float16 weights with a model card."""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from linksim.errors import MissingAssetError
from linksim.model.store import SHIPPED, assign, load_bundle, read_arrays, write_bundle
from linksim.train.config import TrainConfig, load_config

GOLDEN_LEVELS = (16, 80)
LICENCE = (
    "Weights trained on CelebA faces (non-commercial research use by the dataset's terms) and on COCO and OpenImages "
    "photographs: for research only."
)


def golden_picture() -> np.ndarray:
    """A fixed picture, 128x128x3 uint8: ramps, an edge and a texture, in integer arithmetic."""
    y, x = np.mgrid[0:128, 0:128]
    planes = [(2 * x) % 256, 255 - (x + y), ((x // 8 + y // 8) % 2) * 96 + y // 2]
    return np.stack(planes, -1).clip(0, 255).astype(np.uint8)


def golden(path: Path) -> list[dict[str, Any]]:
    """What decoding must give on any machine: packets, digests of their integers, block means of the pictures."""
    from linksim.codec.engine import Engine
    from linksim.codec.ntc import pack

    machine = Engine(load_bundle(str(path)))
    entries = []
    for level in GOLDEN_LEVELS:
        symbols = machine.analyse(golden_picture()[None], [level])[0]
        picture = machine.synthesise(symbols, 128, 128).astype(np.float64)
        means = picture.reshape(8, 16, 8, 16, 3).mean((1, 3))
        entries.append(
            {
                "level": level,
                "packet": pack(machine, symbols, 128, 128).data.hex(),
                "symbols_sha256": hashlib.sha256(
                    symbols.z.astype("<i4").tobytes() + symbols.s.astype("<i4").tobytes()
                ).hexdigest(),
                "block_means": np.round(means, 2).reshape(-1).tolist(),
            }
        )
    return entries


def validation(folder: Path, step: int) -> list[dict[str, float]]:
    """The last validation at or before a step."""
    path = folder / "validation.csv"
    if not path.is_file():
        return []
    header, *lines = [line.split(",") for line in path.read_text().splitlines()]
    rows = [dict(zip(header, map(float, line), strict=True)) for line in lines]
    steps = [row["step"] for row in rows if row["step"] <= step]
    return [row for row in rows if steps and row["step"] == max(steps)]


def export(config: TrainConfig, base: Path, name: str, target: Path, history: str = "") -> Path:
    """Write ``target/name.npz`` and ``name.json`` from a run's last checkpoint (its moving average).

    Args:
      config: the recipe.
      base:   folder that its relative paths start from.
      name:   of the weights.
      target: folder to write to.
      history: what went before this run (of the weights it started from), for the card.
    Returns: the path of the weights.
    Raises: MissingAssetError: no checkpoint. ComponentError: too large, or not finite.
    """
    import keras

    from linksim.model.ntc import NtcConfig, NtcNet
    from linksim.train.data import digest

    checkpoint = base / config.output / "checkpoint.npz"
    if not checkpoint.is_file():
        raise MissingAssetError(f"no checkpoint at {checkpoint}; train first")
    state = read_arrays(checkpoint)
    arrays = {n.removeprefix("ema/"): v for n, v in state.items() if n.startswith("ema/")}
    architecture = NtcConfig(**config.options)
    assign(NtcNet(architecture), arrays, what=checkpoint.name)
    path = target / f"{name}.npz"
    step = int(state["step"])
    recipe = asdict(config)
    for private in ("output", "cache", "start_from"):
        recipe.pop(private)
    card = {
        "name": name,
        "network": config.model,
        "architecture": asdict(architecture),
        "steps": step,
        "images_seen": step * config.batch,
        "hours": round(float(state["seconds"]) / 3600, 2),
        "device": f"CPU, KERAS_BACKEND={keras.backend.backend()}",
        "command": "python -m linksim.train RECIPE.yaml",
        "recipe": recipe,
        "started_from": Path(config.start_from).name if config.start_from else None,
        "history": history,
        "data": [{"path": s.path, "sha256": digest(s)} for s in (*config.train, config.validation)],
        "validation": validation(base / config.output, step),
        "validation_note": f"first {config.validation_images} images of {config.validation.path}; bpp estimated with "
        "real rounding, no header; PSNR: mean over images, RGB, 8 bits",
        "licence": LICENCE,
    }
    write_bundle(path, arrays, card)
    write_bundle(path, arrays, card | {"golden": golden(path)})
    return path


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    from linksim.errors import LinksimError

    parser = argparse.ArgumentParser(prog="python -m linksim.train.export", description=__doc__)
    parser.add_argument("config", type=Path, help="recipe of the run (YAML)")
    parser.add_argument("--name", required=True, help="of the weights")
    parser.add_argument(
        "--to", type=Path, default=SHIPPED, help="folder (default: the shipped weights)"
    )
    parser.add_argument("--history", default="", help="what went before this run, for the card")
    given = parser.parse_args(arguments)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    try:
        path = export(
            load_config(given.config), given.config.parent, given.name, given.to, given.history
        )
    except LinksimError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
