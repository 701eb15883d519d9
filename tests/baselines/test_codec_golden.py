"""Sizes and quality of one photo, pinned: a codec that changes must not change unnoticed.

Made by ``python tests/baselines/test_codec_golden.py``. With the encoder versions named there the sizes are exact; with
others they may move by 5 %, and PSNR by 0.4 dB.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.avif import Avif
from baselines.hevc import Hevc
from baselines.jpeg import Jpeg
from baselines.jpeg2000 import Jpeg2000
from baselines.ladder import LadderCodec
from baselines.vvc import Vvc

GOLDEN = Path(__file__).with_name("codec_golden.json")
CASES: dict[str, tuple[LadderCodec, tuple[int, ...]]] = {
    "vvc-fast": (Vvc(preset="fast"), (27, 37, 47, 57)),
    "vvc-medium": (Vvc(), (32, 47)),
    "hevc-slow": (Hevc(), (22, 32, 42)),
    "avif": (Avif(), (30, 60, 90)),
    "jpeg2000": (Jpeg2000(), (20, 40, 60)),
    "jpeg": (Jpeg(), (10, 50, 90)),
}


def measured(name: str) -> dict[str, Any]:
    from skimage import data

    codec, qualities = CASES[name]
    photo = data.astronaut()[40:136, 170:266]
    rungs = [codec._rungs([photo], (1, quality))[0] for quality in qualities]
    return {
        "version": codec.version(),
        "bytes": {str(q): len(r.data) for q, r in zip(qualities, rungs, strict=True)},
        "psnr": {
            str(q): round(float(10 * np.log10(255**2 / r.mse)), 3)
            for q, r in zip(qualities, rungs, strict=True)
        },
    }


@pytest.mark.parametrize("name", CASES)
def test_golden(name: str) -> None:
    assert GOLDEN.exists(), f"{GOLDEN} is missing: run python {__file__}"
    golden, now = json.loads(GOLDEN.read_text())[name], measured(name)
    same = golden["version"] == now["version"]
    for quality, size in golden["bytes"].items():
        assert now["bytes"][quality] == pytest.approx(size, rel=0 if same else 0.05)
        tolerance = 0.002 if same else 0.4
        assert now["psnr"][quality] == pytest.approx(golden["psnr"][quality], abs=tolerance)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({name: measured(name) for name in CASES}, indent=1) + "\n")
