"""The laws that every channel obeys, as measurements: a plug-in is put through them before it may run.

A channel is a function of (x, n0, seed) that gives y = h x + w. The laws say that E|h|^2 = 1, that w has the power and
the shape that were asked for, whatever x and h are, that a frame depends on its own seed alone, and that h depends on
nothing else. Where a channel names the closed form of its gain (a method ``gain_cdf``), it is held to that too.

Optional class attributes that a channel may declare: ``adds_noise = False`` (a channel that ignores n0).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from linksim.seeds import FrameSeeds, Seed
from linksim.types import Channel, Received

Z = 4.0  # standard errors that a mean may be off: 1 in 16,000 for a channel that is right
SNR_TOLERANCE_DB = 0.05


@dataclass(frozen=True)
class LawResult:
    """One law, measured.

    Args:
      name:     the law.
      passed:   whether it holds.
      measured: the number measured, NaN where the law is a yes or no.
      expected: what it should be, likewise.
      text:     in words, with the tolerance or what was seen.
    """

    name: str
    passed: bool
    measured: float
    expected: float
    text: str


class _Broken(Exception):
    """A law that a channel breaks outright."""


@dataclass(frozen=True)
class _Bench:
    channel: Channel
    frames: int
    symbols: int
    seed: Seed
    kept: dict[float, tuple[np.ndarray, Received]] = field(default_factory=dict)

    def seeds(self, count: int, name: str = "law") -> FrameSeeds:
        return FrameSeeds.of(self.seed.child(name), count)

    def x(self, frames: int, symbols: int | None = None, name: str = "x") -> np.ndarray:
        """QPSK, |x|^2 = 1, so that signal power is not a random number."""
        draws = self.seed.child(name).generator().random((frames, symbols or self.symbols, 2))
        axes = np.where(draws < 0.5, np.float32(-math.sqrt(0.5)), np.float32(math.sqrt(0.5)))
        return (axes[..., 0] + 1j * axes[..., 1]).astype(np.complex64)

    def send(self, x: np.ndarray, n0: float, seed: FrameSeeds) -> Received:
        return _checked(self.channel(x, n0, seed), x)

    @cached_property
    def gains(self) -> np.ndarray:
        """Power gains of the first symbol of many frames. Returns: [5 frames] float64."""
        x = np.ones((5 * self.frames, 1), np.complex64)
        h = self.send(x, 0.0, self.seeds(len(x), "gain")).h
        return np.abs(h[:, 0].astype(np.complex128)) ** 2

    def sent(self, n0: float) -> tuple[np.ndarray, Received]:
        """x and what came of it, at one noise power. Sent once: the laws look at it from many sides."""
        if n0 not in self.kept:
            x = self.x(self.frames)
            self.kept[n0] = x, self.send(x, n0, self.seeds(self.frames))
        return self.kept[n0]

    @property
    def adds_noise(self) -> bool:
        return bool(getattr(self.channel, "adds_noise", True))


def check_channel(
    channel: Channel,
    *,
    frames: int = 4000,
    symbols: int = 64,
    es_n0_db: float = 5.0,
    seed: int = 0,
) -> list[LawResult]:
    """Measure every law.

    Args:
      frames:   how many frames the averages run over; at least 2,000 to see 0.05 dB.
      symbols:  of each frame.
      es_n0_db: SNR at which noise is measured, dB.
      seed:     of the fades, noises and symbols; another one is an independent look.
    Returns: results in a fixed order. Raises nothing, whatever the channel does.
    """
    bench = _Bench(channel, frames, symbols, Seed.root(seed).child("channel laws"))
    n0 = 10 ** (-es_n0_db / 10)
    results = [_measure("shapes and dtypes", lambda: _shapes(bench, n0))]
    if not results[0].passed:
        return results  # the other laws would only repeat it
    for name, law in (
        ("average gain", lambda: _gain(bench)),
        ("measured SNR", lambda: _snr(bench, n0)),
        ("noise is circular and white", lambda: _circular(bench, n0)),
        ("n0_eff is the noise power", lambda: _effective(bench, n0)),
        ("doubling n0 doubles the noise", lambda: _doubling(bench, n0)),
        ("noise does not depend on x", lambda: _noise_of_x(bench, n0)),
        ("noise does not depend on the fade", lambda: _noise_of_fade(bench, n0)),
        ("without noise y is h x", lambda: _noiseless(bench)),
        ("fade does not depend on x or n0", lambda: _fade_of_input(bench, n0)),
        ("same seed, same output", lambda: _same_seed(bench, n0)),
        ("other seeds, other noise", lambda: _other_seed(bench, n0)),
        ("batch invariance", lambda: _batch(bench, n0)),
        ("order invariance", lambda: _order(bench, n0)),
        ("a longer frame begins like a shorter one", lambda: _prefix(bench, n0)),
        ("gain follows its closed form", lambda: _closed_form(bench)),
    ):
        results.append(_measure(name, law))
    return results


_Outcome = tuple[bool, float, float, str]


def _measure(name: str, law: Callable[[], _Outcome]) -> LawResult:
    try:
        passed, measured, expected, text = law()
    except _Broken as broken:
        return LawResult(name, False, math.nan, math.nan, str(broken))
    except Exception as error:  # a plug-in may raise anything; the table says what
        return LawResult(name, False, math.nan, math.nan, f"raised {type(error).__name__}: {error}")
    return LawResult(name, bool(passed), float(measured), float(expected), text)


def _yes(passed: bool, text: str) -> _Outcome:
    return passed, math.nan, math.nan, text


def _checked(received: Received, x: np.ndarray) -> Received:
    """The same, if it has the shapes and types that a receiver counts on."""
    if not isinstance(received, Received):
        raise _Broken(f"returned {type(received).__name__}; return linksim.types.Received")
    for name, array, shapes in (
        ("y", received.y, (x.shape,)),
        ("h", received.h, (x.shape, (len(x), 1))),
    ):
        if not isinstance(array, np.ndarray) or array.dtype != np.complex64:
            kind = getattr(array, "dtype", type(array).__name__)
            raise _Broken(f"{name} is {kind}, must be complex64")
        if array.shape not in shapes:
            raise _Broken(
                f"{name} has shape {array.shape}, must be {' or '.join(map(str, shapes))}"
            )
        if not np.isfinite(array).all():
            raise _Broken(f"{name} has {np.count_nonzero(~np.isfinite(array))} values not finite")
    n0 = np.asarray(received.n0_eff)
    if n0.shape not in ((), x.shape, (len(x), 1)):
        raise _Broken(f"n0_eff has shape {n0.shape}, must be a scalar, {x.shape} or {(len(x), 1)}")
    scalar = isinstance(received.n0_eff, float | int)
    if n0.dtype != np.float32 and not scalar:
        raise _Broken(f"n0_eff is {n0.dtype}, must be float32")
    if not (np.isfinite(n0).all() and (n0 >= 0).all()):
        raise _Broken("n0_eff has values that are negative or not finite")
    return received


def _noise(received: Received, x: np.ndarray) -> np.ndarray:
    """w = y - h x. Returns: [B, S] complex128."""
    return received.y.astype(np.complex128) - received.h.astype(np.complex128) * x


def _shapes(bench: _Bench, n0: float) -> _Outcome:
    for frames, symbols in ((3, bench.symbols), (1, bench.symbols + 1), (2, 1)):
        x = bench.x(frames, symbols)
        before = x.copy()
        bench.send(x, n0, bench.seeds(frames))
        if not np.array_equal(x, before):
            raise _Broken("the channel writes into its input x")
    return _yes(True, "y, h complex64; n0_eff float32; finite")


def _gain(bench: _Bench) -> _Outcome:
    gains = bench.gains
    mean, error = gains.mean(), gains.std(ddof=1) / math.sqrt(len(gains))
    text = f"95 % interval {mean - 1.96 * error:.4f}..{mean + 1.96 * error:.4f} over {len(gains)} frames"
    return abs(mean - 1) <= Z * error + 1e-4, mean, 1.0, text


def _snr(bench: _Bench, n0: float) -> _Outcome:
    x, received = bench.sent(n0)
    power = float((np.abs(_noise(received, x)) ** 2).mean())
    if not bench.adds_noise:
        return power < 1e-10, power, 0.0, "declares that it adds no noise"
    if power == 0:
        raise _Broken("there is no noise at all")
    measured, asked = -10 * math.log10(power), -10 * math.log10(n0)
    text = f"dB, off by {measured - asked:+.3f} (at most {SNR_TOLERANCE_DB})"
    return abs(measured - asked) <= SNR_TOLERANCE_DB, measured, asked, text


def _circular(bench: _Bench, n0: float) -> _Outcome:
    if not bench.adds_noise:
        return _yes(True, "declares that it adds no noise")
    x, received = bench.sent(n0)
    w = _noise(received, x) / math.sqrt(n0 / 2)
    tolerance = Z * math.sqrt(2 / w.size) + 0.01
    share = float((w.real**2).mean() / max((np.abs(w) ** 2).mean(), 1e-30))
    across = abs(float((w.real * w.imag).mean()))
    along = abs(complex((w[:, 1:] * w[:, :-1].conj()).mean())) if w.shape[1] > 1 else 0.0
    fine = abs(share - 0.5) <= tolerance and across <= tolerance and along <= 2 * tolerance
    text = f"real part's share; correlation of real and imaginary {across:.3f}, of neighbours {along / 2:.3f}"
    return fine, share, 0.5, text


def _effective(bench: _Bench, n0: float) -> _Outcome:
    x, received = bench.sent(n0)
    claimed = np.broadcast_to(np.asarray(received.n0_eff, np.float64), x.shape)
    power = np.abs(_noise(received, x)) ** 2
    if not bench.adds_noise:
        return not claimed.any(), float(claimed.max()), 0.0, "declares that it adds no noise"
    if not claimed.all():
        raise _Broken("n0_eff is 0 where there is noise")
    ratio = float((power / claimed).mean())
    tolerance = 10 ** (SNR_TOLERANCE_DB / 10) - 1
    return (
        abs(ratio - 1) <= tolerance,
        ratio,
        1.0,
        f"mean of |y - h x|^2 / n0_eff (+-{tolerance:.3f})",
    )


def _doubling(bench: _Bench, n0: float) -> _Outcome:
    if not bench.adds_noise:
        return _yes(True, "declares that it adds no noise")
    x, once = bench.sent(n0)
    _, twice = bench.sent(2 * n0)
    ratio = float((np.abs(_noise(twice, x)) ** 2).mean() / (np.abs(_noise(once, x)) ** 2).mean())
    return abs(ratio - 2) <= 0.03, ratio, 2.0, "ratio of noise powers (+-0.03)"


def _noise_of_x(bench: _Bench, n0: float) -> _Outcome:
    frames = min(bench.frames, 200)
    quiet = np.zeros((frames, bench.symbols), np.complex64)
    loud = 3 * bench.x(frames)
    seeds = bench.seeds(frames)
    difference = _noise(bench.send(loud, n0, seeds), loud) - bench.send(quiet, n0, seeds).y
    worst = float(np.abs(difference).max() / math.sqrt(n0))
    return (
        worst < 1e-3,
        worst,
        0.0,
        "largest change of w between silence and three times x, / sqrt(n0)",
    )


def _noise_of_fade(bench: _Bench, n0: float) -> _Outcome:
    x, received = bench.sent(n0)
    gain = np.broadcast_to(np.abs(received.h.astype(np.complex128)) ** 2, x.shape)
    power = np.abs(_noise(received, x)) ** 2
    if not bench.adds_noise or gain.std() < 1e-6:
        return _yes(True, "no noise, or no fading")
    strong = gain > np.median(gain)
    ratio = float(power[strong].mean() / power[~strong].mean())
    tolerance = Z * math.sqrt(4 / power.size) + 0.01
    text = f"noise power under strong over weak fades (+-{tolerance:.3f})"
    return abs(ratio - 1) <= tolerance, ratio, 1.0, text


def _noiseless(bench: _Bench) -> _Outcome:
    x, received = bench.sent(0.0)
    worst = float(np.abs(_noise(received, x)).max())
    return worst < 1e-4, worst, 0.0, "largest |y - h x| at n0 = 0"


def _fade_of_input(bench: _Bench, n0: float) -> _Outcome:
    frames = min(bench.frames, 200)
    x, seeds = bench.x(frames), bench.seeds(frames)
    h = bench.send(x, n0, seeds).h
    others = {
        "n0": bench.send(x, 10 * n0, seeds).h,
        "n0 (at 0)": bench.send(x, 0.0, seeds).h,
        "x": bench.send(2 * bench.x(frames, name="other x"), n0, seeds).h,
        "x (at 0)": bench.send(0 * x, n0, seeds).h,
    }
    broken = [name for name, other in others.items() if not np.array_equal(h, other)]
    return _yes(not broken, f"changes with {', '.join(broken)}" if broken else "bit for bit")


def _equal(a: Received, b: Received) -> bool:
    return all(np.array_equal(p, q) for p, q in zip(a.full(), b.full(), strict=True))


def _same_seed(bench: _Bench, n0: float) -> _Outcome:
    frames = min(bench.frames, 64)
    x, seeds = bench.x(frames), bench.seeds(frames)
    first = bench.send(x, n0, seeds)
    bench.send(x, n0, bench.seeds(frames, "between"))
    same = _equal(first, bench.send(x, n0, seeds))
    return _yes(same, "bit for bit" if same else "two calls with the same arguments differ")


def _other_seed(bench: _Bench, n0: float) -> _Outcome:
    if not bench.adds_noise:
        return _yes(True, "declares that it adds no noise")
    frames = min(bench.frames, 64)
    x = np.repeat(bench.x(1), 2 * frames, axis=0)
    seeds = FrameSeeds((*bench.seeds(frames), *bench.seeds(frames, "other").seeds))
    noise = _noise(bench.send(x, n0, seeds), x) / math.sqrt(n0)
    # rounded: y - h x of one and the same w differs by float32 rounding from fade to fade
    distinct = len(np.unique(np.round(noise, 3), axis=0))
    text = f"{distinct} different noises from {2 * frames} seeds"
    return distinct == 2 * frames, distinct, 2 * frames, text


def _batch(bench: _Bench, n0: float) -> _Outcome:
    x, seeds = bench.x(5), bench.seeds(5)
    whole = bench.send(x, n0, seeds)
    parts = [bench.send(x[a:b], n0, seeds[a:b]) for a, b in ((0, 1), (1, 3), (3, 5))]
    apart = [np.concatenate(part) for part in zip(*(p.full() for p in parts), strict=True)]
    same = all(np.array_equal(a, b) for a, b in zip(whole.full(), apart, strict=True))
    return _yes(same, "bit for bit" if same else "a frame depends on which others share its batch")


def _order(bench: _Bench, n0: float) -> _Outcome:
    x, seeds, order = bench.x(6), bench.seeds(6), np.array([4, 0, 5, 2, 1, 3])
    same = _equal(bench.send(x, n0, seeds).take(order), bench.send(x[order], n0, seeds.take(order)))
    return _yes(same, "bit for bit" if same else "a frame depends on its place in the batch")


def _prefix(bench: _Bench, n0: float) -> _Outcome:
    x, seeds = bench.x(4, bench.symbols + 37), bench.seeds(4)
    long = bench.send(x, n0, seeds).slice(0, bench.symbols)
    same = _equal(long, bench.send(np.ascontiguousarray(x[:, : bench.symbols]), n0, seeds))
    text = (
        "bit for bit" if same else "systems with frames of different lengths would meet other fades"
    )
    return _yes(same, text)


def _closed_form(bench: _Bench) -> _Outcome:
    law = getattr(bench.channel, "gain_cdf", None)
    if law is None:
        return _yes(True, "names none")
    gains = np.sort(bench.gains)
    frames = len(gains)
    claimed = np.asarray(law(gains), np.float64)
    steps = np.arange(frames + 1) / frames
    distance = float(max((steps[1:] - claimed).max(), (claimed - steps[:-1]).max()))
    limit = 2.2 / math.sqrt(frames)  # Kolmogorov-Smirnov at 1 in 8,000
    return distance <= limit, distance, 0.0, f"Kolmogorov-Smirnov distance (at most {limit:.4f})"
