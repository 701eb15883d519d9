"""Fragments: sizes, round trips, and every kind of loss."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linksim.errors import BudgetError
from linksim.packet import fragment

MTU = st.integers(fragment.OVERHEAD_BYTES + 1, 60)
PACKETS = st.lists(st.binary(max_size=200), min_size=1, max_size=4)


@given(packets=PACKETS, mtu=MTU)
def test_everything_arrives(packets, mtu):
    sent = fragment.split(packets, mtu)
    assert all(len(f) <= mtu for f in sent)
    assert len(sent) == sum(fragment.num_fragments(len(p), mtu) for p in packets)
    assert sum(map(len, sent)) == sum(map(len, packets)) + len(sent) * fragment.OVERHEAD_BYTES
    assert fragment.join(sent) == (tuple(packets), (True,) * len(packets))


@given(packets=PACKETS, mtu=MTU, data=st.data())
def test_loss_reordering_and_copies_give_the_longest_good_prefix(packets, mtu, data):
    sent = fragment.split(packets, mtu)
    kept = data.draw(st.lists(st.sampled_from(sent), max_size=2 * len(sent)))
    got, ok = fragment.join(kept, len(packets))
    assert len(got) == len(packets)
    at = 0
    for packet, piece, whole in zip(packets, got, ok, strict=True):
        total = fragment.num_fragments(len(packet), mtu)
        run = 0
        while run < total and sent[at + run] in kept:
            run += 1
        assert whole == (run == total)
        assert piece == packet[: run * (mtu - fragment.OVERHEAD_BYTES)]
        at += total


@given(packets=PACKETS, mtu=MTU, data=st.data())
def test_damaged_fragments_are_losses(packets, mtu, data):
    sent = fragment.split(packets, mtu)
    hurt = data.draw(st.integers(0, len(sent) - 1))
    byte = data.draw(st.integers(0, len(sent[hurt]) - 1))
    damaged = bytearray(sent[hurt])
    damaged[byte] ^= data.draw(st.integers(1, 255))
    with_damage = [*sent[:hurt], bytes(damaged), *sent[hurt + 1 :]]
    without = sent[:hurt] + sent[hurt + 1 :]
    count = len(packets)
    assert fragment.join(with_damage, count) == fragment.join(without, count)


@given(st.lists(st.binary(max_size=60), max_size=20))
def test_arbitrary_fragments_never_raise(received):
    got, ok = fragment.join(received)
    assert len(got) == len(ok)


def test_nothing_arrived():
    assert fragment.join([]) == ((), ())
    assert fragment.join([], 2) == ((b"", b""), (False, False))


def test_an_empty_packet_is_one_fragment():
    assert len(fragment.split([b""], 16)) == 1
    assert fragment.join(fragment.split([b""], 16)) == ((b"",), (True,))


@given(budget=st.integers(0, 3000), mtu=MTU)
def test_capacity_is_the_largest_packet_that_fits(budget, mtu):
    data, count = fragment.capacity_bytes(budget, mtu)
    if data == 0:
        assert count == 0 and budget <= fragment.OVERHEAD_BYTES
        return
    sent = fragment.split([b"x" * data], mtu)
    assert len(sent) == count and sum(map(len, sent)) <= budget
    more = fragment.split([b"x" * (data + 1)], mtu)
    assert sum(map(len, more)) > budget


def test_too_many_to_number():
    with pytest.raises(BudgetError, match="257 packets in one image, the header counts 256"):
        fragment.split([b""] * 257, 100)
    with pytest.raises(BudgetError, match="raise mtu"):
        fragment.split([b"x" * 70000], fragment.OVERHEAD_BYTES + 1)
    with pytest.raises(ValueError, match="mtu must be above the 7 bytes"):
        fragment.num_fragments(10, 7)
