"""A base layer that travels in every packet: some of them, whichever, give it back.

The base layer's bytes are cut into K = N - P pieces of equal length, P pieces of Reed-Solomon parity are made of them,
and every one of the N packets carries one piece in front of its own body::

    packet n:   | length of a piece (LEB128) | piece n | body of its own |
    pieces 0 .. K-1 together:   | zeros behind (1 byte) | base layer | zeros |

Any K packets give the base layer; a packet's own body is worth its own arrival alone. So the first bytes are protected
more than the others, at the price that no packet is parity alone.

Source: Albanese et al. (1996), Priority Encoding Transmission, with two priorities; Mohr, Riskin and Ladner (2000),
Unequal Loss Protection, for images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linksim.packet.reed_solomon import ReedSolomon
from linksim.packet.varint import read_varint, varint

PAD_BYTES = 1


@dataclass(frozen=True)
class BaseLayer:
    """Pieces of a base layer.

    Args:   packets: N. parity: P, 0 .. N - 1: so many packets may be lost.
    Raises: ValueError.
    """

    packets: int
    parity: int

    def __post_init__(self) -> None:
        if not 0 <= self.parity < self.packets:
            raise ValueError(f"parity must be 0..{self.packets - 1}, got {self.parity}")

    @property
    def enough(self) -> int:
        """K, packets that give the base layer."""
        return self.packets - self.parity

    def piece_bytes(self, base: float) -> int:
        """Length of a piece. Args: base: bytes of the base layer."""
        return -(-(int(base) + PAD_BYTES) // self.enough)

    def sizes(self, bodies: np.ndarray) -> np.ndarray:
        """Bytes of what the packets carry. Args: bodies [N + 1], bytes, the base layer last. Returns: [N]."""
        piece = self.piece_bytes(bodies[-1])
        return np.asarray(bodies[:-1]) + (piece + len(varint(piece)))

    def _pad(self, base: int) -> int:
        return self.piece_bytes(base) * self.enough - PAD_BYTES - base

    def padding_bytes(self, base: int, number: int) -> int:
        """Zeros behind the base layer in a piece. Args: base: bytes of it; number: of the piece, below K."""
        size = self.piece_bytes(base)
        return min(max(self._pad(base) - (self.enough - 1 - number) * size, 0), size)

    def spread(self, bodies: Sequence[bytes]) -> list[tuple[bytes, bytes, bytes]]:
        """What each packet carries: length, piece, body. Args: bodies: N of the packets, then the base layer."""
        *own, base = bodies
        size = self.piece_bytes(len(base))
        pad = self._pad(len(base))
        whole = np.frombuffer(bytes([pad]) + base + bytes(pad), np.uint8).reshape(self.enough, size)
        pieces = np.concatenate([whole, ReedSolomon(self.enough, self.parity).encode(whole)])
        head = varint(size)
        return [(head, piece.tobytes(), body) for piece, body in zip(pieces, own, strict=True)]

    def gather(self, carried: Sequence[bytes | None]) -> list[bytes | None]:
        """Bodies of what arrived, the base layer last. Never raises on any bytes.

        Args:    carried: N, None where a packet is lost.
        Returns: N + 1; the last is None where fewer than K agree on the length of a piece.
        """
        found: dict[int, tuple[bytes, bytes]] = {}
        for n, data in enumerate(carried):
            head = None if data is None else read_varint(data, 0)
            if data is not None and head is not None and head[1] + head[0] <= len(data):
                size, at = head
                found[n] = data[at : at + size], data[at + size :]
        bodies: list[bytes | None] = [None] * (self.packets + 1)
        if not found:
            return bodies
        size = Counter(len(piece) for piece, _ in found.values()).most_common(1)[0][0]
        rows = np.zeros((self.packets, size), np.uint8)
        here = np.zeros(self.packets, bool)
        for n, (piece, body) in found.items():
            if len(piece) == size:
                rows[n], here[n], bodies[n] = np.frombuffer(piece, np.uint8), True, body
        pieces = ReedSolomon(self.enough, self.parity).decode(rows, here)
        if pieces is None or not size:
            return bodies
        whole = pieces.tobytes()
        pad = whole[0]
        if pad <= len(whole) - PAD_BYTES:
            bodies[-1] = whole[PAD_BYTES : len(whole) - pad]
        return bodies
