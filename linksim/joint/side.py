"""SoftCast's side information: what the receiver is told, in a few bytes behind the channel code.

    | picture size 6..34 | means 6+5+5 | level 9 | chroma 4+4 | slope 3 | tilt 3 | [SNR 3] | refinements 3 each |

The fields have fixed widths: the link gives the side block the size of the largest side information at a picture's
size, whatever a picture needs of it, so a variable-length code would only be padded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from linksim.joint import bitfield, spectrum
from linksim.joint.spectrum import Shape

# Sides of square pictures that take a short code.
_SQUARES = (16, 28, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 288, 299, 320, 384, 448, 480, 512, 600, 640, 720,
            768, 800, 896, 960, 1024, 1080, 1280, 1536)  # fmt: skip
_MAX_SIDE = (1 << 14) - 1
MEAN_BITS = (6, 5, 5)
MEAN_LOW = (0.0, -181.0, -209.0)
MEAN_SPAN = (442.0, 362.0, 418.0)  # ranges of the colour planes (linksim.joint.softcast.PLANES)
MEAN_STEP = tuple(s / ((1 << b) - 1) for s, b in zip(MEAN_SPAN, MEAN_BITS, strict=True))
SNR_BITS, SNR_LOW_DB, SNR_STEP_DB = 3, -6.0, 3.0
_SHAPE_BITS = (spectrum.CHROMA_BITS, spectrum.CHROMA_BITS, spectrum.SLOPE_BITS, spectrum.TILT_BITS)


@dataclass(frozen=True)
class Side:
    """The side information of a batch of one size, as whole numbers.

    Args: height, width; means [B, 3]; level [B]; shape; snr [B], an index, or None where no SNR is sent.
    """

    height: int
    width: int
    means: np.ndarray
    level: np.ndarray
    shape: Shape
    snr: np.ndarray | None

    def mean_values(self) -> np.ndarray:
        """[B, 3] float64."""
        return np.array(MEAN_LOW) + self.means * np.array(MEAN_STEP)

    def snr_db(self) -> np.ndarray:
        """[B] float64, dB."""
        assert self.snr is not None
        return SNR_LOW_DB + SNR_STEP_DB * self.snr


def quantise_means(means: np.ndarray) -> np.ndarray:
    """[B, 3] -> [B, 3] int64."""
    code = np.rint((means - np.array(MEAN_LOW)) / np.array(MEAN_STEP))
    return np.clip(code, 0, (1 << np.array(MEAN_BITS)) - 1).astype(np.int64)


def quantise_snr(snr_db: np.ndarray) -> np.ndarray:
    """[B], dB -> [B] int64."""
    code = np.rint((np.nan_to_num(snr_db) - SNR_LOW_DB) / SNR_STEP_DB)
    return np.clip(code, 0, (1 << SNR_BITS) - 1).astype(np.int64)


def _size_fields(height: int, width: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Values and widths: index of a common square, or an escape and both sides."""
    if height == width and height in _SQUARES:
        return (_SQUARES.index(height),), (6,)
    if not (1 <= height <= _MAX_SIDE and 1 <= width <= _MAX_SIDE):
        raise ValueError(
            f"pictures of 1..{_MAX_SIDE} pixels a side can be sent, got {height}x{width}"
        )
    return (63, height, width), (6, 14, 14)


def _widths(refined: int, with_snr: bool) -> tuple[int, ...]:
    snr = (SNR_BITS,) if with_snr else ()
    return (*MEAN_BITS, spectrum.LEVEL_BITS, *_SHAPE_BITS, *snr) + (spectrum.REFINE_BITS,) * refined


def num_bits(height: int, width: int, refined: int, with_snr: bool) -> int:
    """Bits of the packet, whole bytes."""
    bits = sum(_size_fields(height, width)[1]) + sum(_widths(refined, with_snr))
    return 8 * -(-bits // 8)


def pack(side: Side) -> list[bytes]:
    """One packet per picture."""
    size, size_widths = _size_fields(side.height, side.width)
    widths = size_widths + _widths(side.shape.refine.shape[1], side.snr is not None)
    s = side.shape
    columns = [side.means, side.level[:, None]]
    columns += [v[:, None] for v in (s.chroma1, s.chroma2, s.slope, s.tilt)]
    if side.snr is not None:
        columns.append(side.snr[:, None])
    rows = np.concatenate([*columns, s.refine], axis=1)
    return [bitfield.pack((*size, *(int(v) for v in row)), widths) for row in rows]


def read_size(data: bytes) -> tuple[int, int] | None:
    """(height, width) at the head of a packet; None if there is none."""
    index = data[0] >> 2 if data else -1
    if 0 <= index < len(_SQUARES):
        return _SQUARES[index], _SQUARES[index]
    if index != 63 or len(data) < 5:
        return None
    number = int.from_bytes(data[:5], "big") >> 6
    height, width = number >> 14 & _MAX_SIDE, number & _MAX_SIDE
    return (height, width) if height and width else None


def unpack(data: bytes, refined: int, with_snr: bool) -> Side | None:
    """A batch of one picture; None if the packet does not have the form of one."""
    size = read_size(data)
    if size is None:
        return None
    head = _size_fields(*size)[1]
    values = bitfield.unpack(data, head + _widths(refined, with_snr))
    if values is None:
        return None
    row = np.array(values[len(head) :], np.int64)[None]
    snr = row[:, 8] if with_snr else None
    shape = Shape(row[:, 4], row[:, 5], row[:, 6], row[:, 7], row[:, 8 + with_snr :])
    return Side(*size, row[:, :3], row[:, 3], shape, snr)
