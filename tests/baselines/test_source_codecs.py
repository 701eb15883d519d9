"""Every source codec under the same rules."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from baselines import ladder
from baselines.avif import Avif
from baselines.header import Header
from baselines.hevc import Hevc
from baselines.jpeg import Jpeg
from baselines.jpeg2000 import Jpeg2000
from baselines.ladder import LadderCodec
from baselines.vvc import Vvc
from linksim import registry
from linksim.types import Codec, Decoded, Delivered, Packets, Status

CODECS: dict[str, LadderCodec] = {
    "vvc": Vvc(preset="fast"),
    "hevc": Hevc(preset="veryfast", qp_min=30),
    "avif": Avif(speed=8),
    "jpeg2000": Jpeg2000(),
    "jpeg2000-layers": Jpeg2000(layers=4),
    "jpeg": Jpeg(),
    "jpeg-baseline": Jpeg(progressive=False, subsampling="4:4:4"),
}
BUDGETS = 8 * np.array([200, 700, 1500])
each = pytest.mark.parametrize("name", CODECS)
some = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def cross(codec: LadderCodec, packets: Packets) -> Decoded:
    data = tuple(tuple(p.data for p in row) for row in packets.of)
    return codec.decode(Delivered(data, tuple((True,) * len(row) for row in data)))


def mse(image: Any, original: np.ndarray) -> float:
    return float(np.mean((image.astype(np.float64) - original) ** 2))


def one(codec: LadderCodec, data: bytes, ok: bool = True) -> tuple[Any, Status]:
    decoded = codec.decode(Delivered(((data,),), ((ok,),)))
    return decoded.images[0], decoded.status[0]


@each
def test_round_trip_and_distortion(name: str, photos: np.ndarray) -> None:
    codec = CODECS[name]
    assert isinstance(codec, Codec)
    promised = codec.distortion(photos, BUDGETS)
    assert (np.diff(promised, axis=1) <= 0)[np.isfinite(promised[:, :-1])].all()
    sent = 0
    for m, budget in enumerate(BUDGETS):
        packets = codec.encode(photos, np.full(len(photos), budget))
        decoded = cross(codec, packets)
        for b, row in enumerate(packets.of):
            if not row:
                assert np.isinf(promised[b, m]) and decoded.images[b] is None
                continue
            sent += 1
            assert row[0].num_bits <= budget and row[0].header_bytes == 3
            assert decoded.status[b] == Status.OK
            assert mse(decoded.images[b], photos[b]) == pytest.approx(promised[b, m], rel=1e-6)
    assert sent >= 4
    assert promised[:, -1].max() < 255**2 / 10**2.6  # 26 dB at 2.9 bpp, of any codec


@each
def test_min_bits_is_a_lower_bound(name: str, photos: np.ndarray) -> None:
    codec = CODECS[name]
    flat = np.full_like(photos[:1], 128)
    least = codec.min_bits(64, 64)
    assert codec.encode(flat, np.array([least - 8])).of == ((),)
    assert codec.encode(flat, np.array([3 * least])).of != ((),)


@some
@given(budget=st.integers(0, 8 * 2500), name=st.sampled_from(["hevc", "avif", "jpeg2000", "jpeg"]))
def test_budget_is_never_exceeded(budget: int, name: str, photos: np.ndarray) -> None:
    codec = CODECS[name]
    bits = codec.encode(photos, np.full(len(photos), budget)).num_bits()
    assert (bits <= budget).all()
    if budget < codec.min_bits(*photos.shape[1:3]):
        assert (bits == 0).all()


@each
def test_a_second_sweep_encodes_nothing(name: str, photos: np.ndarray) -> None:
    codec = CODECS[name]
    schemes = 8 * np.arange(100, 1500, 77)
    codec.prepare(photos, schemes)
    codec.encode(photos, np.full(len(photos), schemes[3]))
    before = ladder.encodings()
    for budget in schemes:
        codec.encode(photos, np.full(len(photos), budget))
    codec.distortion(photos, schemes)
    assert ladder.encodings() == before


@each
@pytest.mark.parametrize("size", [(33, 47), (1, 1), (70, 2)])
def test_odd_sizes(name: str, size: tuple[int, int]) -> None:
    height, width = size
    ramp = np.linspace(0, 255, height * width * 3).reshape(1, height, width, 3).astype(np.uint8)
    packets = CODECS[name].encode(ramp, np.array([8 * 2000]))
    decoded = cross(CODECS[name], packets)
    assert decoded.status == (Status.OK,)
    assert decoded.images[0] is not None and decoded.images[0].shape == (height, width, 3)
    assert mse(decoded.images[0], ramp[0]) < 10


@each
def test_damage_never_raises_and_never_takes_long(name: str, photos: np.ndarray) -> None:
    codec = CODECS[name]
    good = codec.encode(photos, np.full(len(photos), 8 * 1500)).of[0][0].data

    @some
    @given(
        draw=st.one_of(
            st.binary(max_size=300),
            st.binary(max_size=200).map(lambda tail: good[:3] + tail),
            st.integers(0, len(good)).map(lambda n: good[:n]),
            st.tuples(st.integers(0, len(good) - 1), st.integers(1, 255)).map(
                lambda hit: good[: hit[0]] + bytes([good[hit[0]] ^ hit[1]]) + good[hit[0] + 1 :]
            ),
            st.tuples(st.integers(1, 3000), st.integers(1, 3000)).map(
                lambda size: Header(*size).pack() + good[3:]
            ),
        ),
        ok=st.booleans(),
    )
    def any_bytes(draw: bytes, ok: bool) -> None:
        start = time.process_time()
        image, status = one(codec, draw, ok)
        assert time.process_time() - start < 2
        assert (image is None) == status.failed
        assert image is None or (image.dtype == np.uint8 and image.shape[2:] == (3,))
        assert ok or status != Status.OK

    any_bytes()


@pytest.mark.parametrize("name", ["jpeg", "jpeg2000-layers"])
def test_a_good_prefix_gives_a_worse_picture(name: str, photos: np.ndarray) -> None:
    codec = CODECS[name]
    packet = codec.encode(photos, np.full(len(photos), 8 * 1500)).of[0][0]
    whole, _ = one(codec, packet.data)
    image, status = one(codec, packet.data[: len(packet.data) * 7 // 10], ok=False)
    assert status == Status.CONCEALED
    grey = mse(np.full_like(photos[0], 128), photos[0])
    assert mse(whole, photos[0]) < mse(image, photos[0]) < grey / 4


@pytest.mark.parametrize("name", ["vvc", "hevc", "avif", "jpeg2000", "jpeg-baseline"])
def test_other_codecs_make_nothing_of_a_prefix(name: str, photos: np.ndarray) -> None:
    packet = CODECS[name].encode(photos, np.full(len(photos), 8 * 1500)).of[0][0]
    assert one(CODECS[name], packet.data, ok=False) == (None, Status.FAILED)


def test_no_packet_is_an_outage_and_an_empty_one_a_failure() -> None:
    decoded = Jpeg().decode(Delivered(((), (b"",)), ((), (True,))))
    assert decoded == Decoded((None, None), (Status.OUTAGE, Status.FAILED))


def test_a_picture_of_another_size_than_its_header_says_is_refused(photos: np.ndarray) -> None:
    data = CODECS["jpeg"].encode(photos, np.full(len(photos), 8 * 1500)).of[0][0].data
    assert one(CODECS["jpeg"], Header(64, 65).pack() + data[3:]) == (None, Status.FAILED)


def test_a_batch_of_frames_codes_like_single_pictures(photos: np.ndarray) -> None:
    five = [*photos, photos[0][::-1], photos[1][:, ::-1], photos[0]]
    for codec in (Vvc(preset="faster"), Hevc(preset="veryfast")):
        for quality in (30, 45):
            together = codec.compress(five, quality)
            assert together == [codec.compress([photo], quality)[0] for photo in five]


def test_vvc_downscales_below_its_smallest_full_size_picture(photos: np.ndarray) -> None:
    images = np.tile(photos, (1, 2, 2, 1))
    codec = Vvc(preset="faster", ladder="lazy")
    smallest = min(len(p) for p, _ in codec.compress(list(images), 63))
    budget = np.full(len(images), 8 * (smallest + 2))
    packets = codec.encode(images, budget)
    scales = [Header.unpack(row[0].data)[0].scale for row in packets.of if row]
    assert scales and set(scales) <= {2, 4}
    decoded = cross(codec, packets)
    assert all(i is None or i.shape == (128, 128, 3) for i in decoded.images)
    assert Vvc(preset="faster", ladder="lazy", downscale=False).encode(images, budget).of == (
        (),
        (),
    )


@each
def test_versions_name_the_encoder(name: str) -> None:
    assert any(c.isdigit() for c in CODECS[name].version())


@pytest.mark.parametrize("name", ["vvc", "hevc", "avif", "jpeg2000", "jpeg"])
def test_registered_under_its_name(name: str) -> None:
    assert registry.create("codecs", name).codec == name


@pytest.mark.parametrize(
    ("cls", "wrong", "message"),
    [
        (Vvc, {"qp_min": 63}, "qp_min"),
        (Hevc, {"qp_min": 51}, "qp_min"),
        (Avif, {"speed": 11}, "speed"),
        (Jpeg2000, {"layers": 0}, "layers"),
    ],
)
def test_parameters_are_checked(cls: type, wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"{message} must be .* got"):
        cls(**wrong)
