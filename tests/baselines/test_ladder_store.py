from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines import store
from baselines.lru import Lru
from baselines.store import Rung

RUNGS = {(1, 22): Rung(b"abc" * 50, 3, 1.5), (2, -7): Rung(b"", 0, 0.0)}


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path))


def test_round_trip_and_merge() -> None:
    assert store.load("c", "ab12") == {}
    store.save("c", "ab12", RUNGS)
    store.save("c", "ab12", {(1, 30): Rung(b"z", 1, 9.0)})
    assert store.load("c", "ab12") == {**RUNGS, (1, 30): Rung(b"z", 1, 9.0)}
    left = {p.name for p in store.path_of("c", "ab12").parent.iterdir()}
    assert left == {"ab12.ladder", ".lock"}


@pytest.mark.parametrize("keep", [0, 1, 20, 60, -1])
def test_a_cut_file_counts_as_absent_and_is_replaced(keep: int) -> None:
    store.save("c", "ab12", RUNGS)
    path = store.path_of("c", "ab12")
    path.write_bytes(path.read_bytes()[:keep])
    assert store.load("c", "ab12") == {}
    store.save("c", "ab12", RUNGS)
    assert store.load("c", "ab12") == RUNGS


@settings(deadline=None)
@given(at=st.integers(0, len(store.dump(RUNGS)) - 1), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(at: int, bit: int) -> None:
    blob = bytearray(store.dump(RUNGS))
    blob[at] ^= 1 << bit
    assert store.parse(bytes(blob)) is None


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_parse_to_nothing(blob: bytes) -> None:
    assert store.parse(blob) is None


def _write(first: int) -> None:
    for q in range(first, first + 10):
        store.save("c", "shared", {(1, q): Rung(bytes([q]), 0, float(q))})


def test_processes_keep_each_others_rungs() -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write, args=(first,)) for first in (0, 10, 20)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(store.load("c", "shared")) == [(1, q) for q in range(30)]


def test_a_disk_that_refuses_costs_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "_replace", full)
    with pytest.warns(UserWarning, match=r"cannot be written \(No space left on device\)"):
        store.save("c", "ab12", RUNGS)


def test_lru_is_bounded_by_bytes_and_forgets_the_longest_unused() -> None:
    cache = Lru(100)
    for name in "abc":
        cache.put(name, name, 40)
        cache.get("a")
    assert [cache.get(n) for n in "abc"] == ["a", None, "c"]
    cache.put("huge", 1, 101)
    assert cache.get("huge") is None and len(cache) == 2
