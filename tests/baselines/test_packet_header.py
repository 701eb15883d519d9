from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines.header import MAX_PIXELS, Header, read_varint, varint


@settings(deadline=None)
@given(
    height=st.integers(1, 8000),
    width=st.integers(1, 8000),
    scale=st.sampled_from([1, 2, 4]),
    note=st.integers(0, 63),
)
def test_round_trip(height: int, width: int, scale: int, note: int) -> None:
    header = Header(height, width, scale, note)
    payload = b"x" * 5000
    assert Header.unpack(header.pack() + payload) == (header, payload)


@settings(deadline=None)
@given(st.binary(max_size=20))
def test_any_bytes_unpack_or_raise_value_error(data: bytes) -> None:
    try:
        header, payload = Header.unpack(data)
    except ValueError:
        return
    assert header.height * header.width <= MAX_PIXELS
    assert data.endswith(payload)


def test_small_pictures_have_three_bytes() -> None:
    assert len(Header(128, 128).pack()) == 3
    assert len(Header(256, 256).pack()) == 5


def test_a_header_that_promises_more_than_its_payload_can_hold_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold 4000x4000"):
        Header.unpack(Header(4000, 4000).pack() + b"short")


@pytest.mark.parametrize(
    "wrong", [{"height": 0}, {"scale": 3}, {"note": 64}, {"width": 70_000_000}]
)
def test_validation(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="got"):
        Header(**{"height": 8, "width": 8, **wrong})


def test_varint_is_leb128() -> None:
    assert varint(300) == b"\xac\x02"
    assert read_varint(b"\xac\x02", 0) == (300, 2)
    with pytest.raises(ValueError, match="too long"):
        read_varint(b"\xff" * 8, 0)
