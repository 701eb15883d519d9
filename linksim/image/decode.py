"""Picture files -> [H, W, 3] uint8: the one rule for every source.

  - grey is repeated in three channels; 16-bit grey is scaled by 255/65535 and rounded (16-bit colour: Pillow keeps the
    high byte);
  - transparency is composited on white, as a page would show it;
  - the EXIF orientation is applied: the picture is what a viewer shows;
  - palettes, CMYK and other colour models go through Pillow's conversion to RGB, embedded colour profiles are ignored;
  - of an animation or a multi-page file the first picture counts.

Only raster formats that Pillow reads by itself are tried (no EPS, which would start an interpreter), and a picture of
more than MAX_PIXELS is refused from its header, before any memory is taken.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np

from linksim.errors import ImageError
from linksim.image.source import check_whole

MAX_PIXELS = 1 << 26
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000", "AVIF")
_ORIENTATION = 0x0112
_SWAPPED = (5, 6, 7, 8)  # EXIF orientations that exchange height and width

Crop = Literal["square", "none"]


@contextmanager
def _opened(file: Path | bytes, name: str) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of what is refused or mended below
            with Image.open(
                io.BytesIO(file) if isinstance(file, bytes) else file, formats=FORMATS
            ) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ImageError(
                        f"{name}: {image.width}x{image.height} pixels, more than the {MAX_PIXELS} that are read; "
                        "make it smaller"
                    )
                yield image
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{name}: not a picture that can be read ({', '.join(FORMATS)}); "
            "take it away or set skip_unreadable: true"
        ) from error
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders raise many kinds on damaged files
        raise ImageError(
            f"{name}: cannot be read ({type(error).__name__}: {error}); "
            "mend it, take it away or set skip_unreadable: true"
        ) from error


def read_size(file: Path | bytes, name: str) -> tuple[int, int]:
    """(height, width) after orientation, from the header alone. Raises ImageError."""
    with _opened(file, name) as image:
        width, height = image.size
        swapped = image.getexif().get(_ORIENTATION) in _SWAPPED
        return (width, height) if swapped else (height, width)


def read(file: Path | bytes, name: str) -> np.ndarray:
    """Decode a file.

    Args:    file: a path, or the file's bytes. name: for messages.
    Returns: [H, W, 3] uint8.
    Raises:  ImageError: if it is no picture, damaged or too large.
    """
    from PIL import ImageOps

    with _opened(file, name) as image:
        return _to_rgb(ImageOps.exif_transpose(image), name)


def _to_rgb(image: Any, name: str) -> np.ndarray:
    from PIL import Image

    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        if wide.min() < 0 or wide.max() > 65535:
            raise ImageError(
                f"{name}: {image.mode} values in {wide.min()}..{wide.max()}; integer pictures have 8 or 16 bits"
            )
        grey = np.rint(wide * (255 / 65535)).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.mode == "F":
        raise ImageError(f"{name}: floating-point pixels have no known range; save 8 or 16 bits")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.asarray(image.convert("RGB"), np.uint8)


def fitted_size(size: tuple[int, int], target: int | None, crop: Crop) -> tuple[int, int]:
    """(height, width) that ``fit`` makes of a picture of (height, width)."""
    height, width = (min(size), min(size)) if crop == "square" else size
    if target is None:
        return height, width
    scale = target / min(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def fit(image: np.ndarray, target: int | None, crop: Crop) -> np.ndarray:
    """Cut out the centre square (crop "square"), then resize with Lanczos so that the short side is ``target``.

    Args:    image [H, W, 3] uint8; target: pixels, None to keep the size.
    Returns: [H', W', 3] uint8.
    """
    if crop == "square":
        side = min(image.shape[:2])
        top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
        image = image[top : top + side, left : left + side]
    height, width = fitted_size((image.shape[0], image.shape[1]), target, "none")
    return resize(image, height, width)


def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Lanczos with anti-aliasing. Args: image [H, W, 3] uint8. Returns: [height, width, 3] uint8."""
    from PIL import Image

    if image.shape[:2] == (height, width):
        return np.ascontiguousarray(image)
    return np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))


def is_readable(file: Path | bytes, name: str) -> bool:
    """Whether ``read`` makes a picture of the file; decodes all of it to know."""
    try:
        read(file, name)
    except ImageError:
        return False
    return True


def check_fit(size: int | None, crop: str | None) -> Crop:
    """Validate the two parameters that ``fit`` takes from a source.

    Returns: the crop rule: the one given, or by default square where a size is given.
    Raises:  ValueError.
    """
    check_whole("size", size, 1, 8192)
    if crop not in ("square", "none", None):
        raise ValueError(f"crop: must be square or none, got {crop!r}")
    return crop or ("square" if size is not None else "none")  # type: ignore[return-value]
