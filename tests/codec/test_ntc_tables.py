"""Integer tables and the range coder on them."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from linksim.codec.ranges import Corrupt, Reader, Writer
from linksim.codec.tables import ESCAPE_LIMIT, PRECISION, ScaleTables, counts_of

TABLES = ScaleTables()


def test_every_table_is_whole():
    for table in TABLES.tables:
        assert table.counts.sum() == 1 << PRECISION
        assert table.counts.min() >= 1
        assert len(table.counts) == 2 * table.reach + 2


@pytest.mark.parametrize("scale", [0.1, 0.4, 1.0, 7.0, 200.0])
def test_coded_rate_is_the_entropy_of_the_gaussian(scale):
    index = int(np.searchsorted(TABLES.edges, scale))
    x = np.arange(-2000, 2001)
    p = norm.cdf(x + 0.5, scale=scale) - norm.cdf(x - 0.5, scale=scale)
    entropy = -np.sum(p[p > 0] * np.log2(p[p > 0]))
    coded = np.sum(p * TABLES.bits(x, np.full(x.shape, index)))
    assert entropy <= coded + 1e-9
    assert coded <= 1.005 * entropy + 2e-4


def test_counts_keep_the_order_of_probabilities():
    counts = counts_of(np.array([0.0, 1e-9, 0.3, 0.7]))
    assert counts.sum() == 1 << PRECISION
    assert (np.diff(counts) >= 0).all() and counts[0] == 1


def coded(symbols: np.ndarray, index: np.ndarray) -> bytes:
    writer = Writer()
    writer.put(symbols, index, TABLES.tables)
    least = int(np.ceil(TABLES.bits(symbols, index).sum() / 8))

    def decodes(data: bytes) -> bool:
        return np.array_equal(Reader(data).take(index, TABLES.tables), symbols)

    return writer.finish(decodes, least)


@pytest.mark.parametrize("count", [0, 1, 7, 5000])
@pytest.mark.parametrize("stretch", [1.0, 8.0])
def test_round_trip_within_two_bytes_of_the_tables(count, stretch):
    rng = np.random.default_rng(count)
    index = rng.integers(0, TABLES.count, count)
    symbols = np.rint(rng.normal(0, stretch, count) * TABLES.scales[index]).astype(np.int64)
    symbols = np.clip(symbols, -ESCAPE_LIMIT, ESCAPE_LIMIT - 1)
    data = coded(symbols, index)
    bits = TABLES.bits(symbols, index).sum()
    assert np.array_equal(Reader(data).take(index, TABLES.tables), symbols)
    assert bits <= 8 * len(data) <= bits + 16


def test_escapes_reach_the_limits():
    symbols = np.array([-ESCAPE_LIMIT, ESCAPE_LIMIT - 1, 0, 5000, -5000])
    index = np.array([0, 0, 0, 95, 40])
    assert np.array_equal(Reader(coded(symbols, index)).take(index, TABLES.tables), symbols)


@given(st.binary(max_size=40))
@settings(max_examples=60, deadline=None)
def test_arbitrary_bytes_decode_or_are_corrupt(data):
    index = np.arange(400) % TABLES.count
    with contextlib.suppress(Corrupt):
        assert Reader(data).take(index, TABLES.tables).shape == (400,)
