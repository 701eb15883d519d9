"""The asset table, finding, fetching (from a local server) and unpacking."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from linksim import assets
from linksim.assets import Asset, AssetFile
from linksim.errors import MissingAssetError, UnknownNameError

CONTENT = b"weights" * 100


@pytest.fixture(autouse=True)
def no_folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Empty assets folder and cache, whatever the machine has."""
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("LINKSIM_ASSETS", str(tmp_path / "named"))


def toy(url: str = "http://127.0.0.1:9/none", content: bytes = CONTENT) -> Asset:
    file = AssetFile("toys/toy.pth", len(content), hashlib.sha256(content).hexdigest())
    return Asset("toy", "toys", "a toy", (file,), url, "CC0")


def put(folder: Path, data: bytes = CONTENT) -> Path:
    path = folder / "toys" / "toy.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    return path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "public"
    root.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def test_table_is_well_formed() -> None:
    paths = [file.path for asset in assets.ASSETS.values() for file in asset.files]
    assert len(set(paths)) == len(paths)
    for name, asset in assets.ASSETS.items():
        assert asset.name == name
        assert asset.url.startswith("https://")
        for file in asset.files:
            assert file.size > 0
            assert file.sha256 is None or len(bytes.fromhex(file.sha256)) == 32
    # torchvision names its files after the first eight digits of their SHA-256: an independent witness of the table.
    for name in ("alex", "squeeze"):
        file = assets.ASSETS[f"lpips-{name}-backbone"].files[0]
        assert file.sha256 and file.sha256[:8] == Path(file.path).stem.rsplit("-", 1)[-1]
    assert assets.groups() == ["lpips", "inception"]


def test_absent_names_the_fix() -> None:
    with pytest.raises(MissingAssetError, match=r"linksim assets fetch lpips.*LINKSIM_ASSETS"):
        assets.locate("lpips-alex-heads")
    assert all(status.path is None for status in assets.status())


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown asset 'vgg'"):
        assets.locate("vgg")
    with pytest.raises(UnknownNameError, match="known: lpips, inception"):
        assets.fetch("vgg")


def test_named_folder_comes_before_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", toy())
    cached = put(tmp_path / "cache" / "assets")
    assert assets.locate("toy") == cached
    named = put(tmp_path / "named")
    assert assets.locate("toy") == assets.verified("toy") == named


def test_wrong_size_and_wrong_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", toy())
    path = put(tmp_path / "named", CONTENT[:-1])
    with pytest.raises(MissingAssetError, match="has 699 bytes, not 700"):
        assets.locate("toy")
    path.write_bytes(CONTENT[:-1] + b"S")
    assert assets.locate("toy") == path
    with pytest.raises(MissingAssetError, match="has SHA-256"):
        assets.verified("toy")


def test_alternative_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first = AssetFile("toys/other.pth", 1, "00" * 32)
    both = Asset("toy", "toys", "a toy", (first, *toy().files), "https://example.org", "CC0")
    monkeypatch.setitem(assets.ASSETS, "toy", both)
    assert assets.verified("toy") if put(tmp_path / "named") else None


def test_fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", toy(f"{server}/remote.pth"))
    (tmp_path / "public" / "remote.pth").write_bytes(CONTENT)
    (path,) = assets.fetch("toys")
    assert path == tmp_path / "cache" / "assets" / "toys" / "toy.pth"
    assert path.read_bytes() == CONTENT
    (tmp_path / "public" / "remote.pth").unlink()
    assert assets.fetch("toy") == [path]  # nothing is downloaded twice


def test_fetch_refuses_other_content(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str
) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", toy(f"{server}/remote.pth"))
    (tmp_path / "public" / "remote.pth").write_bytes(b"something else")
    with pytest.raises(MissingAssetError, match="cannot be fetched"):
        assets.fetch("toy")
    assert not list((tmp_path / "cache").rglob("*.pth"))


def test_fetch_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(assets.ASSETS, "toy", toy())
    with pytest.raises(MissingAssetError, match=r"cannot be fetched.*put it at"):
        assets.fetch("toy")


def archive(path: Path, name: str, kind: bytes = tarfile.REGTYPE) -> None:
    with tarfile.open(path, "w:gz") as tar:
        evil = tarfile.TarInfo("../evil")
        evil.size = 4
        tar.addfile(evil, io.BytesIO(b"evil"))
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        info.size = len(CONTENT) if kind == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(CONTENT))


def test_fetch_from_archive(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, server: str) -> None:
    packed = tmp_path / "public" / "toy.tgz"
    archive(packed, "graph.pb")
    file = AssetFile("toys/graph.pb", len(CONTENT), None)
    size = packed.stat().st_size
    entry = Asset("toy", "toys", "a toy", (file,), f"{server}/toy.tgz", "CC0", (size, "graph.pb"))
    monkeypatch.setitem(assets.ASSETS, "toy", entry)
    (path,) = assets.fetch("toy")
    assert path.read_bytes() == CONTENT
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == ["graph.pb", "toy.tgz"]
    assert [s.check for s in assets.status() if s.asset.name == "toy"] == ["size"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE])
def test_unpack_takes_regular_files_only(tmp_path: Path, kind: bytes) -> None:
    archive(tmp_path / "toy.tgz", "graph.pb", kind)
    with pytest.raises(ValueError, match="is not a file of"):
        assets.unpack_member(tmp_path / "toy.tgz", "graph.pb", tmp_path / "out", len(CONTENT))
    with pytest.raises(ValueError, match="has no other"):
        assets.unpack_member(tmp_path / "toy.tgz", "other", tmp_path / "out", len(CONTENT))
    assert not (tmp_path / "out").exists()


def test_listing_is_light() -> None:
    code = (
        "import sys; from linksim import assets; assets.status(); "
        "print([m for m in ('tensorflow', 'keras', 'numpy', 'pooch', 'requests', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.assets
@pytest.mark.usefixtures(
    "assets"
)  # of the session, so that it reads LINKSIM_ASSETS before the fixture above clears it
def test_development_files_have_the_digests(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder: Path = request.getfixturevalue("assets")
    monkeypatch.setenv("LINKSIM_ASSETS", str(folder))
    for name in assets.ASSETS:
        if name.startswith("lpips"):
            assert assets.verified(name).parent == folder / "lpips"
