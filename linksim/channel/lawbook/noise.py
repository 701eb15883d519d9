"""Laws of signal and noise power: what SNR means."""

from __future__ import annotations

import math

import numpy as np

from linksim.channel.lawbook.bench import (
    CALIBRATION_DB,
    SNR_TOLERANCE_DB,
    Bench,
    Z,
    db,
    noise,
    power,
    snr_tolerance_db,
    weight,
)
from linksim.laws import Broken, NotApplicable, Outcome


def average_gain(bench: Bench) -> Outcome:
    """E|h|^2 = num_rx."""
    gains, expected = bench.strict.gains, float(bench.num_rx)
    mean, error = gains.mean(), gains.std(ddof=1) / math.sqrt(len(gains))
    text = f"95 % interval {mean - 1.96 * error:.4f}..{mean + 1.96 * error:.4f} over {len(gains)} frames"
    return abs(mean - expected) <= Z * error + 1e-4, mean, expected, text


def measured_snr(bench: Bench) -> Outcome:
    """The noise power of y - h x is n0."""
    strict = bench.strict
    x, received = strict.sent(bench.n0)
    measured = power(noise(received, x))
    if not bench.adds_noise:
        if measured > 1e-10:
            raise Broken(f"declares adds_noise = False, and adds noise of power {measured:.3g}")
        raise NotApplicable("declares adds_noise = False; there is none")
    if measured == 0:
        raise Broken("there is no noise at all")
    off = db(bench.n0) - db(measured)
    limit = snr_tolerance_db(x.size)
    text = f"dB, off by {off:+.3f} (at most {limit:.2f})"
    return abs(off) <= limit, -db(measured), -db(bench.n0), text


def circular(bench: Bench) -> Outcome:
    """Half of the noise on each axis, and none of it correlated."""
    bench.demand_noise()
    x, received = bench.strict.sent(bench.n0)
    w = noise(received, x) / math.sqrt(bench.n0 / 2)
    tolerance = Z * math.sqrt(2 / w.size) + 0.01
    share = float((w.real**2).mean() / max((np.abs(w) ** 2).mean(), 1e-30))
    across = abs(float((w.real * w.imag).mean()))
    along = abs(complex((w[:, 1:] * w[:, :-1].conj()).mean())) if w.shape[1] > 1 else 0.0
    fine = abs(share - 0.5) <= tolerance and across <= tolerance and along <= 2 * tolerance
    text = f"real part's share; correlation of real and imaginary {across:.3f}, of neighbours {along / 2:.3f}"
    return fine, share, 0.5, text


def calibrated(bench: Bench) -> Outcome:
    """E|y - h x|^2 / n0_eff = 1, on the channel itself: what a demapper relies on."""
    x, received = bench.sent(bench.n0)
    if not bench.adds_noise and not bench.imperfect:
        if np.any(received.n0_eff):
            raise Broken("declares adds_noise = False, and an n0_eff above 0")
        raise NotApplicable("declares adds_noise = False; n0_eff is 0")
    ratios = np.abs(noise(received, x)) ** 2 * weight(received, x)
    ratio = float(ratios.mean())
    if not bench.imperfect:
        tolerance = 10 ** (snr_tolerance_db(x.size) / 10) - 1
        text = f"mean of |y - h x|^2 / n0_eff (+-{tolerance:.3f})"
        return abs(ratio - 1) <= tolerance, ratio, 1.0, text
    # Errors of estimates are shared by a frame's symbols, so the frame is the sample.
    error = float(ratios.mean(axis=1).std(ddof=1)) / math.sqrt(len(ratios))
    tolerance = 10 ** (CALIBRATION_DB / 10) - 1 + Z * error
    text = f"mean of |y - h x|^2 / n0_eff (+-{tolerance:.3f}); declares {bench.imperfect}: n0_eff holds that too"
    return abs(ratio - 1) <= tolerance, ratio, 1.0, text


def doubling(bench: Bench) -> Outcome:
    """n0 twice as large gives noise twice as strong."""
    bench.demand_noise()
    strict = bench.strict
    x, once = strict.sent(bench.n0)
    _, twice = strict.sent(2 * bench.n0)
    ratio = power(noise(twice, x)) / max(power(noise(once, x)), 1e-30)
    tolerance = max(0.03, 2 * Z * math.sqrt(2 / x.size))
    return abs(ratio - 2) <= tolerance, ratio, 2.0, f"ratio of noise powers (+-{tolerance:.3f})"


def noise_of_x(bench: Bench) -> Outcome:
    """w is the same for silence and for a loud signal."""
    strict, frames = bench.strict, min(bench.frames, 200)
    quiet = np.zeros((frames, bench.symbols), np.complex64)
    loud = 3 * bench.x(frames)
    seeds = bench.seeds(frames)
    silent = noise(strict.send(quiet, bench.n0, seeds), quiet)
    difference = noise(strict.send(loud, bench.n0, seeds), loud) - silent
    worst = float(np.abs(difference).max() / math.sqrt(bench.n0))
    text = "largest change of w between silence and three times x, / sqrt(n0)"
    return worst < 1e-3, worst, 0.0, text


def noise_of_fade(bench: Bench) -> Outcome:
    """w is as strong under weak fades as under strong ones."""
    bench.demand_noise()
    x, received = bench.strict.sent(bench.n0)
    gain = np.broadcast_to(np.abs(received.h.astype(np.complex128)) ** 2, x.shape)
    powers = np.abs(noise(received, x)) ** 2
    if gain.std() < 1e-6:
        raise NotApplicable("does not fade")
    strong = gain > np.median(gain)
    ratio = float(powers[strong].mean() / powers[~strong].mean())
    tolerance = Z * math.sqrt(4 / powers.size) + 0.01
    text = f"noise power under strong over weak fades (+-{tolerance:.3f})"
    return abs(ratio - 1) <= tolerance, ratio, 1.0, text


def noiseless(bench: Bench) -> Outcome:
    """y = h x at n0 = 0: an estimate from noiseless pilots is the truth, but for what lies between the pilots."""
    bench = bench.strict if bench.distorts or bench.interpolates else bench
    x, received = bench.sent(0.0)
    worst = float(np.abs(noise(received, x)).max())
    return worst < 1e-4, worst, 0.0, "largest |y - h x| at n0 = 0"


def no_worse_when_perfect(bench: Bench) -> Outcome:
    """Estimates and impairments cost SNR; they never add any."""
    if not bench.imperfect:
        raise NotApplicable("is perfect itself: declares neither csi_rx nor distorts")
    bench.demand_noise()
    measured, limit = _useful_snr(bench), _useful_snr(bench.strict)
    text = (
        f"dB of useful SNR, {limit - measured:.2f} below perfect(): the price of {bench.imperfect}"
    )
    return measured <= limit + SNR_TOLERANCE_DB, measured, limit, text


def _useful_snr(bench: Bench) -> float:
    """SNR [dB] of the best linear view of y that a receiver has: the part of y along h x over the rest, with each
    symbol weighted by 1 / n0_eff. Where y = h x + w and n0_eff = n0 it is E|h|^2 / n0."""
    x, received = bench.sent(bench.n0)
    weights = weight(received, x)
    known = received.h.astype(np.complex128) * x
    norm = float((weights * np.abs(known) ** 2).sum())
    along = complex((weights * known.conj() * received.y).sum()) / norm
    rest = float((weights * np.abs(received.y - along * known) ** 2).sum())
    return db(abs(along) ** 2 * norm / rest)
