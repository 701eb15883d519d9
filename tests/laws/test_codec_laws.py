"""Every registered source codec keeps to its budget, decodes what it made, and survives any bytes."""

from functools import cache

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from linksim import registry
from linksim.errors import ComponentError, MissingAssetError
from linksim.types import Decoded, Delivered, Levelled, Status

NAMES = list(registry.entries("codecs"))
SIZE = (32, 48)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path))


@cache
def codec(name):
    try:
        return registry.create("codecs", name)
    except MissingAssetError as absent:
        pytest.skip(f"{name} cannot run here: {absent}")
    except ComponentError as error:
        pytest.skip(f"{name} needs parameters: {error}")


def pictures():
    ramp = np.linspace(0, 255, SIZE[0] * SIZE[1] * 3).reshape(*SIZE, 3)
    waves = 127 + 100 * np.sin(np.arange(SIZE[1]) / 3)[None, :, None] * np.ones((*SIZE, 3))
    return np.stack([ramp, waves]).astype(np.uint8)


def test_the_built_in_codecs_are_there():
    assert {"vvc", "hevc", "avif", "jpeg2000", "jpeg"} <= set(NAMES)


def check_levels(made, images):
    """One quality setting for all: within a tier the set takes more bits at a higher level."""
    end = sum(made.quality_levels())
    for count in reversed(made.quality_levels()):
        taken = []
        for level in (end - count, end - count // 2 - 1, end - 1):
            packets = made.encode_at(images, level)
            assert [len(of) for of in packets.of] == [1] * len(images)
            taken.append(packets.num_bits().sum())
            data = tuple(tuple(p.data for p in row) for row in packets.of)
            shown = made.decode(Delivered(data, ((True,),) * len(data)))
            assert all(image.shape == images[0].shape for image in shown.images)
        assert taken == sorted(taken) and taken[0] < taken[-1]
        end -= count


@pytest.mark.parametrize("name", NAMES)
def test_budget_and_round_trip(name):
    images, made = pictures(), codec(name)
    least = made.min_bits(*SIZE)
    assert least > 0
    budget = np.array([max(40000, least), max(8000, least)], np.int64)
    packets = made.encode(images, budget)
    assert (packets.num_bits() <= budget).all()
    assert packets.of[0], "a budget of 40,000 bits must hold a picture of 32x48"
    data = tuple(tuple(p.data for p in row) for row in packets.of)
    good = tuple((True,) * len(row) for row in packets.of)
    decoded = codec(name).decode(Delivered(data, good))
    for image, shown, status in zip(images, decoded.images, decoded.status, strict=True):
        if status == Status.OUTAGE:
            continue
        assert status == Status.OK
        assert shown.shape == image.shape and shown.dtype == np.uint8
    if isinstance(made, Levelled):
        check_levels(made, images)
    error = np.mean((decoded.images[0].astype(float) - images[0]) ** 2)
    assert error < 200
    np.testing.assert_allclose(
        made.distortion(images, budget[:1])[0, 0], error, rtol=0.05, atol=0.1
    )


@pytest.mark.parametrize("name", NAMES)
def test_below_its_minimum_is_an_outage(name):
    made = codec(name)
    packets = made.encode(pictures(), np.array([8, 8], np.int64))
    assert packets.of == ((), ())
    assert np.isinf(made.distortion(pictures(), np.array([8], np.int64))).all()


def check_decoded(decoded: Decoded, count: int):
    assert len(decoded.images) == len(decoded.status) == count
    for image, status in zip(decoded.images, decoded.status, strict=True):
        assert isinstance(status, Status)
        assert image is None or (image.dtype == np.uint8 and image.shape[2] == 3)


@pytest.mark.parametrize("name", NAMES)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.binary(max_size=120), ok=st.booleans())
def test_arbitrary_bytes_never_raise(name, data, ok):
    check_decoded(codec(name).decode(Delivered(((data,), ()), ((ok,), ()))), 2)


@pytest.mark.parametrize("name", NAMES)
def test_damaged_streams_never_raise(name):
    made = codec(name)
    row = made.encode(pictures()[:1], np.array([max(20000, made.min_bits(*SIZE))], np.int64)).of[0]
    rng = np.random.default_rng(0)
    whole = row[0].data
    rows = []
    for _ in range(4):
        damaged = np.frombuffer(whole, np.uint8).copy()
        damaged[rng.integers(0, len(whole), 3)] ^= rng.integers(1, 256, 3).astype(np.uint8)
        rows += [(damaged.tobytes(),), (whole[: rng.integers(0, len(whole))],)]
    ok = tuple((i % 4 != 1,) for i in range(len(rows)))
    check_decoded(made.decode(Delivered(tuple(rows), ok)), len(rows))
