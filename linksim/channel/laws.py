"""The laws that every channel obeys, as measurements: a plug-in is put through them before it may run.

A channel is a function of (x, n0, seed) that gives y = h x + w. The laws say that E|h|^2 = 1, that w has the power and
the shape that were asked for, whatever x and h are, that a frame depends on its own seed alone, and that h depends on
nothing else. A channel that is less simple *declares* in what way, and the table shows the declaration beside every law
that it touches ("n/a: declares ..."); nothing is exempt in silence.

What SNR means
  Es/N0 is per complex symbol **at each receive antenna, before any processing**, averaged over fading. Hence, whatever
  a receiver does before it hands over ``Received`` (transform, combine antennas, equalise), it scales its output such
  that h carries the fade: with perfect knowledge y = h x + w with w ~ CN(0, n0), and |h|^2 is the power gain of the
  symbol. A zero-forcing equaliser gives x_hat = x + w/H with noise n0/|H|^2: multiply by |H|, and hand over y = |H|
  x_hat, h = |H|, n0_eff = n0. Demappers see the same LLRs, and the transmitter's view of the fade
  (``linksim.link.csi``, which reads |h|^2 at n0 = 0) stays right.

What a channel may declare (class attributes, or properties where it depends on parameters)
  ``adds_noise = False``      it ignores n0: the laws of noise do not apply.
  ``num_rx = 2``              antennas combined: E|h|^2 = num_rx. SNR stays per antenna.
  ``csi_rx = "estimated"``    h is an estimate; any text but "perfect", the default, says so ("ls", "lmmse"). Then
                              y - h x holds estimation error, and n0_eff must hold it too: E|y - h x|^2 / n0_eff = 1 to
                              0.2 dB. At n0 = 0 pilots are noiseless and h is the truth ("ls" and "lmmse": but for
                              what lies between them); h may know n0, never x.
  ``distorts = "phase noise"`` names what makes y - h x depend on x or stay at n0 = 0: inter-carrier interference, phase
                              noise, an amplifier, outdated knowledge. n0_eff holds its power, as above.
  ``perfect()``               a method of every channel that declares one of these two: the same channel with perfect
                              knowledge and no distortion, meeting the same fades and noise from the same seeds. All
                              strict laws are measured on it, and the channel must not have a better useful SNR than it.
  ``data_uses(total)``, ``total_uses(data)``  how many of the channel uses given carry data, and what so many data
                              symbols cost; the link books the rest (pilots, prefix, guards). By default every use
                              carries data.
  ``post_snr(num_symbols, n0, seed)``  SNR [B, S] after the receiver with its estimation loss, for AMC; by default
                              |h|^2 / n0.
  ``differentiable = True``   it offers ``tensor(x, n0, seed)``, which maps a TensorFlow complex64 tensor [B, S] to y
                              (or a tuple that begins with y) with gradients. A channel without distortion needs none:
                              it is affine in x, and ``linksim.channel.draws`` gives h and w for y = h x + w in any
                              framework.
  ``gain_cdf(gain)``          closed form of P(|h|^2 <= gain), [...] -> [...].
  ``autocorrelation(lag)``    closed form of E[h(t + lag) h*(t)] / num_rx for lags in symbols, [L] int -> [L]; such as
                              J0(2 pi fD tau). At n0 = 0, or of ``perfect()``.
  ``block_symbols = 864``     symbols of one realisation (a resource grid): the checker then sends fewer, longer frames.
  ``impulse_response(seed, num)``  -> (delays [L] in seconds, coefficients [num, L] complex), of ``num`` realisations
                              drawn from one ``Seed``; for the drawing.
  ``frequency_response(seed, num)`` -> (frequencies [K] in Hz, coefficients [num, K] complex), likewise; by default the
                              transform of the impulse response.
  ``examples(folder)``        a classmethod: parameter sets, as list of mappings, that tests and documentation use;
                              ``folder`` is an empty one where it may write files that they name. Needed where a
                              parameter has no default; by default one set, of the defaults.

Every law of determinism (seeds, batch, order, length) holds for every channel, bit for bit or, for sums in float32 that
run in another order, to 1e-5 of the rms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from linksim.channel.lawbook import fading, gradient, noise, sameness
from linksim.channel.lawbook.bench import SNR_TOLERANCE_DB, Bench, Z
from linksim.laws import LawResult, Outcome, measure
from linksim.seeds import Seed
from linksim.types import Channel

__all__ = ["LAWS", "SNR_TOLERANCE_DB", "LawResult", "Z", "check_channel", "sizes"]


SHAPES = "shapes and dtypes"
PERFECT = "no better than perfect knowledge"

# Measured in this order. The first is a condition of the others.
LAWS: dict[str, Callable[[Bench], Outcome]] = {
    SHAPES: sameness.shapes,
    "average gain": noise.average_gain,
    "measured SNR": noise.measured_snr,
    "noise is circular and white": noise.circular,
    "n0_eff is the noise power": noise.calibrated,
    "doubling n0 doubles the noise": noise.doubling,
    "noise does not depend on x": noise.noise_of_x,
    "noise does not depend on the fade": noise.noise_of_fade,
    "without noise y is h x": noise.noiseless,
    "fade does not depend on x or n0": sameness.fade_of_input,
    "same seed, same output": sameness.same_seed,
    "same output in another process": sameness.another_process,
    "other seeds, other noise": sameness.other_seed,
    "batch invariance": sameness.batch,
    "order invariance": sameness.order,
    "a longer frame begins like a shorter one": sameness.prefix,
    "gain follows its closed form": fading.closed_form,
    "outage follows its closed form": fading.outage,
    "autocorrelation follows its closed form": fading.autocorrelation,
    PERFECT: noise.no_worse_when_perfect,
    "gradient in x": gradient.gradient,
}


def sizes(channel: Channel, frames: int | None, symbols: int | None) -> tuple[int, int]:
    """Frames and symbols that a channel is measured with: 4,000 x 64, or 1,000 realisations of ``block_symbols``."""
    block = getattr(channel, "block_symbols", None)
    block = block if isinstance(block, int) and block > 0 else 0
    return frames or (1000 if block else 4000), symbols or max(block, 64)


def check_channel(
    channel: Channel,
    *,
    frames: int | None = None,
    symbols: int | None = None,
    es_n0_db: float = 5.0,
    seed: int = 0,
    only: Iterable[str] | None = None,
    spec: Mapping[str, Any] | None = None,
    base: Path | None = None,
) -> list[LawResult]:
    """Measure every law.

    Args:
      frames:   how many frames the averages run over; frames * symbols must be at least 1e5 to see 0.05 dB.
      symbols:  of each frame.
      es_n0_db: SNR at which noise is measured, dB.
      seed:     of the fades, noises and symbols; another one is an independent look.
      only:     names of the laws to measure; by default all.
      spec:     what ``registry.create("channels", spec, base=base)`` builds the channel from, to try it in another
                process; without it that law is left out.
    Returns: results in the order of ``LAWS``; the first alone where shapes or dtypes are wrong. Raises nothing,
             whatever the channel does.
    """
    frames, symbols = sizes(channel, frames, symbols)
    n0 = 10 ** (-es_n0_db / 10)
    bench = Bench(channel, frames, symbols, n0, Seed.root(seed).child("channel laws"), spec, base)
    first = measure(SHAPES, lambda: sameness.shapes(bench))
    if not first.passed:
        return [first]  # the other laws would only repeat it
    wanted = set(LAWS if only is None else only)
    results = [first] if SHAPES in wanted else []
    for name, law in LAWS.items():
        if name not in wanted or name == SHAPES:
            continue
        bench.asked.clear()
        result = measure(name, partial(law, bench))
        if bench.asked and result.applies and name != PERFECT:
            # Nothing is exempt in silence: what this law looked at is said.
            text = f"{result.text}; of its perfect()"
            result = replace(result, text=text)
        results.append(result)
    return results
