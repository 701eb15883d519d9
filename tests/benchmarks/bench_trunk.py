"""The trunk's promises, measured: caches, memory, start-up. Prints JSON.

    uv run python tests/benchmarks/bench_trunk.py [--smoke]

- cached_sweep: the quickstart's systems at some SNRs, then at others: wall seconds, encoder calls.
- memory: peak resident MiB of a 100-image and of a 1,000-image sweep at 128x128 (smoke: 8 and 32 images).
- startup: wall seconds of `linksim --help`, best of five.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SCENARIO = """
name: bench
images: {{source: folder, path: {images}, size: 128}}
link: phy
channels: [awgn]
axes: {{es_n0_db: {snrs}, cbr: ["1/24"]}}
systems: {systems}
metrics: [mse, psnr]
batch: 16
"""


def noisy_photos(folder: Path, count: int) -> None:
    """Write ``count`` different 128x128 photos: crops of scikit-image's, shifted and mirrored."""
    import numpy as np
    from PIL import Image
    from skimage import data

    photos = [data.astronaut(), data.coffee(), data.chelsea()]
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for i in range(count):
        photo = photos[i % len(photos)]
        top, left = (int(rng.integers(0, n - 256)) for n in photo.shape[:2])
        crop = photo[top : top + 256, left : left + 256]
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        Image.fromarray(crop).resize((128, 128), Image.Resampling.LANCZOS).save(
            folder / f"{i:05d}.png"
        )


def run(work: Path, name: str, images: Path, snrs: str, systems: str) -> dict:
    """One run in a process of its own: wall seconds, peak MiB, encoder calls."""
    scenario = work / f"{name}.yaml"
    scenario.write_text(SCENARIO.format(images=images, snrs=snrs, systems=systems))
    script = (
        "import json, resource, sys, time; from pathlib import Path\n"
        "from linksim import runner, scenario\n"
        "start = time.perf_counter()\n"
        f"runner.run(scenario.load(Path({str(scenario)!r})), Path({str(work / name)!r}))\n"
        "from baselines import ladder\n"
        "print(json.dumps({'seconds': time.perf_counter() - start, 'encoder_calls': ladder.encodings(),\n"
        "  'peak_mib': resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))\n"
    )
    env = {**os.environ, "LINKSIM_CACHE": str(work / "cache")}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a size that CI can afford")
    smoke = parser.parse_args().smoke
    few, many = (8, 32) if smoke else (100, 1000)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        noisy_photos(work / "sweep", 4 if smoke else 16)
        noisy_photos(work / "few", few)
        noisy_photos(work / "many", many)
        systems = "[{name: vvc, codec: {preset: fast}}, jpeg]"
        first = run(work, "first", work / "sweep", "[0, 4, 8]", systems)
        second = run(work, "second", work / "sweep", "[1, 5, 9]", systems)
        small = run(work, "small", work / "few", "[4]", "[jpeg, softcast]")
        large = run(work, "large", work / "many", "[4]", "[jpeg, softcast]")
        starts = []
        for _ in range(5):
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-m", "linksim", "--help"], check=True, capture_output=True
            )
            starts.append(time.perf_counter() - start)
    report = {
        "cached_sweep": {
            "first": first,
            "second": second,
            "speedup": first["seconds"] / second["seconds"],
        },
        "memory": {
            f"{few}_images_mib": small["peak_mib"],
            f"{many}_images_mib": large["peak_mib"],
            "ratio": large["peak_mib"] / small["peak_mib"],
        },
        "startup": {"help_seconds": min(starts)},
    }
    print(json.dumps(report, indent=2))
    if second["encoder_calls"]:
        raise SystemExit(f"the second sweep encoded {second['encoder_calls']} times; it must not")


if __name__ == "__main__":
    main()
