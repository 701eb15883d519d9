"""SoftCast: what a picture looks like behind it."""

import numpy as np
import pytest

from linksim.channel.awgn import Awgn, Ideal
from linksim.channel.fading import Rayleigh
from linksim.errors import BudgetError
from linksim.image.samples import Samples
from linksim.joint.softcast import PLANES, SoftCast
from linksim.seeds import FrameSeeds
from linksim.types import Delivered, Received, Status, TxKnowledge


@pytest.fixture(scope="module")
def photos():
    source = Samples(size=128, limit=8)
    return np.stack([source.load(i) for i in range(8)])


def send(coder, images, uses, snr_db, channel, seed=0, believed=None):
    batch = len(images)
    tx = TxKnowledge(np.full(batch, snr_db if believed is None else believed, float))
    payload = coder.encode(images, np.full(batch, uses, np.int64), tx)
    received = channel(payload.symbols.x, 10 ** (-snr_db / 10), FrameSeeds.of(seed, batch))
    data = tuple(tuple(p.data for p in row) for row in payload.packets.of)
    return Delivered(data, ((True,),) * batch, received)


def psnr(images, decoded):
    mse = [np.mean((a.astype(float) - b) ** 2) for a, b in zip(images, decoded.images, strict=True)]
    return float(np.mean(10 * np.log10(255**2 / np.maximum(mse, 1e-3))))


def quality(coder, images, uses, snr_db, channel=None, **more):
    channel = channel or Awgn()
    return psnr(images, coder.decode(send(coder, images, uses, snr_db, channel, **more)))


def test_quality_falls_gracefully(photos):
    """No cliff: about half a decibel of picture for each decibel of noise."""
    curve = [quality(SoftCast(), photos, 1600, snr, believed=6.0) for snr in (-4, -1, 2, 5, 8, 11)]
    steps = np.diff(curve)
    assert (steps > 0.3).all() and (steps < 3).all()
    assert curve[0] > 16.5 and curve[-1] > 22.5


def test_more_symbols_are_better(photos):
    assert (np.diff([quality(SoftCast(), photos, s, 20.0) for s in (200, 800, 3200)]) > 1).all()


def test_noiseless_full_bandwidth_is_transparent(photos):
    assert quality(SoftCast(), photos, 24576, 0.0, Ideal()) > 55


def test_mmse_allocation_wins_at_low_snr_and_ties_at_high(photos):
    gains = [
        quality(SoftCast("mmse"), photos, 1600, snr) - quality(SoftCast(), photos, 1600, snr)
        for snr in (-4.0, 10.0)
    ]
    assert gains[0] > 0.4
    assert abs(gains[1]) < 0.2


def test_whitening_changes_nothing_without_fading(photos):
    plain = SoftCast().decode(send(SoftCast(), photos, 1600, 5.0, Ideal()))
    mixed = SoftCast(whitening=8).decode(send(SoftCast(whitening=8), photos, 1600, 5.0, Ideal()))
    for a, b in zip(plain.images, mixed.images, strict=True):
        assert np.abs(a.astype(int) - b).max() <= 1


def test_whitening_spreads_an_erased_stretch(photos):
    """A quarter of the symbols is lost; which coefficients they carried should not matter."""

    class Burst:
        def __call__(self, x, n0, seed):
            h = np.ones(x.shape, np.complex64)
            h[:, : x.shape[1] // 4] = 0
            return Received(h * x, h, np.float32(1e-4) * np.ones((), np.float32))

    for whitening in (1, 8):
        assert quality(SoftCast(whitening=whitening), photos, 3200, 20.0, Burst()) > 14


def test_fading_is_undone_with_h(photos):
    faded = quality(SoftCast(), photos, 1600, 15.0, Rayleigh(block_length=64))
    assert 20 < faded < quality(SoftCast(), photos, 1600, 15.0)


def test_side_information_is_a_few_bytes():
    assert SoftCast().side_bits(128, 128) == 48
    assert SoftCast("mmse").side_bits(128, 128) == 48
    assert SoftCast().side_bits(512, 768) < 700
    assert SoftCast(refined=4).side_bits(128, 128) == 64


def test_no_picture_without_side_information(photos):
    delivered = send(SoftCast(), photos[:2], 800, 10.0, Awgn())
    lost = Delivered(((b"",), delivered.packets[1]), ((False,), (True,)), delivered.symbols)
    decoded = SoftCast().decode(lost)
    assert decoded.status == (Status.FAILED, Status.OK)
    assert decoded.images[0] is None
    assert SoftCast().decode(Delivered(((),), ((),))).status == (Status.FAILED,)


def test_nan_symbols_are_concealed(photos):
    delivered = send(SoftCast(), photos[:2], 1600, 15.0, Awgn())
    delivered.symbols.y[0, 100:130] = np.nan
    decoded = SoftCast().decode(delivered)
    assert decoded.status == (Status.CONCEALED, Status.OK)
    assert np.mean((photos[0].astype(float) - decoded.images[0]) ** 2) < 600


@pytest.mark.parametrize("level", [0, 77, 255])
def test_flat_pictures(level):
    images = np.full((1, 16, 16, 3), level, np.uint8)
    decoded = SoftCast().decode(send(SoftCast(), images, 100, 10.0, Awgn()))
    assert np.abs(decoded.images[0].astype(int) - level).mean() < 6


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (3, 2), (17, 33), (128, 5)])
def test_any_size(size):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, *size, 3), np.uint8)
    uses = max(2, 3 * size[0] * size[1] // 2)
    decoded = SoftCast().decode(send(SoftCast(), images, uses, 0.0, Ideal()))
    assert [i.shape for i in decoded.images] == [(*size, 3)] * 2


def test_too_few_uses():
    with pytest.raises(BudgetError, match="softcast needs 12 uses for 128x128, got 11"):
        SoftCast().encode(
            np.zeros((1, 128, 128, 3), np.uint8), np.array([11]), TxKnowledge(np.zeros(1))
        )


def test_a_forged_size_takes_no_memory():
    side = bytes([0b11111111, 255, 255, 255, 255]) + bytes(20)
    symbols = Received(np.ones((1, 50), np.complex64), np.ones((1, 1), np.complex64), 0.1)
    for length in range(5, 26):
        decoded = SoftCast().decode(Delivered(((side[:length],),), ((True,),), symbols))
        assert decoded.status == (Status.FAILED,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"allocation": "equal"}, "allocation must be softcast or mmse"),
        ({"whitening": 3}, "whitening must be a power of 2"),
        ({"refined": -1}, "refined must be at least 0"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        SoftCast(**parameters)


def test_colour_planes_are_orthonormal():
    np.testing.assert_allclose(PLANES @ PLANES.T, np.eye(3), atol=1e-12)
