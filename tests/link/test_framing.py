"""Framing: any packets come back, nothing behind the last good bit is trusted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linksim.link import framing
from linksim.types import Packet

packets_of_bytes = st.lists(st.binary(min_size=1, max_size=300), max_size=4)


@given(packets_of_bytes, st.integers(0, 64))
def test_packets_come_back(datas, spare):
    packets = [Packet(d) for d in datas]
    need = 8 * sum(len(d) + len(framing.varint(len(d))) for d in datas)
    bits, length_bits = framing.pack(packets, need + spare)
    assert length_bits == need - 8 * sum(map(len, datas))
    got, ok = framing.unpack(bits, len(bits))
    assert got == tuple(datas)
    assert all(ok)


@given(st.integers(0, 40_000), st.integers(1, 3))
def test_capacity_is_what_fits_and_a_byte_more_does_not(info_bits, count):
    room = framing.capacity_bits(info_bits, count) // 8
    if room == 0:
        return
    sizes = [room // count + (i < room % count) for i in range(count)]
    framing.pack([Packet(bytes(n)) for n in sizes], info_bits)
    if count == 1:
        longer = room + 1
        # one more byte fits at most where the length field jumps to the next size
        assert 8 * (longer + len(framing.varint(longer))) > info_bits or room in (127, 16383)


@given(st.binary(min_size=2, max_size=200), st.integers(0, 1600))
def test_a_bad_tail_leaves_a_prefix_marked_as_lost(data, good):
    bits, _ = framing.pack([Packet(data)], 8 * len(data) + 24)
    good = min(good, len(bits) - 1)
    spoiled = bits.copy()
    spoiled[good:] ^= 1
    got, ok = framing.unpack(spoiled, good)
    assert len(got) == len(ok) >= 1
    assert data.startswith(got[0])
    if not ok[0]:
        assert len(got) == 1
    else:
        assert got[0] == data


@given(st.binary(max_size=64), st.integers(0, 512))
def test_arbitrary_bits_never_raise(data, good):
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    packets, ok = framing.unpack(bits, min(good, len(bits)))
    assert len(packets) == len(ok)


def test_an_empty_block_is_an_outage_not_a_loss():
    bits, _ = framing.pack([], 80)
    assert framing.unpack(bits, 80) == ((), ())
    assert framing.unpack(bits, 0) == ((b"",), (False,))


def test_too_much_is_refused():
    with pytest.raises(ValueError, match="went over its budget"):
        framing.pack([Packet(bytes(11))], 88)
