"""The ffmpeg program that the imageio-ffmpeg wheel carries, and PyAV's decoders of the same library in process."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from linksim.errors import LinksimError, MissingAssetError


@cache
def program() -> str:
    """Path of ffmpeg: IMAGEIO_FFMPEG_EXE, else the wheel's. Raises MissingAssetError where there is none."""
    import imageio_ffmpeg

    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError as error:
        raise MissingAssetError(
            "no ffmpeg program was found; install the imageio-ffmpeg wheel of this platform, or name one with libvvenc "
            "and libx265 in IMAGEIO_FFMPEG_EXE"
        ) from error


@cache
def version() -> str:
    """Version of that ffmpeg, e.g. "ffmpeg n9.0.2-17-g2a571b6068-20260930"; it names the build, encoders included."""
    done = subprocess.run([program(), "-version"], capture_output=True, text=True, check=False)
    words = done.stdout.split()
    return f"ffmpeg {words[2]}" if len(words) > 2 else f"ffmpeg at {program()}"


def encode(
    planes: Sequence[Sequence[np.ndarray]], size: tuple[int, int], options: Sequence[str], kind: str
) -> bytes:
    """Code pictures as the frames of one run.

    Args:
      planes:  per picture, its planes in ``options``' pixel format.
      size:    (width, height).
      options: of the input's pixel format and the encoder, "-pix_fmt" first.
      kind:    container of the result, "vvc" or "hevc": a raw stream.
    Returns: the stream.
    Raises:  LinksimError: with ffmpeg's own last line.
    """
    raw = b"".join(plane.tobytes() for picture in planes for plane in picture)
    with tempfile.TemporaryDirectory(prefix="linksim-") as folder:
        out = Path(folder) / f"out.{kind}"  # never a pipe: libvvenc prints warnings into stdout
        command = [program(), "-hide_banner", "-loglevel", "error", "-nostdin", "-y"]
        command += ["-f", "rawvideo", *options[:2], "-s", f"{size[0]}x{size[1]}", "-r", "25"]
        command += ["-i", "pipe:0", *options[2:], "-threads", "1", "-f", kind, str(out)]
        done = subprocess.run(command, input=raw, capture_output=True, check=False)
        if done.returncode or not out.exists():
            lines = [line for line in done.stderr.decode(errors="replace").splitlines() if line]
            raise LinksimError(
                f"{version()} could not encode {size[0]}x{size[1]} with {' '.join(options)}: "
                f"{lines[0] if lines else f'exit {done.returncode}'}"
            )
        return out.read_bytes()


def decode_one(
    data: bytes, codec: str, size: tuple[int, int], bits: int
) -> list[np.ndarray] | None:
    """Planes of the one picture in a stream, or None: a damaged stream shows none, or one of another form.

    Args:
      data:  the whole coded picture, parameter sets in front.
      codec: PyAV's name of the decoder.
      size:  (width, height) that it must have.
      bits:  of a sample, 8 or 10.
    """
    import av

    context: Any = av.CodecContext.create(codec, "r")
    context.thread_count = 1
    # A few bytes can announce a picture of gigabytes; the decoder is to refuse it before it makes room.
    context.options = {"max_pixels": str((size[0] + 64) * (size[1] + 64))}
    try:
        frames = context.decode(av.Packet(data))
        frames += context.decode(None)
    except (av.FFmpegError, EOFError):
        return None
    if len(frames) != 1 or (frames[0].width, frames[0].height) != size:
        return None
    kind = "<u2" if bits > 8 else "u1"
    formats = {
        8: ("yuv444p", "yuvj444p", "yuv420p", "yuvj420p"),
        10: ("yuv420p10le", "yuv444p10le"),
    }
    if frames[0].format.name not in formats[bits]:
        return None
    return [
        np.frombuffer(plane, kind).reshape(plane.height, -1)[:, : plane.width]
        for plane in frames[0].planes
    ]
