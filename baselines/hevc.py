"""HEVC intra pictures: libx265 through ffmpeg."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from baselines import ffmpeg, nal
from baselines.video import VideoCodec

_PARAMS = (
    "keyint=1:info=0:hrd=0:repeat-headers=1:annexb=1"
    ":pools=1:frame-threads=1:wpp=0"  # one thread: same bytes on every machine, and no entry points to pay for
    ":aq-mode=0:ipratio=1:psy-rd=0:psy-rdoq=0"  # constant QP and no psychovisual terms, for PSNR
)
_SETS = {32, 33, 34}  # VPS, SPS, PPS
_SMALLEST_PAYLOAD = 8  # bytes, of a flat picture at QP 51


@dataclass(frozen=True)
class Hevc(VideoCodec):
    """HEVC (H.265) intra: libx265, 4:4:4 10 bits.

    4:4:4 gives more RGB PSNR than 4:2:0 at all rates but the lowest, and HEVC has it as a standard profile.

    Args:
      preset: libx265's, "medium" to "placebo".
      qp_min: lowest QP of the ladder.
      params: more ``-x265-params``.
    """

    preset: Literal[
        "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo"
    ] = "slow"
    qp_min: int = 12
    params: str = ""

    codec: ClassVar[str] = "hevc"
    subsampled: ClassVar[bool] = False
    decoder: ClassVar[str] = "hevc"
    smallest_side: ClassVar[int] = (
        64  # below it x265 changes its block sizes, and so the parameter sets
    )

    def __post_init__(self) -> None:
        if not 0 <= self.qp_min <= 40:
            raise ValueError(f"qp_min must be 0..40, got {self.qp_min}")

    def qualities(self) -> dict[int, tuple[int, ...]]:
        """QPs, at full size alone."""
        return {1: tuple(range(51, self.qp_min - 1, -1))}

    def version(self) -> str:
        """See LadderCodec.version."""
        return f"{ffmpeg.version()} libx265"

    def min_bits(self, height: int, width: int) -> int:
        """See LadderCodec.min_bits: the header and a flat picture."""
        return 8 * (len(self._header(height, width)) + _SMALLEST_PAYLOAD)

    def options(self, quality: int) -> list[str]:
        """See VideoCodec.options."""
        params = f"{_PARAMS}:qp={quality}" + (f":{self.params}" if self.params else "")
        encoder = ["-c:v", "libx265", "-preset", self.preset, "-x265-params", params]
        return ["-pix_fmt", "yuv444p10le", *encoder]

    def canonical(self, unit: bytes) -> bytes:
        """See VideoCodec.canonical.

        x265 draws slice_loop_filter_across_slices_enabled_flag from the picture's number; with one slice it is idle.
        """
        raw = nal.unescape(unit)
        bits = f"{int.from_bytes(raw[2:18], 'big'):0{8 * len(raw[2:18])}b}"
        if (
            bits[:6] != "101011"
        ):  # first slice, nothing before it to drop, PPS 0, I; two SAO flags and the QP follow
            return unit
        zeros = bits.index("1", 8) - 8
        flag = 8 + 2 * zeros + 1
        changed = int(bits[:flag] + "1" + bits[flag + 1 :], 2).to_bytes(len(bits) // 8, "big")
        return nal.escape(raw[:2] + changed + raw[18:])

    def kind_of(self, unit: bytes) -> str:
        """See VideoCodec.kind_of."""
        kind = unit[0] >> 1 & 63 if len(unit) > 2 else 63
        if kind in _SETS:
            return "set"
        return "picture" if kind < 32 else "drop"  # all else is access unit delimiters and SEI
