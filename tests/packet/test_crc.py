"""Checksums against their published check values."""

import pytest

from linksim.packet import crc


def test_published_check_values():
    assert crc.crc8(b"123456789") == 0xF4
    assert crc.crc16(b"123456789") == 0x29B1
    assert crc.crc32(b"123456789") == 0xCBF43926


@pytest.mark.parametrize("name", ["crc-8", "crc-16", "crc-32"])
def test_append_and_check(name):
    whole = crc.append(b"linksim", name)
    assert len(whole) == 7 + crc.CRC_BYTES[name]
    assert crc.check(whole, name) == b"linksim"
    for i in range(len(whole)):
        for bit in range(8):
            damaged = bytearray(whole)
            damaged[i] ^= 1 << bit
            assert crc.check(bytes(damaged), name) is None
    assert crc.check(crc.append(b"", name), name) == b""
    assert crc.check(b"", name) is None and crc.check(b"x", name) is None


@pytest.mark.parametrize("name", ["crc-8", "crc-16", "crc-32"])
def test_a_stamp_is_covered_and_not_sent(name):
    whole = crc.append(b"linksim", name, b"session 1")
    assert len(whole) == 7 + crc.CRC_BYTES[name]
    assert crc.check(whole, name, b"session 1") == b"linksim"
    assert crc.check(whole, name, b"session 2") is None and crc.check(whole, name) is None


def test_unknown_name():
    with pytest.raises(ValueError, match="crc must be one of"):
        crc.append(b"", "crc-12")  # type: ignore[arg-type]
