"""A base layer in every packet: any K give it back, and arbitrary bytes give a declared nothing."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linksim.packet.base_layer import BaseLayer


def joined(layer: BaseLayer, bodies) -> list[bytes]:
    return [b"".join(parts) for parts in layer.spread(bodies)]


@pytest.mark.parametrize(("packets", "parity"), [(1, 0), (5, 0), (5, 2), (6, 5)])
@pytest.mark.parametrize("length", [0, 1, 7, 130, 700])
def test_any_k_packets_give_the_base_layer(packets, parity, length):
    layer = BaseLayer(packets, parity)
    rng = np.random.default_rng(length)
    base = rng.bytes(length)[:-1] + b"\0" if length else b""  # zeros at its end are its own
    bodies = [rng.bytes(n) for n in range(packets)] + [base]
    sent = joined(layer, bodies)
    assert [len(s) for s in sent] == layer.sizes(np.array([len(b) for b in bodies])).tolist()
    for count in range(packets + 1):
        for kept in combinations(range(packets), count):
            found = layer.gather([s if n in kept else None for n, s in enumerate(sent)])
            assert found[-1] == (base if count >= layer.enough else None)
            assert found[:-1] == [bodies[n] if n in kept else None for n in range(packets)]


def test_the_first_pieces_are_the_base_layer_itself():
    layer = BaseLayer(5, 2)
    base = bytes(range(1, 100))
    pieces = [piece for _, piece, _ in layer.spread([b""] * 5 + [base])]
    whole = b"".join(pieces[:3])
    assert whole[1 : 1 + len(base)] == base and len(whole) == 3 * layer.piece_bytes(len(base))
    assert sum(layer.padding_bytes(len(base), n) for n in range(3)) == len(whole) - 1 - len(base)


@given(
    packets=st.integers(1, 12),
    data=st.data(),
    junk=st.lists(st.none() | st.binary(max_size=30), max_size=12),
)
def test_any_bytes_give_bodies_or_none(packets, data, junk):
    layer = BaseLayer(packets, data.draw(st.integers(0, packets - 1)))
    found = layer.gather((junk + [None] * packets)[:packets])
    assert len(found) == packets + 1
    assert all(one is None or isinstance(one, bytes) for one in found)


def test_pieces_of_another_length_do_not_count():
    layer = BaseLayer(4, 1)
    sent = joined(layer, [b"a", b"b", b"c", b"d", b"some base layer"])
    foreign = joined(layer, [b"a", b"b", b"c", b"d", b"a base layer that is longer"])
    found = layer.gather([sent[0], foreign[1], sent[2], sent[3]])
    assert found == [b"a", None, b"c", b"d", b"some base layer"]
    assert layer.gather([sent[0], foreign[1], None, sent[3]])[-1] is None


def test_parity_leaves_a_piece_at_least():
    with pytest.raises(ValueError, match=r"parity must be 0..3, got 4"):
        BaseLayer(4, 4)
