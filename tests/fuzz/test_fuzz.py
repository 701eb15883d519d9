"""Damaged inputs into every reader and decoder: the answer is a declared one, soon, and memory stays.

The short form runs always; ``-m slow`` runs LONG inputs of each target.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutants import mutant
from targets import TARGETS, Target

LONG = 20_000
PAUSE = 500
WARM = 2_000  # inputs after which memory must have found its level
CPU_SECONDS = 2.0  # of one input; CPU time, since others may use the machine
HUNG_SECONDS = 30
GROWTH_MIB = 48  # between the warm-up and the end: the cache of decoded pictures may fill (32 MiB)
ROOM_GIB = 8  # of address space beside what is in use: an input that asks for more is a bomb


class HungError(Exception):
    """An input took longer than HUNG_SECONDS."""


def resident_mib() -> float:
    """Memory of this process in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def address_space() -> int:
    """Bytes of address space in use."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[0]) * resource.getpagesize()


@contextlib.contextmanager
def guarded(room_gib: float = ROOM_GIB) -> Iterator[None]:
    """An endless loop is an error, and so is an input that takes the machine's memory."""

    def hung(*_: object) -> None:
        raise HungError(f"more than {HUNG_SECONDS} s")

    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, hung)
    resource.setrlimit(resource.RLIMIT_AS, (address_space() + int(room_gib * 2**30), before[1]))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


def feed(target: Target, data: bytes, number: int, folder: Path) -> None:
    """One input."""
    signal.setitimer(signal.ITIMER_REAL, HUNG_SECONDS)
    start = time.process_time()
    target.run(data, number, folder)
    spent = time.process_time() - start
    signal.setitimer(signal.ITIMER_REAL, 0)
    assert spent < CPU_SECONDS, f"input {number} took {spent:.1f} s of CPU time"


def grown(levels: list[float]) -> float:
    """MiB between the level of the warm-up and that of the end. Args: levels: every PAUSE inputs."""
    return min(levels[-4:]) - max(levels[: WARM // PAUSE])


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_are_what_the_damage_starts_from(name, own_cache):
    seeds = TARGETS[name].seeds()
    assert seeds
    with guarded():
        for seed in seeds:
            feed(TARGETS[name], seed, 1, own_cache)


@pytest.mark.parametrize("name", TARGETS)
@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(number=st.integers(0, 2**40), noise=st.none() | st.binary(max_size=200))
def test_damage_gives_a_declared_answer(name, own_cache, number, noise):
    target = TARGETS[name]
    data = mutant(target.seeds(), number) if noise is None else noise
    with guarded():
        feed(target, data, number, own_cache)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_long(name, own_cache):
    target = TARGETS[name]
    seeds = target.seeds()
    levels: list[float] = []  # every PAUSE inputs: allocators give memory back by fits and starts
    with guarded():
        for number in range(LONG):
            if number % PAUSE == 0:
                levels.append(resident_mib())
            try:
                feed(target, mutant(seeds, number), number, own_cache)
            except Exception as error:
                raise AssertionError(f"input {number}: {type(error).__name__}: {error}") from error
    more = grown(levels)
    assert more < GROWTH_MIB, f"memory grew by {more:.0f} MiB over {LONG - WARM} inputs"
