"""Small files that would become large, and paths that would lead elsewhere: refused, before memory is taken."""

from __future__ import annotations

import io
import os
import resource
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from test_fuzz import guarded

from linksim.errors import ComponentError, ImageError
from linksim.image import decode
from linksim.image.folder import Folder
from linksim.image.tar import Tar
from linksim.metric.torch_file import read_tensors
from linksim.model.store import read_arrays


@pytest.fixture(autouse=True)
def small_room():
    """Nothing here needs more than half a GiB."""
    with guarded(room_gib=0.5):
        yield


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes, *more: bytes) -> bytes:
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


ZEROS = zlib.compress(bytes(1 << 26))


@pytest.mark.parametrize(
    "data",
    [
        png(100_000, 100_000, ZEROS),
        png(9_000, 9_000, ZEROS),
        png(8, 8, zlib.compress(bytes(200)), chunk(b"zTXt", b"a\0\0" + ZEROS)),
        png(8, 8, zlib.compress(bytes(200)), chunk(b"iCCP", b"a\0\0" + ZEROS)),
    ],
    ids=["huge", "above MAX_PIXELS", "text", "profile"],
)
def test_png_bombs_are_refused(data):
    with pytest.raises(ImageError, match="photo"):
        decode.read(data, "photo")


def test_pixels_behind_the_picture_are_left_alone():
    assert decode.read(png(8, 8, ZEROS), "photo").shape == (8, 8, 3)


def test_a_zip_bomb_is_no_weights_file(tmp_path):
    head = io.BytesIO()
    form = {"descr": "<f4", "fortran_order": False, "shape": (1 << 26,)}
    np.lib.format.write_array_header_1_0(head, form)
    with (
        zipfile.ZipFile(tmp_path / "net.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as member,  # in pieces: memory is limited here
    ):
        member.write(head.getvalue())
        for _ in range(1 << 8):
            member.write(bytes(1 << 20))
    with pytest.raises(ComponentError, match=r"net.npz .* unfold"):
        read_arrays(tmp_path / "net.npz")


def torch_zip(path: Path, data: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data.pkl", data)
    return path


@pytest.mark.parametrize("number", [b"r\x00\x00\x00\x20", b"p500000000\n"], ids=["binary", "text"])
def test_a_pickle_that_numbers_billions_of_objects_is_refused(tmp_path, number):
    path = torch_zip(tmp_path / "net.pth", b"\x80\x02}" + number + b".")
    with pytest.raises(ComponentError, match="numbers an object"):
        read_tensors(path)


def test_a_pickle_that_asks_for_more_than_tensors_is_not_run(tmp_path):
    mark = tmp_path / "ran"
    path = torch_zip(tmp_path / "net.pth", b"cos\nsystem\n(S'touch %s'\ntR." % os.fsencode(mark))
    with pytest.raises(ComponentError, match="system"):
        read_tensors(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.png"])
def test_paths_out_of_an_archive_are_refused(tmp_path, name):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.addfile(tarfile.TarInfo(name))
    with pytest.raises(ImageError, match="outside the archive"):
        Tar(str(tmp_path / "a.tar"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_an_archive_are_refused(tmp_path, kind):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        info = tarfile.TarInfo("a.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    with pytest.raises(ImageError, match="link or device"):
        Tar(str(tmp_path / "a.tar"))


def test_a_pipe_in_a_folder_does_not_hang_it(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    with pytest.raises(ImageError, match="no pictures"):
        Folder(str(tmp_path))


def test_the_guard_refuses_memory():
    assert resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    with pytest.raises(MemoryError):
        np.ones(1 << 28)
