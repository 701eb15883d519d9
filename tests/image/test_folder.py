"""Pictures in folders."""

import numpy as np
import pytest
from PIL import Image

from linksim import registry
from linksim.errors import ComponentError, ImageError
from linksim.image.folder import Folder
from linksim.image.source import ImageRef, ImageSource, group_by_size, resolve


def picture(path, height=6, width=8, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def folder(tmp_path):
    for name, height, width in (
        ("b.png", 6, 8),
        ("a.png", 8, 6),
        ("c.png", 6, 8),
        ("d/e.png", 6, 8),
    ):
        picture(tmp_path / name, height, width, seed=ord(name[0]))
    (tmp_path / ".hidden").write_text("no picture")
    return tmp_path


def test_order_keys_and_pixels(folder):
    source = Folder(str(folder))
    assert isinstance(source, ImageSource)
    assert [source.key(i) for i in range(len(source))] == ["a.png", "b.png", "c.png"]
    assert source.size(0) == (8, 6) and source.load(0).shape == (8, 6, 3)
    np.testing.assert_array_equal(source.load(1), np.asarray(Image.open(folder / "b.png")))


def test_recursive_and_limit(folder):
    source = Folder(str(folder), recursive=True)
    assert [e.key for e in source.entries()] == ["a.png", "b.png", "c.png", "d/e.png"]
    assert len(Folder(str(folder), recursive=True, limit=2)) == 2


def test_digest_is_of_the_pixels(folder):
    Image.open(folder / "b.png").save(folder / "same.bmp")
    source = Folder(str(folder))
    digests = {source.key(i): source.digest(i) for i in range(len(source))}
    assert digests["b.png"] == digests["same.bmp"] != digests["c.png"]
    resized = Folder(str(folder), size=4)
    assert resized.digest(1) != digests["b.png"]
    entry = source.entries()[1]
    assert isinstance(entry, ImageRef) and entry.digest == digests["b.png"]
    np.testing.assert_array_equal(entry.load(), source.load(1))


def test_size_and_crop(folder):
    assert {i.shape for i in Folder(str(folder), size=4)} == {(4, 4, 3)}
    assert {i.shape for i in Folder(str(folder), size=3, crop="none")} == {(4, 3, 3), (3, 4, 3)}
    source = Folder(str(folder), crop="square")
    assert source.load(0).shape == (6, 6, 3) and source.size(0) == (6, 6)


def test_a_file_that_is_no_picture(folder):
    (folder / "notes.txt").write_text("not a picture")
    source = Folder(str(folder))
    with pytest.raises(ImageError, match=r"notes\.txt: not a picture"):
        [source.size(i) for i in range(len(source))]
    with pytest.raises(ImageError, match=r"notes\.txt"):
        source.load(3)
    assert len(Folder(str(folder), skip_unreadable=True)) == 3


def test_damage_in_the_body_is_skipped_too(folder):
    whole = (folder / "b.png").read_bytes()
    (folder / "b.png").write_bytes(whole[: len(whole) // 2])
    source = Folder(str(folder), skip_unreadable=True, limit=2)
    assert [source.key(i) for i in range(2)] == ["a.png", "c.png"]
    with pytest.raises(ImageError, match=r"b\.png: cannot be read"):
        Folder(str(folder)).load(1)


@pytest.mark.parametrize("name", ["nowhere", "a.png"])
def test_no_such_folder(folder, name):
    with pytest.raises(ImageError, match=r"path: folder .* name a folder with pictures"):
        Folder(str(folder / name))


def test_an_empty_folder(tmp_path):
    with pytest.raises(ImageError, match="has no pictures"):
        Folder(str(tmp_path))


def test_variables(folder, monkeypatch):
    monkeypatch.setenv("LINKSIM_ASSETS", str(folder))
    assert len(Folder("$LINKSIM_ASSETS/d")) == 1
    assert len(Folder("${LINKSIM_ASSETS}/d")) == 1
    monkeypatch.delenv("LINKSIM_ASSETS")
    with pytest.raises(Exception, match="environment variable LINKSIM_ASSETS is not set"):
        resolve("$LINKSIM_ASSETS/d")
    with pytest.raises(ComponentError, match="LINKSIM_ASSETS is not set"):
        registry.create("images", {"name": "folder", "path": "$LINKSIM_ASSETS/d"})


def test_from_a_scenario_with_a_mistake(folder):
    with pytest.raises(ComponentError, match="image source 'folder': size: must be a whole number"):
        registry.create("images", {"name": "folder", "path": str(folder), "size": -3})
    with pytest.raises(ComponentError, match="no parameter 'sizes'; did you mean 'size'"):
        registry.create("images", {"name": "folder", "path": str(folder), "sizes": 3})


def test_batches_hold_one_size(folder):
    assert group_by_size(Folder(str(folder), recursive=True), 2) == [[0], [1, 2], [3]]
    with pytest.raises(ValueError, match="batch must be at least 1"):
        group_by_size(Folder(str(folder)), 0)


@pytest.mark.assets
def test_kodak(assets):
    source = Folder("$LINKSIM_ASSETS/kodak")
    sizes = [source.size(i) for i in range(len(source))]
    assert len(sizes) == 24 and set(sizes) == {(512, 768), (768, 512)}
    assert len(group_by_size(source, 24)) == 2
