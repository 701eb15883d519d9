"""JPEG 2000 pictures through Pillow's OpenJPEG."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import ClassVar

import numpy as np

from baselines.header import Header, read_varint, varint
from baselines.ladder import Coded, LadderCodec
from linksim.errors import LinksimError

_SOT, _SOD, _EOC = b"\xff\x90", b"\xff\x93", b"\xff\xd9"
_SIZ, _COM, _PLT = 0x51, 0x64, 0x58
_SOT_BYTES = 12
_STEP = 0.92  # of the size from rung to rung
_TEMPLATE = 256  # side of the picture whose main header serves all sizes; holds 8 decompositions


@dataclass(frozen=True)
class Jpeg2000(LadderCodec):
    """JPEG 2000: OpenJPEG, 9/7 wavelet, multiple component transform, one tile, packets in LRCP order.

    The payload is the tile's packets. The main header (SIZ, COD, QCD) follows from the parameters and the announced
    size, so the receiver makes its own, as it does with VVC's parameter sets.

    OpenJPEG does not decode a stream cut inside a packet, so with several quality layers the payload begins with the
    lengths of all layers but the last (LEB128, counted), and a prefix is decoded up to its last whole layer. Layers
    cost a little rate (four: about 0.4 dB on a 128x128 photo), so one is the default, and then a prefix is of no use.

    Args:
      layers: quality layers, each twice the size of the one before, 1 to 8.
      levels: wavelet decompositions, 1 to 8; fewer where the picture is small.
    """

    layers: int = 1
    levels: int = 5

    codec: ClassVar[str] = "jpeg2000"

    def __post_init__(self) -> None:
        for name in ("layers", "levels"):
            if not 1 <= getattr(self, name) <= 8:
                raise ValueError(f"{name} must be 1..8, got {getattr(self, name)}")

    @property
    def uses_prefix(self) -> bool:  # type: ignore[override]
        """Whether a prefix gives a picture."""
        return self.layers > 1

    def qualities(self) -> dict[int, tuple[int, ...]]:
        """Target sizes as powers of 0.92 of the raw size: exponents, smallest size first."""
        return {1: tuple(range(96, 14, -1))}

    def version(self) -> str:
        """See LadderCodec.version."""
        from PIL import __version__, features

        return f"Pillow {__version__} OpenJPEG {features.version_codec('jpg_2000')}"

    def min_bits(self, height: int, width: int) -> int:
        """See LadderCodec.min_bits: header, layer lengths and empty packets."""
        packets = self._packets_per_layer(height, width) * self.layers
        return 8 * (len(self._header(height, width)) + self.layers - 1 + packets)

    def compress(self, images: Sequence[np.ndarray], quality: int) -> list[Coded]:
        """See LadderCodec.compress."""
        return [(self._payload(image, _STEP**-quality), 0) for image in images]

    def decompress(self, payload: bytes, header: Header, whole: bool) -> np.ndarray | None:
        """See LadderCodec.decompress."""
        from PIL import Image

        sizes, at = [], 0
        for _ in range(self.layers - 1):
            size, at = read_varint(payload, at)
            sizes.append(size)
        packets = payload[at:]
        if not whole:
            good = sum(end <= len(packets) for end in accumulate(sizes))  # layers that arrived
            if good == 0:
                return None
            empty = bytes(self._packets_per_layer(header.height, header.width))
            packets = packets[: sum(sizes[:good])] + (self.layers - good) * empty
        tile = struct.pack(">2sHHIBB", _SOT, 10, 0, _SOT_BYTES + len(_SOD) + len(packets), 0, 1)
        stream = self._main_header(header.height, header.width) + tile + _SOD + packets + _EOC
        with Image.open(io.BytesIO(stream), formats=["JPEG2000"]) as picture:
            if picture.size != (header.width, header.height) or picture.mode != "RGB":
                return None
            return np.asarray(picture)

    def _used_levels(self, height: int, width: int) -> int:
        return min(self.levels, min(height, width).bit_length() - 1)

    def _packets_per_layer(self, height: int, width: int) -> int:
        return 3 * (
            1 + self._used_levels(height, width)
        )  # one precinct per resolution and component

    def _main_header(self, height: int, width: int) -> bytes:
        """Everything before the first tile, as both ends make it."""
        template, siz = _template_header(self.layers, self._used_levels(height, width))
        sizes = struct.pack(">IIIIIIII", width, height, 0, 0, width, height, 0, 0)
        at = siz + 6  # behind the marker, its length and Rsiz
        return template[:at] + sizes + template[at + len(sizes) :]

    def _payload(self, image: np.ndarray, ratio: float) -> bytes:
        height, width = image.shape[:2]
        stream = _encoded(image, ratio, self.layers, self._used_levels(height, width))
        main, tile, packets = _parts(stream)
        if main != self._main_header(height, width):
            raise LinksimError(
                f"{self.version()} writes a main header that does not follow from the size; use another version"
            )
        lengths = []
        if self.layers > 1:
            sizes = _packet_lengths(tile)
            per_layer = self._packets_per_layer(height, width)
            lengths = [sum(sizes[i : i + per_layer]) for i in range(0, len(sizes), per_layer)]
        return b"".join(varint(size) for size in lengths[:-1]) + packets


def _encoded(image: np.ndarray, ratio: float, layers: int, levels: int) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image).save(
        file,
        "JPEG2000",
        quality_mode="rates",
        quality_layers=[ratio * 2**k for k in range(layers - 1, -1, -1)],
        num_resolutions=1 + levels,
        irreversible=True,
        mct=1,
        progression="LRCP",
        no_jp2=True,
        plt=layers > 1,
    )
    return file.getvalue()


@lru_cache(maxsize=64)
def _template_header(layers: int, levels: int) -> tuple[bytes, int]:
    """The main header of a template picture, and where its SIZ segment stands."""
    grey = np.full((_TEMPLATE, _TEMPLATE, 3), 128, np.uint8)
    main, _, _ = _parts(_encoded(grey, 100.0, layers, levels))
    return main, main.index(bytes([0xFF, _SIZ]))


def _parts(stream: bytes) -> tuple[bytes, bytes, bytes]:
    """Main header without its comment, the tile's header segments behind SOT, and the packets."""
    main, at = stream[:2], 2
    while stream[at : at + 2] != _SOT:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at + 1] != _COM:
            main += stream[at:end]
        at = end
    at += _SOT_BYTES
    start = at
    while stream[at : at + 2] != _SOD:
        at += 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
    return main, stream[start:at], stream[at + len(_SOD) :].removesuffix(_EOC)


def _packet_lengths(tile: bytes) -> list[int]:
    """Lengths in a tile's PLT segments (ITU-T T.800, A.7.3): groups of 7 bits, most significant first."""
    sizes, at, value = [], 0, 0
    while at < len(tile):
        end = at + 2 + int.from_bytes(tile[at + 2 : at + 4], "big")
        if tile[at + 1] == _PLT:
            for byte in tile[at + 5 : end]:
                value = value << 7 | byte & 0x7F
                if byte < 0x80:
                    sizes.append(value)
                    value = 0
        at = end
    return sizes
