"""Weights files: rounding, and files that take parts from each other."""

from __future__ import annotations

import json

import numpy as np
import pytest

from linksim.errors import ComponentError, MissingAssetError
from linksim.model.store import half, load_bundle, write_bundle


def values(seed=0, size=4000):
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.3, size).astype(np.float32)


@pytest.mark.parametrize("bits", [3, 7, 12])
def test_kernels_are_rounded_to_a_share_of_their_rms(bits):
    given = {
        "a/kernel": values(),
        "a/table": values(),
        "b/kernel": np.zeros(3, np.float32),
        "c/matrix": values(1),
    }
    made = half(given, bits)
    assert all(v.dtype == np.float16 for v in made.values())
    assert np.array_equal(made["a/table"], given["a/table"].astype(np.float16))
    assert not made["b/kernel"].any()
    rms = np.sqrt(np.mean(given["a/kernel"].astype(np.float64) ** 2))
    steps = made["a/kernel"].astype(np.float64)
    step = np.unique(np.abs(steps[steps != 0])).min()
    assert 0.7 <= step / (rms / 2**bits) <= 1.42 and np.log2(step) % 1 == 0
    assert (steps / step % 1 == 0).all()
    small = np.abs(given["a/kernel"]) < 1024 * step  # beyond, float16 is coarser
    assert (np.abs(steps - given["a/kernel"])[small] <= 0.5001 * step).all()
    finer = np.abs(made["c/matrix"].astype(np.float64) - given["c/matrix"])
    assert finer[np.abs(given["c/matrix"]) < 128 * step].max() <= 0.5001 * step / 8


def test_parts_are_rounded_each_by_its_own_bits():
    given = {"f.a/kernel": values(), "f.b/kernel": values(1), "g/kernel": values(2)}
    made = half(given, {"": 7, "f": 5, "f.b": 3})
    for name, bits in (("f.a/kernel", 5), ("f.b/kernel", 3), ("g/kernel", 7)):
        assert np.array_equal(made[name], half({name: given[name]}, bits)[name])
    with pytest.raises(ComponentError, match="those of the others too"):
        half(given, {"f": 5})
    with pytest.raises(ComponentError, match="bits of 'h', but there is no such part"):
        half(given, {"": 7, "h": 5})


def test_what_float16_cannot_hold_is_refused():
    assert np.isfinite(half({"a": np.array([65504.0])})["a"]).all()
    with pytest.raises(ComponentError, match="cannot hold"):
        half({"a/kernel": np.array([1e6, 1.0])}, 7)
    with pytest.raises(ComponentError, match=r"bits must be 1\.\.12, got 13"):
        half({"a": np.zeros(1)}, 13)


def test_fewer_bits_make_smaller_files(tmp_path):
    weights = {"a/kernel": np.random.default_rng(0).normal(size=50_000).astype(np.float32)}
    sizes = [write_bundle(tmp_path / "a.npz", weights, {}, bits)["bytes"] for bits in (None, 7, 4)]
    assert sizes[0] > 1.3 * sizes[1] > 1.6 * sizes[2]
    assert json.loads((tmp_path / "a.json").read_text())["rounding_bits"] == 4


def test_a_file_above_the_limit_leaves_what_was_there(tmp_path, monkeypatch):
    weights = {"a/kernel": np.random.default_rng(0).normal(size=50_000).astype(np.float32)}
    write_bundle(tmp_path / "a.npz", weights, {}, 4)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr("linksim.model.store.LIMIT", 50_000)
    with pytest.raises(ComponentError, match=r"limit of 50000; nothing was written.*--bits"):
        write_bundle(tmp_path / "a.npz", weights, {}, 7)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def family(folder, **changes):
    """A file of two parts, and one that takes g_a from it."""
    arrays = {"g_a.conv/kernel": values(1), "g_a/table": values(2), "g_s.conv/kernel": values(3)}
    base = write_bundle(folder / "base.npz", arrays, {"name": "base"})
    shared = {"weights": "base", "sha256": base["sha256"], "parts": ["g_a"], **changes}
    own = {"g_s.conv/kernel": values(4)}
    write_bundle(folder / "child.npz", own, {"name": "child", "shared": [shared]})
    return str(folder / "child.npz")


def test_a_file_takes_the_parts_that_it_lacks(tmp_path):
    child = load_bundle(family(tmp_path))
    base = load_bundle(str(tmp_path / "base.npz"))
    assert set(child.arrays) == set(base.arrays)
    for name in ("g_a.conv/kernel", "g_a/table"):
        assert np.array_equal(child.arrays[name], base.arrays[name])
    assert not np.array_equal(child.arrays["g_s.conv/kernel"], base.arrays["g_s.conv/kernel"])
    assert child.digest != base.digest and len(child.digest) == 8
    assert child.digest != bytes.fromhex(child.card["sha256"])[:8]  # the other file counts


def test_a_file_may_hold_differences_from_another(tmp_path):
    family(tmp_path)
    near = {"g_s.conv/kernel": values(3) + np.float32(0.01) * values(4), "g_a/table": values(2)}
    base = load_bundle(str(tmp_path / "base.npz"))
    shared = {
        "weights": "base",
        "sha256": base.card["sha256"],
        "parts": ["g_a.conv"],
        "differences": ["g_s.conv/kernel"],
    }
    rms = float(np.sqrt(np.mean(near["g_s.conv/kernel"] ** 2)))
    own = near | {"g_s.conv/kernel": near["g_s.conv/kernel"] - base.arrays["g_s.conv/kernel"]}
    card = {"name": "near", "shared": [shared]}
    write_bundle(tmp_path / "near.npz", own, card, 7, {"g_s.conv/kernel": rms})
    found = load_bundle(str(tmp_path / "near.npz"))
    assert set(found.arrays) == set(base.arrays)
    off = np.abs(found.arrays["g_s.conv/kernel"] - near["g_s.conv/kernel"])
    assert 0 < off.max() <= rms / 2**7
    card = json.loads((tmp_path / "near.json").read_text())
    card["shared"][0]["differences"] = ["g_s.conv/bias"]
    (tmp_path / "near.json").write_text(json.dumps(card))
    with pytest.raises(ComponentError, match=r"g_s.conv/bias is said to be a difference from base"):
        load_bundle(str(tmp_path / "near.npz"))


def test_another_version_of_the_other_file_is_refused(tmp_path):
    path = family(tmp_path)
    write_bundle(tmp_path / "base.npz", {"g_a/table": values(9)}, {"name": "base"})
    with pytest.raises(ComponentError, match=r"child.npz takes g_a from base of SHA-256"):
        load_bundle(path)
    (tmp_path / "base.npz").unlink()
    with pytest.raises(MissingAssetError, match=r"base\.json"):
        load_bundle(path)


def test_cards_that_make_no_sense_are_refused(tmp_path):
    path = family(tmp_path)
    card = json.loads((tmp_path / "child.json").read_text())
    for shared in ([1], [{"weights": "base"}], 3):
        (tmp_path / "child.json").write_text(json.dumps(card | {"shared": shared}))
        with pytest.raises(ComponentError, match="not a model card"):
            load_bundle(path)
    loop = [{"weights": "child", "sha256": card["sha256"], "parts": ["g_a"]}]
    (tmp_path / "child.json").write_text(json.dumps(card | {"shared": loop}))
    with pytest.raises(ComponentError, match="in a row"):
        load_bundle(path)
