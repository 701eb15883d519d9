"""Colour planes, NAL units, parameter sets and VTM's plumbing."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines import colour, ffmpeg, nal, vtm
from baselines.header import Header
from baselines.hevc import Hevc
from baselines.video import VideoCodec
from baselines.vvc import Vvc
from linksim import registry
from linksim.errors import LinksimError, MissingAssetError
from linksim.types import Delivered, Status


@pytest.mark.parametrize("bits", [8, 10])
def test_full_resolution_colour_is_nearly_lossless(bits: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 7, 3), np.uint8)
    back = colour.from_planes(colour.to_planes(image, bits=bits, subsampled=False), bits=bits)
    assert np.abs(back.astype(int) - image).max() <= (2 if bits == 8 else 1)


def test_colour_is_full_range_bt601() -> None:
    image = np.array([[[255, 255, 255], [0, 0, 0], [255, 0, 0]]], np.uint8)
    luma, cb, cr = colour.to_planes(image, bits=8, subsampled=False)
    assert luma.tolist() == [[255, 0, 76]]
    assert cb.tolist() == [[128, 128, 85]] and cr.tolist() == [[128, 128, 255]]


def test_subsampled_colour_keeps_flat_and_smooth_pictures() -> None:
    y, x = np.mgrid[0:32, 0:48]
    smooth = np.stack([128 + 100 * np.sin(y / 20), 2 * x + 50, 255 - 3 * y], -1).astype(np.uint8)
    planes = colour.to_planes(smooth, bits=10, subsampled=True)
    assert [p.shape for p in planes] == [(32, 48), (16, 24), (16, 24)]
    error = colour.from_planes(planes, bits=10).astype(int) - smooth
    assert np.mean(error[4:-4, 4:-4] ** 2) < 0.5


@given(st.binary(min_size=1, max_size=40))
def test_emulation_prevention_round_trip(data: bytes) -> None:
    escaped = nal.escape(data)
    assert b"\x00\x00\x01" not in escaped and b"\x00\x00\x02" not in escaped
    assert nal.unescape(escaped) == data


@pytest.mark.parametrize("codec", [Vvc(preset="fast"), Vvc(), Hevc()], ids=str)
@pytest.mark.parametrize("size", [(64, 64), (256, 128), (1024, 72)])
def test_parameter_sets_made_by_the_receiver_are_the_encoders(
    codec: VideoCodec, size: tuple[int, int]
) -> None:
    own = codec.parameter_sets(size)
    grey = np.full((size[1], size[0], 3), 90, np.uint8)
    stream = codec.streams([codec._planes(grey, size)], size, 51)
    theirs = [unit for unit in nal.split(stream) if codec.kind_of(unit) == "set"]
    assert len(own) == len(theirs) == (2 if codec.codec == "vvc" else 3)
    for mine, other in zip(own, theirs, strict=True):
        assert len(mine) == len(other)
        assert sum(a != b for a, b in zip(mine, other, strict=True)) <= 1  # the level


def test_frames_that_a_run_loses_are_coded_in_smaller_runs(monkeypatch) -> None:
    codec, whole = Vvc(preset="fast"), Vvc.streams
    photos = [np.full((32, 32, 3), 40 * i, np.uint8) for i in range(5)]
    expected = [codec.compress([photo], 60)[0] for photo in photos]

    def loses(self, planes, size, quality):
        return b"" if len(planes) > 2 else whole(self, planes, size, quality)

    monkeypatch.setattr(Vvc, "streams", loses)
    assert codec.compress(photos, 60) == expected


def test_high_qps_go_without_the_loop_filter_and_say_so() -> None:
    codec = Vvc(preset="fast")
    photo = np.random.default_rng(1).integers(0, 256, (48, 40, 3), np.uint8)
    for quality, variant in ((51, 0), (52, 1)):
        ((payload, note),) = codec.compress([photo], quality)
        assert note >> 5 == variant
        shown = codec.decompress(payload, Header(48, 40, 1, note), True)
        assert shown is not None and shown.shape == photo.shape
    with_filter, without = (codec.parameter_sets((48, 40), v) for v in (0, 1))
    assert with_filter != without


def test_parameter_sets_do_not_depend_on_the_qp() -> None:
    codec = Vvc(preset="fast")
    planes = [codec._planes(np.full((64, 64, 3), 90, np.uint8), (64, 64))]
    sets = [
        [u for u in nal.split(codec.streams(planes, (64, 64), qp)) if codec.kind_of(u) == "set"]
        for qp in (25, 51, 52, 63)
    ]
    assert sets[0] == sets[1] != sets[2] == sets[3]


def test_ffmpegs_own_words_reach_the_user() -> None:
    with pytest.raises(LinksimError, match=r"could not encode 64x64.*nonsense"):
        ffmpeg.encode([], (64, 64), ["-pix_fmt", "yuv420p10le", "-c:v", "nonsense"], "vvc")


FAKE_VTM = """#!{python}
# Speaks VTM's command line, codes with libvvenc.
import subprocess, sys
given = dict(zip(sys.argv[1:], sys.argv[2:]))
assert given["-c"].endswith("intra.cfg") and "--InputChromaFormat=420" in sys.argv
done = subprocess.run(
    [{ffmpeg!r}, "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p10le",
     "-s", given["-wdt"] + "x" + given["-hgt"], "-i", given["-i"], "-c:v", "libvvenc",
     "-preset", "faster", "-qp", given["-q"], "-qpa", "0", "-threads", "1", "-f", "vvc", given["-b"]])
sys.exit(done.returncode)
"""


def test_vtm_has_the_same_interface(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, photos: np.ndarray
) -> None:
    encoder, configuration = tmp_path / "EncoderApp", tmp_path / "intra.cfg"
    encoder.write_text(FAKE_VTM.format(python=sys.executable, ffmpeg=ffmpeg.program()))
    encoder.chmod(0o755)
    configuration.write_text("# intra")
    monkeypatch.setenv("LINKSIM_VTM", f"{encoder}{os.pathsep}{configuration}")
    codec = registry.create("codecs", {"name": "vvc", "encoder": "vtm", "ladder": "lazy"})
    assert codec.version().startswith("VTM EncoderApp ")
    packets = codec.encode(photos[:1], np.array([8 * 700]))
    decoded = codec.decode(Delivered(((packets.of[0][0].data,),), ((True,),)))
    assert decoded.status == (Status.OK,)
    assert decoded.images[0] is not None
    assert np.mean((decoded.images[0].astype(float) - photos[0]) ** 2) < 300


@pytest.mark.parametrize("named", ["", "/nowhere/EncoderApp"])
def test_vtm_absent_is_one_clear_line(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSIM_VTM", named)
    with pytest.raises(MissingAssetError, match="needs LINKSIM_VTM=ENCODER"):
        vtm.version()
    with pytest.raises(MissingAssetError):
        Vvc(encoder="vtm").encode(np.zeros((1, 8, 8, 3), np.uint8), np.array([8000]))
