"""Files of channel impulse responses: measured, or simulated elsewhere.

Layout, as arrays of an .npz archive (plain NumPy, no pickles) or datasets at the root of an .h5 file:

  h               complex64 or complex128, [num, taps], [num, taps, times] or [num, rx, taps, times]: ``num``
  independent
                  realisations (places, drops, snapshots) of the baseband impulse response
  delays_s        float, [taps] or [num, taps], s, >= 0; may be missing where there is one tap
  sample_rate_hz  float, how often per second h was sampled along ``times``; may be missing where there is one time

:func:`write` makes such a file. Files are read by realisation: an .npz that is not compressed is mapped into memory, an
.h5 is read row by row, so that either may be larger than memory. A compressed .npz is unpacked whole, up to 1 GiB.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from linksim.atomic import written_whole
from linksim.errors import ComponentError

_MOST = 1 << 31  # values of h in a file
_MOST_OF_ONE = 1 << 24  # of one realisation
_UNPACKED = 1 << 30  # bytes of a compressed .npz
_UNFOLDING = 256  # how much larger than its file the content may be
_CHUNK = 1 << 21  # values read at a time


@dataclass(frozen=True, eq=False)
class CirFile:
    """An open file.

    Args:
      path:           where it is.
      h:              [num, ...] array-like of complex numbers, read by rows.
      shape:          (num, rx, taps, times).
      delays_s:       [taps] or [num, taps] float64, s.
      sample_rate_hz: along times; NaN where there is one.
    """

    path: Path
    h: Any
    shape: tuple[int, int, int, int]
    delays_s: np.ndarray
    sample_rate_hz: float
    _known: dict[str, np.ndarray] = field(default_factory=dict)

    def close(self) -> None:
        """Let go of the file; an .npz needs no closing."""
        held = getattr(self.h, "file", None)
        if held is not None:
            held.close()

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The realisations at ``rows``. Returns: [len(rows), rx, taps, times] complex64."""
        try:
            found = [np.asarray(self.h[int(row)], np.complex64) for row in rows]
        except (OSError, ValueError, RuntimeError) as error:
            raise ComponentError(f"{self.path.name}: h cannot be read ({_line(error)})") from error
        return np.stack(found).reshape(len(rows), *self.shape[1:])

    def tap_powers(self) -> np.ndarray:
        """Mean power of each tap over antennas and times, by realisation. Returns: [num, taps] float64.

        Reads the file through, once. Raises ComponentError: on values that are not finite, or no power at all.
        """
        if "powers" not in self._known:
            powers = np.concatenate([_powers(part) for part in self._parts()])
            if not np.isfinite(powers).all():
                row = int(np.argmin(np.isfinite(powers).all(axis=1)))
                raise ComponentError(
                    f"{self.path.name}: h of realisation {row} has values that are not finite"
                )
            if not powers.sum() > 0:
                raise ComponentError(f"{self.path.name}: h is zero everywhere")
            self._known["powers"] = powers
        return self._known["powers"]

    def _parts(self) -> Iterator[np.ndarray]:
        each = max(_CHUNK // int(np.prod(self.shape[1:])), 1)
        for start in range(0, self.shape[0], each):
            yield self.read(np.arange(start, min(start + each, self.shape[0])))


def _powers(part: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (part.real.astype(np.float64) ** 2 + part.imag.astype(np.float64) ** 2).mean((1, 3))


def write(
    path: str | Path,
    h: np.ndarray,
    delays_s: np.ndarray | None = None,
    sample_rate_hz: float | None = None,
) -> Path:
    """Write a file of impulse responses, .npz or .h5 by the path's ending; see the module for the layout.

    Args:
      h:              [num, taps], [num, taps, times] or [num, rx, taps, times] complex.
      delays_s:       [taps] or [num, taps], s; by default one tap at 0.
      sample_rate_hz: of h along times; needed where there is more than one.
    Returns: the path.
    Raises:  ComponentError: where what is given does not fit the layout; nothing is written.
    """
    path = Path(path)
    arrays: dict[str, Any] = {"h": np.asarray(h)}
    if delays_s is not None:
        arrays["delays_s"] = np.asarray(delays_s, np.float64)
    if sample_rate_hz is not None:
        arrays["sample_rate_hz"] = np.asarray(sample_rate_hz, np.float64)
    if arrays["h"].dtype == np.complex128:
        arrays["h"] = arrays["h"].astype(np.complex64)
    _checked(path, arrays).tap_powers()
    if path.suffix not in (".npz", ".h5"):
        raise ComponentError(f"{path.name}: the name must end in .npz or .h5")
    with written_whole(path) as part:
        if path.suffix == ".npz":
            with part.open("wb") as file:
                np.savez(file, **arrays)
        else:
            import h5py

            with h5py.File(part, "w") as file:
                for name, value in arrays.items():
                    file.create_dataset(name, data=value)
    return path


def open_file(path: str | Path) -> CirFile:
    """Open a file; its content is read when it is needed. Raises ComponentError with one clear line."""
    path = Path(path)
    if not path.is_file():
        raise ComponentError(
            f"there is no file of impulse responses {path}; linksim.channel.cir_file.write makes one"
        )
    stat = path.stat()
    return _opened(str(path.resolve()), stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=8)
def _opened(path: str, mtime_ns: int, size: int) -> CirFile:
    return read_uncached(Path(path))


def read_uncached(place: Path) -> CirFile:
    """As :func:`open_file`, of a file that nobody else has open."""
    size = place.stat().st_size
    try:
        if place.suffix == ".npz":
            return _checked(place, _npz(place, size))
        if place.suffix == ".h5":
            return _checked(place, _h5(place), size)
    except ComponentError:
        raise
    except Exception as error:  # zipfile, NumPy and HDF5 raise what they like on damage
        raise ComponentError(
            f"{place.name} is not a readable {place.suffix} file ({_line(error)})"
        ) from error
    raise ComponentError(f"{place.name}: the name must end in .npz or .h5")


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


_NAMES = ("h", "delays_s", "sample_rate_hz")


def _npz(path: Path, size: int) -> dict[str, Any]:
    """The arrays of an archive: h mapped into memory where it is stored as it is."""
    found: dict[str, Any] = {}
    with zipfile.ZipFile(path) as archive:
        known = {info.filename: info for info in archive.infolist()}
        for name in _NAMES:
            info = known.get(f"{name}.npy")
            if info is None:
                continue
            with archive.open(info) as member:
                shape, fortran, dtype = _npy_header(member)
                if dtype.hasobject:
                    raise ValueError(f"{name} holds Python objects")
                count = int(np.prod(shape, dtype=object))
                if count > _MOST or (count * dtype.itemsize) > info.file_size:
                    raise ValueError(f"{name} announces {count} values")
                if info.compress_type == zipfile.ZIP_STORED and not fortran and count:
                    offset = member._orig_compress_start + member.tell()  # type: ignore[attr-defined]
                    if offset + count * dtype.itemsize > size:
                        raise ValueError(f"{name} is cut off")
                    found[name] = np.memmap(path, dtype, "r", offset, shape)
                    continue
                if info.file_size > min(_UNPACKED, (1 << 20) + _UNFOLDING * info.compress_size):
                    raise ValueError(f"{name} unfolds to {info.file_size} bytes")
                data = member.read(count * dtype.itemsize)
                order = "F" if fortran else "C"
                found[name] = np.frombuffer(data, dtype).reshape(shape, order=order)  # type: ignore[call-overload]
    return found


def _npy_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise ValueError(f"NumPy format {version}")


def _h5(path: Path) -> dict[str, Any]:
    """The datasets of an HDF5 file; what they hold is in this file and nowhere else."""
    import h5py

    file = h5py.File(path, "r")
    try:
        return _datasets(path, file)
    except BaseException:
        file.close()
        raise


def _datasets(path: Path, file: Any) -> dict[str, Any]:
    import h5py

    found: dict[str, Any] = {}
    for name in _NAMES:
        if name not in file:
            continue
        data = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
            raise ComponentError(
                f"{path.name}: {name} must be a dataset in the file itself, no group and no link"
            )
        if name != "h" and data.size is not None and data.size <= _MOST_OF_ONE:
            found[name] = np.asarray(data[()])
        else:
            found[name] = data
    return found


def _checked(path: Path, arrays: Mapping[str, Any], size: int | None = None) -> CirFile:
    """The arrays as a file, if they fit the layout. Raises ComponentError."""
    name = path.name
    if "h" not in arrays:
        raise ComponentError(
            f"{name} has no array h [num, taps, times]; linksim.channel.cir_file describes the layout"
        )
    h = arrays["h"]
    if np.dtype(h.dtype).kind != "c":
        raise ComponentError(f"{name}: h must be complex, got {h.dtype}")
    given = tuple(h.shape)
    if not 2 <= len(given) <= 4:
        raise ComponentError(
            f"{name}: h must be [num, taps], [num, taps, times] or [num, rx, taps, times], got {given}"
        )
    num, rx, taps, times = {
        2: lambda: (given[0], 1, given[1], 1),
        3: lambda: (given[0], 1, given[1], given[2]),
        4: lambda: given,
    }[len(given)]()
    one, count = rx * taps * times, num * rx * taps * times
    if not count or count > _MOST or one > _MOST_OF_ONE or rx > 16:
        raise ComponentError(
            f"{name}: h of {given} is empty or too large (at most 2^31 values, 2^24 of one realisation, 16 antennas)"
        )
    if size is not None and count * np.dtype(h.dtype).itemsize > (1 << 20) + _UNFOLDING * size:
        raise ComponentError(f"{name}: its {size} bytes announce {count} values of h")
    delays = _numbers(name, "delays_s", arrays.get("delays_s"))
    if delays is None:
        if taps > 1:
            raise ComponentError(f"{name} has {taps} taps and no delays_s [taps]")
        delays = np.zeros(1)
    if delays.shape not in ((taps,), (num, taps)):
        raise ComponentError(
            f"{name}: delays_s must be [{taps}] or [{num}, {taps}], got {list(delays.shape)}"
        )
    if not (np.isfinite(delays).all() and (delays >= 0).all()):
        raise ComponentError(f"{name}: delays_s must be finite and >= 0 s")
    rate = _numbers(name, "sample_rate_hz", arrays.get("sample_rate_hz"))
    if rate is None:
        if times > 1:
            raise ComponentError(f"{name} has {times} times and no sample_rate_hz")
        rate = np.array(np.nan)
    elif rate.size != 1 or not (np.isfinite(rate).all() and (rate > 0).all()):
        raise ComponentError(f"{name}: sample_rate_hz must be one number above 0")
    return CirFile(path, h, (num, rx, taps, times), delays, float(rate.reshape(-1)[0]))


def _numbers(file: str, name: str, value: Any) -> np.ndarray | None:
    if value is None:
        return None
    if np.dtype(value.dtype).kind not in "fiu" or value.size > _MOST_OF_ONE:
        raise ComponentError(
            f"{file}: {name} must be real numbers, got {value.dtype} {value.shape}"
        )
    return np.asarray(value, np.float64)
