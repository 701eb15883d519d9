"""A base layer: heads come back from the others' parity, nothing needs what was lost, any bytes are declared."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linksim.packet.base_layer import BaseLayer


def joined(layer: BaseLayer, bodies, head) -> list[bytes]:
    return [b"".join(parts) for parts in layer.spread(bodies, head)]


@pytest.mark.parametrize(("packets", "parity"), [(1, 0), (5, 0), (5, 2), (6, 5), (7, 3)])
@pytest.mark.parametrize("head", [0, 1, 7, 40])
def test_heads_come_back_whichever_packets_are_lost(packets, parity, head):
    layer = BaseLayer(packets, parity)
    rng = np.random.default_rng(head)
    bodies = [rng.bytes(n) for n in (30, 3, 50, 41, 8, 0, 64)[:packets]]
    sent = joined(layer, bodies, head)
    assert [len(s) - len(b) for s, b in zip(sent, bodies, strict=True)] == [
        layer.added_bytes(head)
    ] * packets
    for count in range(packets + 1):
        for lost in combinations(range(packets), count):
            found, alone = layer.gather([None if n in lost else s for n, s in enumerate(sent)])
            back = 0 < count <= parity and head > 0
            assert alone.tolist() == [back and n in lost for n in range(packets)]
            for n, body in enumerate(bodies):
                if n not in lost:
                    assert found[n] == body
                else:
                    assert found[n] == (body[:head].ljust(head, b"\0") if back else None)


@pytest.mark.parametrize("packets", range(2, 13))
def test_no_code_has_less_parity(packets):
    """Singleton: what arrives must hold as many bytes as all heads together; whole bytes are the only excess."""
    for parity in range(packets):
        for head in (1, 2, 5, 9):
            least = -(-head * parity // (packets - parity))
            taken = BaseLayer(packets, parity).parity_bytes(head)
            one_word = packets * (head + least) <= 255
            assert taken == least if one_word else taken >= least


def test_many_packets_take_coarser_codes():
    for packets, parity in ((20, 5), (40, 12), (64, 10)):
        for head in (1, 9, 50):
            source, more = BaseLayer(packets, parity)._word(head)
            assert packets * (source + more) <= 255
            assert (packets - parity) * (source + more) >= packets * source
    with pytest.raises(ValueError, match="the loss of at most 33 of them, got 35"):
        BaseLayer(40, 35)
    BaseLayer(40, 33)


@given(
    packets=st.integers(1, 12),
    data=st.data(),
    junk=st.lists(st.none() | st.binary(max_size=30), max_size=12),
)
def test_any_bytes_give_bodies_or_none(packets, data, junk):
    layer = BaseLayer(packets, data.draw(st.integers(0, packets - 1)))
    found, alone = layer.gather((junk + [None] * packets)[:packets])
    assert len(found) == packets == len(alone)
    assert all(one is None or isinstance(one, bytes) for one in found)


def test_packets_that_disagree_do_not_count():
    layer = BaseLayer(4, 1)
    bodies = [b"abcd", b"efgh", b"ijkl", b"mnop"]
    sent, foreign = joined(layer, bodies, 2), joined(layer, bodies, 4)
    found, alone = layer.gather([sent[0], foreign[1], sent[2], sent[3]])
    assert found == [b"abcd", b"ef", b"ijkl", b"mnop"] and alone.tolist() == [
        False,
        True,
        False,
        False,
    ]
    found, alone = layer.gather([sent[0], foreign[1], None, sent[3]])
    assert found == [b"abcd", None, None, b"mnop"] and not alone.any()


def test_parity_leaves_a_packet_at_least():
    with pytest.raises(ValueError, match=r"parity must be 0..3, got 4"):
        BaseLayer(4, 4)


def test_damage_behind_the_check_is_no_exception():
    """Blocks of a phy link come with CRCs of their own: what contradicts itself gives some heads, or none."""
    layer, rng = BaseLayer(5, 3), np.random.default_rng(1)
    sent = joined(layer, [rng.bytes(20) for _ in range(5)], 6)
    for lost in range(1, 4):
        for _ in range(20):
            damaged = [s[:1] + rng.bytes(len(s) - 1) for s in sent]
            found, alone = layer.gather([None] * lost + damaged[lost:])
            assert alone.sum() == lost and all(len(found[n]) == 6 for n in range(lost))
