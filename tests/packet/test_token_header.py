"""Headers of token packets: sizes, round trips, damage and foreign packets."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linksim.packet.token_header import INTERLEAVES, TokenFormat, TokenPacket, read_full

USUAL = TokenFormat(7, 8, 8, 8, 10, descriptions=10)


@st.composite
def formats(draw):
    packets = draw(st.integers(1, 64))
    found = TokenFormat(
        draw(st.integers(0, 65535)),
        draw(st.integers(1, 256)),
        draw(st.integers(1, 256)),
        draw(st.integers(1, 16)),
        packets,
        draw(st.integers(0, 64 - packets)),
        draw(st.integers(1, packets)),
        draw(st.sampled_from(INTERLEAVES)),
        0,
        draw(st.sampled_from(["session", "full"])),
        draw(st.sampled_from(["crc-8", "crc-16", "none"])),
    )
    if found.stages > 1 and found.parity < packets and draw(st.booleans()):
        return replace(found, base=draw(st.integers(1, found.stages - 1)))
    return replace(found, sent=draw(st.integers(0, min(found.rows * found.columns, 16383))))


@given(form=formats(), body=st.binary(max_size=60), data=st.data())
def test_round_trip(form, body, data):
    number = data.draw(st.integers(0, form.count - 1))
    tokens = data.draw(st.integers(1, form.max_tokens))
    sent = form.wrap(number, tokens, body)
    assert len(sent) == len(body) + form.overhead_bytes
    assert form.open(sent) == TokenPacket(number, tokens, body)
    assert (
        read_full(sent, form.check) == (form, (number, tokens, body)) or form.form == "session"
    ), "a packet in full form needs no agreement"


def test_two_bytes_of_header_at_the_usual_size():
    assert (USUAL.header_bytes, USUAL.check_bytes) == (2, 2)
    assert replace(USUAL, check="crc-8").overhead_bytes == 3
    assert replace(USUAL, form="full").header_bytes == 11
    assert TokenFormat(0, 1, 1, 1, 1, check="none").overhead_bytes == 0


def test_a_packet_by_hand():
    """Number 9 of 10 in 4 bits, 300 tokens as 299 in 9 bits, three zeros: 1001 100101011 000."""
    assert USUAL.wrap(9, 300, b"xyz")[:-2] == bytes([0b10011001, 0b01011000]) + b"xyz"


@pytest.mark.parametrize(
    "change",
    [
        {"model": 8},
        {"rows": 7},
        {"columns": 9},
        {"stages": 7},
        {"packets": 11},
        {"parity": 1},
        {"descriptions": 5},
        {"interleave": "raster"},
        {"sent": 63},
        {"base": 2},
    ],
)
@pytest.mark.parametrize("form", ["session", "full"])
def test_packets_of_another_session_are_foreign(change, form):
    mine = replace(USUAL, form=form)
    other = replace(mine, **change)
    for number in range(10):
        assert mine.open(other.wrap(number, 100, b"abcdef")) is None
    assert (
        mine.open(replace(mine, form={"session": "full", "full": "session"}[form]).wrap(1, 1, b"a"))
        is None
    )


@pytest.mark.parametrize("form", ["session", "full"])
def test_any_flipped_bit_shows(form):
    mine = replace(USUAL, form=form)
    sent = mine.wrap(3, 211, b"some body")
    for bit in range(8 * len(sent)):
        damaged = bytearray(sent)
        damaged[bit // 8] ^= 1 << bit % 8
        assert mine.open(bytes(damaged)) is None
        assert read_full(bytes(damaged), "crc-16") is None
    for length in range(len(sent)):
        assert mine.open(sent[:length]) is None


@given(data=st.binary(max_size=40), form=formats())
def test_arbitrary_bytes_never_raise(data, form):
    got = form.open(data)
    assert got is None or (got.number < form.count and got.tokens <= form.max_tokens)
    full = read_full(data, form.check)
    assert full is None or full[0].open(data) == full[1]


@pytest.mark.parametrize(
    ("given_", "match"),
    [
        ({"model": 65536}, "model must be 0..65535"),
        ({"rows": 0}, "rows must be 1..256"),
        ({"stages": 17}, "stages must be 1..16"),
        ({"packets": 65}, "packets must be 1..64"),
        ({"parity": 55}, "parity must be 0..54, got 55"),
        ({"descriptions": 11}, "descriptions must be 1..10, got 11"),
        ({"sent": 65}, r"sent must be 0..64, got 65"),
        ({"base": 8}, "base must be 0..7, got 8"),
        ({"base": 2, "parity": 10}, "parity must be 0..9, got 10"),
        ({"interleave": "zigzag"}, "interleave must be one of"),
        ({"form": "short"}, "form must be session or full"),
        ({"check": "crc-32"}, "check must be crc-8, crc-16 or none"),
    ],
)
def test_what_does_not_fit_is_refused(given_, match):
    with pytest.raises(ValueError, match=match):
        replace(USUAL, **given_)


def test_numbers_and_tokens_out_of_range():
    with pytest.raises(ValueError, match=r"number must be 0\.\.9, got 10"):
        USUAL.wrap(10, 1, b"")
    with pytest.raises(ValueError, match=r"tokens must be 1\.\.512, got 0"):
        USUAL.wrap(0, 0, b"")
