"""Laws of the fade against the closed forms that a channel names."""

from __future__ import annotations

import math

import numpy as np

from linksim.channel.lawbook.bench import Bench, Z
from linksim.laws import Broken, NotApplicable, Outcome

OUTAGE_DB = -7.0  # a fade this far below the mean: 3 dB where the mean SNR is 10 dB
_MAX_LAG = 2048
_LAG_FRAMES = 600


def closed_form(bench: Bench) -> Outcome:
    """The gain's distribution is that of ``gain_cdf``."""
    gains = np.sort(bench.strict.gains)
    frames = len(gains)
    claimed = _cdf(bench, gains)
    steps = np.arange(frames + 1) / frames
    distance = float(max((steps[1:] - claimed).max(), (claimed - steps[:-1]).max()))
    limit = 2.2 / math.sqrt(frames)  # Kolmogorov-Smirnov at 1 in 8,000
    return distance <= limit, distance, 0.0, f"Kolmogorov-Smirnov distance (at most {limit:.4f})"


def outage(bench: Bench) -> Outcome:
    """P(gain < 7 dB below its mean) is what ``gain_cdf`` says."""
    threshold = bench.num_rx * 10 ** (OUTAGE_DB / 10)
    expected = float(_cdf(bench, np.array([threshold]))[0])
    gains = bench.strict.gains
    measured = float((gains <= threshold).mean())
    tolerance = Z * math.sqrt(max(expected * (1 - expected), 1e-4) / len(gains))
    text = f"P(gain at most {OUTAGE_DB:g} dB of its mean) (+-{tolerance:.4f})"
    return abs(measured - expected) <= tolerance, measured, expected, text


def _cdf(bench: Bench, gains: np.ndarray) -> np.ndarray:
    law = getattr(bench.channel, "gain_cdf", None)
    if law is None:
        raise NotApplicable("names no gain_cdf")
    claimed = np.asarray(law(gains), np.float64)
    if claimed.shape != gains.shape or not ((claimed >= 0) & (claimed <= 1)).all():
        raise Broken(f"gain_cdf must give {gains.shape} values in [0, 1], got {claimed.shape}")
    return claimed


def autocorrelation_lags(law: object) -> np.ndarray:
    """Lags [symbols] that show a closed form: from 1 to where it has fallen to 0.3, or ``_MAX_LAG``."""
    every = np.unique(np.round(np.geomspace(1, _MAX_LAG, 45)).astype(int))
    values = np.abs(np.asarray(law(every), np.complex128))  # type: ignore[operator]
    if values.shape != every.shape or not np.isfinite(values).all():
        raise Broken(
            f"autocorrelation must give one value per lag, got {values.shape} of {every.shape}"
        )
    fallen = np.flatnonzero(values < 0.3)
    last = min(int(fallen[0]) + 8, len(every) - 1) if len(fallen) else len(every) - 1
    return every[: last + 1]


def measured_autocorrelation(bench: Bench, lags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """E[h(t + lag) h*(t)] / num_rx, averaged over t and frames, with its standard error.

    Returns: [L] complex128; [L] float64.
    """
    frames, longest = min(bench.frames, _LAG_FRAMES), int(lags.max())
    x = np.ones((frames, 2 * longest + 1), np.complex64)
    h = bench.strict.send(x, 0.0, bench.seeds(frames, "autocorrelation")).full()[1]
    h = h.astype(np.complex128)
    products = np.stack(
        [(h[:, lag:] * h[:, : h.shape[1] - lag].conj()).mean(axis=1) for lag in lags]
    )
    return products.mean(axis=1) / bench.num_rx, products.std(axis=1, ddof=1) / math.sqrt(
        frames
    ) / bench.num_rx


def autocorrelation(bench: Bench) -> Outcome:
    """The fade's memory is that of ``autocorrelation``, such as J0(2 pi fD tau)."""
    law = getattr(bench.channel, "autocorrelation", None)
    if law is None:
        raise NotApplicable("names no autocorrelation")
    lags = autocorrelation_lags(law)
    measured, error = measured_autocorrelation(bench, lags)
    distance = np.abs(measured - np.asarray(law(lags), np.complex128))
    # Real and imaginary part each; a floor for lags at which the frames hardly differ.
    worst = int(np.argmax(distance - Z * error))
    fine = bool((distance <= Z * error + 2e-3).all())
    text = f"largest distance over {len(lags)} lags up to {lags[-1]} symbols (at most {Z * error[worst]:.3f})"
    return fine, float(distance[worst]), 0.0, text
