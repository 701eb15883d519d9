"""Reed-Solomon over packets: any K of N, held against the library column by column, and any bytes."""

from itertools import combinations

import numpy as np
import pytest
import reedsolo
from hypothesis import given, settings
from hypothesis import strategies as st

from linksim.packet import pieces
from linksim.packet.reed_solomon import LENGTH_BYTES, ReedSolomon


def some_packets(seed: int, count: int, longest: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [rng.bytes(int(n)) for n in rng.integers(0, longest + 1, count)]


@pytest.mark.parametrize(("source", "parity"), [(6, 4), (1, 3), (9, 1), (2, 5)])
def test_any_k_of_n_give_all(source, parity):
    code = ReedSolomon(source, parity)
    sent = some_packets(source, source, 40)
    whole = [*sent, *code.protect(sent)]
    for kept in combinations(range(source + parity), source):
        got = code.recover([p if i in kept else None for i, p in enumerate(whole)])
        assert got == sent, kept


@pytest.mark.parametrize(("source", "parity"), [(6, 4), (5, 2)])
def test_fewer_than_k_give_what_arrived(source, parity):
    code = ReedSolomon(source, parity)
    sent = some_packets(1, source, 30)
    whole = [*sent, *code.protect(sent)]
    for kept in combinations(range(source + parity), source - 1):
        got = code.recover([p if i in kept else None for i, p in enumerate(whole)])
        assert got == [p if i in kept else None for i, p in enumerate(sent)]


def test_columns_are_the_librarys_codewords():
    data = np.random.default_rng(0).integers(0, 256, (7, 25)).astype(np.uint8)
    parity = ReedSolomon(7, 3).encode(data)
    library = reedsolo.RSCodec(3, nsize=10)
    for column, expected in zip(data.T, parity.T, strict=True):
        assert bytes(library.encode(column.tobytes()))[7:] == expected.tobytes()


def test_unequal_lengths_cost_two_bytes_a_parity_packet():
    parity = ReedSolomon(3, 2).protect([b"abc", b"", b"abcdefgh"])
    assert [len(p) for p in parity] == [8 + LENGTH_BYTES] * 2
    assert ReedSolomon(3, 0).protect([b"a", b"b", b"c"]) == []


@settings(deadline=None)
@given(
    st.integers(1, 6),
    st.integers(0, 4),
    st.data(),
)
def test_arbitrary_packets_never_raise_and_keep_what_arrived(source, parity, data):
    code = ReedSolomon(source, parity)
    one = st.none() | st.binary(max_size=12)
    received = data.draw(st.lists(one, min_size=source + parity, max_size=source + parity))
    got = code.recover(received)
    assert len(got) == source
    for packet, mine in zip(received[:source], got, strict=True):
        assert packet is None or packet == mine


def test_a_large_code():
    code = ReedSolomon(200, 55)
    sent = some_packets(4, 200, 9)
    whole = [*sent, *code.protect(sent)]
    lost = np.random.default_rng(1).choice(255, 55, replace=False)
    assert code.recover([None if i in lost else p for i, p in enumerate(whole)]) == sent


@pytest.mark.parametrize(("source", "parity"), [(0, 1), (1, -1), (200, 56)])
def test_codes_that_do_not_exist(source, parity):
    with pytest.raises(ValueError, match=r"1\.\.255 packets in all"):
        ReedSolomon(source, parity)


def test_what_cannot_be_protected():
    with pytest.raises(ValueError, match="below 65536 bytes"):
        ReedSolomon(1, 1).protect([bytes(65536)])
    with pytest.raises(ValueError, match=r"must be \[2, L\] uint8"):
        ReedSolomon(2, 1).encode(np.zeros((3, 4), np.uint8))


@given(st.integers(0, 255), st.binary(max_size=30))
def test_numbered_pieces(number, piece):
    packet = pieces.wrap(number, piece)
    assert len(packet) == len(piece) + pieces.OVERHEAD_BYTES
    assert pieces.open_packet(packet) == (number, piece)
    damaged = bytes([packet[0] ^ 1]) + packet[1:]
    assert pieces.open_packet(damaged) is None and pieces.open_packet(packet[:2]) is None
