"""Indices in packets: exact at both ends, as long as their information, and safe against any bytes."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from linksim import quiet
from linksim.codec.exact import EXP_ONE, EXP_REACH, PRECISION
from linksim.codec.fixed_prior import FixedPrior
from linksim.codec.indices import Band, IndexCoder, bands_of
from linksim.model.index_grid import PriorConfig

CFG = PriorConfig(sizes=(40, 30, 20), strides=(2, 1, 1), code=6, dim=16, heads=2, hidden=24)
ROWS, COLUMNS = 3, 4


def arrays(seed: int = 0) -> dict[str, np.ndarray]:
    """Random weights of the prior, by path, large enough that tables are far from flat."""
    quiet.load("keras")
    from linksim.model.index_prior import IndexPrior
    from linksim.model.store import gather

    class Net:
        parts = {"prior": IndexPrior(CFG)}  # noqa: RUF012

    rng = np.random.default_rng(seed)
    found = gather(Net())
    return {
        name: (rng.normal(0, 1.2 / math.sqrt(max(v.size / max(v.shape[-1], 1), 1)), v.shape))
        .astype(np.float16)
        .astype(np.float32)
        for name, v in sorted(found.items())
    }


def fixed(seed: int = 0) -> FixedPrior:
    rng = np.random.default_rng(seed)
    books = [rng.normal(0, 1, (k, CFG.code)).astype(np.float32) for k in CFG.sizes]
    up = [rng.normal(0, 0.4, (CFG.code, 4 * CFG.code)).astype(np.float32), None, None]
    return FixedPrior(arrays(seed), CFG, books, up)


def indices(seed: int, rows: int = ROWS) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [
        rng.integers(0, k, (rows * 2 // s, COLUMNS * 2 // s))
        for k, s in zip(CFG.sizes, CFG.strides, strict=True)
    ]


def coder(prior: str = "transformer", seed: int = 0) -> IndexCoder:
    usage = [np.arange(1.0, k + 1) for k in CFG.sizes]
    return IndexCoder(fixed(seed), usage, prior, 1, b"stamp")


BAND = Band(0, ROWS, ROWS, COLUMNS)


def test_float_and_exact_prior_agree():
    quiet.load("keras")
    from keras import ops

    from linksim.model.index_prior import IndexPrior
    from linksim.model.store import assign

    class Net:
        parts = {"prior": IndexPrior(CFG)}  # noqa: RUF012

    exact, index = fixed(), indices(0)
    assign(Net(), exact.arrays)
    tables = coder().tables(index, BAND)
    before = np.zeros((1, 2 * ROWS, 2 * COLUMNS, CFG.code), np.float32)
    for s in range(len(CFG.sizes)):
        codes = exact.books[s][index[s]][None] / 1024
        logits = Net.parts["prior"](
            codes.astype(np.float32), before=before, mode=np.array([1]), stage=s
        )
        wanted = np.asarray(ops.softmax(logits, -1)).reshape(-1, CFG.sizes[s])
        got = tables[s] / 2.0**PRECISION
        assert wanted.max() > 4 / CFG.sizes[s], "the tables are not flat"
        assert np.abs(got - wanted).max() < 0.01
        before = (before + exact.expand(index[s][None], s) / 1024).astype(np.float32)


def test_no_entry_of_the_exponential_is_near_a_tie():
    values = EXP_ONE * np.exp(-np.arange(EXP_REACH) * 2.0**-10)
    assert np.abs(values - np.floor(values) - 0.5).min() > 1e-6


def test_step_by_step_gives_the_same_tables_as_all_at_once():
    exact = fixed()
    grids = [np.stack([indices(b)[1] for b in range(3)])][0]
    before = exact.expand(np.stack([indices(b)[0] for b in range(3)]), 0)
    base = exact.base(before, 2, 1, *grids.shape[1:])
    whole = exact.counts(grids, base, 1)
    assert (whole.sum(-1) == 1 << PRECISION).all() and whole.min() >= 1
    stepper = exact.stepper(base, 3, 1)
    for t in range(whole.shape[1]):
        assert np.array_equal(stepper.next(), whole[:, t]), f"position {t}"
        stepper.put(grids.reshape(3, -1)[:, t])
    alone = exact.counts(grids[1:2], base[1:2], 1)
    assert np.array_equal(alone[0], whole[1]), "a picture's tables do not depend on its batch"


@pytest.mark.parametrize("prior", ["transformer", "order-0", "none"])
@pytest.mark.parametrize("count", [0, 1, 13, 60, 108])
def test_round_trip_and_length(prior, count):
    here, there = coder(prior), coder(prior)
    index = indices(5)
    tables = here.tables(index, BAND)
    data = here.write(index, tables, BAND, count)
    flat = np.concatenate([g.reshape(-1) for g in index])
    found = there.read([b"", data, data[:1] + b"\xff" + data[2:], data], BAND)
    assert found[0] is None
    for mine in (found[1], found[3]):
        assert mine is not None
        got = np.concatenate([g.reshape(-1) for g in mine])
        assert np.array_equal(got[:count], flat[:count]) and (got[count:] == -1).all()
    needed = 8 + here.count_bits(BAND) + here.bits(index, tables)[count]
    assert needed <= 8 * len(data) <= needed + 16


def test_bands_are_coded_alone():
    here = coder()
    index = indices(6)
    bands = bands_of(ROWS, COLUMNS, 2)
    assert [b.rows for b in bands] in ([1, 2], [2, 1])
    other = [g.copy() for g in index]
    for band in bands[1:]:
        for grid, scale in zip(other, here.scales, strict=True):
            grid[band.first * scale :] = 0
    for band, same in zip(bands, (True, False), strict=True):
        a, b = (here.tables(here.cut(grids, band), band) for grids in (index, other))
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True)) == same


def test_decodes_in_another_process():
    here, index = coder(), indices(7)
    data = here.write(index, here.tables(index, BAND), BAND, 90)
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]);"
        "from test_indices import coder, BAND; import numpy as np;"
        "found = coder().read([bytes.fromhex(sys.argv[2])], BAND)[0];"
        "print(*np.concatenate([g.reshape(-1) for g in found]))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), data.hex()],
        capture_output=True,
        text=True,
        env={"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PATH": "/usr/bin:/bin"},
    )
    assert run.returncode == 0, run.stderr
    flat = np.concatenate([g.reshape(-1) for g in index])
    got = np.array(run.stdout.split(), int)
    assert np.array_equal(got[:90], flat[:90]) and (got[90:] == -1).all()


def test_arbitrary_bytes_are_no_packet_or_a_packet():
    here = coder()
    rng = np.random.default_rng(8)
    blobs = [rng.bytes(int(n)) for n in rng.integers(0, 60, 40)]
    found = here.read(blobs, BAND)
    assert len(found) == 40
    assert sum(f is not None for f in found) <= 4, "the check lets one in 256 pass"


def test_another_stamp_does_not_read():
    here, index = coder(), indices(9)
    data = here.write(index, here.tables(index, BAND), BAND, 50)
    stranger = IndexCoder(fixed(), here.usage, "transformer", 1, b"other")
    assert stranger.read([data], BAND)[0] is None


def test_expectation_keeps_what_is_known_and_fills_the_rest():
    here, index = coder(), indices(10)
    known = [np.ones(g.shape, bool) for g in index]
    known[0][1:] = False
    known[1][2:4] = False
    wanted = [np.ones(g.shape, bool) for g in index]
    wanted[2][:] = False
    known[2][:] = False
    found = here.expect(index, known, wanted, BAND)
    books = [book * 2.0**-10 for book in here.fixed.books]
    for s in (0, 1):
        assert np.allclose(found[s][known[s]], books[s][index[s]][known[s]])
        assert (np.abs(found[s][~known[s]]).sum(-1) > 0).all()
        assert np.abs(found[s]).max() <= np.abs(books[s]).max() + 1e-9
    assert not found[2].any(), "what was never sent is not made up"
