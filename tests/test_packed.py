"""Entropy-coded kernels: read as they were written, near their entropy, and declared errors on anything else."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest

from linksim.errors import ComponentError
from linksim.model.store import half, read_arrays, write_arrays, write_bundle
from linksim.packed import COUNTS, ENTRIES, LINES, WORDS, pack, unpack

PLENTY = 1 << 22


def kernels(seed: int = 0) -> dict[str, np.ndarray]:
    """Rounded kernels of many shapes and spreads, and what cannot be packed."""
    rng = np.random.default_rng(seed)
    arrays = {
        "a/kernel": rng.normal(0, 0.03, (3, 3, 16, 32)),
        "b/kernel": rng.laplace(0, 2.0, (64, 96)),
        "c/matrix": rng.normal(0, 0.2, (64, 64)),
        "d/kernel": np.where(rng.random((40, 40)) < 0.01, 1.0, 0.0),
        "e/kernel": rng.normal(0, 1e-4, 2000),
        "f/kernel": rng.normal(0, 3.0, 2000) + 100,
        "small/kernel": rng.normal(size=(4, 5)),
        "zeros/kernel": np.zeros((64, 64)),
        "g/table": rng.normal(size=5000),
    }
    return half({name: value.astype(np.float32) for name, value in arrays.items()}, 6)


def test_arrays_return_equal() -> None:
    given = kernels()
    made = pack(given)
    assert set(made) == {*ENTRIES, "small/kernel", "zeros/kernel", "g/table"}
    found = unpack(made, PLENTY)
    assert found.keys() == given.keys()
    for name, value in given.items():
        assert found[name].dtype == np.float16 and found[name].shape == value.shape
        assert np.array_equal(found[name], value), name


@pytest.mark.parametrize("bits", [3, 7])
def test_bits_are_within_a_percent_of_the_entropy(bits: int) -> None:
    value = np.random.default_rng(0).normal(size=200_000).astype(np.float32)
    small = half({"a/kernel": value}, bits)
    _, count = np.unique(small["a/kernel"].astype(np.float32), return_counts=True)
    share = count / count.sum()
    entropy = -(share * np.log2(share)).sum() * value.size / 32
    assert entropy < len(pack(small)[WORDS]) < 1.01 * entropy


def test_nothing_to_pack_changes_nothing() -> None:
    given = half({"a/kernel": np.random.default_rng(0).normal(size=5000).astype(np.float32)})
    assert pack(given).keys() == given.keys()
    assert unpack(given, PLENTY).keys() == given.keys()


def test_a_bundle_reads_as_the_same_arrays(tmp_path) -> None:
    arrays = {name: value.astype(np.float32) for name, value in kernels().items()}
    card = write_bundle(tmp_path / "a.npz", arrays, {}, 6)
    write_arrays(tmp_path / "b.npz", half(arrays, 6), compress=True)
    assert card["parameters"] == sum(v.size for v in arrays.values())
    packed, plain = read_arrays(tmp_path / "a.npz"), read_arrays(tmp_path / "b.npz")
    assert packed.keys() == plain.keys()
    assert all(np.array_equal(packed[name], plain[name]) for name in plain)
    with np.load(tmp_path / "a.npz") as file:
        assert set(ENTRIES) <= set(file.files)


def _lines(made: dict[str, np.ndarray], change) -> dict[str, np.ndarray]:
    lines = json.loads(bytes(made[LINES]))
    change(lines)
    return made | {LINES: np.frombuffer(json.dumps(lines).encode(), np.uint8)}


def test_damage_is_an_error() -> None:
    made = pack(kernels())

    def first(place, value):
        def change(lines):
            lines[0][place] = value

        return _lines(made, change)

    wrong = {
        "missing": {name: value for name, value in made.items() if name != COUNTS},
        "kind": made | {WORDS: made[WORDS].astype(np.float32)},
        "named": first(0, "g/table"),
        "no whole number": first(1, [3, -3, 16, 32]),
        "elements": first(1, [3, 3, 16, 1 << 16]),
        "of -24..16": first(2, 40),
        "8192": first(3, 1 << 20),
        "32768": first(4, 8192),
        "histogram": made | {COUNTS: made[COUNTS][:4]},
        "end": made | {COUNTS: np.append(made[COUNTS], made[COUNTS][:1])},
        "should": first(1, [3, 3, 16, 31]),
    }
    for words, arrays in wrong.items():
        with pytest.raises(ValueError, match=words):
            unpack(arrays, PLENTY)


def test_a_damaged_file_is_one_clear_line(tmp_path) -> None:
    made = pack(kernels())
    write_arrays(tmp_path / "a.npz", made | {COUNTS: made[COUNTS][:4]}, compress=False)
    with pytest.raises(
        ComponentError, match=r"a\.npz is not a readable weights file \(.*histogram"
    ):
        read_arrays(tmp_path / "a.npz")


def test_any_words_end_in_arrays_or_an_error() -> None:
    made = pack(kernels())
    rng = np.random.default_rng(1)
    for _ in range(300):
        name = ENTRIES[rng.integers(3)]
        damaged = made[name].copy()
        damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
        with contextlib.suppress(ValueError, TypeError):
            unpack(made | {name: damaged}, PLENTY)
