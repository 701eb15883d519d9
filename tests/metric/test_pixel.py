"""MSE and PSNR against scikit-image, exactness, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from skimage import metrics

from linksim.metric.pixel import Mse, Psnr, mse, psnr


def pictures(seed: int = 0, shape: tuple[int, ...] = (3, 24, 37, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(1, 40))
def test_mse_is_exact(seed: int, height: int, width: int) -> None:
    a, b = (pictures(seed + i, (2, height, width, 3)) for i in range(2))
    for got, x, y in zip(mse(a, b), a, b, strict=True):
        total = sum((int(p) - int(q)) ** 2 for p, q in zip(x.flat, y.flat, strict=True))
        assert got == total / x.size


def test_mse_of_large_images_does_not_lose_ones() -> None:
    a = np.full((1, 3000, 2000, 3), 255, np.uint8)
    b = np.zeros_like(a)
    b[0, 0, 0, 0] = 1
    assert mse(a, b)[0] == 255**2 - (255**2 - 254**2) / a.size


def test_psnr_is_that_of_skimage() -> None:
    a, b = pictures(1), pictures(2)
    want = [
        metrics.peak_signal_noise_ratio(x, y, data_range=255) for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(psnr(a, b), want, rtol=1e-12)


def test_psnr_of_identical_images_is_that_of_the_least_error() -> None:
    a = pictures(shape=(2, 128, 128, 3))
    b = a.copy()
    b[1, 5, 5, 1] ^= 1
    same, least = psnr(a, b)
    assert same == least == pytest.approx(95.046, abs=1e-3)


def test_empty_batch() -> None:
    none = pictures()[:0]
    assert mse(none, none).shape == psnr(none, none).shape == (0,)


@pytest.mark.parametrize("metric", [Mse(), Psnr()])
def test_refused(metric: Mse | Psnr) -> None:
    a = pictures()
    for other, message in [
        (a[:, :-1], "one shape"),
        (a.astype(np.float32), "uint8"),
        (a[..., :1], r"\[B, H, W, 3\]"),
        (a[0], r"\[B, H, W, 3\]"),
        (a[:, :0], r"\[B, H, W, 3\]"),
        ([1, 2], "numpy array"),
    ]:
        with pytest.raises(ValueError, match=message):
            metric(a, other)  # type: ignore[arg-type]
