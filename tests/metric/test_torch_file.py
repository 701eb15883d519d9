"""The reader of PyTorch's files: both formats, and that nothing else than tensors comes out of a pickle."""

from __future__ import annotations

import contextlib
import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from linksim.errors import ComponentError
from linksim.metric.torch_file import read_tensors


class _Named:
    """Pickles as a call of a function that is not importable here, as torch's own are."""

    def __init__(self, name: str, *args: Any) -> None:
        self.name, self.args = name, args


class _Storage:
    def __init__(self, kind: str, key: str, count: int) -> None:
        self.kind, self.key, self.count = kind, key, count


class _Global:
    def __init__(self, name: str) -> None:
        self.name = name


class Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes what torch.save writes: globals by name, storages as persistent ids."""

    def __init__(self, file: Any, legacy: bool) -> None:
        super().__init__(file, protocol=2)
        self.tail = (None,) if legacy else ()

    def persistent_id(self, thing: Any) -> Any:
        if isinstance(thing, _Storage):
            return ("storage", _Global(thing.kind), thing.key, "cpu", thing.count, *self.tail)
        return None

    def save(self, thing: Any, save_persistent_id: bool = True) -> None:
        if isinstance(thing, _Global):
            module, _, name = thing.name.rpartition(".")
            self.write(b"c" + module.encode() + b"\n" + name.encode() + b"\n")
        elif isinstance(thing, _Named):
            self.save(_Global(thing.name))
            self.save(thing.args)
            self.write(b"R")
        else:
            super().save(thing, save_persistent_id)


def tensor(kind: str, key: str, count: int, offset: int, shape: Any, strides: Any) -> _Named:
    storage = _Storage(f"torch.{kind}", key, count)
    return _Named(
        "torch._utils._rebuild_tensor_v2", storage, offset, shape, strides, False, OrderedDict()
    )


def dumped(thing: Any, legacy: bool) -> bytes:
    out = io.BytesIO()
    Pickler(out, legacy).dump(thing)
    return out.getvalue()


def write(path: Path, state: Any, raw: dict[str, np.ndarray], legacy: bool) -> Path:
    if legacy:
        head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
        data = b"".join(pickle.dumps(part, 2) for part in head) + dumped(state, True)
        data += pickle.dumps(list(raw), 2)
        data += b"".join(struct.pack("<q", a.size) + a.tobytes() for a in raw.values())
        path.write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("net/data.pkl", dumped(state, False))
            archive.writestr("net/byteorder", "little")
            archive.writestr("net/version", "3\n")
            for key, array in raw.items():
                archive.writestr(f"net/data/{key}", array.tobytes())
    return path


RAW = {"0": np.arange(24, dtype=np.float32), "1": np.array([5, -6], np.int64)}
STATE = OrderedDict(
    weight=tensor("FloatStorage", "0", 24, 4, (2, 3), (3, 1)),
    turned=tensor("FloatStorage", "0", 24, 0, (3, 2), (1, 3)),
    scalar=tensor("LongStorage", "1", 2, 1, (), ()),
    bias=_Named(
        "torch._utils._rebuild_parameter", tensor("LongStorage", "1", 2, 0, (2,), (1,)), True, {}
    ),
)


@pytest.mark.parametrize("legacy", [False, True])
def test_both_formats(tmp_path: Path, legacy: bool) -> None:
    path = write(tmp_path / "net.pth", STATE, RAW, legacy)
    got = read_tensors(path)
    assert list(got) == ["weight", "turned", "scalar", "bias"]
    np.testing.assert_array_equal(got["weight"], [[4, 5, 6], [7, 8, 9]])
    np.testing.assert_array_equal(got["turned"], [[0, 3], [1, 4], [2, 5]])
    assert got["weight"].dtype == np.float32 and got["scalar"] == -6
    np.testing.assert_array_equal(got["bias"], [5, -6])
    assert list(read_tensors(path, prefix="w")) == ["weight"]


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize(
    "state",
    [
        {"x": _Named("os.system", "true")},
        {"x": _Named("builtins.eval", "1")},
        {"x": _Global("linksim.metric.torch_file.read_tensors")},
        {"x": tensor("FloatStorage", "0", 24, 0, (5, 5), (5, 1))},  # reaches behind the storage
        {"x": tensor("FloatStorage", "0", 24, 24, (1,), (1,))},
        {"x": tensor("FloatStorage", "0", 24, 0, (10**9, 10**9), (0, 0))},  # a bomb
        {"x": tensor("FloatStorage", "0", 24, -1, (2,), (1,))},
        {"x": tensor("FloatStorage", "0", 24, 0, (2,), (1, 1))},
        {"x": tensor("FloatStorage", "0", 10**12, 0, (10**12,), (1,))},  # more than the file has
        {"x": 3},
        {"x": _Named("torch._utils._rebuild_parameter", 3)},
        {3: tensor("FloatStorage", "0", 24, 0, (2,), (1,))},
        [1, 2],
        _Storage("torch.FloatStorage", "0", 24),
    ],
)
def test_refused(tmp_path: Path, state: Any, legacy: bool) -> None:
    path = write(tmp_path / "net.pth", state, RAW, legacy)
    with pytest.raises(ComponentError, match=r"net\.pth is not a readable PyTorch weights file"):
        read_tensors(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_no_damage_raises_anything_else(tmp_path: Path, legacy: bool) -> None:
    whole = write(tmp_path / "whole.pth", STATE, RAW, legacy).read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "net.pth"
    for cut in range(0, len(whole), 29):
        path.write_bytes(whole[:cut])
        with pytest.raises(ComponentError):
            read_tensors(path)
    for _ in range(200):
        data = bytearray(whole)
        data[rng.integers(len(data))] ^= 1 << int(rng.integers(8))
        path.write_bytes(data)
        with contextlib.suppress(ComponentError):
            read_tensors(path)


def test_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("net/data.pkl", dumped(STATE, False))
    with pytest.raises(ComponentError, match="compressed"):
        read_tensors(path)


@pytest.mark.assets
def test_backbone_saved_by_torch(assets: Path) -> None:
    got = read_tensors(assets / "lpips" / "squeeze.backbone.pth")
    with np.load(assets / "lpips" / "squeezenet1_1_features_torchvision_layout.npz") as want:
        assert {f"features.{name}" for name in got} == set(want.files)
        for name, array in got.items():
            np.testing.assert_array_equal(array, want[f"features.{name}"])
