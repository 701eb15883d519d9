"""SSIM against scikit-image, MS-SSIM against TensorFlow's, and the rule for small images."""

from __future__ import annotations

import numpy as np
import pytest
from skimage import data, metrics

from linksim.metric.structural import WEIGHTS, MsSsim, Ssim, ms_ssim, num_scales, ssim


def pair(height: int, width: int, noise: float = 20.0) -> tuple[np.ndarray, np.ndarray]:
    """Two crops of a photo, and the same with noise and a shift in brightness."""
    photo = data.astronaut()
    clean = np.stack([photo[:height, :width], photo[-height:, -width:]])
    error = np.random.default_rng(0).normal(5, noise, clean.shape)
    return clean, np.clip(clean + error, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [(11, 11), (11, 40), (64, 64), (129, 200)])
def test_ssim_is_that_of_skimage(size: tuple[int, int]) -> None:
    a, b = pair(*size)
    want = [
        metrics.structural_similarity(
            x,
            y,
            channel_axis=-1,
            data_range=255,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        for x, y in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(ssim(a, b), want, atol=1e-9)


@pytest.mark.parametrize("size", [(161, 161), (176, 320), (191, 230), (128, 128), (90, 150)])
def test_ms_ssim_is_that_of_tensorflow(size: tuple[int, int]) -> None:
    import tensorflow as tf

    a, b = pair(*size)
    weights = np.array(WEIGHTS[: num_scales(*size)])
    want = tf.image.ssim_multiscale(a, b, 255, power_factors=tuple(weights / weights.sum())).numpy()
    np.testing.assert_allclose(ms_ssim(a, b), want, atol=2e-4)  # TensorFlow's is in float32


def test_number_of_scales() -> None:
    want = {10: 0, 11: 1, 20: 1, 21: 2, 40: 2, 41: 3, 80: 3, 81: 4, 128: 4, 160: 4, 161: 5, 4000: 5}
    assert {side: num_scales(side, 4000) for side in want} == want
    assert num_scales(4000, 128) == 4


@pytest.mark.parametrize("metric", [Ssim(), MsSsim()])
def test_limits(metric: Ssim | MsSsim) -> None:
    a, b = pair(64, 64)
    np.testing.assert_allclose(metric(a, a), 1, atol=1e-12)
    np.testing.assert_allclose(metric(a, b), metric(b, a))
    noisier = pair(64, 64, noise=60)[1]
    assert (metric(a, noisier) < metric(a, b)).all()
    assert np.isnan(metric(a[:, :10], b[:, :10])).all()  # no room for the window
    assert metric(a[:0], b[:0]).shape == (0,)
    negative = metric(a, 255 - a)
    assert (negative < 0.3).all() and not np.isnan(negative).any()
    with pytest.raises(ValueError, match="one shape"):
        metric(a, b[:1])
    with pytest.raises(ValueError, match="uint8"):
        metric(a.astype(np.int32), b.astype(np.int32))
