"""Image metrics per second, beside third parties' that give the same values, or the same network used plainly."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from linksim import quiet, registry
from linksim.bench.measure import interleaved, row
from linksim.bench.pictures import photos
from linksim.errors import ComponentError, MissingAssetError


def rows(smoke: bool) -> list[dict[str, Any]]:
    """The section's rows."""
    count, rounds = (2, 1) if smoke else (16, 5)
    images = photos(count)
    noise = np.random.default_rng(1).normal(0, 12, images.shape)
    shown = np.clip(images + noise, 0, 255).astype(np.uint8)
    found = []
    for name, (title, plain) in _plain().items():
        try:
            metric = registry.create("metrics", name)
        except (ComponentError, MissingAssetError):
            continue
        seconds = interleaved(
            {
                "ours": lambda m=metric: m(images, shown),  # type: ignore[misc]
                "theirs": lambda p=plain: p(images, shown),  # type: ignore[misc]
            },
            rounds,
            clock=time.perf_counter,
        )
        apart = float(np.max(np.abs(metric(images, shown) - plain(images, shown))))
        found.append(
            row(
                f"{name}, {count} x 128x128",
                "images/s",
                count / seconds["ours"],
                title,
                count / seconds["theirs"],
                largest_difference=float(f"{apart:.1e}"),
            )
        )
    return found


Metric = Callable[[np.ndarray, np.ndarray], np.ndarray]


def _plain() -> dict[str, tuple[str, Metric]]:
    return {
        "psnr": ("scikit-image", _psnr),
        "ssim": ("scikit-image, Gaussian window", _ssim),
        "ms-ssim": ("tf.image.ssim_multiscale, same scales", _ms_ssim),
        "lpips-alex": ("same network, op by op, reference again each time", _lpips),
    }


def _psnr(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    from skimage.metrics import peak_signal_noise_ratio

    pairs = zip(reference, image, strict=True)
    return np.array([peak_signal_noise_ratio(a, b, data_range=255) for a, b in pairs])


def _ssim(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    from skimage.metrics import structural_similarity

    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return np.array(
        [
            structural_similarity(a, b, channel_axis=2, data_range=255, **options)
            for a, b in zip(reference, image, strict=True)
        ]
    )


def _ms_ssim(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    from linksim.metric.structural import WEIGHTS, num_scales

    tf = quiet.load("tensorflow")
    weights = np.array(WEIGHTS[: num_scales(*reference.shape[1:3])])
    found = tf.image.ssim_multiscale(
        tf.constant(reference),
        tf.constant(image),
        255,
        power_factors=tuple(weights / weights.sum()),
    )
    return found.numpy()


def _lpips(reference: np.ndarray, image: np.ndarray) -> np.ndarray:
    from linksim.metric.lpips import load_weights
    from linksim.model.lpips import lpips_taps, taps_distance

    quiet.load("keras")
    weights = load_weights("alex")
    pairs = [np.asarray(v, np.float32) / 127.5 - 1 for v in (reference, image)]
    return np.asarray(
        taps_distance(weights, lpips_taps(weights, pairs[0]), lpips_taps(weights, pairs[1]))
    )
