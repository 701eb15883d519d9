"""Reed-Solomon codes over packets: any K of N = K + P packets give the K that matter.

Column by column, the K source packets are K symbols of GF(2^8), and the P parity packets those of a systematic
Reed-Solomon code shortened to N symbols (N <= 255), the code of the library ``reedsolo``. It is linear, and which
packets are lost is known: what the library makes of unit vectors, once for each pattern of losses, is a matrix, and the
columns of the packets are multiplied by it all at once (or the library decodes them one by one, where there are few).

Packets of unequal length are protected as in RFC 5109: each counts as | length (2 bytes) | bytes | zeros |, filled up
to the longest. What is sent of the source packets is their bytes alone; the parity packets are two bytes longer than
the longest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np

MAX_SYMBOLS = 255
LENGTH_BYTES = 2


def _codec(source: int, parity: int) -> Any:
    import reedsolo

    return reedsolo.RSCodec(parity, nsize=source + parity)


@cache
def _products() -> np.ndarray:
    """[256, 256] uint8, the field's multiplication table."""
    import reedsolo

    reedsolo.init_tables()
    return np.array([[reedsolo.gf_mul(a, b) for b in range(256)] for a in range(256)], np.uint8)


@cache
def _mixing(source: int, parity: int) -> np.ndarray:
    """[P, K] uint8: what makes the parity symbols of the source symbols."""
    codec = _codec(source, parity)
    words = [codec.encode(bytes(unit)) for unit in np.eye(source, dtype=np.uint8)]
    return np.array([list(word[source:]) for word in words], np.uint8).T


@lru_cache(maxsize=4096)
def _mending(source: int, parity: int, used: tuple[int, ...]) -> np.ndarray:
    """[K, K] uint8: what makes the source symbols of those K of the N symbols that are ``used``."""
    codec = _codec(source, parity)
    gone = sorted(set(range(source + parity)) - set(used))
    columns = []
    for place in used:
        word = bytearray(source + parity)
        word[place] = 1
        found, _, _ = codec.decode(word, erase_pos=gone, only_erasures=True)
        columns.append(list(found))
    return np.array(columns, np.uint8).T


def _times(matrix: np.ndarray, data: np.ndarray) -> np.ndarray:
    """Product over the field. Args: [A, B] and [B, L] uint8. Returns: [A, L] uint8."""
    out = np.zeros((len(matrix), data.shape[1]), np.uint8)
    for column, row in zip(matrix.T, data, strict=True):
        out ^= _products()[column[:, None], row[None]]
    return out


@dataclass(frozen=True)
class ReedSolomon:
    """A systematic code over packets.

    Args:   source: K, at least 1. parity: P, at least 0; K + P at most 255.
    Raises: ValueError.
    """

    source: int
    parity: int

    def __post_init__(self) -> None:
        if self.source < 1 or self.parity < 0 or self.source + self.parity > MAX_SYMBOLS:
            raise ValueError(
                f"a code over GF(256) has 1..{MAX_SYMBOLS} packets in all, got {self.source} + {self.parity}"
            )

    # ------------------------------------------------------------------------------------------ equal lengths

    def encode(self, data: np.ndarray) -> np.ndarray:
        """Parity of packets of equal length. Args: data [K, L] uint8. Returns: [P, L] uint8."""
        if data.shape[:1] != (self.source,) or data.dtype != np.uint8:
            raise ValueError(
                f"data must be [{self.source}, L] uint8, got {data.shape} {data.dtype}"
            )
        if not self.parity or not data.size:
            return np.zeros((self.parity, data.shape[1]), np.uint8)
        return _times(_mixing(self.source, self.parity), data)

    def decode(self, received: np.ndarray, here: np.ndarray) -> np.ndarray | None:
        """The source packets.

        Args:    received [N, L] uint8, whatever stands where nothing arrived; here [N] bool.
        Returns: [K, L] uint8; None where fewer than K arrived.
        """
        source = received[: self.source].copy()
        lost = np.flatnonzero(~here[: self.source])
        if not lost.size:
            return source
        used = np.flatnonzero(here)[: self.source]
        if used.size < self.source:
            return None
        if (
            received.shape[1] < self.source
        ):  # fewer words than a matrix for this pattern of losses takes
            source[lost] = self._word_by_word(received, used)[lost]
            return source
        mending = _mending(self.source, self.parity, tuple(used.tolist()))
        source[lost] = _times(mending[lost], received[used])
        return source

    def _word_by_word(self, received: np.ndarray, used: np.ndarray) -> np.ndarray:
        """[K, L] from the K symbols ``used``: with no others there is nothing that they could contradict."""
        codec = _codec(self.source, self.parity)
        gone = np.setdiff1d(np.arange(self.source + self.parity), used)
        words = received.T.copy()
        words[:, gone] = 0
        gone = gone.tolist()
        found = [
            codec.decode(bytearray(w.tobytes()), erase_pos=gone, only_erasures=True)[0]
            for w in words
        ]
        return np.array([list(word) for word in found], np.uint8).T

    # ---------------------------------------------------------------------------------------- unequal lengths

    def protect(self, packets: Sequence[bytes]) -> list[bytes]:
        """Parity of packets of any length. Raises ValueError: one longer than 65535 bytes."""
        if not self.parity:
            return []
        longest = max(len(p) for p in packets)
        if longest >= 1 << (8 * LENGTH_BYTES):
            raise ValueError(f"packets must be below 65536 bytes, got {longest}")
        rows = np.stack([_filled(p, LENGTH_BYTES + longest) for p in packets])
        return [row.tobytes() for row in self.encode(rows)]

    def recover(self, received: Sequence[bytes | None]) -> list[bytes | None]:
        """The source packets from what arrived of all N, in order.

        Returns: K packets; where fewer than K of N arrived, those source packets that did. Never raises on any bytes:
                 lengths that do not fit together leave what arrived as it is.
        """
        source = list(received[: self.source])
        parity = [p for p in received[self.source :] if p is not None]
        if all(p is not None for p in source) or not parity:
            return source
        width = len(parity[0])
        fits = all(len(p) == width for p in parity) and width >= LENGTH_BYTES
        if not fits or any(p is not None and len(p) > width - LENGTH_BYTES for p in source):
            return source
        here = np.array([p is not None for p in received], bool)
        rows = np.zeros((len(received), width), np.uint8)
        for i, packet in enumerate(received):
            if packet is not None:
                whole = _filled(packet, width) if i < self.source else _bytes(packet)
                rows[i] = whole
        found = self.decode(rows, here)
        if found is None:
            return source
        for i in np.flatnonzero(~here[: self.source]):
            length = int.from_bytes(found[i, :LENGTH_BYTES].tobytes(), "big")
            if length <= width - LENGTH_BYTES:
                source[i] = found[i, LENGTH_BYTES : LENGTH_BYTES + length].tobytes()
        return source


def _bytes(data: bytes) -> np.ndarray:
    return np.frombuffer(data, np.uint8)


def _filled(packet: bytes, width: int) -> np.ndarray:
    """| length | bytes | zeros |, [width] uint8."""
    return _bytes((len(packet).to_bytes(LENGTH_BYTES, "big") + packet).ljust(width, b"\0"))
