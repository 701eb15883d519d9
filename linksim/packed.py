"""Arrays of whole multiples of a power of two, as rounded kernels are, entropy coded together.

A rounded kernel is close to Gaussian, so that a general compressor, which sees the bytes of its float16 values, spends
a twelfth more bits than there is information. Here each array is a line of integers under a histogram of its own,
coarse where the integers are many, and all lines share one stream of rANS (Duda 2013; constriction).

The histograms are integers and their shares exact quotients, so that a file reads the same on every machine.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

LEAST = 1024  # elements: a smaller array is not worth a histogram
LARGEST = 1 << 13  # of the integers: what is wider gains nothing
FINE = 4  # bins of a histogram in one standard deviation
DEEPEST = -24  # exponent of the smallest float16
LINES, COUNTS, WORDS = ENTRIES = ("packed/lines", "packed/counts", "packed/words")


def pack(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What fits is put into the three ``ENTRIES``, the rest stays.

    Args:    arrays: by path, any shapes, float16, finite.
    Returns: arrays by name; the same as given if none fits. The sign of a zero is lost.
    """
    import constriction

    lines: list[list[Any]] = []
    coded: list[tuple[np.ndarray, Any]] = []
    tables = []
    for name, value in arrays.items():
        found = _integers(value)
        if found is None:
            continue
        integers, exponent = found
        lowest, width = int(integers.min()), _width(integers)
        symbols = (integers - lowest).astype(np.int32)
        counts = np.bincount(symbols // width)
        lines.append([name, list(value.shape), exponent, lowest, width, len(counts)])
        coded.append((symbols, _model(counts, width)))
        tables.append(counts)
    if not lines:
        return dict(arrays)
    coder = constriction.stream.stack.AnsCoder()
    for symbols, model in reversed(coded):
        coder.encode_reverse(symbols, model)
    rest = {name: value for name, value in arrays.items() if name not in {n for n, *_ in lines}}
    return rest | {
        LINES: np.frombuffer(json.dumps(lines, separators=(",", ":")).encode(), np.uint8),
        COUNTS: np.concatenate(tables).astype(np.uint32),
        WORDS: coder.get_compressed(),
    }


def unpack(arrays: Mapping[str, np.ndarray], most: int) -> dict[str, np.ndarray]:
    """The arrays that ``pack`` was given, in whatever order; what it never saw is returned as it is.

    Args:    arrays: of a file; most: elements that it may hold.
    Returns: arrays by path, float16 where they were packed.
    Raises:  ValueError: not what ``pack`` writes. TypeError: lines that are no lists.
    """
    if not any(name in arrays for name in ENTRIES):
        return dict(arrays)
    import constriction

    found = {name: value for name, value in arrays.items() if name not in ENTRIES}
    lines = json.loads(bytes(_flat(arrays, LINES, np.uint8)))
    counts = _flat(arrays, COUNTS, np.uint32).astype(np.int64)
    sizes = [math.prod(_whole(n, 1, most) for n in shape) for _, shape, *_ in lines]
    if sum(sizes) > most:
        raise ValueError(f"{sum(sizes)} packed elements are more than {most}")
    coder = constriction.stream.stack.AnsCoder(_flat(arrays, WORDS, np.uint32))
    for (name, shape, exponent, lowest, width, bins), size in zip(lines, sizes, strict=True):
        if not isinstance(name, str) or name in found:
            raise ValueError(f"a packed array is named {name!r}")
        table, counts = np.split(counts, [_whole(bins, 1, 2 * LARGEST)])
        if len(table) < bins or not table.any():
            raise ValueError(f"{name} has no histogram")
        _whole(_whole(width, 1, LARGEST) * bins, 2, 4 * LARGEST)
        step = 2.0 ** _whole(exponent, DEEPEST, 16)
        integers = coder.decode(_model(table, width), size)
        value = (integers + _whole(lowest, -LARGEST, LARGEST)) * step
        found[name] = value.astype(np.float16).reshape(shape)
    if len(counts) or not coder.is_empty():
        raise ValueError("packed arrays do not end where they should")
    return found


def _integers(value: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Elements as multiples of the largest power of two that divides all: integers [N] int64, exponent; None: unfit."""
    if value.dtype != np.float16 or value.size < LEAST:
        return None
    whole = np.rint(value.astype(np.float64).ravel() * 2.0**-DEEPEST).astype(np.int64)
    common = int(np.bitwise_or.reduce(np.abs(whole)))
    if not common:
        return None
    shift = (common & -common).bit_length() - 1
    integers = whole >> shift
    if np.abs(integers).max() >= LARGEST or integers.min() == integers.max():
        return None
    return integers, shift + DEEPEST


def _width(integers: np.ndarray) -> int:
    """Integers in a bin of the histogram."""
    return max(int(integers.std() / FINE), 1)


def _model(counts: np.ndarray, width: int) -> Any:
    """Every integer of a bin as likely as the others. Args: counts [bins], of bins of ``width`` integers."""
    import constriction

    share = np.repeat(counts / (float(counts.sum()) * width), width)
    return constriction.stream.model.Categorical(share, perfect=False)


def _flat(arrays: Mapping[str, np.ndarray], name: str, dtype: Any) -> np.ndarray:
    value = arrays.get(name)
    if value is None or value.dtype != dtype or value.ndim != 1:
        raise ValueError(f"{name} is missing or of another kind")
    return value


def _whole(value: Any, low: int, high: int) -> int:
    if type(value) is not int or not low <= value <= high:
        raise ValueError(f"{value!r} is no whole number of {low}..{high}")
    return value
