"""Video codecs' intra pictures through ffmpeg: what VVC and HEVC share.

    [H,W,3] -> pad to a multiple of 8 -> planes -> ffmpeg, N pictures as N frames -> NAL units -> payload
    payload + own parameter sets -> one picture -> planes -> RGB -> crop

The payload is the picture's NAL units but parameter sets, each but the last behind its LEB128 length; the header's note
is their number less one, and in its highest bit the variant of parameter sets. These go out of band (see
``baselines.nal``).
"""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from baselines import colour, ffmpeg, nal
from baselines.header import Header, read_varint, varint
from baselines.ladder import Coded, LadderCodec
from linksim.errors import LinksimError

_ALIGN = 8  # the smallest coding block: with whole blocks there is no conformance window
_VARIANT_AT = 5  # bit of the header's note
_TEMPLATE = (64, 72)  # width, height of the picture whose parameter sets serve all sizes

_templates: dict[tuple[str, ...], list[bytes]] = {}
_template_lock = threading.Lock()


@dataclass(frozen=True)
class VideoCodec(LadderCodec):
    """Base of the codecs whose pictures are NAL units. Subclasses name the encoder and tell the units apart."""

    subsampled: ClassVar[bool]  # 4:2:0 (even sides), or 4:4:4
    decoder: ClassVar[str]  # PyAV's name
    smallest_side: ClassVar[int]  # that the encoder takes; smaller pictures are padded

    @abstractmethod
    def options(self, quality: int) -> list[str]:
        """ffmpeg's options from "-pix_fmt" on."""

    @abstractmethod
    def kind_of(self, unit: bytes) -> str:
        """What a NAL unit is: "picture" (a slice, the last unit of its picture), "set", "other" or "drop"."""

    def variant(self, quality: int) -> int:
        """Which of two forms of parameter sets, 0 or 1, pictures of this quality have."""
        return 0

    def canonical(self, unit: bytes) -> bytes:
        """A picture's slice without the marks of its place in a run, so that a picture's bytes are its own alone."""
        return unit

    def streams(
        self, planes: Sequence[Sequence[np.ndarray]], size: tuple[int, int], quality: int
    ) -> bytes:
        """The coded stream of same-size pictures. Args: planes per picture; size (width, height)."""
        return ffmpeg.encode(planes, size, self.options(quality), self.codec)

    def compress(self, images: Sequence[np.ndarray], quality: int) -> list[Coded]:
        """See LadderCodec.compress."""
        size = self._padded_size(*images[0].shape[:2])
        planes = [self._planes(image, size) for image in images]
        pictures = self._pictures(self.streams(planes, size, quality))
        if len(pictures) != len(images) > 1:
            # Seen with libvvenc in ffmpeg: a run of several small frames that is soon over loses them all, at random.
            half = len(images) // 2
            return self.compress(images[:half], quality) + self.compress(images[half:], quality)
        if len(pictures) != len(images):
            raise LinksimError(
                f"{self.version()} made {len(pictures)} pictures of {len(images)}; use another version of the encoder"
            )
        variant = self.variant(quality) << _VARIANT_AT
        return [(data, note | variant) for data, note in map(_packed, pictures)]

    def decompress(self, payload: bytes, header: Header, whole: bool) -> np.ndarray | None:
        """See LadderCodec.decompress."""
        height, width = header.coded
        size = self._padded_size(height, width)
        variant, more = divmod(header.note, 1 << _VARIANT_AT)
        units = self.parameter_sets(size, variant) + _unpacked(payload, more)
        planes = ffmpeg.decode_one(nal.join(units), self.decoder, size, 10)
        if planes is None or (planes[1].shape != planes[0].shape) != self.subsampled:
            return None
        return colour.from_planes(planes, bits=10)[:height, :width]

    def parameter_sets(self, size: tuple[int, int], variant: int = 0) -> list[bytes]:
        """Parameter sets of a picture size, as the receiver makes them.

        Args:   size: (width, height), padded. variant: see ``variant``.
        Raises: ValueError: if no quality has this variant.
        """
        tiers = self.qualities().values()
        quality = next((q for qs in tiers for q in qs if self.variant(q) == variant), None)
        if quality is None:
            raise ValueError(f"no picture of this codec has parameter sets {variant}")
        key = (self.version(), *self.options(quality))
        with _template_lock:
            if key not in _templates:
                grey = np.full((_TEMPLATE[1], _TEMPLATE[0], 3), 128, np.uint8)
                stream = self.streams([self._planes(grey, _TEMPLATE)], _TEMPLATE, quality)
                _templates[key] = [u for u in nal.split(stream) if self.kind_of(u) == "set"]
        return [nal.resize(unit, _TEMPLATE, size) for unit in _templates[key]]

    def _padded_size(self, height: int, width: int) -> tuple[int, int]:
        sides = (max(side, self.smallest_side) for side in (width, height))
        return tuple(-(-side // _ALIGN) * _ALIGN for side in sides)  # type: ignore[return-value]

    def _planes(self, image: np.ndarray, size: tuple[int, int]) -> list[np.ndarray]:
        height, width = image.shape[:2]
        more = ((0, size[1] - height), (0, size[0] - width), (0, 0))
        padded = np.pad(image, more, mode="edge")
        return colour.to_planes(padded, bits=10, subsampled=self.subsampled)

    def _pictures(self, stream: bytes) -> list[list[bytes]]:
        pictures: list[list[bytes]] = []
        units: list[bytes] = []
        for unit in nal.split(stream):
            kind = self.kind_of(unit)
            if kind == "other":
                units.append(unit)
            elif kind == "picture":
                pictures.append([*units, self.canonical(unit)])
                units = []
        return pictures


def _packed(units: list[bytes]) -> Coded:
    lengths = b"".join(varint(len(unit)) + unit for unit in units[:-1])
    return lengths + units[-1], len(units) - 1


def _unpacked(payload: bytes, more: int) -> list[bytes]:
    units, at = [], 0
    for _ in range(more):
        length, at = read_varint(payload, at)
        if at + length > len(payload):
            raise ValueError("a unit is longer than its packet")
        units.append(payload[at : at + length])
        at += length
    return [*units, payload[at:]]
