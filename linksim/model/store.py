"""Weights of networks as plain arrays: named by part and layer, stored as .npz without pickles.

Exports hold their rounded kernels entropy coded (``linksim.packed``); ``read_arrays`` gives them as arrays.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from linksim.atomic import write_atomically, written_whole
from linksim.errors import ComponentError, MissingAssetError
from linksim.packed import WORDS, pack, unpack

SHIPPED = Path(__file__).parent / "weights"
LIMIT = 8 << 20  # bytes of a weights file
_UNFOLDING = (
    32  # how much larger than its file an archive's content may be; weights hardly compress
)
_CHAIN = 4  # files that may take parts from each other, one from the next
KERNELS = ("/kernel", "/matrix")  # ends of the paths of what is large in a network
MOST_BITS = 12
Bits = int | Mapping[str, int] | None  # of kernels: all alike, or by part and "" for the others
# The linear skeletons carry the picture: of what rounding all kernels of NTSCC costs, nine tenths came from
# g_s.linear (docs/training.md).
SKELETON, FINER_BITS = "/matrix", 3


class HasParts(Protocol):
    """A network made of named, separately usable layers."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """Name -> Keras layer."""
        ...


def belongs(path: str, name: str) -> bool:
    """Whether a variable's path lies under a name: ``g_a.block8.0.conv0/kernel`` under g_a, g_a.block8, not g."""
    return path == name or path.startswith((f"{name}.", f"{name}/"))


def variables(net: HasParts) -> dict[str, Any]:
    """Every variable of a network under its path (``g_a.stem/kernel``). Raises ValueError if two share one."""
    named: dict[str, Any] = {}
    for layer in net.parts.values():
        for variable in layer.weights:
            if variable.path in named:
                raise ValueError(f"two variables are named {variable.path}")
            named[variable.path] = variable
    return named


def gather(net: HasParts) -> dict[str, np.ndarray]:
    """The values of all variables, by path, float32."""
    return {k: np.asarray(v.numpy(), np.float32) for k, v in variables(net).items()}


def assign(
    net: HasParts,
    arrays: Mapping[str, np.ndarray],
    *,
    what: str = "weights",
    only: Iterable[str] | None = None,
) -> None:
    """Set all variables, or those at the paths ``only``.

    Raises: ComponentError: names or shapes do not fit the network.
    """
    named = variables(net)
    if only is not None:
        named = {path: named[path] for path in only}
    if missing := sorted(named.keys() - arrays.keys()):
        raise ComponentError(
            f"{what}: lacks {len(missing)} of {len(named)} variables, the first {missing[0]}; "
            "they belong to another version of the network"
        )
    for name, variable in named.items():
        if tuple(variable.shape) != arrays[name].shape:
            raise ComponentError(
                f"{what}: {name} has shape {arrays[name].shape}, "
                f"the network needs {tuple(variable.shape)}"
            )
        variable.assign(np.asarray(arrays[name], np.float32))


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], *, compress: bool) -> None:
    """Write an .npz atomically: a kill leaves the old file or the new one. compress: by bzip2, best on weights."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        _archive(part, arrays, compress)


def _archive(path: Path, arrays: Mapping[str, np.ndarray], compress: bool) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            dense = name == WORDS or not compress
            info.compress_type = zipfile.ZIP_STORED if dense else zipfile.ZIP_BZIP2
            with archive.open(info, "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asanyarray(value), allow_pickle=False)


def read_arrays(path: str | Path, *, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Read an .npz written by ``write_arrays``.

    Args:
      path:   the file.
      sha256: hex digest that the file must have, if known.
    Raises:
      MissingAssetError: no such file.
      ComponentError:    damaged, or of another digest.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingAssetError(
            f"no weights at {path}; reinstall linksim, or train and export them"
        )
    data = path.read_bytes()
    if sha256 is not None and (got := hashlib.sha256(data).hexdigest()) != sha256:
        raise ComponentError(
            f"{path.name} has SHA-256 {got[:12]}..., its card says {sha256[:12]}...: "
            "truncated or of another version; reinstall linksim"
        )
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            unfolded = sum(info.file_size for info in archive.infolist())
        most = (1 << 20) + _UNFOLDING * len(data)
        if unfolded > most:
            raise ValueError(f"its {len(data)} bytes unfold to {unfolded}")
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            return unpack({name: file[name] for name in file.files}, most)
    except Exception as error:
        raise ComponentError(f"{path.name} is not a readable weights file ({error})") from error


@dataclass(frozen=True)
class Bundle:
    """An exported network: its card and its weights.

    Args:
      card:   what it is, how it was made and what it reaches (``linksim.train.export`` writes it).
      arrays: weights by path, float32 values of float16 precision; those that it shares with other files are there too.
    """

    card: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    @property
    def digest(self) -> bytes:
        """First bytes of a SHA-256: what tells one model from another, the files it shares parts with included."""
        digests = [self.card["sha256"], *(s["sha256"] for s in self.card.get("shared", ()))]
        if len(digests) == 1:
            return bytes.fromhex(digests[0])[:8]
        return hashlib.sha256(bytes.fromhex("".join(digests))).digest()[:8]


def half(
    arrays: Mapping[str, np.ndarray],
    bits: Bits = None,
    scales: Mapping[str, float] | None = None,
) -> dict[str, np.ndarray]:
    """float16 copies.

    Args:
      bits:   kernels are rounded to multiples of a power of two, about their RMS / 2^bits (linear skeletons three bits
              finer), which compresses; biases, tables and scales stay as they are. A mapping gives them by names of
              parts, "" for what it does not name. None: nothing is rounded beyond float16.
      scales: RMS to go by, for arrays that are differences from others.
    Raises: ComponentError: a value does not fit; bits outside 1..12, or of parts that are not there.
    """
    by_part = _by_part(bits, arrays)
    small = {}
    with np.errstate(over="ignore"):
        for name, value in arrays.items():
            if by_part and name.endswith(KERNELS):
                rms = (scales or {}).get(name) or root_mean_square(value)
                finer = FINER_BITS if name.endswith(SKELETON) else 0
                value = _rounded(value, by_part[_part(name, by_part)] + finer, rms)
            small[name] = value.astype(np.float16)
    for name, value in small.items():
        if not np.isfinite(value).all():
            raise ComponentError(f"{name} has values that float16 cannot hold; nothing was written")
    return small


def _by_part(bits: Bits, paths: Iterable[str]) -> Mapping[str, int]:
    if bits is None:
        return {}
    by_part = bits if isinstance(bits, Mapping) else {"": bits}
    if "" not in by_part:
        raise ComponentError("bits of some parts need those of the others too")
    for part, of in by_part.items():
        if not 1 <= of <= MOST_BITS:
            raise ComponentError(f"bits must be 1..{MOST_BITS}, got {of}")
        if part and not any(belongs(path, part) for path in paths):
            raise ComponentError(
                f"bits of {part!r}, but there is no such part; nothing was written"
            )
    return by_part


def _part(path: str, by_part: Mapping[str, int]) -> str:
    """The most particular name that a path lies under."""
    return max((part for part in by_part if belongs(path, part)), key=len, default="")


def root_mean_square(value: np.ndarray) -> float:
    """Of an array's elements; 0 of none."""
    return float(np.sqrt(np.mean(np.square(value, dtype=np.float64)))) if value.size else 0.0


def _rounded(value: np.ndarray, bits: int, rms: float) -> np.ndarray:
    if not 0 < rms < np.inf:
        return value
    step = 2.0 ** np.floor(np.log2(rms) - bits + 0.5)
    return np.rint(np.asarray(value, np.float64) / step) * step


def write_bundle(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    card: Mapping[str, Any],
    bits: Bits = None,
    scales: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Write weights as float16 .npz, rounded kernels packed, with their card beside them.

    Args:
      path:   of the .npz; the card is the .json of the same name.
      arrays: weights by path, those of the file itself.
      card:   facts; ``sha256``, ``parameters``, ``bytes`` and ``rounding_bits`` are added. ``shared`` lists what the
              network takes from other files: ``weights`` (their name), ``sha256``, ``parts`` (names or paths),
              ``parameters``, and ``differences`` (paths of arrays of this file to which those of the other are added).
      bits, scales: see ``half``.
    Returns: the card as written.
    Raises: ComponentError: not finite in float16, or above the limit of a shipped file; what was there stays.
    """
    small = half(arrays, bits, scales)
    path.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(path) as part:
        _archive(part, pack(small), compress=True)
        data = part.read_bytes()
        if len(data) > LIMIT:
            raise ComponentError(
                f"{path.name} would have {len(data)} bytes, more than the limit of {LIMIT}; nothing was written, "
                "export with fewer --bits"
            )
    full = {
        **card,
        "parameters": int(sum(v.size for v in small.values())),
        "bytes": len(data),
        "rounding_bits": bits,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    write_atomically(path.with_suffix(".json"), (json.dumps(full, indent=1) + "\n").encode())
    return full


def load_bundle(name: str) -> Bundle:
    """Load exported weights and check their digest, and that of every file that they share parts with.

    Args: name: of shipped weights ("ntc"), or a path to an exported .npz with its .json card beside it.
    Raises: MissingAssetError, ComponentError: with one clear line.
    """
    return _load(name, _CHAIN)


def card_of(name: str) -> Mapping[str, Any]:
    """The model card of weights, without the weights. Args, raises: as ``load_bundle``, where that is in the card."""
    return _card(name)[1]


def _card(name: str) -> tuple[Path, Mapping[str, Any], list[tuple[str, str, list, list]]]:
    """Path of the weights, their card, and what the card says of the files that they share parts with."""
    path = Path(name) if name.endswith(".npz") else SHIPPED / f"{name}.npz"
    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        known = sorted(p.stem for p in SHIPPED.glob("*.npz"))
        raise MissingAssetError(
            f"no model card {card_path.name} for weights {name!r}; shipped are {known}, or give a path to an "
            "exported .npz"
        )
    try:
        card = json.loads(card_path.read_text())
        _ = str(card["sha256"])
        shared = [
            (str(s["weights"]), str(s["sha256"]), list(s["parts"]), list(s.get("differences", ())))
            for s in _shared(card)
        ]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ComponentError(f"{card_path.name} is not a model card ({error!r})") from error
    return path, card, shared


def _load(name: str, chain: int) -> Bundle:
    path, card, shared = _card(name)
    card_path, digest = path.with_suffix(".json"), str(card["sha256"])
    own = {k: v.astype(np.float32) for k, v in read_arrays(path, sha256=digest).items()}
    arrays: dict[str, np.ndarray] = {}
    for weights, expected, parts, differences in shared:
        if not chain:
            raise ComponentError(f"{card_path.name}: more than {_CHAIN} files share parts in a row")
        base = _load(beside(path.parent, weights), chain - 1)
        if base.card["sha256"] != expected:
            taken = ", ".join(map(str, (parts or differences)[:4]))
            raise ComponentError(
                f"{path.name} takes {taken} from {weights} of SHA-256 {expected[:12]}..., "
                f"what is there has {base.card['sha256'][:12]}...: export {path.stem} again, or reinstall linksim"
            )
        arrays |= {
            key: value
            for key, value in base.arrays.items()
            if any(belongs(key, str(part)) for part in parts)
        }
        for key in map(str, differences):
            if key not in own or key not in base.arrays or own[key].shape != base.arrays[key].shape:
                raise ComponentError(
                    f"{card_path.name}: {key} is said to be a difference from {weights}, and one of the two lacks it"
                )
            own[key] = base.arrays[key] + own[key]
    return Bundle(card, arrays | own)


def _shared(card: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list(card.get("shared", ()))


def beside(folder: Path, weights: str) -> str:
    """Where a file that shares parts is found: in the same folder, else among the shipped weights."""
    path = folder / f"{weights}.npz"
    return str(path) if path.is_file() else weights
