"""NAL units of VVC and HEVC: taking byte streams apart, and parameter sets for any picture size.

Parameter sets go out of band: both ends know the codec's parameters, and the picture's size is in the packet's header,
so nothing in them is news. The receiver makes its own: it takes the sets of a small template picture and puts the
announced size where the template's stands (Exp-Golomb codes of width and height, side by side). The level stays the
template's; decoders do not act on it.
Sources: ITU-T H.266, clauses 7.3.2.4 and 7.3.2.5; H.265, clause 7.3.2.2; both annex B.
"""

from __future__ import annotations

import re

_START = re.compile(rb"\x00\x00\x01")
START_CODE = b"\x00\x00\x01"


def split(stream: bytes) -> list[bytes]:
    """NAL units of a byte stream (annex B), without start codes."""
    starts = [match.end() for match in _START.finditer(stream)]
    if not starts:
        return []
    ends = [start - len(START_CODE) for start in starts[1:]] + [len(stream)]
    return [stream[a:b].rstrip(b"\x00") for a, b in zip(starts, ends, strict=True)]


def join(units: list[bytes]) -> bytes:
    """A byte stream of NAL units."""
    return b"".join(START_CODE + unit for unit in units)


def resize(parameter_set: bytes, old: tuple[int, int], new: tuple[int, int]) -> bytes:
    """A parameter set with another picture size.

    Args:    parameter_set: NAL unit. old, new: (width, height) in luma samples.
    Returns: NAL unit; unchanged if it does not carry the size.
    Raises:  ValueError: if the size stands in more than one place.
    """
    bits = _bits(unescape(parameter_set))
    pattern = _exp_golomb(old[0]) + _exp_golomb(old[1])
    found = bits.count(pattern)
    if found == 0:
        return parameter_set
    if found > 1:
        raise ValueError("the template's size is not unique in its parameter set")
    body = bits.rstrip("0")[:-1].replace(pattern, _exp_golomb(new[0]) + _exp_golomb(new[1])) + "1"
    body += "0" * (-len(body) % 8)
    return escape(int(body, 2).to_bytes(len(body) // 8, "big"))


def _exp_golomb(value: int) -> str:
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def _bits(data: bytes) -> str:
    return f"{int.from_bytes(data, 'big'):0{8 * len(data)}b}"


def unescape(unit: bytes) -> bytes:
    """A unit without its emulation prevention bytes."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


def escape(unit: bytes) -> bytes:
    """Emulation prevention: no two zero bytes before a byte of 0..3."""
    out, zeros = bytearray(), 0
    for byte in unit:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = zeros + 1 if byte == 0 else 0
    return bytes(out)
