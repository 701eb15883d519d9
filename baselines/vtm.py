"""VTM, the VVC reference encoder, where a user has it.

LINKSIM_VTM names the encoder and its configuration, separated by ``os.pathsep`` (a colon, on Windows a semicolon):

    LINKSIM_VTM=/opt/vtm/bin/EncoderAppStatic:/opt/vtm/cfg/encoder_intra_vtm.cfg

Its streams are decoded like libvvenc's. Its QP scale lies 3 off libvvenc's; each ladder covers its own.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from linksim.errors import LinksimError, MissingAssetError


def programs() -> tuple[str, str]:
    """Encoder and configuration. Raises MissingAssetError unless LINKSIM_VTM names two files."""
    named = os.environ.get("LINKSIM_VTM", "")
    parts = named.split(os.pathsep)
    if len(parts) != 2 or not all(Path(part).is_file() for part in parts):
        got = f"LINKSIM_VTM={named}" if named else "it is not set"
        raise MissingAssetError(
            f"encoder: vtm needs LINKSIM_VTM=ENCODER{os.pathsep}CONFIG, two files, but {got}; build VTM and set it, or "
            "use encoder: vvenc"
        )
    return parts[0], parts[1]


def version() -> str:
    """The encoder's digest and configuration's: VTM prints its version only when it runs."""
    return _version(*programs())


@lru_cache(maxsize=4)
def _version(encoder: str, configuration: str) -> str:
    digests = [
        hashlib.blake2b(Path(p).read_bytes(), digest_size=6).hexdigest()
        for p in (encoder, configuration)
    ]
    return f"VTM {Path(encoder).name} {digests[0]} {Path(configuration).name} {digests[1]}"


def encode(planes: Sequence[np.ndarray], size: tuple[int, int], quality: int) -> bytes:
    """Code one picture, 4:2:0 10 bits. Args: planes Y', Cb, Cr uint16; size (width, height). Returns: the stream."""
    encoder, configuration = programs()
    with tempfile.TemporaryDirectory(prefix="linksim-") as folder:
        source, out = Path(folder) / "in.yuv", Path(folder) / "out.266"
        source.write_bytes(b"".join(plane.tobytes() for plane in planes))
        command = [encoder, "-c", configuration, "-i", str(source), "-b", str(out)]
        command += ["-wdt", str(size[0]), "-hgt", str(size[1]), "-fr", "25", "-f", "1"]
        command += ["-q", str(quality), "--InputBitDepth=10", "--InternalBitDepth=10"]
        command += ["--InputChromaFormat=420", "--TemporalSubsampleRatio=1"]
        command += ["--ConformanceWindowMode=1"]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode or not out.exists():
            lines = (done.stderr or done.stdout).decode(errors="replace").strip().splitlines()
            raise LinksimError(
                f"{encoder} could not encode {size[0]}x{size[1]} at QP {quality}: "
                f"{lines[-1] if lines else f'exit {done.returncode}'}"
            )
        return out.read_bytes()
