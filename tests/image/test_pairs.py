"""Pictures with side information: stereo folders, the built-in pair, halves."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from linksim import registry
from linksim.errors import ImageError
from linksim.image.halves import Halves
from linksim.image.pairs import PairedSource, other, side_of
from linksim.image.samples import Samples
from linksim.image.stereo import Stereo


def save(path, size=(20, 12), level=0, mode="RGB"):
    rng = np.random.default_rng(level)
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode).save(path)


def folder(tmp_path, count=3):
    for i in range(count):
        save(tmp_path / f"road{i}_L.png", level=2 * i)
        save(tmp_path / f"road{i}_R.png", level=2 * i + 1)
    return str(tmp_path)


def test_right_view_is_the_picture_and_left_its_side_information(tmp_path):
    source = registry.create("images", {"name": "stereo", "path": folder(tmp_path)})
    assert isinstance(source, PairedSource)
    assert [source.key(i) for i in range(len(source))] == ["road0", "road1", "road2"]
    right = np.asarray(Image.open(tmp_path / "road1_R.png"))
    left = np.asarray(Image.open(tmp_path / "road1_L.png"))
    assert np.array_equal(source.load(1), right) and np.array_equal(source.side(1), left)
    swapped = Stereo(str(tmp_path), swap=True, limit=2)
    assert len(swapped) == 2
    assert np.array_equal(swapped.load(1), left) and np.array_equal(swapped.side(1), right)


def test_digest_covers_the_side_information(tmp_path):
    before = Stereo(folder(tmp_path))
    digests = [before.digest(i) for i in range(3)]
    save(tmp_path / "road0_L.png", level=99)
    after = Stereo(str(tmp_path))
    assert after.digest(0) != digests[0]
    assert after.digest(2) != digests[2], "its wrong side information is road0's"
    assert after.digest(1) == digests[1]


def test_unpaired_views(tmp_path):
    folder(tmp_path)
    (tmp_path / "road1_R.png").unlink()
    (tmp_path / "road2_L.png").unlink()
    with pytest.raises(ImageError, match=r"2 views in .* have no partner, the first road1_L.png"):
        Stereo(str(tmp_path))
    save(tmp_path / "notes.png")
    with pytest.raises(ImageError, match=r"notes.png is no view of a pair"):
        Stereo(str(tmp_path))


def test_views_of_two_sizes(tmp_path):
    folder(tmp_path)
    save(tmp_path / "road1_L.png", size=(20, 14))
    source = Stereo(str(tmp_path))
    with pytest.raises(ImageError, match=r"left view is 20x14, the right one 20x12"):
        source.size(1)


@pytest.mark.parametrize(("name", "match"), [("none", "does not exist"), ("empty", "no stereo")])
def test_folders_without_pairs(tmp_path, name, match):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=match):
        Stereo(str(tmp_path / name))


def test_grey_views_become_colour(tmp_path):
    save(tmp_path / "a_L.png", mode="L")
    save(tmp_path / "a_R.png")
    assert Stereo(str(tmp_path)).side(0).shape == (12, 20, 3)


def test_builtin_pair_is_shifted_along_the_rows():
    source = Stereo()
    for i in range(len(source)):
        image, side = source.load(i).astype(float), source.side(i).astype(float)
        assert image.shape == (128, 256, 3) == (*source.size(i), 3)
        error = [np.abs(image[:, :200] - side[:, d : 200 + d]).mean() for d in range(30)]
        assert 2 <= int(np.argmin(error)) <= 26, "a thing lies further right in the left view"
        assert min(error) < 0.75 * error[0]


def test_halves_meet():
    whole = Samples(size=32, limit=2)
    source = Halves({"name": "samples", "size": 32, "limit": 2})
    assert source.size(0) == (16, 32) and source.key(1) == whole.key(1)
    both = np.concatenate([source.load(1), source.side(1)])
    assert np.array_equal(both, whole.load(1))


def test_side_information_of_another_picture():
    source = Halves({"name": "samples", "size": 32, "limit": 3})
    assert np.array_equal(side_of(source, 2, 1), source.side(0))
    with pytest.raises(ImageError, match="no other picture"):
        side_of(Halves({"name": "samples", "size": 32, "limit": 1}), 0, 1)
    assert other(source, 1, 0) == 1


def test_a_source_without_side_information():
    with pytest.raises(ImageError, match="use `stereo` or `halves`"):
        side_of(Samples(size=32, limit=1), 0)
