"""The one rule from files to [H, W, 3] uint8."""

import io

import numpy as np
import pytest
from PIL import Image

from linksim.errors import ImageError
from linksim.image import decode

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def encoded(image, kind="PNG", **more):
    buffer = io.BytesIO()
    image.save(buffer, kind, **more)
    return buffer.getvalue()


def read(image, kind="PNG", **more):
    return decode.read(encoded(image, kind, **more), "x.png")


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats(kind):
    data = encoded(Image.fromarray(RGB), kind)
    np.testing.assert_array_equal(decode.read(data, "x"), RGB)
    assert decode.read_size(data, "x") == (5, 7)


def test_grey_is_repeated():
    np.testing.assert_array_equal(
        read(Image.fromarray(RGB[..., 0])), np.repeat(RGB[..., :1], 3, axis=2)
    )


def test_sixteen_bits_are_scaled():
    wide = np.array([[0, 128, 257, 32896, 65535]], np.uint16)
    got = read(Image.fromarray(wide))
    np.testing.assert_array_equal(got[..., 0], [[0, 0, 1, 128, 255]])


def test_one_bit_and_palette():
    bits = Image.fromarray((RGB[..., 0] > 127).astype(np.uint8) * 255).convert("1")
    np.testing.assert_array_equal(read(bits)[..., 1], (RGB[..., 0] > 127) * 255)
    palette = Image.fromarray(RGB).quantize(16)
    np.testing.assert_array_equal(read(palette), np.asarray(palette.convert("RGB")))


def test_transparency_is_composited_on_white():
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 128, 255
    got = read(Image.fromarray(rgba))
    assert got[0, 0].tolist() == [255] * 3 and got[0, 2].tolist() == [0] * 3
    assert abs(int(got[0, 1, 0]) - 127) <= 1
    palette = Image.fromarray(np.zeros((2, 2), np.uint8), "P")
    palette.putpalette([10, 20, 30])
    assert read(palette, transparency=0)[0, 0].tolist() == [255] * 3


@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_applied(turn):
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(Image.fromarray(RGB), "PNG", exif=exif.tobytes())
    got = decode.read(data, "x")
    assert got.shape[:2] == decode.read_size(data, "x") == ((7, 5) if turn > 4 else (5, 7))
    expected = {1: RGB, 3: RGB[::-1, ::-1], 6: np.rot90(RGB, -1), 8: np.rot90(RGB)}
    if turn in expected:
        np.testing.assert_array_equal(got, expected[turn])


def test_one_pixel():
    assert read(Image.fromarray(RGB[:1, :1])).shape == (1, 1, 3)


def test_cmyk_and_animation():
    assert read(Image.fromarray(RGB).convert("CMYK"), "JPEG").shape == (5, 7, 3)
    frames = [Image.fromarray(np.full((4, 4, 3), v, np.uint8)) for v in (10, 200)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert decode.read(data, "x.gif").max() < 20


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x.png: not a picture"),
        (b"hello, this is a text", "x.png: not a picture that can be read .*skip_unreadable"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "x.png: not a picture"),
        (encoded(Image.fromarray(RGB))[:50], "x.png: "),
        (encoded(Image.fromarray(np.zeros((2, 2), np.float32)), "TIFF"), "floating-point pixels"),
        (encoded(Image.fromarray(np.full((2, 2), 70000, np.int32)), "TIFF"), "integer pictures"),
    ],
)
def test_what_cannot_be_read_is_one_clear_line(data, message):
    with pytest.raises(ImageError, match=message) as caught:
        decode.read(data, "x.png")
    assert "\n" not in str(caught.value)


def test_a_bomb_is_refused_from_its_header(monkeypatch):
    monkeypatch.setattr(decode, "MAX_PIXELS", 30)
    with pytest.raises(ImageError, match="7x5 pixels, more than the 30"):
        decode.read(encoded(Image.fromarray(RGB)), "x.png")
    with pytest.raises(ImageError, match="more than the 30"):
        decode.read_size(encoded(Image.fromarray(RGB)), "x.png")


def test_fit_crops_the_centre_and_resizes():
    assert decode.fit(RGB, None, "none").shape == (5, 7, 3)
    np.testing.assert_array_equal(decode.fit(RGB, None, "square"), RGB[:, 1:6])
    assert decode.fit(RGB, 10, "square").shape == (10, 10, 3)
    assert decode.fit(RGB, 10, "none").shape == (10, 14, 3)
    for target, crop in ((None, "none"), (None, "square"), (10, "none"), (1, "square")):
        assert decode.fit(RGB, target, crop).shape[:2] == decode.fitted_size((5, 7), target, crop)


@pytest.mark.parametrize("crop", ["center", "", 3])
def test_bad_crop(crop):
    with pytest.raises(ValueError, match="crop: must be square or none"):
        decode.check_fit(8, crop)
