"""What is fuzzed: every reader of files and every decoder, with valid inputs to start from and what it may answer."""

from __future__ import annotations

import importlib
import io
import pickle
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import token_bodies

import linksim.train
from baselines import store
from linksim import registry, scenario
from linksim.channel import cir_file
from linksim.codec.dsc import Dsc
from linksim.errors import (
    ComponentError,
    ImageError,
    MissingAssetError,
    RunStateError,
    ScenarioError,
)
from linksim.image import decode
from linksim.image.tar import Tar
from linksim.link import framing
from linksim.link.erasure_coded import ErasureCoded
from linksim.link.slices import Crossed, Rooms
from linksim.link.token_sender import TokenSender
from linksim.link.tokens import Tokens
from linksim.metric import kept
from linksim.metric.lpips import read_backbone
from linksim.metric.torch_file import read_tensors
from linksim.model.store import load_bundle, read_arrays, write_bundle
from linksim.packed import pack
from linksim.packet import fragment
from linksim.packet.trace import Trace
from linksim.results import RunFolder, manifest, parts
from linksim.seeds import FrameSeeds
from linksim.train.config import load_config
from linksim.types import Decoded, Delivered, Ledger, Packet, Received, Status, TxKnowledge

SIZE = (24, 32)


@dataclass(frozen=True)
class Target:
    """A reader or decoder.

    Args:
      seeds: valid inputs.
      run:   (input, its number, a folder for files); raises unless the answer is one that the reader may give.
    """

    seeds: Callable[[], list[bytes]]
    run: Callable[[bytes, int, Path], None]


def pictures() -> np.ndarray:
    """[2, *SIZE, 3] uint8: a ramp, and waves with some noise."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(*SIZE, 3)
    waves = 127 + 80 * np.sin(np.arange(SIZE[1]) / 3)[None, :, None] + rng.normal(0, 9, (*SIZE, 3))
    return np.stack([ramp, np.clip(waves, 0, 255)]).astype(np.uint8)


def _file(data: bytes, folder: Path, name: str) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# ------------------------------------------------------------------------------------------------- scenarios


def _scenarios() -> list[bytes]:
    folder = Path(__file__).resolve().parents[2] / "scenarios"
    return [path.read_bytes() for path in sorted(folder.glob("*.yaml"))]


def _load_scenario(data: bytes, number: int, folder: Path) -> None:
    try:
        study = scenario.load(_file(data, folder, "study.yaml"))
        if number % 2:
            study.points()
    except ScenarioError as error:
        assert str(error) and "\n" not in str(error)


_OVERRIDES = (
    "axes.es_n0_db=[0,5]",
    "systems.0.preset=fast",
    "vvc.amc.target=0.1",
    "seed=7",
    "images={}",
)


def _override(data: bytes, number: int, folder: Path) -> None:
    path = folder / "quickstart.yaml"
    if not path.exists():
        path.write_bytes(_scenarios()[-1])
    try:
        scenario.load(path, [data.decode("utf-8", "replace")])
    except ScenarioError as error:
        assert str(error)


# --------------------------------------------------------------------------------------------------- results


def _rows(count: int) -> list[dict]:
    row = {"point": "p", "cell": "study", "system": "jpeg", "family": "separated", "link": "phy"}
    row |= {"channel": "awgn", "es_n0_db": 4, "image": "a", "status": "OK", "failed": False}
    row |= {"cbr": 0.1, "bpp": 0.2, "mcs": "qpsk", "metric_psnr": 30.0, "ledger_payload": 5.0}
    return [{**row, "realisation": r} for r in range(count)]


@cache
def _parts() -> list[bytes]:
    info = parts.PartInfo("study", "p", 0, ("inception",), "key")
    return [
        parts.encode(_rows(n), parts.PartInfo(**{**info.__dict__, "num_rows": n})) for n in (1, 40)
    ]


def _part(data: bytes, number: int, folder: Path) -> None:
    path = _file(data, folder, "study.parquet")
    for reader in (parts.read_info, parts.read, parts.check):
        try:
            reader(path)
        except parts.DamagedPartError as error:
            assert "\n" not in str(error)


def _manifests() -> list[bytes]:
    whole = {"scenario_digest": "ab", "scenario": {"name": "x"}, "versions": {"linksim": "1"}}
    return [manifest.to_json({"format": 1, "rows_key": "k", **whole, "points": [{"id": "p"}]})]


def _manifest(data: bytes, number: int, folder: Path) -> None:
    _file(data, folder, "run.json")
    try:
        found = manifest.read(folder)
        manifest.check_same(folder, found, {"scenario_digest": "cd"})
    except RunStateError as error:
        assert "choose another" in str(error)


# --------------------------------------------------------------------------------------------------- weights


def _torch_pickle(protocol: int, tensors: int) -> bytes:
    """A state dictionary, opcode by opcode, since no module ``torch`` is here to name. protocol 1: the old format."""
    out = bytearray(b"\x80\x02") + b"ccollections\nOrderedDict\nq\x00)Rq\x01("
    for i in range(tensors):
        name = f"features.{i}.weight".encode()
        out += b"X" + len(name).to_bytes(4, "little") + name
        out += b"ctorch._utils\n_rebuild_tensor_v2\n(("
        for word in (b"storage", None, str(i).encode(), b"cpu"):
            if word is None:
                out += b"ctorch\nFloatStorage\n"
            else:
                out += b"X" + len(word).to_bytes(4, "little") + word
        out += b"K\x06" + (b"N" if protocol else b"") + b"tQ"
        out += b"K\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtR"
        out += b"r" + i.to_bytes(4, "little")
    return bytes(out + b"u.")


@cache
def _torch_files() -> list[bytes]:
    values = np.arange(6, dtype="<f4").tobytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("net/data.pkl", _torch_pickle(0, 2))
        archive.writestr("net/byteorder", "little")
        for i in range(2):
            archive.writestr(f"net/data/{i}", values)
    head = [pickle.dumps(v, 2) for v in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    tail = pickle.dumps(["0", "1"], 2)
    stored = (6).to_bytes(8, "little") + values
    legacy = b"".join(head) + _torch_pickle(1, 2) + tail + stored + stored
    return [buffer.getvalue(), legacy]


def _torch(data: bytes, number: int, folder: Path) -> None:
    try:
        arrays = read_tensors(_file(data, folder, "net.pth"))
        assert all(isinstance(a, np.ndarray) for a in arrays.values())
    except ComponentError as error:
        assert "net.pth" in str(error)


@cache
def _archives() -> list[bytes]:
    found = []
    for save in (np.savez, np.savez_compressed):
        buffer = io.BytesIO()
        save(buffer, a=np.arange(12.0).reshape(3, 4), **{"g/kernel": np.ones(5, np.float16)})
        found.append(buffer.getvalue())
    buffer = io.BytesIO()
    np.savez(buffer, **pack({"g/kernel": (np.arange(2048) % 97).astype(np.float16)}))
    found.append(buffer.getvalue())
    return found


def _npz(data: bytes, number: int, folder: Path) -> None:
    try:
        read_arrays(_file(data, folder, "net.npz"))
    except ComponentError as error:
        assert "net.npz" in str(error)


def _backbone(data: bytes, number: int, folder: Path) -> None:
    try:
        read_backbone(_file(data, folder, "net.npz"))
    except ComponentError as error:
        assert "net.npz" in str(error)


@cache
def _bundles() -> tuple[bytes, bytes]:
    """A weights file and its card."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.npz"
        write_bundle(
            path, {"g_a.0/kernel": np.ones((3, 4), np.float32)}, {"model": "ntc", "mse": 3.5}
        )
        return path.read_bytes(), path.with_suffix(".json").read_bytes()


def _card(data: bytes, number: int, folder: Path) -> None:
    _file(_bundles()[0], folder, "net.npz")
    _file(data, folder, "net.json")
    try:
        load_bundle(str(folder / "net.npz"))
    except ComponentError as error:
        assert "\n" not in str(error)


def _recipes() -> list[bytes]:
    folder = Path(linksim.train.__file__).parent / "recipes"
    return [path.read_bytes() for path in sorted(folder.glob("*.yaml"))]


def _recipe(data: bytes, number: int, folder: Path) -> None:
    try:
        load_config(_file(data, folder, "recipe.yaml"))
    except ScenarioError as error:
        assert str(error)


@cache
def _feature_files() -> list[bytes]:
    found = []
    for array in (np.zeros((4, 7), np.float32), np.ones((1, 300), "<f4")):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found.append(buffer.getvalue())
    return found


def _features(data: bytes, number: int, folder: Path) -> None:
    """What a run folder does with a feature file of its originals."""
    place = folder / "run"
    if not place.exists():
        place.mkdir()
        _file(_manifests()[0], place, "run.json")
        (place / "features").mkdir()
    _file(data, place / "features", "reference.pooled.000000.npy")
    try:
        RunFolder(place).reference("pooled")
    except RunStateError as error:
        assert "\n" not in str(error)


@cache
def _ladders() -> list[bytes]:
    rungs = {(1, q): store.Rung(bytes(range(q)), 3, 1.5 * q) for q in (20, 30, 60)}
    return [store.dump(rungs), store.dump({})]


def _ladder(data: bytes, number: int, folder: Path) -> None:
    rungs = store.parse(data)
    assert rungs is None or all(isinstance(r, store.Rung) for r in rungs.values())


def _kept() -> list[bytes]:
    return [kept.dump(np.arange(9, dtype=np.float32)), kept.dump(np.zeros(0, np.float32))]


def _kept_features(data: bytes, number: int, folder: Path) -> None:
    values = kept.parse(data)
    assert values is None or (values.dtype == np.float32 and values.ndim == 1)


@cache
def _responses(suffix: str) -> list[bytes]:
    h = FrameSeeds.of(1, 3).complex_normal(8)
    delays = np.arange(8) * 1e-7
    with tempfile.TemporaryDirectory() as folder:
        flat = cir_file.write(Path(folder) / f"flat{suffix}", h, delays)
        wide = Path(folder) / f"wide{suffix}"
        cir_file.write(wide, h.reshape(3, 1, 2, 4), np.array([0, 1e-7]), 1e3)
        found = [flat.read_bytes(), wide.read_bytes()]
    if suffix == ".npz":
        buffer = io.BytesIO()
        np.savez_compressed(buffer, h=h, delays_s=delays)
        found.append(buffer.getvalue())
    return found


def _cir(suffix: str) -> Target:
    def run(data: bytes, number: int, folder: Path) -> None:
        path = _file(data, folder, f"set{suffix}")
        try:
            file = cir_file.read_uncached(path)
        except ComponentError as error:
            assert str(error).startswith("set.") and "\n" not in str(error)
            return
        try:
            powers = file.tap_powers()
            assert powers.shape == (file.shape[0], file.shape[2]) and np.isfinite(powers).all()
        except ComponentError as error:
            assert str(error).startswith("set.") and "\n" not in str(error)
        finally:
            file.close()

    return Target(lambda: _responses(suffix), run)


# --------------------------------------------------------------------------------------------------- packets


def _fragments() -> list[bytes]:
    return [
        b"".join(len(p).to_bytes(1, "big") + p for p in fragment.split([bytes(range(90)), b""], 40))
    ]


def _join(data: bytes, number: int, folder: Path) -> None:
    received, at = [], 0
    while at < len(data):
        received.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    packets, ok = fragment.join(received, None if number % 2 else number % 7)
    assert len(packets) == len(ok) <= fragment.MAX_PACKETS
    assert sum(map(len, packets)) <= len(data)


def _traces() -> list[bytes]:
    array = io.BytesIO()
    np.save(array, np.array([0, 1, 1, 0, 0, 1], np.int8))
    return [array.getvalue(), b"0110 0100\n# a note\n11\n", b"lost\n0\n1\n1\n0\n", b"0,1,1,0\n"]


def _trace(data: bytes, number: int, folder: Path) -> None:
    for suffix in (".npy", ".txt", ".csv"):
        try:
            process = Trace(_file(data, folder, f"trace{suffix}"))
        except ComponentError as error:
            assert str(error) and "\n" not in str(error)
            continue
        lost = process([7], FrameSeeds.of(number, 1))
        assert lost[0].shape == (7,) and 0 <= process.loss_rate <= 1


def _blocks() -> list[bytes]:
    bits, _ = framing.pack([Packet(bytes(200)), Packet(b"abc")], 2000)
    return [np.packbits(bits).tobytes()]


def _unpack(data: bytes, number: int, folder: Path) -> None:
    bits = np.unpackbits(np.frombuffer(data, np.uint8))
    packets, ok = framing.unpack(bits, len(bits) * (number % 5) // 4 if len(bits) else 0)
    assert len(packets) == len(ok) and sum(map(len, packets)) <= len(data)


# -------------------------------------------------------------------------------------------------- decoders


def _check(decoded: Decoded, count: int) -> None:
    assert len(decoded.images) == len(decoded.status) == count
    for image, status in zip(decoded.images, decoded.status, strict=True):
        assert isinstance(status, Status)
        assert image is None or (image.dtype == np.uint8 and image.ndim == 3)


def _codec(name: str) -> Target:
    @cache
    def made() -> object:
        return registry.create("codecs", name)

    @cache
    def seeds() -> list[bytes]:
        codec = made()
        least = codec.min_bits(*SIZE)
        found = []
        for bits in (least + 400, least + 6000):
            packets = codec.encode(pictures(), np.full(2, bits, np.int64))
            found += [p.data for row in packets.of for p in row]
        return found

    def run(data: bytes, number: int, folder: Path) -> None:
        _check(made().decode(Delivered(((data,),), ((number % 4 != 0,),))), 1)

    return Target(seeds, run)


def _joint(name: str) -> Target:
    @cache
    def made() -> object:
        return registry.create("joints", name)

    @cache
    def seeds() -> list[bytes]:
        payload = made().encode(
            pictures(), np.full(2, 300, np.int64), TxKnowledge(np.full(2, 10.0))
        )
        if payload.packets is None:
            return [b""]
        return [b"".join(p.data for p in row) for row in payload.packets.of]

    def run(data: bytes, number: int, folder: Path) -> None:
        uses = (0, 1, 300, 301)[number % 4]
        y = FrameSeeds.of(number, 1).complex_normal(uses).copy()
        h, n0 = np.ones((1, 1), np.complex64), np.float32(0.1)
        if uses and number % 3 == 0:
            y[0, 0] = (np.nan, np.inf, 1e38)[number // 3 % 3]
        if number % 5 == 0:
            h = np.array([[(0, np.nan, 1e-30)[number // 5 % 3]]], np.complex64)
        if number % 7 == 0:
            n0 = np.float32((0, np.nan, -1, np.inf)[number // 7 % 4])
        _check(made().decode(Delivered(((data,),), ((True,),), Received(y, h, n0))), 1)

    return Target(seeds, run)


def _helper(name: str):
    """A module of tests/, also where a campaign runs this file outside of pytest."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop()


def _small():
    return _helper("dsc_small")


def _distributed() -> Target:
    @cache
    def made() -> list[Dsc]:
        weights = _small().write(Path(tempfile.mkdtemp(prefix="linksim-fuzz-")))
        return [Dsc(weights, bands=2, fill=fill) for fill in ("side", "prior")]

    @cache
    def seeds() -> list[bytes]:
        packets = made()[0].encode(_small().pictures(2), np.array([200, 500]))
        return [p.data for row in packets.of for p in row]

    def run(data: bytes, number: int, folder: Path) -> None:
        small = _small()
        sent = ((data, data[::-1]), (data,), ())[number % 3]
        ok = tuple((number + i) % 4 != 0 for i in range(len(sent)))
        side = small.pictures(1, 7) if number % 2 else None
        _check(made()[number % 2].decode(Delivered((sent,), (ok,)), *small.SIZE, side), 1)

    return Target(seeds, run)


def _cut(data: bytes) -> list[bytes]:
    """Packets behind their lengths, one byte each."""
    found, at = [], 0
    while at < len(data):
        found.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return found


def _joined(packets: Sequence[bytes]) -> bytes:
    return b"".join(bytes([len(p)]) + p for p in packets)


def _arranged(data: bytes, number: int) -> list[bytes | None]:
    """Packets in order or not, some twice, some lost."""
    packets: list[bytes | None] = list(_cut(data))
    if number % 3 == 0:
        packets = packets[::-1] + packets[:2]
    return [None if (number + i) % 5 == 0 else p for i, p in enumerate(packets)]


def _erasure_coded() -> Target:
    @cache
    def made() -> ErasureCoded:
        return ErasureCoded("jpeg", packets=6, parity=2)

    @cache
    def seeds() -> list[bytes]:
        images = made()._encoder.encode(pictures(), np.full(2, 6000, np.int64))
        packets = [made()._pack(image, kind) for image in images.of for kind in ("packet", "phy")]
        return [_joined([p.data[:255] for p in row]) for row in packets]

    def run(data: bytes, number: int, folder: Path) -> None:
        kind = ("packet", "phy")[
            number % 2
        ]  # a block's CRC is the link's: there damage comes through
        arrived = tuple(_arranged(data, number))[: 6 if kind == "phy" else None]
        crossed = Crossed((arrived,), Ledger.zeros(1), (None,), None)
        delivered = made()._deliver(crossed, [1], kind)
        assert len(delivered.packets[0]) == len(delivered.ok[0]) == 1
        _check(made()._decoder.decode(delivered), 1)

    return Target(seeds, run)


_TOKENS: tuple[dict[str, Any], ...] = (
    {"conceal": "none"},
    {"conceal": "one-shot", "descriptions": 2, "header": "full"},
    {"conceal": "iterative", "steps": 2, "parity": 2},
    {"conceal": "none", "descriptions": 1, "check": "crc-8"},
    {"conceal": "one-shot", "base": 1, "parity": 2},
)


def _token_packets() -> Target:
    small = (32, 48)

    @cache
    def made() -> list[Tokens]:
        weights = _helper("tokens_small").write(Path(tempfile.mkdtemp(prefix="linksim-fuzz-")))
        return [Tokens(weights, packets=5, **more) for more in _TOKENS]

    @cache
    def seeds() -> list[bytes]:
        found = []
        images = _small().pictures(1, 3, small)
        for system in made():
            codec = system._transmitter
            rooms = Rooms(np.array([110]), np.full((1, 5), 60))
            for kind in ("packet", "phy"):
                form = system._format(codec, *small, kind)
                sent = [p.data for p in TokenSender(codec).send(images, rooms, form)[0]]
                system._decode([sent], [False], small, kind, FrameSeeds.of(0, 1))  # compiles
                found.append(_joined(sent))
        assert all(found)
        return found

    def run(data: bytes, number: int, folder: Path) -> None:
        system = made()[number % len(_TOKENS)]
        kind = ("packet", "phy")[
            number // len(_TOKENS) % 2
        ]  # without a CRC of the packet damage comes through
        seed = FrameSeeds.of(number, 1)
        _check(system._decode([_arranged(data, number)], [False], small, kind, seed), 1)

    return Target(seeds, run)


# ---------------------------------------------------------------------------------------------------- images


@cache
def _images() -> list[bytes]:
    from PIL import Image

    image = Image.fromarray(pictures()[1])
    forms = [
        (image, "PNG", {}),
        (image.convert("P"), "PNG", {}),
        (image.convert("LA"), "PNG", {}),
        (Image.fromarray(pictures()[0, :, :, 0].astype(np.uint16) * 257), "PNG", {}),
        (image, "JPEG", {"progressive": True}),
        (image.convert("CMYK"), "JPEG", {}),
        (image, "WEBP", {}),
        (image, "BMP", {}),
        (image, "TIFF", {"compression": "tiff_lzw"}),
        (image, "TIFF", {}),
        (image, "PPM", {}),
        (image, "GIF", {}),
        (image, "JPEG2000", {}),
        (image, "AVIF", {}),
    ]
    found = []
    for picture, form, options in forms:
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        found.append(buffer.getvalue())
    return found


def _image(data: bytes, number: int, folder: Path) -> None:
    for reader in (decode.read_size, decode.read):
        try:
            found = reader(data, "photo")
            assert isinstance(found, tuple) or (found.dtype == np.uint8 and found.shape[2] == 3)
        except ImageError as error:
            assert str(error).startswith("photo")


@cache
def _tars() -> list[bytes]:
    found = []
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=form) as archive:
            for name, data in (("a.png", _images()[0]), ("ü" * 120 + ".jpg", _images()[4])):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
        # Without the padding at the end, damage meets what is read.
        found.append(buffer.getvalue().rstrip(b"\0") + bytes(1024))
    return found


def _tar(data: bytes, number: int, folder: Path) -> None:
    _file(data, folder, "shard.tar")
    try:
        source = Tar(str(folder / "shard.tar"), skip_unreadable=bool(number % 2))
        for i in range(min(len(source), 3)):
            source.size(i)
            source.load(i)
    except ImageError as error:
        assert str(error)


def _available(kind: str) -> list[str]:
    """Names of components that can be made here without parameters."""
    found = []
    for name in registry.entries(kind):
        try:
            registry.create(kind, name)
        except (MissingAssetError, ComponentError):
            continue
        found.append(name)
    return found


TARGETS: dict[str, Target] = {
    "scenario": Target(_scenarios, _load_scenario),
    "override": Target(lambda: [o.encode() for o in _OVERRIDES], _override),
    "part": Target(_parts, _part),
    "run.json": Target(_manifests, _manifest),
    "torch weights": Target(_torch_files, _torch),
    "npz weights": Target(_archives, _npz),
    "LPIPS weights, npz": Target(_archives, _backbone),
    "model card": Target(lambda: [_bundles()[1]], _card),
    "training recipe": Target(_recipes, _recipe),
    "features": Target(_feature_files, _features),
    "ladder cache": Target(_ladders, _ladder),
    "feature cache": Target(_kept, _kept_features),
    "impulse responses npz": _cir(".npz"),
    "impulse responses h5": _cir(".h5"),
    "fragments": Target(_fragments, _join),
    "loss trace": Target(_traces, _trace),
    "transport block": Target(_blocks, _unpack),
    "image": Target(_images, _image),
    "tar": Target(_tars, _tar),
    "distributed packets": _distributed(),
    "erasure-coded packets": _erasure_coded(),
    "token packets": _token_packets(),
    "token bodies": Target(token_bodies.seeds, token_bodies.run),
    **{f"codec {name}": _codec(name) for name in _available("codecs")},
    **{f"joint {name}": _joint(name) for name in _available("joints")},
}
