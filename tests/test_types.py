"""The values that travel."""

import numpy as np
import pytest

from linksim.types import (
    BlockPlan,
    Channel,
    Delivered,
    Ledger,
    Packet,
    Packets,
    Received,
    Status,
    Symbols,
)


def test_status():
    assert [s.failed for s in Status] == [False, False, True, True]


def test_packets_count_their_bits():
    packets = Packets(((Packet(b"abc", 1), Packet(b"", kind="side")), ()))
    np.testing.assert_array_equal(packets.num_bits(), [24, 0])
    assert len(packets) == 2 and packets.num_bits().dtype == np.int64


@pytest.mark.parametrize("header", [-1, 4])
def test_header_longer_than_the_packet(header):
    with pytest.raises(ValueError, match=r"header_bytes must be in 0\.\.3"):
        Packet(b"abc", header)


def test_symbols_check_themselves():
    x = np.zeros((2, 5), np.complex64)
    assert Symbols(x, np.array([5, 0])).x is x
    for bad in (x.astype(np.complex128), x[0], x.real):
        with pytest.raises(ValueError, match=r"x must be \[B, S\] complex64"):
            Symbols(bad, np.array([5, 5]))
    with pytest.raises(ValueError, match=r"num_symbols must be \[2\]"):
        Symbols(x, np.array([5]))
    with pytest.raises(ValueError, match="num_symbols up to 6 in a frame of 5"):
        Symbols(x, np.array([6, 1]))
    Symbols(np.zeros((0, 5), np.complex64), np.zeros(0, int))


def test_ledger_adds_up():
    ledger = Ledger.zeros(2, payload=np.array([1, 2]), crc=np.array([3, 4.5]))
    np.testing.assert_array_equal(ledger.total, [4, 6.5])
    both = ledger + Ledger.zeros(2, parity=np.ones(2))
    np.testing.assert_array_equal(both.total, [5, 7.5])
    np.testing.assert_array_equal(both.payload, [1, 2])
    names = list(ledger.entries())
    assert names[0] == "payload" and names[-1] == "retransmissions" and len(names) == 8
    with pytest.raises(TypeError):
        Ledger.zeros(2, pylots=np.zeros(2))


@pytest.mark.parametrize("n0", [0.5, np.float32(0.5), np.full((3, 1), 0.5, np.float32)])
@pytest.mark.parametrize("columns", [1, 6])
def test_received_broadcasts_slices_and_takes(n0, columns):
    y = np.arange(18, dtype=np.complex64).reshape(3, 6)
    h = (np.arange(3 * columns) + 1).astype(np.complex64).reshape(3, columns)
    received = Received(y, h, n0)
    full = received.full()
    assert [p.shape for p in full] == [(3, 6)] * 3 and full[2].dtype == np.float32
    part = received.slice(2, 5)
    np.testing.assert_array_equal(part.y, y[:, 2:5])
    np.testing.assert_array_equal(part.h, full[1][:, 2:5])
    some = received.take([2, 0])
    np.testing.assert_array_equal(some.y, y[[2, 0]])
    np.testing.assert_array_equal(some.h, full[1][[2, 0]])
    assert np.shape(some.n0_eff) == (2, 6)


def test_without_prefixes_empties_what_is_not_whole():
    delivered = Delivered(((b"whole", b"pre"), ()), ((True, False), ()))
    cleaned = delivered.without_prefixes()
    assert cleaned.packets == ((b"whole", b""), ()) and cleaned.ok == delivered.ok
    assert len(delivered) == 2
    symbols = Received(np.zeros((3, 1), np.complex64), np.ones((3, 1), np.complex64), 0.0)
    assert len(Delivered(symbols=symbols)) == 3


def test_block_plan_counts_its_symbols():
    assert BlockPlan(100, 24, 400, 1, 4, 0.3).num_symbols == 100


def test_protocols_are_checked_at_run_time():
    assert isinstance(lambda x, n0, seed: None, Channel)
    assert not isinstance(3, Channel)
