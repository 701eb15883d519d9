"""Assets: weights that linksim uses and does not ship, where they come from, and how to find them here.

An asset is looked for in the folder that ``LINKSIM_ASSETS`` names and then in the user's cache (``LINKSIM_CACHE``, or
the platform's cache folder). Nothing is downloaded but by :func:`fetch`, which ``linksim assets fetch`` calls.

A file is accepted by its SHA-256. Of the Inception archive no public SHA-256 is known: there the size is checked, and
the listing says so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from linksim.atomic import written_whole
from linksim.errors import MissingAssetError, UnknownNameError

_LPIPS_HOME = "https://github.com/richzhang/PerceptualSimilarity/raw/master/lpips/weights/v0.1"
_TORCHVISION_HOME = "https://download.pytorch.org/models"
_TENSORFLOW_HOME = "https://storage.googleapis.com/download.tensorflow.org/models/image/imagenet"


@dataclass(frozen=True)
class AssetFile:
    """One file that an asset may be read from.

    Args:
      path:   relative to an assets folder.
      size:   bytes.
      sha256: hex digest, or None where no public one is known (then the size alone is checked).
    """

    path: str
    size: int
    sha256: str | None


@dataclass(frozen=True)
class Asset:
    """One thing that a component needs.

    Args:
      name:    unique, kebab-case.
      group:   what ``linksim assets fetch`` takes as one ("lpips").
      summary: one line for the listing.
      files:   alternatives of equal content, best first; ``files[0]`` is what ``fetch`` makes.
      url:     public home of ``files[0]``, or of the archive that holds it.
      licence: of the weights.
      archive: (size in bytes, member's name) where ``url`` is a .tgz, or None.
    """

    name: str
    group: str
    summary: str
    files: tuple[AssetFile, ...]
    url: str
    licence: str
    archive: tuple[int, str] | None = None


@dataclass(frozen=True)
class AssetStatus:
    """An asset on this machine.

    Args:
      asset: what it is.
      path:  where it is, or None where it is not here.
      check: how a file is accepted: "sha256", or "size" where no public SHA-256 is known.
    """

    asset: Asset
    path: Path | None
    check: str


def _heads(net: str, size: int, sha256: str) -> Asset:
    file = AssetFile(f"lpips/lpips_v0.1_lin_{net}.pth", size, sha256)
    return Asset(
        f"lpips-{net}-heads",
        "lpips",
        f"LPIPS v0.1 linear heads for the {net} backbone",
        (file,),
        f"{_LPIPS_HOME}/{net}.pth",
        "BSD-2-Clause",
    )


ASSETS: dict[str, Asset] = {
    asset.name: asset
    for asset in (
        _heads("alex", 6009, "df73285e35b22355a2df87cdb6b70b343713b667eddbda73e1977e0c860835c0"),
        _heads(
            "squeeze", 10811, "4a5350f23600cb79923ce65bb07cbf57dca461329894153e05a1346bd531cf76"
        ),
        Asset(
            "lpips-alex-backbone",
            "lpips",
            "AlexNet of torchvision, ImageNet",
            (
                AssetFile(
                    "lpips/alexnet-owt-7be5be79.pth",
                    244408911,
                    "7be5be791159472b1fbf3c69796f7cb30dca7ad8466c2df70058c37116cdee02",
                ),
                AssetFile(
                    "lpips/alexnet_features_torchvision_layout.npz",
                    9881450,
                    "e762b28a0489ca1b9a809bcf1fc6d82b9310cd77ff6c495d057dc8811994eab4",
                ),
            ),
            f"{_TORCHVISION_HOME}/alexnet-owt-7be5be79.pth",
            "BSD-3-Clause",
        ),
        Asset(
            "lpips-squeeze-backbone",
            "lpips",
            "SqueezeNet 1.1 of torchvision, ImageNet",
            (
                AssetFile(
                    "lpips/squeezenet1_1-b8a52dc0.pth",
                    4958839,
                    "b8a52dc049b60e4b6ab68ad0df457362afab8b6304b2febdc1650a5dab4d7e7b",
                ),
                AssetFile(
                    "lpips/squeezenet1_1_features_torchvision_layout.npz",
                    2904138,
                    "d93ddd97c67fea9a17380d10cac44bdf76c3cdf377a3315240c1b5a4d3e63158",
                ),
            ),
            f"{_TORCHVISION_HOME}/squeezenet1_1-b8a52dc0.pth",
            "BSD-3-Clause",
        ),
        Asset(
            "inception-2015-12-05",
            "inception",
            "Inception graph of 2015-12-05 (FID, KID)",
            (AssetFile("inception/classify_image_graph_def.pb", 95673916, None),),
            f"{_TENSORFLOW_HOME}/inception-2015-12-05.tgz",
            "Apache-2.0",
            archive=(88931400, "classify_image_graph_def.pb"),
        ),
    )
}


def groups() -> list[str]:
    """The names that ``linksim assets fetch`` takes, besides those of single assets."""
    return list(dict.fromkeys(asset.group for asset in ASSETS.values()))


def cache_folder(part: str = "assets") -> Path:
    """Where fetched assets lie, or another part of the cache: in ``LINKSIM_CACHE`` or the platform's cache folder."""
    named = os.environ.get("LINKSIM_CACHE")
    if named:
        return Path(named).expanduser() / part
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("linksim")) / part


def folders() -> list[Path]:
    """The assets folders, in the order of looking."""
    named = os.environ.get("LINKSIM_ASSETS")
    return [*([Path(named).expanduser()] if named else []), cache_folder()]


def find(name: str) -> Asset:
    """The asset called ``name``. Raises UnknownNameError."""
    if name not in ASSETS:
        raise UnknownNameError(f"unknown asset {name!r}; known: {', '.join(ASSETS)}")
    return ASSETS[name]


def locate(name: str) -> Path:
    """The file of an asset on this machine, its size checked and its digest not.

    Raises: MissingAssetError: naming what is wrong and the fix.
    """
    asset = find(name)
    found = _look(asset)
    if isinstance(found, Path):
        return found
    trouble = f"; {found}" if found else ""
    raise MissingAssetError(f"{asset.summary}: not on this machine{trouble}; {_fix(asset)}")


def verified(name: str) -> Path:
    """The file of an asset, its SHA-256 checked once in a process.

    Raises: MissingAssetError: absent, or of another digest.
    """
    path = locate(name)
    asset = find(name)
    file = next(f for f in asset.files if f.path.endswith(path.name))
    if file.sha256 is None:
        return path
    stat = path.stat()
    got = _sha256(path, stat.st_size, stat.st_mtime_ns)
    if got != file.sha256:
        raise MissingAssetError(
            f"{asset.summary}: {path} has SHA-256 {got[:16]}..., not {file.sha256[:16]}...; "
            f"remove it and then {_fix(asset)}"
        )
    return path


def status() -> list[AssetStatus]:
    """Every asset and where it is, without reading any."""
    found = []
    for asset in ASSETS.values():
        path = _look(asset)
        check = "sha256" if asset.files[0].sha256 else "size"
        found.append(AssetStatus(asset, path if isinstance(path, Path) else None, check))
    return found


def select(names: Sequence[str]) -> list[Asset]:
    """The assets that names of assets and of groups stand for, each once. Raises UnknownNameError."""
    chosen: dict[str, Asset] = {}
    for name in names:
        of_group = [a for a in ASSETS.values() if a.group == name]
        if not of_group and name not in ASSETS:
            known = ", ".join([*groups(), *ASSETS])
            raise UnknownNameError(f"unknown asset {name!r}; known: {known}")
        chosen |= {asset.name: asset for asset in of_group or [ASSETS[name]]}
    return list(chosen.values())


def fetch(name: str, *, progress: bool = False) -> list[Path]:
    """Download an asset, or every asset of a group, into the cache; what is here already stays.

    Args:
      name:     of an asset or a group.
      progress: draw a progress bar on stderr (needs tqdm; none without it).
    Returns: the files, those found in ``LINKSIM_ASSETS`` included.
    Raises:
      UnknownNameError:  no such asset.
      MissingAssetError: it cannot be downloaded or written, or is not what was expected.
    """
    paths = []
    for asset in select([name]):
        try:
            paths.append(verified(asset.name))
        except MissingAssetError:
            paths.append(_download(asset, cache_folder() / asset.files[0].path, progress))
    return paths


def _download(asset: Asset, target: Path, progress: bool) -> Path:
    import pooch

    file = asset.files[0]
    known = f"sha256:{file.sha256}" if file.sha256 and not asset.archive else None
    fetched = target if asset.archive is None else target.with_name(asset.url.rsplit("/", 1)[-1])
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel("WARNING")  # its advice is for programmers
    try:
        target.unlink(missing_ok=True)  # it is damaged, or _download would not have been called
        downloader = pooch.HTTPDownloader(progressbar=progress and _has_tqdm(), timeout=60)
        pooch.retrieve(
            asset.url, known, fname=fetched.name, path=fetched.parent, downloader=downloader
        )
        if asset.archive is not None:
            size, member = asset.archive
            try:
                if fetched.stat().st_size != size:
                    raise ValueError(f"the archive has {fetched.stat().st_size} bytes, not {size}")
                unpack_member(fetched, member, target, file.size)
            finally:
                fetched.unlink(missing_ok=True)
        if target.stat().st_size != file.size:
            raise ValueError(f"the file has {target.stat().st_size} bytes, not {file.size}")
    except Exception as error:  # requests, pooch and the file system raise many kinds
        target.unlink(missing_ok=True)
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise MissingAssetError(
            f"{asset.summary}: cannot be fetched from {asset.url} ({reason}); "
            f"get it by other means and put it at {target}, or set LINKSIM_ASSETS to a folder with {file.path}"
        ) from error
    finally:
        logger.setLevel(level)
    return target


def unpack_member(archive: Path, member: str, target: Path, size: int) -> None:
    """Take one regular file out of a .tgz; nothing else of the archive is written, whatever names it holds.

    Args:
      member: its name in the archive.
      target: where it goes; written beside and renamed.
      size:   bytes that it must have.
    Raises: ValueError: no such regular file, or of another size.
    """
    with tarfile.open(archive, "r:gz") as tar:
        try:
            info = tar.getmember(member)
        except KeyError:
            raise ValueError(f"the archive has no {member}") from None
        if not info.isreg() or info.size != size:
            raise ValueError(f"{member} in the archive is not a file of {size} bytes")
        source = tar.extractfile(info)
        assert source is not None  # of a regular file
        with written_whole(target) as part, source, part.open("wb") as out:
            shutil.copyfileobj(source, out)


def _look(asset: Asset) -> Path | str:
    """The file, or what is wrong with the one that is there ("" where there is none)."""
    trouble = ""
    for folder in folders():
        for file in asset.files:
            path = folder / file.path
            if not path.is_file():
                continue
            size = path.stat().st_size
            if size == file.size:
                return path
            trouble = trouble or f"{path} has {size} bytes, not {file.size}"
    return trouble


def _fix(asset: Asset) -> str:
    return (
        f"run `linksim assets fetch {asset.group}`, "
        f"or set LINKSIM_ASSETS to a folder with {asset.files[-1].path}"
    )


def digest(name: str) -> str:
    """SHA-256 of an asset's file as it is here. Raises MissingAssetError."""
    path = locate(name)
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=32)
def _sha256(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _has_tqdm() -> bool:
    from importlib.util import find_spec

    return find_spec("tqdm") is not None
