"""Ends runs at arbitrary moments and goes on with the same command, as a user would."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import psutil
import yaml

from linksim.results import RunFolder

KILLS = ("SIGKILL", "SIGKILL", "SIGINT", "full disk")
KILLS_OF_WORKERS = ("SIGKILL", "SIGINT", "full disk", "worker killed", "worker killed")
DONE, BAD_INPUT, INTERRUPTED = 0, 2, 130

STUDY = {
    "name": "survival",
    "seed": 11,
    "images": {"source": "samples", "size": 48, "limit": 12},
    "link": "phy",
    "channels": ["awgn", "rayleigh"],
    "axes": {"es_n0_db": [0, 4, 8], "cbr": 0.4},
    "systems": ["jpeg", "softcast"],
    "metrics": ["mse", "psnr", "ssim"],
    "realisations": 2,
    "batch": 1,
}


@dataclass
class Disturber:
    """Runs one scenario again and again, disturbed, and keeps count.

    Args:
      work:  a folder of its own.
      seed:  of the moments and limits.
      study: the scenario.
      workers: processes of the disturbed runs; the run in peace has one.
    """

    work: Path
    seed: int = 0
    study: dict = field(default_factory=lambda: dict(STUDY))
    workers: int = 1
    ended: Counter = field(default_factory=Counter)  # (kind, exit status) -> runs
    finished: int = 0  # folders that came to their end
    seen_gone: int = 0  # processes of ended runs, workers among them, that ended too

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.scenario = self.work / "survival.yaml"
        self.scenario.write_text(yaml.safe_dump(self.study))
        self.seconds, self.cells = 0.0, 0

    def command(self, out: Path) -> list[str]:
        """What a user types."""
        more = ["--workers", str(self.workers)] if self.workers > 1 and out.name != "peace" else []
        return [
            sys.executable,
            "-m",
            "linksim",
            "run",
            str(self.scenario),
            "--out",
            str(out),
            "--no-figures",
            *more,
        ]

    def undisturbed(self) -> pd.DataFrame:
        """Rows of a run in peace; its time sets the moments of the kills."""
        start = time.monotonic()
        done = self.run(self.work / "peace")
        self.seconds = time.monotonic() - start
        assert done.returncode == DONE, done.stderr
        self.cells = len(_parts(self.work / "peace"))
        return self.rows(self.work / "peace")

    def run(self, out: Path, limit: int | None = None) -> subprocess.CompletedProcess[str]:
        """To the end. Args: limit: bytes of a file at most, as on a full disk."""
        return subprocess.run(
            self.command(out),
            capture_output=True,
            text=True,
            env=self._environment(),
            preexec_fn=None if limit is None else lambda: _limit_files(limit),
        )

    def kill(self, out: Path, kind: str, share: float) -> int:
        """Start the run and send it a signal, or one of its workers SIGKILL. Returns: its exit status.

        Args: share: when: of the time in peace; with workers, whose start takes as long as all the rest: of the cells.
        """
        process = subprocess.Popen(
            self.command(out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment(),
            # where the tests themselves run in the background, a shell has left SIGINT ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            if self.workers > 1:
                self._wait_for_parts(process, out, share)
            else:
                process.wait(share * self.seconds)
        except subprocess.TimeoutExpired:
            if kind == "worker killed":
                self._kill_a_worker(process)
            else:
                children = psutil.Process(process.pid).children(recursive=True)
                process.send_signal(getattr(signal, kind))
                process.wait(120)
                self._check_gone(children)
        said = process.communicate(timeout=300)[1]
        assert "Traceback" not in said, said
        if process.returncode == INTERRUPTED:
            assert "same command to resume" in said
        return process.returncode

    def _wait_for_parts(self, process: subprocess.Popen, out: Path, share: float) -> None:
        """Until this share of what is missing has been written. Raises: TimeoutExpired: as Popen.wait does."""
        before = len(_parts(out))
        target = before + share * (self.cells - before)
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if len(_parts(out)) >= target:
                raise subprocess.TimeoutExpired(process.args, 0)
            time.sleep(0.005)

    def _kill_a_worker(self, process: subprocess.Popen) -> None:
        children = psutil.Process(process.pid).children(recursive=True)
        found = [c for c in children if _is_worker(c)]
        if found:
            self.rng.choice(found).kill()

    def _check_gone(self, children: list[psutil.Process]) -> None:
        """No process of a run outlives it: workers, encoders, Python's own helpers."""
        _, alive = psutil.wait_procs(children, timeout=30)
        alive = [process for process in alive if not _is_dead(process)]
        assert not alive, f"left behind: {[(p, p.cmdline()) for p in alive]}"
        self.seen_gone += len(children)

    def disturb(self, out: Path, kind: str) -> int:
        """One disturbance of this kind at a random moment. Returns: exit status of the run it befell."""
        match kind:
            case "SIGKILL" | "SIGINT" | "worker killed":
                # The first part of a run is imports: most moments fall where files are written.
                status = self.kill(out, kind, self.rng.uniform(0.15, 0.95))
            case "full disk":
                done = self.run(out, limit=self.rng.choice((0, 400, 3000, 5500, 7000, 9000)))
                status = done.returncode
                assert "Traceback" not in done.stderr, done.stderr
                if status == BAD_INPUT:
                    assert "make room" in done.stderr, done.stderr
            case "damage":
                status = self._damage(out)
            case _:
                raise ValueError(
                    f"kind must be one of {sorted(set(KILLS))} or 'damage', got {kind!r}"
                )
        self.ended[kind, status] += 1
        return status

    def _damage(self, out: Path) -> int:
        """Cut or change a part on disk, as a failing disk would."""
        found = sorted(out.glob("parts/*.parquet"))
        for part in self.rng.sample(found, min(len(found), 2)):
            data = bytearray(part.read_bytes())
            at = self.rng.randrange(len(data))
            if self.rng.random() < 0.5:
                del data[at:]
            else:
                data[at] ^= 1 << self.rng.randrange(8)
            part.write_bytes(data)
        return -1

    def campaign(self, kinds: Sequence[str], expected: pd.DataFrame) -> None:
        """Disturbances in turn; a run that comes through is compared and a new folder begun.

        Raises: AssertionError: if a run ends otherwise than it should, or with other rows.
        """
        out = self.work / "disturbed0"
        for i, kind in enumerate(kinds):
            status = self.disturb(out, kind)
            allowed = {
                "worker killed": {DONE},
                "SIGKILL": {-signal.SIGKILL, DONE},
                "SIGINT": {INTERRUPTED, -signal.SIGINT, DONE},
                "full disk": {BAD_INPUT, DONE},
                "damage": {-1},
            }[kind]
            assert status in allowed, f"{kind} number {i} ended with {status}"
            if status == DONE:
                pd.testing.assert_frame_equal(self.rows(out), expected, check_exact=True)
                self.finished += 1
                out = self.work / f"disturbed{self.finished}"
        done = self.run(out)
        assert done.returncode == DONE, done.stderr
        pd.testing.assert_frame_equal(self.rows(out), expected, check_exact=True)
        self.finished += 1

    def rows(self, out: Path) -> pd.DataFrame:
        """All rows of a run."""
        return RunFolder(out).rows()

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "LINKSIM_CACHE": str(self.work / "cache")}


def _parts(out: Path) -> list[Path]:
    return list(out.glob("parts/[!.]*.parquet"))


def _is_worker(process: psutil.Process) -> bool:
    """Whether a process of a run is one of its workers (and not Python's resource tracker)."""
    try:
        return process.is_running() and "spawn_main" in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _is_dead(process: psutil.Process) -> bool:
    """Gone, or only not yet taken notice of by whoever inherited it."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return True


def _limit_files(size: int) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # as on a full disk: an error, not a signal
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
