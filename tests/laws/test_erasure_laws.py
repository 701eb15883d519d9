"""Every registered packet loss process obeys the laws."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linksim import registry
from linksim.packet.laws import LAWS, check_erasure
from linksim.seeds import FrameSeeds


def _cases():
    scratch = Path(tempfile.mkdtemp())  # kept for the session: examples may name files in it
    for name, entry in registry.entries("erasures").items():
        folder = scratch / name
        folder.mkdir()
        yield from ((name, example) for example in registry.examples(entry.load(), folder))


CASES = list(_cases())


def _make(case):
    name, parameters = case
    return registry.create("erasures", {"name": name, **parameters})


def test_the_built_in_processes_are_there():
    assert "iid" in registry.entries("erasures")


@pytest.mark.parametrize("case", CASES, ids=str)
@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(0, 30), max_size=6), root=st.integers(0, 99))
def test_shapes_determinism_and_order(case, counts, root):
    process, seeds = _make(case), FrameSeeds.of(root, len(counts))
    if getattr(process, "simulates", False):
        counts = [c // 6 for c in counts]
    lost = process(counts, seeds)
    assert [(v.shape, v.dtype) for v in lost] == [((c,), np.dtype(bool)) for c in counts]
    for a, b in zip(lost, process(counts, seeds), strict=True):
        np.testing.assert_array_equal(a, b)
    order = list(range(len(counts)))[::-1]
    turned = process([counts[i] for i in order], seeds.take(order))
    for i, again in zip(order, turned, strict=True):
        np.testing.assert_array_equal(lost[i], again)
    alone = [process([c], seeds[i : i + 1])[0] for i, c in enumerate(counts)]
    longer = process([c + 5 for c in counts], seeds)
    for whole, one, more in zip(lost, alone, longer, strict=True):
        np.testing.assert_array_equal(whole, one)
        np.testing.assert_array_equal(whole, more[: len(whole)])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_process_obeys_the_laws(case):
    results = check_erasure(_make(case))
    assert [r.name for r in results] == list(LAWS)
    assert not [r for r in results if not r.passed]
