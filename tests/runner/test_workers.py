"""Real worker processes: a scheduler that runs already, a worker that a cell ends, SLURM jobs by a stand-in sbatch."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from linksim import runner, scenario
from linksim.errors import RunStateError
from linksim.results import RunFolder

STUDY = {
    "name": "workers",
    "seed": 4,
    "images": {"source": "samples", "size": 24, "limit": 6},
    "link": "phy",
    "channels": ["awgn", {"plugin": "my_channel.py:Fading", "spread": 0.5, "unchecked": True}],
    "axes": {"es_n0_db": [2, 8], "cbr": 0.9},
    "systems": ["softcast"],
    "metrics": ["mse", "psnr"],
    "batch": 2,
    "figures": {"grid": {"images": [1], "es_n0_db": 8}},
}
CHANNEL = """
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from linksim.channel.apply import faded


@dataclass(frozen=True)
class Fading:
    '''Uniform gain; ends its process where a file beside it says so.'''

    spread: float = 0.0

    def __call__(self, x, n0, seed):
        if (Path(__file__).parent / "deadly").exists() and 0 < n0 < 0.3:
            os._exit(9)
        gain = 1 + self.spread * np.stack([s.generator().random(1) for s in seed.child("gain")])
        return faded(x, gain.astype(np.complex64), n0, seed)
"""


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    (folder / "my_channel.py").write_text(CHANNEL)
    path = folder / "workers.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    runner.run(scenario.load(path), folder / "one")
    return path


def same(out: Path, study: Path, leave_out: str | None = None) -> None:
    expected = RunFolder(study.parent / "one").rows()
    expected = expected[expected["point"] != leave_out].reset_index(drop=True)
    pd.testing.assert_frame_equal(RunFolder(out).rows(), expected, check_exact=True)


def test_the_workers_of_a_scheduler_serve_and_a_deadly_cell_fails_its_point_alone(tmp_path, study):
    from distributed import LocalCluster

    lines: list[str] = []
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1", memory_limit=0
    ) as cluster:
        address = cluster.scheduler_address
        summary = runner.run(
            scenario.load(study),
            tmp_path / "out",
            cluster=address,
            progress=lambda done, total, text: lines.append(f"{done}/{total} {text}"),
        )
        assert summary.num_computed == 4 * 3 and not summary.failed
        same(tmp_path / "out", study)
        assert len(list((tmp_path / "out").rglob("*.png"))) == 1 + 2
        assert any("2 workers: softcast" in line for line in lines), lines
        # A second run into a folder that is being written is refused, and so is another scenario.
        held = RunFolder.create_or_open(tmp_path / "out", RunFolder(tmp_path / "out").manifest)
        with held, pytest.raises(RunStateError, match="is being written by process"):
            runner.run(scenario.load(study), tmp_path / "out", cluster=address)
        with pytest.raises(RunStateError, match="choose another --out"):
            runner.run(scenario.load(study, ["seed=5"]), tmp_path / "out", cluster=address)
        deadly = study.parent / "deadly"
        deadly.touch()
        try:
            summary = runner.run(scenario.load(study), tmp_path / "deadly", cluster=address)
        finally:
            deadly.unlink()
    assert len(summary.failed) == 1, summary.failed
    ((point, why),) = summary.failed
    assert "Fading" in point.title and "died 3 times" in why
    same(tmp_path / "deadly", study, leave_out=point.id)


FAKE = {
    "sbatch": """#!/bin/sh
for script in "$@"; do :; done
cp "$script" "$FAKE_SLURM/job$$"  # as sbatch does: the script is gone when this returns
setsid sh "$FAKE_SLURM/job$$" >>"$FAKE_SLURM/log" 2>&1 &
echo $! >>"$FAKE_SLURM/jobs"
echo "Submitted batch job $!"
""",
    "scancel": """#!/bin/sh
for job in "$@"; do kill -9 -- "-$job" 2>/dev/null; done
exit 0
""",
}


@pytest.mark.slow
def test_slurm_jobs_serve_and_end_with_the_run(tmp_path, study):
    """dask-jobqueue writes real job scripts; a stand-in sbatch starts them here."""
    for name, text in FAKE.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "linksim", "run", str(study), "--out", str(tmp_path / "out")),
            *("--no-figures", "--cluster", "slurm", "--workers", "2"),
        ],
        env={
            **os.environ,
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "FAKE_SLURM": str(tmp_path),
            "DASK_JOBQUEUE__SLURM__INTERFACE": "lo",
        },
        capture_output=True,
        text=True,
        timeout=500,
        cwd=tmp_path,
    )
    log = (tmp_path / "log").read_text() if (tmp_path / "log").exists() else ""
    assert done.returncode == 0, done.stderr + log
    same(tmp_path / "out", study)
    jobs = [int(line) for line in (tmp_path / "jobs").read_text().split()]
    assert len(jobs) == 2
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and any(psutil.pid_exists(job) for job in jobs):
        time.sleep(0.1)
    assert not any(psutil.pid_exists(job) for job in jobs)
