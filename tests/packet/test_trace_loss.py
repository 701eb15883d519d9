"""Losses played back from files: layouts, starts, the ring, bad files."""

import numpy as np
import pytest

from linksim import registry
from linksim.errors import ComponentError
from linksim.packet.trace import Trace, read_trace
from linksim.seeds import FrameSeeds

LOST = np.array([0, 0, 1, 1, 0, 1, 0, 0, 0, 1], bool)


def written(folder, name, content):
    path = folder / name
    if isinstance(content, np.ndarray):
        np.save(path, content)
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.txt", "0011010001"),
        ("t.txt", "# measured on a Monday\n0011 0\r\n10001\n"),
        ("t.csv", "lost\n" + "\n".join("0011010001")),
        ("t.csv", ",".join("0011010001") + "\n"),
        ("t.CSV", "\ufeff" + "\r\n".join("0011010001")),
        ("t.npy", LOST),
        ("t.npy", LOST.astype(np.int64)),
        ("t.npy", LOST.astype(">f4")),
    ],
    ids=str,
)
def test_layouts(tmp_path, name, content):
    np.testing.assert_array_equal(read_trace(written(tmp_path, name, content)), LOST)


def test_closed_forms_are_those_of_the_ring(tmp_path):
    process = Trace(written(tmp_path, "t.txt", "1101000111"))  # the last burst goes on at the front
    assert process.loss_rate == pytest.approx(0.6)
    assert process.mean_burst == pytest.approx(6 / 2)
    assert np.isnan(Trace(written(tmp_path, "z.txt", "000")).mean_burst)
    assert Trace(written(tmp_path, "o.txt", "111")).mean_burst == np.inf


def test_a_fixed_start_wraps_round(tmp_path):
    process = Trace(written(tmp_path, "t.npy", LOST), start=7)
    lost = process([5, 0, 23], FrameSeeds.of(1, 3))
    np.testing.assert_array_equal(lost[0], [0, 0, 1, 0, 0])
    assert lost[1].shape == (0,)
    np.testing.assert_array_equal(lost[2], np.tile(LOST, 4)[7:30])
    assert not process.uses_seed and process.loss_rate is None and process.mean_burst is None


def test_random_starts_are_uniform(tmp_path):
    one = np.zeros(8, bool)
    one[0] = True
    process = Trace(written(tmp_path, "t.npy", one))
    lost = np.stack(process([8] * 4000, FrameSeeds.of(1, 4000)))
    assert (lost.sum(axis=1) == 1).all()
    counts = lost.sum(axis=0)
    assert ((counts - 500) ** 2 / 500).sum() < 30  # chi-square, 7 degrees of freedom: 1 in 10,000


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.txt", "", "holds no packet"),
        ("t.txt", "# nothing\n", "holds no packet"),
        ("t.txt", "0012", "must hold 0 and 1 alone, got '2'"),
        ("t.csv", "lost\n", "holds no packet"),
        ("t.csv", "0,1\n1,0\n", "2 rows of 2 columns"),
        ("t.csv", "0\n1\n0.5\n", "got '0.5'"),
        ("t.npy", b"no array", "is not a .npy file"),
        ("t.npy", np.zeros((2, 2)), "must be a vector"),
        ("t.npy", np.array([0.0, 0.5]), "got 0.5 at position 1"),
        ("t.npy", np.array([0.0, np.nan]), "got nan at position 1"),
        ("t.npy", np.array(["0", "1"]), "must be a vector of numbers"),
        ("t.bin", "01", r"a file \.txt, \.csv, \.npy, got '\.bin'"),
    ],
    ids=str,
)
def test_bad_files_are_one_clear_line(tmp_path, name, content, message):
    path = written(tmp_path, name, content)
    with pytest.raises(ComponentError, match=message) as caught:
        registry.create("erasures", {"name": "trace", "path": str(path)})
    assert "\n" not in str(caught.value)


def test_objects_and_cut_arrays_are_refused_unread(tmp_path):
    path = tmp_path / "o.npy"
    np.save(path, np.array([{}, 1], object), allow_pickle=True)
    with pytest.raises(ComponentError, match="must be a vector of numbers"):
        read_trace(path)
    cut = written(tmp_path, "c.npy", LOST)
    cut.write_bytes(cut.read_bytes()[:-3])
    with pytest.raises(ComponentError, match="announces 10 packets and holds 7 bytes"):
        read_trace(cut)


@pytest.mark.parametrize("start", [-1, 10, True, "middle", 1.5])
def test_bad_starts(tmp_path, start):
    with pytest.raises(ValueError, match="start must be"):
        Trace(written(tmp_path, "t.npy", LOST), start=start)


def test_missing_file(tmp_path):
    with pytest.raises(ComponentError, match="cannot be read: No such file"):
        registry.create("erasures", {"name": "trace", "path": str(tmp_path / "t.txt")})
