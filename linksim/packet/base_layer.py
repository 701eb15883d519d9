"""A base layer: the first bytes of every packet, protected together, with their parity in the packets themselves.

Every packet decodes alone, and its body begins with what matters most. The first ``head`` bytes of all N bodies are the
source symbols of a Reed-Solomon code, and every packet carries as many of its parity symbols as any other::

    packet n:   | head (LEB128) | parity of heads, part n | body n |

With at most L packets lost the heads of these come back from the parity in the others. With more, what did arrive is
worth what it is worth without parity: the code is systematic, and nothing that arrives needs anything that did not.

A codeword takes ``a`` bytes from each packet's head and gives each packet ``p`` bytes of parity: (N - L) p >= L a makes
up for L packets, and N (a + p) is at most 255. Of such a and p those are taken that need the fewest bytes for the head
at hand; both ends know it.

Source: Albanese et al. (1996), Priority Encoding Transmission, with two priorities, here systematic; Mohr, Riskin and
Ladner (2000), Unequal Loss Protection, for images.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from linksim.packet.reed_solomon import MAX_SYMBOLS, ReedSolomon
from linksim.packet.varint import read_varint, varint


@dataclass(frozen=True)
class BaseLayer:
    """How heads are protected.

    Args:   packets: N. parity: L, 0 .. N - 1: so many packets may be lost.
    Raises: ValueError: also where no code over GF(256) makes up for L of N packets.
    """

    packets: int
    parity: int

    def __post_init__(self) -> None:
        if not 0 <= self.parity < self.packets:
            raise ValueError(f"parity must be 0..{self.packets - 1}, got {self.parity}")
        if self._parity_for(1) is None:
            each = MAX_SYMBOLS // self.packets  # symbols of a packet in a codeword
            most = (each - 1) * self.packets // each
            raise ValueError(
                f"the base layer of {self.packets} packets can be protected against the loss of at most {most} of "
                f"them, got {self.parity}; send fewer packets"
            )

    def _parity_for(self, source: int) -> int | None:
        """The least p for a; None where the codeword has no room for it."""
        parity = -(-source * self.parity // (self.packets - self.parity))
        return parity if self.packets * (source + parity) <= MAX_SYMBOLS else None

    def _word(self, head: int) -> tuple[int, int]:
        """(a, p) with the least parity for heads of so many bytes, and of these the smallest."""
        sizes = range(1, min(MAX_SYMBOLS // self.packets, max(head, 1)) + 1)
        found = [(a, p) for a in sizes if (p := self._parity_for(a)) is not None]
        return min(found, key=lambda word: (-(-head // word[0]) * word[1], word[0]))

    def _code(self, head: int) -> ReedSolomon:
        source, parity = self._word(head)
        return ReedSolomon(self.packets * source, self.packets * parity)

    def parity_bytes(self, head: int) -> int:
        """Bytes of parity in a packet. Args: head: bytes of each body that are protected."""
        source, parity = self._word(head)
        return -(-head // source) * parity

    def added_bytes(self, head: int) -> int:
        """Bytes of a packet beside its body."""
        return len(varint(head)) + self.parity_bytes(head)

    def spread(self, bodies: Sequence[bytes], head: int) -> list[tuple[bytes, bytes, bytes]]:
        """What each packet carries: length of the heads, parity, body. Args: bodies: N; head: bytes of each that are
        protected; a shorter body counts as filled up with zeros."""
        source, parity = self._word(head)
        words = -(-head // source)
        rows = np.zeros((self.packets, words * source), np.uint8)
        for row, body in zip(rows, bodies, strict=True):
            part = body[:head]
            row[: len(part)] = np.frombuffer(part, np.uint8)
        made = self._code(head).encode(self._as_symbols(rows, source))
        pieces = self._as_bytes(made, parity)
        front = varint(head)
        return [(front, p.tobytes(), body) for p, body in zip(pieces, bodies, strict=True)]

    def gather(self, carried: Sequence[bytes | None]) -> tuple[list[bytes | None], np.ndarray]:
        """Bodies of what arrived, and heads of the rest if enough did. Never raises on any bytes.

        Args:    carried: N, None where a packet is lost.
        Returns: N bodies; [N] bool, where it is the head alone.
        """
        found: dict[int, tuple[int, bytes, bytes]] = {}
        for n, data in enumerate(carried):
            front = None if data is None else read_varint(data, 0)
            if data is None or front is None:
                continue
            head, at = front
            end = at + self.parity_bytes(head)
            if end <= len(data):
                found[n] = head, data[at:end], data[end:]
        bodies: list[bytes | None] = [None] * self.packets
        alone = np.zeros(self.packets, bool)
        if not found:
            return bodies, alone
        head = Counter(h for h, _, _ in found.values()).most_common(1)[0][0]
        found = {n: entry for n, entry in found.items() if entry[0] == head}
        for n, (_, _, body) in found.items():
            bodies[n] = body
        gone = [n for n in range(self.packets) if n not in found]
        if not gone or not head or len(gone) > self.parity:
            return bodies, alone
        for n, part in zip(gone, self._recovered(found, head, gone), strict=True):
            bodies[n], alone[n] = part, True
        return bodies, alone

    def _recovered(
        self, found: dict[int, tuple[int, bytes, bytes]], head: int, gone: Sequence[int]
    ) -> list[bytes]:
        """Heads of the packets ``gone``, at most L."""
        source, parity = self._word(head)
        words = -(-head // source)
        rows = np.zeros((self.packets, words * source), np.uint8)
        pieces = np.zeros((self.packets, words * parity), np.uint8)
        for n, (_, piece, body) in found.items():
            part = body[:head]
            rows[n, : len(part)] = np.frombuffer(part, np.uint8)
            pieces[n] = np.frombuffer(piece, np.uint8)
        here = np.isin(np.arange(self.packets), list(found))
        symbols = np.concatenate([self._as_symbols(rows, source), self._as_symbols(pieces, parity)])
        there = np.concatenate([np.repeat(here, source), np.repeat(here, parity)])
        mended = self._code(head).decode(symbols, there)
        assert mended is not None
        whole = self._as_bytes(mended, source)
        return [whole[n, :head].tobytes() for n in gone]

    @staticmethod
    def _as_symbols(rows: np.ndarray, each: int) -> np.ndarray:
        """Bytes of the packets [N, words * each] -> symbols of codewords [N * each, words]."""
        return rows.reshape(len(rows), -1, each).transpose(0, 2, 1).reshape(len(rows) * each, -1)

    def _as_bytes(self, symbols: np.ndarray, each: int) -> np.ndarray:
        """The way back."""
        cut = symbols.reshape(self.packets, each, symbols.shape[1])
        return cut.transpose(0, 2, 1).reshape(self.packets, -1)
