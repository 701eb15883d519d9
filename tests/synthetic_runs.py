"""Run folders with made-up rows in the columns of the runner, for the tests of storage, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from linksim.results import RunFolder

LEDGER = ("payload", "side_information", "headers", "crc", "padding", "parity", "pilots")
LEDGER += ("retransmissions",)
SYSTEMS = ("vvc", "hevc", "jpeg", "softcast")


def manifest(**changes: Any) -> dict[str, Any]:
    """What a runner would put into run.json."""
    base = {
        "scenario": {
            "name": "synthetic",
            "metrics": ["psnr", "mse", "lpips-alex"],
            "failure": "mean-grey",
            "images": {"source": "samples", "limit": 12},
            "link": "phy",
            "channels": [
                {"name": "awgn", "label": "awgn"},
                {"name": "rayleigh", "label": "rayleigh"},
            ],
            "systems": [{"name": "x", "label": s} for s in SYSTEMS],
            "batch": 4,
        },
        "scenario_digest": "0123456789abcdef0123456789abcdef",
        "images": {"count": 12, "digest": "feed", "keys": [f"photo-{i:02d}" for i in range(12)]},
        "seed": 1,
        "command": "linksim run synthetic.yaml",
        "versions": {"linksim": "0.1.0"},
        "machine": "Linux x86_64",
        "metric_notes": {},
        "not_applicable": [],
    }
    return {**base, **changes}


def quality(system: str, snr: float, channel: str, cbr: float) -> tuple[float, float]:
    """Mean PSNR [dB] and failure probability of a made-up system."""
    gain = {"vvc": 3.0, "hevc": 2.2, "jpeg": -2.0, "softcast": 0.5}[system]
    gain += 5 * np.log10(cbr * 24) - (2.5 if channel == "rayleigh" else 0)
    if system == "softcast":
        return 22 + 0.55 * snr + gain, 0.0
    rate = 1 / (1 + np.exp(2.0 * (snr + 2.5))) if channel == "awgn" else 0.35 * 10 ** (-snr / 10)
    return 24 + 0.7 * snr + gain, float(np.clip(rate, 0, 1))


def rows(
    cell: str,
    point: str,
    system: str,
    *,
    images: Sequence[str],
    realisations: int = 1,
    snr: float = 4,
    channel: str | None = "awgn",
    cbr: float = 1 / 24,
    link: str = "phy",
    axes: dict[str, Any] | None = None,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """The rows of one cell."""
    rng = np.random.default_rng([seed, *cell.encode()])
    mean, rate = quality(system, snr, channel or "awgn", cbr)
    axes = {"es_n0_db": snr, "cbr_target": cbr} if axes is None else axes
    found = []
    for image in images:
        content = 2.5 * np.cos(sum(image.encode()))
        for r in range(realisations):
            failed = bool(rng.random() < rate)
            psnr = 13.0 + 0.2 * content if failed else mean + content + 0.3 * rng.standard_normal()
            mse = 255.0**2 / 10 ** (psnr / 10)
            parity = 0.0 if system == "softcast" else 0.5
            split = {"payload": 0.9 - parity, "headers": 0.02, "crc": 0.03, "padding": 0.05}
            split["parity"] = parity
            uses = round(cbr * 3 * 128**2)
            found.append(
                {
                    "point": point,
                    "cell": cell,
                    "system": system,
                    "family": "joint" if system == "softcast" else "separated",
                    "link": link,
                    "channel": channel,
                    **axes,
                    "image": image,
                    "realisation": r,
                    "status": "FAILED" if failed else "OK",
                    "failed": failed,
                    "cbr": uses / (3 * 128**2) if link == "phy" else float("nan"),
                    "bpp": float("nan") if link == "phy" else cbr * 24,
                    "mcs": None if system == "softcast" else "qpsk-1/2",
                    **{f"ledger_{name}": uses * split.get(name, 0.0) for name in LEDGER},
                    "metric_psnr": psnr,
                    "metric_mse": mse,
                    "metric_lpips-alex": float(np.clip(0.9 - psnr / 45, 0.01, 1)),
                }
            )
    return found


def make_run(
    path: Path,
    *,
    systems: Sequence[str] = SYSTEMS,
    snrs: Sequence[float] = (-4, -1, 2, 5, 8, 10),
    channels: Sequence[str] = ("awgn", "rayleigh"),
    cbrs: Sequence[float] = (1 / 24,),
    num_images: int = 12,
    realisations: int = 1,
    **changes: Any,
) -> Path:
    """A finished run, cells of four images each."""
    keys = [f"photo-{i:02d}" for i in range(num_images)]
    cells = []
    images = {"count": num_images, "digest": "feed", "keys": keys}
    with RunFolder.create_or_open(path, manifest(images=images, **changes)) as folder:
        for s, system in enumerate(systems):
            for channel in channels:
                for cbr in cbrs:
                    for snr in snrs:
                        point = f"p{s}{channel[:2]}{round(1e4 * cbr):05d}{round(snr) + 50}"
                        for start in range(0, num_images, 4):
                            cell = f"{point}-{start // 4:02d}"
                            made = rows(
                                cell,
                                point,
                                system,
                                images=keys[start : start + 4],
                                realisations=realisations,
                                snr=snr,
                                channel=channel,
                                cbr=cbr,
                            )
                            folder.write(cell, made)
                            cells.append(cell)
        folder.finish(cells=cells, seconds=1.0)
    return path
