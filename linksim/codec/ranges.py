"""Symbols <-> bytes with constriction's range coder, whole groups at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from linksim.codec.tables import ESCAPE_BITS, ESCAPE_LIMIT, Table


class Corrupt(Exception):
    """Bytes that no encoder wrote."""


def groups(index: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """The positions that share a table: (table, positions) in increasing order of the table."""
    if not len(index):
        return
    order = np.argsort(index, kind="stable")
    values, starts = np.unique(index[order], return_index=True)
    yield from zip(values.tolist(), np.split(order, starts[1:]), strict=True)


def range_decoder(data: bytes):
    """constriction's decoder of bytes that ``shortest`` gave."""
    import constriction

    # what was cut off were zeros; two more words keep the coder from running dry
    padded = data + b"\0" * (-len(data) % 4 + 8)
    return constriction.stream.queue.RangeDecoder(np.frombuffer(padded, ">u4").astype(np.uint32))


def shortest(whole: bytes, decodes: Callable[[bytes], bool], at_least: int) -> bytes:
    """The shortest bytes that still decode: the coder seals with up to two words, most of which may go.

    Args: at_least: smallest length tried; by luck a stream can be shorter than its information content.
    """
    value = int.from_bytes(whole, "big")
    for length in range(max(at_least, len(whole) - 7, 0), len(whole)):
        unit = 1 << (8 * (len(whole) - length))
        for candidate in (value // unit, value // unit + 1):
            if candidate < 1 << (8 * length) and decodes(candidate.to_bytes(length, "big")):
                return candidate.to_bytes(length, "big")
    return whole


class Writer:
    """Collects symbols; ``finish`` gives the shortest bytes that decode to them."""

    def __init__(self) -> None:
        import constriction

        self._coder = constriction.stream.queue.RangeEncoder()

    def put(self, symbols: np.ndarray, index: np.ndarray, tables: Sequence[Table]) -> None:
        """Append symbols [N] int64, each under tables[index]."""
        import constriction

        escaped: list[np.ndarray] = []
        for which, places in groups(index):
            table, values = tables[which], symbols[places]
            entries = table.entries(values)
            self._coder.encode(entries.astype(np.int32), table.model)
            escaped.append(values[entries == len(table.counts) - 1])
        rest = np.concatenate(escaped) if escaped else np.zeros(0, np.int64)
        if len(rest):
            raw = np.clip(rest, -ESCAPE_LIMIT, ESCAPE_LIMIT - 1) + ESCAPE_LIMIT
            self._coder.encode(
                raw.astype(np.int32), constriction.stream.model.Uniform(1 << ESCAPE_BITS)
            )

    def finish(self, decodes: Callable[[bytes], bool], at_least: int = 0) -> bytes:
        """The bytes.

        Args:
          decodes:  whether a shortened candidate still gives the symbols.
          at_least: smallest length tried: by luck a stream can be shorter than its information content.
        """
        whole = self._coder.get_compressed().astype(">u4").tobytes()
        return shortest(whole, decodes, at_least)


class Reader:
    """Reads back what a Writer put, in the same order with the same tables."""

    def __init__(self, data: bytes) -> None:
        self._coder = range_decoder(data)

    def take(self, index: np.ndarray, tables: Sequence[Table]) -> np.ndarray:
        """The next len(index) symbols, int64. Raises Corrupt."""
        import constriction

        symbols = np.zeros(len(index), np.int64)
        escaped: list[np.ndarray] = []
        try:
            for which, places in groups(index):
                table = tables[which]
                entries = np.asarray(self._coder.decode(table.model, len(places)), np.int64)
                symbols[places] = entries - table.reach
                escaped.append(places[entries == len(table.counts) - 1])
            lost = np.concatenate(escaped) if escaped else np.zeros(0, np.int64)
            if len(lost):
                raw = self._coder.decode(
                    constriction.stream.model.Uniform(1 << ESCAPE_BITS), len(lost)
                )
                symbols[lost] = np.asarray(raw, np.int64) - ESCAPE_LIMIT
        except (AssertionError, ValueError) as error:
            raise Corrupt(str(error)) from error
        return symbols
