"""AVIF pictures (AV1 intra) through Pillow's libavif and libaom."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from baselines import colour, ffmpeg
from baselines.header import Header
from baselines.ladder import Coded, LadderCodec
from linksim.errors import LinksimError, MissingAssetError

_QUANTIZERS = 63
_SMALLEST_PAYLOAD = 25  # bytes, of a flat picture


@dataclass(frozen=True)
class Avif(LadderCodec):
    """AVIF: libaom intra, 8 bits, full range.

    The payload is the picture's AV1 open bitstream units, what the file's ``mdat`` box holds; the container (about 275
    bytes, the same for all pictures of a size) is left out. Pictures are decoded by dav1d.

    Args:
      subsampling: of chroma: "4:4:4" or "4:2:0".
      speed:       libaom's, 0 (slowest) to 10; 6 is libavif's own default. 4 gains about 0.4 dB on 128x128 photos
                   and takes five times as long.
    """

    subsampling: Literal["4:2:0", "4:4:4"] = "4:4:4"
    speed: int = 6

    codec: ClassVar[str] = "avif"

    def __post_init__(self) -> None:
        if not 0 <= self.speed <= 10:
            raise ValueError(f"speed must be 0..10, got {self.speed}")

    def qualities(self) -> dict[int, tuple[int, ...]]:
        """Pillow's qualities, one for each of libaom's quantizers, best last; lossless is left out."""
        return {
            1: tuple(
                round(100 * (_QUANTIZERS - q) / _QUANTIZERS) for q in range(_QUANTIZERS, 2, -1)
            )
        }

    def version(self) -> str:
        """See LadderCodec.version."""
        from PIL import __version__, features

        if not features.check("avif"):
            raise MissingAssetError(
                f"Pillow {__version__} was built without AVIF; install a Pillow 11.3 or later wheel"
            )
        from PIL import _avif

        codecs = _avif.codec_versions()  # "dav1d [dec]:1.5.3-..., aom [enc]:3.14.1"
        return f"Pillow {__version__} libavif {features.version('avif')} {codecs}"

    def min_bits(self, height: int, width: int) -> int:
        """See LadderCodec.min_bits: the header and a flat picture."""
        return 8 * (len(self._header(height, width)) + _SMALLEST_PAYLOAD)

    def compress(self, images: Sequence[np.ndarray], quality: int) -> list[Coded]:
        """See LadderCodec.compress."""
        from PIL import Image

        coded = []
        for image in images:
            file = io.BytesIO()
            Image.fromarray(image).save(
                file,
                "AVIF",
                quality=quality,
                subsampling=self.subsampling,
                speed=self.speed,
                range="full",
                codec="aom",
                max_threads=1,
                autotiling=False,
            )
            coded.append((_item(file.getvalue()), 0))
        return coded

    def decompress(self, payload: bytes, header: Header, whole: bool) -> np.ndarray | None:
        """See LadderCodec.decompress."""
        size = (header.width, header.height)
        planes = ffmpeg.decode_one(payload, "libdav1d", size, 8)
        if planes is None or (planes[1].shape != planes[0].shape) != (self.subsampling == "4:2:0"):
            return None
        return colour.from_planes(planes, bits=8)


def _item(file: bytes) -> bytes:
    """The content of the file's mdat box (ISO/IEC 14496-12, clause 8.1.1)."""
    at = 0
    while at + 8 <= len(file):
        length = int.from_bytes(file[at : at + 4], "big")
        if file[at + 4 : at + 8] == b"mdat":
            return file[at + 8 : at + length]
        if length < 8:
            break
        at += length
    raise LinksimError(
        "the AVIF encoder made a file without an mdat box; use another version of Pillow"
    )
