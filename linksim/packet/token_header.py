"""Headers of token packets: what a receiver has to know of a packet, and nothing that it knows already.

    session form   | number | tokens - 1 | zeros to a byte || body || check |
    full form      | format (75 bits) | number | tokens - 1 | zeros to a byte || body || check |

``number`` has as many bits as the packets ask for, ``tokens - 1`` as the picture's tokens do: with 10 packets at
128x128 and 12 stages that is 4 + 10 bits, two bytes. In the session form the format is agreed upon beforehand, as a
video codec's parameter sets are; it is under the check all the same, so that a packet of another session (other
weights, another grid, another layout) shows as a foreign one. In the full form every packet says everything, weights by
their number. Bits are big endian.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from linksim.packet import crc

Form = Literal["session", "full"]
Check = Literal["crc-8", "crc-16", "none"]

INTERLEAVES = ("raster", "checker", "random")
MAX_SIDE = 1 << 8  # positions of a grid's side: 4096 pixels
MAX_STAGES = 1 << 4
MAX_PACKETS = 1 << 6

# field -> bits in the full form
_FIELDS = {
    "model": 16,
    "rows": 8,
    "columns": 8,
    "stages": 4,
    "packets": 6,
    "parity": 6,
    "descriptions": 6,
    "interleave": 2,
    "sent": 14,
    "base": 4,
    "form": 1,
}
_FORMAT_BITS = sum(_FIELDS.values())
_FROM_ONE = ("rows", "columns", "stages", "packets", "descriptions")


class TokenPacket(NamedTuple):
    """One packet.

    Args: number: 0 .. count - 1, parity behind. tokens: of the picture, in all its packets. body: bytes.
    """

    number: int
    tokens: int
    body: bytes


@dataclass(frozen=True)
class TokenFormat:
    """What all packets of a session have in common.

    Args:
      model:        number of the weights and of how their indices are coded, 0..65535.
      rows, columns: positions of the grid, 1..256 each.
      stages:       tokens of a position, 1..16.
      packets:      that carry tokens, 1..64.
      parity:       packets of Reed-Solomon parity besides, packets + parity at most 64; with a base layer so many
                    packets may be lost without it, and there are no packets besides.
      descriptions: that the packets are dealt to, 1..packets.
      interleave:   which positions a packet has: "raster", "checker" or "random".
      sent:         0: tokens are of all positions; else of so many that the model chooses, at most 16383.
      form:         "session" or "full".
      check:        "crc-8", "crc-16" or "none" (where the link has a CRC of its own).
      base:         stages of the base layer (``linksim.packet.base_layer``), below ``stages``; 0: there is none.
    Raises: ValueError.
    """

    model: int
    rows: int
    columns: int
    stages: int
    packets: int
    parity: int = 0
    descriptions: int = 1
    interleave: str = "random"
    sent: int = 0
    form: Form = "session"
    check: Check = "crc-16"
    base: int = 0

    def __post_init__(self) -> None:
        ranges = {
            "model": (0, (1 << 16) - 1),
            "rows": (1, MAX_SIDE),
            "columns": (1, MAX_SIDE),
            "stages": (1, MAX_STAGES),
            "packets": (1, MAX_PACKETS),
            "parity": (0, self.packets - 1 if self.base else MAX_PACKETS - self.packets),
            "descriptions": (1, self.packets),
            "sent": (0, min(self.rows * self.columns, (1 << 14) - 1)),
            "base": (0, self.stages - 1),
        }
        for name, (low, high) in ranges.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low}..{high}, got {value}")
        if self.interleave not in INTERLEAVES:
            raise ValueError(f"interleave must be one of {INTERLEAVES}, got {self.interleave!r}")
        if self.form not in ("session", "full"):
            raise ValueError(f"form must be session or full, got {self.form!r}")
        if self.check not in ("crc-8", "crc-16", "none"):
            raise ValueError(f"check must be crc-8, crc-16 or none, got {self.check!r}")

    @property
    def count(self) -> int:
        """Packets of a picture, parity included."""
        return self.packets if self.base else self.packets + self.parity

    @property
    def max_tokens(self) -> int:
        """Tokens of a picture at most."""
        return (self.sent or self.rows * self.columns) * self.stages

    @property
    def _bits(self) -> tuple[int, int]:
        """Bits of number and of tokens - 1."""
        return (self.count - 1).bit_length(), (self.max_tokens - 1).bit_length()

    @property
    def header_bytes(self) -> int:
        """Bytes before the body."""
        return -(-(sum(self._bits) + (_FORMAT_BITS if self.form == "full" else 0)) // 8)

    @property
    def check_bytes(self) -> int:
        """Bytes behind the body."""
        return 0 if self.check == "none" else crc.CRC_BYTES[self.check]

    @property
    def overhead_bytes(self) -> int:
        """Bytes of a packet that are not its body."""
        return self.header_bytes + self.check_bytes

    def _stamp(self) -> int:
        """The format as a number of ``_FORMAT_BITS`` bits."""
        word = 0
        for name, bits in _FIELDS.items():
            if name == "interleave":
                value = INTERLEAVES.index(self.interleave)
            elif name == "form":
                value = int(self.form == "full")
            else:
                value = getattr(self, name) - (name in _FROM_ONE)
            word = word << bits | value
        return word

    def _agreed(self) -> bytes:
        """What the check covers without its being sent."""
        return b"" if self.form == "full" else self._stamp().to_bytes(-(-_FORMAT_BITS // 8), "big")

    def wrap(self, number: int, tokens: int, body: bytes) -> bytes:
        """The packet with a body.

        Raises: ValueError: a number or tokens out of range.
        """
        if not 0 <= number < self.count:
            raise ValueError(f"number must be 0..{self.count - 1}, got {number}")
        if not 1 <= tokens <= self.max_tokens:
            raise ValueError(f"tokens must be 1..{self.max_tokens}, got {tokens}")
        of_number, of_tokens = self._bits
        word = number << of_tokens | (tokens - 1)
        used = of_number + of_tokens
        if self.form == "full":
            word |= self._stamp() << used
            used += _FORMAT_BITS
        data = (word << (8 * self.header_bytes - used)).to_bytes(self.header_bytes, "big") + body
        return data if self.check == "none" else crc.append(data, self.check, self._agreed())

    def open(self, data: bytes) -> TokenPacket | None:
        """The packet in ``data``; None where it is damaged or of another session. Never raises on any bytes."""
        whole = data if self.check == "none" else crc.check(data, self.check, self._agreed())
        size = self.header_bytes
        if whole is None or len(whole) < size:
            return None
        of_number, of_tokens = self._bits
        spare = 8 * size - of_number - of_tokens - (_FORMAT_BITS if self.form == "full" else 0)
        word = int.from_bytes(whole[:size], "big")
        if word & ((1 << spare) - 1):
            return None
        word >>= spare
        tokens = (word & ((1 << of_tokens) - 1)) + 1
        number = (word >> of_tokens) & ((1 << of_number) - 1)
        foreign = self.form == "full" and word >> (of_tokens + of_number) != self._stamp()
        if foreign or number >= self.count or tokens > self.max_tokens:
            return None
        return TokenPacket(number, tokens, whole[size:])


def read_full(data: bytes, check: Check) -> tuple[TokenFormat, TokenPacket] | None:
    """Format and content of a packet in full form; None where it is damaged. Never raises on any bytes."""
    head = -(-_FORMAT_BITS // 8)
    if len(data) < head:
        return None
    word = int.from_bytes(data[:head], "big") >> (8 * head - _FORMAT_BITS)
    values: dict[str, int] = {}
    for name, bits in reversed(_FIELDS.items()):
        values[name] = (word & ((1 << bits) - 1)) + (name in _FROM_ONE)
        word >>= bits
    interleave, form = values.pop("interleave"), values.pop("form")
    if not form or interleave >= len(INTERLEAVES):
        return None
    try:
        found = TokenFormat(**values, interleave=INTERLEAVES[interleave], form="full", check=check)
    except ValueError:
        return None
    packet = found.open(data)
    return None if packet is None else (found, packet)
