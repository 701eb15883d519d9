"""Every registered joint coder: unit power, at most the uses given, a noiseless round trip, any bytes survived."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from linksim import registry
from linksim.channel.awgn import Ideal
from linksim.errors import ComponentError, MissingAssetError
from linksim.seeds import FrameSeeds
from linksim.types import Delivered, Received, Status, TxKnowledge

NAMES = list(registry.entries("joints"))


@cache
def joint(name):
    try:
        return registry.create("joints", name)
    except MissingAssetError as absent:
        pytest.skip(f"{name} cannot run here: {absent}")
    except ComponentError as error:
        pytest.skip(f"{name} needs parameters: {error}")


def knowledge(batch, snr_db=10.0):
    return TxKnowledge(np.full(batch, snr_db))


def deliver(payload, received, size, ok=True):
    packets = payload.packets.of if payload.packets else ((),) * len(received.y)
    data = tuple(tuple(p.data for p in row) for row in packets)
    return Delivered(data, tuple((ok,) * len(row) for row in data), received, size)


def pictures(height, width, seed=0, batch=3):
    rng = np.random.default_rng(seed)
    smooth = np.cumsum(np.cumsum(rng.normal(size=(batch, height, width, 3)), 1), 2)
    smooth -= smooth.min((1, 2, 3), keepdims=True)
    return (255 * smooth / np.maximum(smooth.max((1, 2, 3), keepdims=True), 1e-9)).astype(np.uint8)


def test_the_built_in_coders_are_there():
    assert "softcast" in NAMES


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=15, deadline=None)
@given(
    size=st.sampled_from([(1, 1), (16, 16), (9, 40), (40, 23)]),  # networks are compiled for each
    share=st.floats(0.02, 1.2),
    seed=st.integers(0, 99),
)
def test_power_uses_and_side_information(name, size, share, seed):
    made = joint(name)
    height, width = size
    images = pictures(height, width, seed)
    uses = max(made.min_uses(height, width), int(share * 1.5 * height * width))
    payload = made.encode(images, np.full(3, uses, np.int64), knowledge(3))
    x, count = payload.symbols.x, payload.symbols.num_symbols
    assert x.dtype == np.complex64 and (count <= uses).all() and (count >= 1).all()
    for row, n in zip(x, count, strict=True):
        assert np.mean(np.abs(row[:n].astype(np.complex128)) ** 2) == pytest.approx(1, abs=1e-4)
        assert not row[n:].any()
    if payload.packets is not None:
        assert (payload.packets.num_bits() <= made.side_bits(height, width)).all()
        assert all(p.kind == "side" for row in payload.packets.of for p in row)
    received = Ideal()(x, 0.0, FrameSeeds.of(seed, 3))
    decoded = joint(name).decode(deliver(payload, received, (height, width)))
    assert decoded.status == (Status.OK,) * 3
    assert all(i.shape == (height, width, 3) and i.dtype == np.uint8 for i in decoded.images)


@pytest.mark.parametrize("name", NAMES)
def test_noiseless_round_trip_at_full_bandwidth(name):
    made = joint(name)
    images = pictures(32, 48)
    uses = np.full(3, 3 * 32 * 48 // 2, np.int64)
    payload = made.encode(images, uses, knowledge(3, 60.0))
    decoded = made.decode(
        deliver(payload, Ideal()(payload.symbols.x, 0.0, FrameSeeds.of(0, 3)), (32, 48))
    )
    for image, shown in zip(images, decoded.images, strict=True):
        mse = np.mean((image.astype(float) - shown) ** 2)
        # a learned coder says what it reaches on pictures that it has never seen the like of
        least = getattr(made, "noiseless_psnr_db", 30.0)
        assert 10 * np.log10(255**2 / max(mse, 1e-9)) > least


@pytest.mark.parametrize("name", NAMES)
def test_a_frame_does_not_depend_on_its_batch(name):
    made, images = joint(name), pictures(24, 24)
    uses = np.full(3, 200, np.int64)
    whole = made.encode(images, uses, knowledge(3))
    for b in range(3):
        one = made.encode(images[b : b + 1], uses[:1], knowledge(1))
        np.testing.assert_allclose(one.symbols.x[0], whole.symbols.x[b], atol=1e-5)
        if whole.packets is not None:
            assert one.packets.of[0] == whole.packets.of[b]


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=40), ok=st.booleans(), uses=st.integers(0, 64), bad=st.booleans())
def test_arbitrary_side_information_and_symbols_never_raise(name, data, ok, uses, bad):
    y = np.full((2, uses), np.nan if bad else 0.7, np.complex64)
    symbols = Received(y, np.ones((2, 1), np.complex64), 0.1)
    decoded = joint(name).decode(Delivered(((data,), ()), ((ok,), ()), symbols))
    assert len(decoded.images) == len(decoded.status) == 2
    if joint(name).side_bits(16, 16):
        assert decoded.status[1] == Status.FAILED and decoded.images[1] is None
