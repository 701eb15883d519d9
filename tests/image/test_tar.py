"""Pictures in tar shards."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from linksim.errors import ImageError
from linksim.image.source import ImageSource
from linksim.image.tar import Tar


def png(seed=0, height=4, width=6):
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path, members, mode="w", **fields):
    with tarfile.open(path, mode) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, io.BytesIO(data))
    return str(path)


@pytest.fixture
def two(tmp_path):
    shard(tmp_path / "s-000.tar", [("b.png", png(0)), ("a.png", png(1))])
    shard(tmp_path / "s-001.tar", [("x/c.png", png(2)), ("b.png", png(3))])
    return tmp_path


def test_shards_and_members_in_order(two):
    source = Tar(str(two / "s-*.tar"))
    assert isinstance(source, ImageSource)
    keys = ["s-000.tar/b.png", "s-000.tar/a.png", "s-001.tar/x/c.png", "s-001.tar/b.png"]
    assert [source.key(i) for i in range(4)] == keys
    for i, seed in enumerate(range(4)):
        expected = np.asarray(Image.open(io.BytesIO(png(seed))))
        np.testing.assert_array_equal(source.load(i), expected)
        assert source.size(i) == (4, 6)
    listed = Tar([str(two / "s-001.tar"), str(two / "s-000.tar")])
    assert listed.key(0) == "s-001.tar/x/c.png" and len(listed) == 4
    assert len(Tar(str(two / "s-*.tar"), limit=3)) == 3
    assert Tar(str(two / "s-000.tar"), size=3).load(0).shape == (3, 3, 3)


def test_nothing_is_written(two):
    before = sorted(p.name for p in two.iterdir())
    list(Tar(str(two / "s-*.tar")))
    assert sorted(p.name for p in two.iterdir()) == before


@pytest.mark.parametrize("name", ["../evil.png", "/etc/evil.png", "a/../../evil.png"])
def test_paths_out_of_the_archive(tmp_path, name):
    with pytest.raises(ImageError, match="a path outside the archive"):
        Tar(shard(tmp_path / "s.tar", [(name, png())]))


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices(tmp_path, kind):
    path = shard(tmp_path / "s.tar", [("a.png", b"")], type=kind, linkname="/etc/passwd")
    with pytest.raises(ImageError, match=r"a\.png: not a regular file"):
        Tar(path)


def test_large_members(tmp_path):
    path = shard(tmp_path / "s.tar", [("a.png", bytes(2 << 20))])
    with pytest.raises(ImageError, match="above the limit of 1048576; raise max_member_mib"):
        Tar(path, max_member_mib=1)


def test_two_members_of_one_name(tmp_path):
    with pytest.raises(ImageError, match="two members have this name"):
        Tar(shard(tmp_path / "s.tar", [("a.png", png()), ("a.png", png(1))]))


def test_two_shards_of_one_name(two):
    with pytest.raises(ImageError, match=r"two shards are called s-000\.tar"):
        Tar([str(two / "s-000.tar")] * 2)


def test_members_that_are_no_pictures(tmp_path):
    path = shard(tmp_path / "s.tar", [("a.txt", b"text"), ("a.png", png()), (".DS", b"")])
    with pytest.raises(ImageError, match=r"s\.tar/a\.txt: not a picture"):
        Tar(path).size(0)
    source = Tar(path, skip_unreadable=True)
    assert [source.key(i) for i in range(len(source))] == ["s.tar/a.png"]


def test_no_tar_at_all(tmp_path):
    with pytest.raises(ImageError, match="there is no tar file"):
        Tar(str(tmp_path / "s-*.tar"))
    (tmp_path / "x.tar").write_bytes(b"not a tar file")
    with pytest.raises(ImageError, match="not a readable, uncompressed tar file"):
        Tar(str(tmp_path / "x.tar"))
    with pytest.raises(ImageError, match="unpack a compressed one first"):
        Tar(shard(tmp_path / "s.tar.gz", [("a.png", png())], "w:gz"))
    with pytest.raises(ImageError, match="holds no pictures"):
        Tar(shard(tmp_path / "empty.tar", []))


def test_a_shard_cut_in_half(tmp_path):
    path = tmp_path / "s.tar"
    shard(path, [("a.png", png(0, 64, 64)), ("b.png", png(1, 64, 64))])
    path.write_bytes(path.read_bytes()[:15000])
    with pytest.raises(ImageError, match=r"s\.tar"):
        source = Tar(str(path))
        [source.load(i) for i in range(len(source))]


@pytest.mark.assets
def test_faces(assets):
    source = Tar("$LINKSIM_ASSETS/faces128/test-000.tar")
    assert len(source) == 1000
    assert source.load(999).shape == (128, 128, 3)
