"""Golden outputs of every shipped set of NTC weights: library updates must not change what packets mean."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from linksim.codec.engine import Engine
from linksim.codec.ntc import pack, unpack
from linksim.model.store import LIMIT, SHIPPED, load_bundle
from linksim.train.export import golden_picture

CARDS = {
    path.stem: card
    for path in sorted(SHIPPED.glob("*.json"))
    if (card := json.loads(path.read_text())).get("network") == "ntc"
}


@pytest.fixture(scope="module", params=sorted(CARDS))
def shipped(request):
    return Engine(load_bundle(request.param)), CARDS[request.param]


def test_ntc_is_shipped():
    assert "ntc" in CARDS
    assert (SHIPPED / "ntc.npz").is_file()


def test_packets_decode_to_the_same_integers_and_pictures(shipped):
    machine, card = shipped
    assert len(card["golden"]) == 2
    for entry in card["golden"]:
        data = bytes.fromhex(entry["packet"])
        symbols = machine.read(data[4:], data[1], 128, 128)
        content = symbols.z.astype("<i4").tobytes() + symbols.s.astype("<i4").tobytes()
        assert hashlib.sha256(content).hexdigest() == entry["symbols_sha256"]
        picture = unpack(machine, data)
        assert picture is not None
        means = picture.astype(np.float64).reshape(8, 16, 8, 16, 3).mean((1, 3)).reshape(-1)
        assert np.abs(means - entry["block_means"]).max() < 0.1


def test_encoding_still_costs_the_same(shipped):
    machine, card = shipped
    for entry in card["golden"]:
        symbols = machine.analyse(golden_picture()[None], [entry["level"]])[0]
        size = len(pack(machine, symbols, 128, 128).data)
        assert size == pytest.approx(len(entry["packet"]) // 2, rel=0.01, abs=3)


def test_card_says_what_the_weights_are(shipped):
    machine, card = shipped
    assert card["bytes"] < LIMIT
    assert card["parameters"] == sum(v.size for v in machine.bundle.arrays.values())
    for key in ("data", "recipe", "command", "hours", "steps", "validation", "licence"):
        assert card[key], key
