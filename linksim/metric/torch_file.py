"""Tensors out of files that PyTorch saved, without PyTorch and without running what a pickle asks for.

A pickle can call any function by name. Here every name but those of tensors, their storages and ``OrderedDict`` is
refused, and those build plain records of this module, whose sizes are checked before any memory is taken.
Both formats are read: the zip archive of PyTorch 1.6 and later, and the older sequence of pickles and raw storages.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import struct
import warnings
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np

from linksim.errors import ComponentError

_MAX_MEMO = (
    1 << 20
)  # objects that a pickle may number; the unpickler makes room for the highest number at once
_MAX_SHARING = 8  # times that a storage may be used; tied weights use one twice
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "<i1",
    "ByteStorage": "<u1",
    "BoolStorage": "?",
}


@dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _Refused(ValueError):
    pass


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise _Refused("a tensor without a storage")
    numbers = (offset, *shape, *strides)
    if len(shape) != len(strides) or not all(type(n) is int and n >= 0 for n in numbers):
        raise _Refused(f"a tensor of shape {shape!r}, strides {strides!r}, offset {offset!r}")
    last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
    # The second test keeps strides of 0 from turning a small file into a large array.
    if 0 not in shape and (last >= storage.count or math.prod(shape) > storage.count):
        raise _Refused(f"a tensor of shape {shape!r} in a storage of {storage.count} values")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: Any, *_: Any) -> _Tensor:
    if not isinstance(tensor, _Tensor):
        raise _Refused("a parameter without a tensor")
    return tensor


class _StateDict(OrderedDict):
    """Takes the place of OrderedDict, so that a pickle sets attributes (``_metadata``) of nothing else."""


class _Unpickler(pickle.Unpickler):
    _BUILDERS: ClassVar[dict[tuple[str, str], Any]] = {
        ("collections", "OrderedDict"): _StateDict,
        ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
        ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
        **{("torch", name): np.dtype(code) for name, code in _DTYPES.items()},
    }

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")  # files written under Python 2 hold byte strings
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self._BUILDERS[module, name]
        except KeyError:
            raise _Refused(f"it asks for {module}.{name}, which is not a tensor") from None

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", np.dtype() as dtype, str(key), str(), int(count), *rest) if (
                count >= 0 and rest in ([], [None])
            ):
                return self.storages.setdefault(key, _Storage(key, dtype, count))
        raise _Refused(f"an unknown kind of storage: {str(pid)[:80]}")


def _unpickler(file: BinaryIO) -> _Unpickler:
    """For the pickle at the file's position, which has been looked through."""
    start = file.tell()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd escapes in damaged strings
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name.endswith("PUT") and isinstance(argument, int) and argument > _MAX_MEMO:
                raise _Refused(f"it numbers an object {argument}")
    file.seek(start)
    return _Unpickler(file)


def read_tensors(path: str | Path, prefix: str = "") -> dict[str, np.ndarray]:
    """The tensors of a saved state dictionary.

    Args:
      path:   a file made by ``torch.save(module.state_dict(), path)``.
      prefix: take only tensors whose name begins with it (the whole name is the key all the same).
    Returns: name -> array, in the file's order, each owning its memory.
    Raises:  ComponentError: not such a file, damaged, or asking for anything but tensors.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            zipped = zipfile.is_zipfile(file)
            file.seek(0)
            state, raw = _read_zip(file) if zipped else _read_legacy(file)
            return _materialise(state, raw, prefix)
    except Exception as error:  # damaged pickles raise nearly every kind
        reason = str(error) or type(error).__name__
        raise ComponentError(
            f"{path.name} is not a readable PyTorch weights file: {reason}"
        ) from error


Raw = Callable[[_Storage], np.ndarray]


def _materialise(state: Any, raw: Raw, prefix: str) -> dict[str, np.ndarray]:
    if not isinstance(state, dict):
        raise _Refused(f"it holds a {type(state).__name__}, not a state dictionary")
    arrays = {}
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise _Refused(f"its entry {str(name)[:80]!r} is not a named tensor")
    stored = sum({t.storage.key: t.storage.count for t in state.values()}.values())
    if sum(math.prod(t.shape) for t in state.values()) > _MAX_SHARING * stored:
        raise _Refused("its tensors are many times larger than its storages")
    for name, tensor in state.items():
        if not name.startswith(prefix):
            continue
        values = raw(tensor.storage)[tensor.offset :]
        steps = [step * values.itemsize for step in tensor.strides]
        arrays[name] = np.lib.stride_tricks.as_strided(values, tensor.shape, steps).copy()
    return arrays


def _read_zip(file: BinaryIO) -> tuple[Any, Raw]:
    archive = zipfile.ZipFile(file)
    if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
        raise _Refused("the archive is compressed, which PyTorch never does")
    names = set(archive.namelist())
    roots = [
        n.removesuffix("data.pkl") for n in names if n.count("/") == 1 and n.endswith("/data.pkl")
    ]
    if len(roots) != 1:
        raise _Refused("the archive has no data.pkl")
    root = roots[0]
    if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
        raise _Refused("it was written on a big-endian machine")
    state = _unpickler(io.BytesIO(archive.read(f"{root}data.pkl"))).load()

    def raw(storage: _Storage) -> np.ndarray:
        return np.frombuffer(
            archive.read(f"{root}data/{storage.key}"), storage.dtype, storage.count
        )

    return state, raw


def _read_legacy(file: BinaryIO) -> tuple[Any, Raw]:
    if _unpickler(file).load() != _MAGIC or _unpickler(file).load() != _PROTOCOL:
        raise _Refused("it does not begin as one")
    system = _unpickler(file).load()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise _Refused("it was written on a big-endian machine")
    unpickler = _unpickler(file)
    state = unpickler.load()
    keys = _unpickler(file).load()
    if not isinstance(keys, list):
        raise _Refused("it has no list of storages")
    # What follows is, for each key, its count of values (int64) and the values. A storage is read when a tensor needs
    # it: most of a classifier's file is of layers that nobody asks for here.
    starts: dict[str, int] = {}
    at = file.tell()
    for key in keys:
        storage = unpickler.storages.get(key)
        header = file.read(8)
        if storage is None or len(header) < 8 or struct.unpack("<q", header)[0] != storage.count:
            raise _Refused(f"its storage {str(key)[:40]!r} is not the one announced")
        starts[key] = at + 8
        at += 8 + storage.count * storage.dtype.itemsize
        file.seek(at)

    def raw(storage: _Storage) -> np.ndarray:
        file.seek(starts[storage.key])
        data = file.read(storage.count * storage.dtype.itemsize)
        return np.frombuffer(data, storage.dtype, storage.count)

    return state, raw
