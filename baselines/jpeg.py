"""JPEG pictures through Pillow's libjpeg-turbo."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from baselines.header import Header
from baselines.ladder import Coded, LadderCodec
from linksim.errors import LinksimError

_SOI, _EOI, _SOS = b"\xff\xd8", b"\xff\xd9", b"\xff\xda"
_APP0, _COM = 0xE0, 0xFE
_SMALLEST_PAYLOAD = {
    True: 490,
    False: 255,
}  # bytes, progressive or not: tables, scan headers, one block


@dataclass(frozen=True)
class Jpeg(LadderCodec):
    """JPEG: libjpeg-turbo, optimised Huffman tables, progressive by default.

    The payload is the file without its SOI and EOI markers and its JFIF segment, which the receiver knows; quantisation
    and Huffman tables travel with the picture. A prefix of a progressive picture is decoded to what its scans give.

    Args:
      subsampling: of chroma: "4:2:0", "4:2:2" or "4:4:4".
      progressive: spectral selection and successive approximation; also smaller.
    """

    subsampling: Literal["4:2:0", "4:2:2", "4:4:4"] = "4:2:0"
    progressive: bool = True

    codec: ClassVar[str] = "jpeg"
    uses_prefix: ClassVar[bool] = True

    def qualities(self) -> dict[int, tuple[int, ...]]:
        """Quality factors, thinner where a step of one moves the size little against the number of bytes to keep."""
        return {1: (*range(1, 30), *range(30, 60, 2), *range(60, 90, 2), *range(90, 97))}

    def version(self) -> str:
        """See LadderCodec.version."""
        from PIL import __version__, features

        return f"Pillow {__version__} libjpeg-turbo {features.version('libjpeg_turbo')}"

    def min_bits(self, height: int, width: int) -> int:
        """See LadderCodec.min_bits: header, tables and one block."""
        return 8 * (len(self._header(height, width)) + _SMALLEST_PAYLOAD[self.progressive])

    def compress(self, images: Sequence[np.ndarray], quality: int) -> list[Coded]:
        """See LadderCodec.compress."""
        from PIL import Image

        if max(images[0].shape[:2]) > 65500:
            raise LinksimError(
                f"JPEG codes sides up to 65500, got {images[0].shape[:2]}; use another codec"
            )
        coded = []
        for image in images:
            file = io.BytesIO()
            Image.fromarray(image).save(
                file,
                "JPEG",
                quality=quality,
                subsampling=self.subsampling,
                optimize=True,
                progressive=self.progressive,
            )
            coded.append((_stripped(file.getvalue()), 0))
        return coded

    def decompress(self, payload: bytes, header: Header, whole: bool) -> np.ndarray | None:
        """See LadderCodec.decompress."""
        from PIL import Image

        if not whole and (not self.progressive or _SOS not in payload):
            return None
        with Image.open(io.BytesIO(_SOI + payload + _EOI), formats=["JPEG"]) as picture:
            if picture.size != (header.width, header.height) or picture.mode != "RGB":
                return None
            return np.asarray(picture)


def _stripped(file: bytes) -> bytes:
    """The file's segments but SOI, EOI, JFIF and comments."""
    kept, at = [], len(_SOI)
    while file[at : at + 2] != _SOS:
        length = 2 + int.from_bytes(file[at + 2 : at + 4], "big")
        if file[at + 1] not in (_APP0, _COM):
            kept.append(file[at : at + length])
        at += length
    return b"".join(kept) + file[at:].removesuffix(_EOI)
