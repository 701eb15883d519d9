"""Every shipped set of weights: its card, its golden outputs, and what damage to it does."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from linksim.errors import ComponentError, MissingAssetError
from linksim.model.store import LIMIT, SHIPPED, Bundle, card_of, load_bundle
from linksim.train.tasks import task_class

NAMES = sorted(path.stem for path in SHIPPED.glob("*.json"))
EVERY = pytest.mark.parametrize("name", NAMES)


def card(name: str) -> dict:
    return json.loads((SHIPPED / f"{name}.json").read_text())


def copy(name: str, folder: Path) -> Path:
    for suffix in (".npz", ".json"):
        shutil.copy(SHIPPED / f"{name}{suffix}", folder)
    return folder / f"{name}.npz"


def test_weights_and_cards_come_in_pairs():
    assert "ntc" in NAMES
    assert sorted(path.stem for path in SHIPPED.glob("*.npz")) == NAMES


@EVERY
def test_golden_outputs(name):
    entries = card(name)["golden"]
    assert entries
    task = task_class(card(name)["network"])
    assert task.differences(SHIPPED / f"{name}.npz", entries) == []


@EVERY
def test_golden_outputs_see_a_change(name, tmp_path):
    """The guard itself: outputs that are not those of the weights are told."""
    entries = json.loads(json.dumps(card(name)["golden"]))
    numbers = next(v for v in entries[0].values() if isinstance(v, list))
    numbers[0] += 5.0
    task = task_class(card(name)["network"])
    assert len(task.differences(SHIPPED / f"{name}.npz", entries)) == 1


@EVERY
def test_the_card_says_what_the_weights_are(name):
    about, bundle = card(name), load_bundle(name)
    assert about["name"] == name and about["bytes"] < LIMIT
    elsewhere = sum(entry["parameters"] for entry in about.get("shared", ()))
    assert about["parameters"] + elsewhere == sum(v.size for v in bundle.arrays.values())
    for key in ("data", "recipe", "command", "hours", "device", "steps", "validation", "licence"):
        assert about[key], key
    assert all(len(entry["sha256"]) == 64 for entry in about["data"])


@EVERY
def test_damaged_weights_are_refused(name, tmp_path):
    path = copy(name, tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(ComponentError, match="truncated or of another version"):
        load_bundle(str(path))
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(ComponentError, match="SHA-256"):
        load_bundle(str(path))
    path.unlink()
    with pytest.raises(MissingAssetError, match="no weights"):
        load_bundle(str(path))
    path.with_suffix(".json").write_text("{}")
    with pytest.raises(ComponentError, match="not a model card"):
        load_bundle(str(path))
    path.with_suffix(".json").unlink()
    with pytest.raises(MissingAssetError, match="no model card"):
        load_bundle(str(path))


def test_names_that_are_not_shipped_are_told():
    with pytest.raises(MissingAssetError, match="shipped are"):
        load_bundle("no-such-weights")


def test_a_card_alone_is_what_the_bundle_has():
    for name in ("tokens", "ntc"):
        whole = load_bundle(name)
        assert card_of(name) == whole.card and Bundle(card_of(name), {}).digest == whole.digest
    with pytest.raises(MissingAssetError, match="no model card nothing"):
        card_of("nothing")
