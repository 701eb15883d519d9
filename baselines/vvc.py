"""VVC intra pictures: libvvenc through ffmpeg, or VTM where its programs are installed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from baselines import ffmpeg, nal, vtm
from baselines.video import VideoCodec

_PARAMS = (
    "IntraPeriod=1:GOPSize=1:DecodingRefreshType=idr"
    ":MCTF=0:BIM=0"  # or frames of a batch blend
    ":ALFSpeed=0:AccessUnitDelimiter=0:VuiParametersPresent=0:HrdParametersPresent=0"
    ":CbQpOffset=-6:CrQpOffset=-6"  # RGB MSE weighs chroma more than the default does
)
# Above this QP the adaptive loop filter is off: its coefficients cost as much as they gain (same PSNR within 0.01 dB
# for 1 % fewer bytes, photos of 128 px), and libvvenc spends up to nine tenths of its time on them.
_ALF_UP_TO = 51
_SLICES = {7, 8}  # IDR_W_RADL, IDR_N_LP
_SPS, _PPS = 15, 16
_DROP = {14, 20, 23, 24}  # VPS, access unit delimiter, SEI
_IDR_N_LP = 8
_SMALLEST_PAYLOAD = 9  # bytes, of a flat picture


@dataclass(frozen=True)
class Vvc(VideoCodec):
    """VVC (H.266) intra, 4:2:0 10 bits: libvvenc, or VTM through LINKSIM_VTM.

    Args:
      preset:    libvvenc's: faster, fast, medium, slow or slower. Against VTM 23 "medium" is 3.5 % better in rate for
                 RGB PSNR (thanks to the chroma offset); "fast" is two to three times quicker.
      encoder:   "vvenc" or "vtm" (see ``baselines.vtm``; preset does not apply).
      downscale: also offer pictures at half and quarter size, for budgets that no good full-size picture fits.
      qp_min:    lowest QP of the ladder; lower ones reach higher rates and take longer.
      params:    more ``-vvenc-params``, e.g. "LFNST=1:MIP=1:ISP=3:MRL=1".
    """

    preset: Literal["faster", "fast", "medium", "slow", "slower"] = "medium"
    encoder: Literal["vvenc", "vtm"] = "vvenc"
    downscale: bool = True
    qp_min: int = 22
    params: str = ""

    codec: ClassVar[str] = "vvc"
    subsampled: ClassVar[bool] = True
    decoder: ClassVar[str] = "vvc"
    smallest_side: ClassVar[int] = 16
    revision: ClassVar[int] = 1

    def __post_init__(self) -> None:
        if not 0 <= self.qp_min <= 50:
            raise ValueError(f"qp_min must be 0..50, got {self.qp_min}")

    def qualities(self) -> dict[int, tuple[int, ...]]:
        """QPs per scale. Those of the smaller sizes stop where full-size pictures are better (seen on photos)."""
        full = {1: tuple(range(63, self.qp_min - 1, -1))}
        half, quarter = tuple(range(63, 44, -1)), tuple(range(63, 50, -1))
        return {**full, 2: half, 4: quarter} if self.downscale else full

    def version(self) -> str:
        """See LadderCodec.version."""
        return vtm.version() if self.encoder == "vtm" else f"{ffmpeg.version()} libvvenc"

    def min_bits(self, height: int, width: int) -> int:
        """See LadderCodec.min_bits: the header and a flat picture."""
        return 8 * (len(self._header(height, width)) + _SMALLEST_PAYLOAD)

    def options(self, quality: int) -> list[str]:
        """See VideoCodec.options."""
        without = "ALF=0" if self.variant(quality) else ""
        params = ":".join(p for p in (_PARAMS, without, self.params) if p)
        encoder = ["-c:v", "libvvenc", "-preset", self.preset, "-qp", str(quality), "-qpa", "0"]
        return ["-pix_fmt", "yuv420p10le", *encoder, "-vvenc-params", params]

    def variant(self, quality: int) -> int:
        """See VideoCodec.variant: 1 without the adaptive loop filter."""
        return int(self.encoder == "vvenc" and quality > _ALF_UP_TO)

    def streams(
        self, planes: Sequence[Sequence[np.ndarray]], size: tuple[int, int], quality: int
    ) -> bytes:
        """See VideoCodec.streams."""
        if self.encoder == "vtm":
            return b"".join(vtm.encode(picture, size, quality) for picture in planes)
        return super().streams(planes, size, quality)

    def canonical(self, unit: bytes) -> bytes:
        """See VideoCodec.canonical: every picture an IDR_N_LP at picture order count 0 (H.266, clause 7.3.2.8)."""
        raw = bytearray(nal.unescape(unit))
        if (
            len(raw) < 4 or raw[2] >> 2 != 0b110001
        ):  # header in the slice, IRAP, ..., PPS 0; the count's 8 bits follow
            return unit
        raw[1] = _IDR_N_LP << 3 | raw[1] & 7
        raw[2] &= 0b11111100
        raw[3] &= 0b00000011
        return nal.escape(bytes(raw))

    def kind_of(self, unit: bytes) -> str:
        """See VideoCodec.kind_of."""
        kind = unit[1] >> 3 if len(unit) > 1 else -1
        if kind in _SLICES:
            return "picture"
        if kind == _SPS:
            return "set"
        if kind == _PPS:  # VTM's carries the QP, so it travels with the picture
            return "other" if self.encoder == "vtm" else "set"
        return "drop" if kind in _DROP or kind < 0 else "other"
