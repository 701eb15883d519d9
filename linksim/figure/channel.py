"""A channel in pictures: its taps, spectrum, fades, their distribution and memory, and what a receiver sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linksim.channel.lawbook.bench import Bench
from linksim.channel.lawbook.fading import autocorrelation_lags, measured_autocorrelation
from linksim.figure.page import finish_page, save
from linksim.figure.style import PAGE_WIDTH, house_style
from linksim.laws import NotApplicable
from linksim.seeds import Seed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MEASURED, THEORY, OTHERS = "#0072B2", "#D55E00", ("#0072B2", "#E69F00", "#009E73")
_FRAMES = 2000
_SHOWN = 3  # realisations drawn one by one
_LONG = 512  # symbols of a frame, where the channel has no blocks
_FLOOR_DB = -40.0

Draw = Callable[["Axes"], None]


def plot_channel(
    channel: Any, folder: str | Path, title: str, *, es_n0_db: float = 5.0, seed: int = 0
) -> list[Path]:
    """Draw a channel into ``folder`` as channel.png and channel.svg.

    Panels, each where it applies: impulse response, |H(f)|, |h(t)| over a frame, distribution of |h|^2 against
    ``gain_cdf``, autocorrelation against its closed form, received symbols.

    Returns: the files written.
    Raises:  RunStateError: if they cannot be written.
    """
    figure = channel_figure(channel, title, es_n0_db=es_n0_db, seed=seed)
    return save(figure, Path(folder), "channel")


def channel_figure(
    channel: Any, title: str, *, es_n0_db: float = 5.0, seed: int = 0, frames: int = _FRAMES
) -> Figure:
    """The page of :func:`plot_channel`. Args: frames: that distributions are measured on."""
    from matplotlib.figure import Figure

    symbols = _symbols(channel)
    n0 = 10 ** (-es_n0_db / 10)
    bench = Bench(channel, frames, symbols, n0, Seed.root(seed).child("channel figure"))
    panels = [*_wideband(channel, bench.seed), _over_time(bench), *_distribution(bench)]
    panels += [*_memory(bench), _received(bench, es_n0_db)]
    columns = len(panels) if len(panels) < 4 else -(-len(panels) // 2)
    rows = -(-len(panels) // columns)
    with house_style():
        figure = Figure(figsize=(PAGE_WIDTH, 2.1 * rows), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, draw in zip(axes, panels, strict=False):
            draw(ax)
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        finish_page(figure, [], f"{title}. {_caption(bench, seed)}")
    return figure


def _symbols(channel: Any) -> int:
    block = getattr(channel, "block_symbols", None)
    return block if isinstance(block, int) and block > 0 else _LONG


def _caption(bench: Bench, seed: int) -> str:
    text = f"Seed {seed}; the gain of {5 * bench.frames} frames."
    if bench.imperfect:
        text += f" Declares {bench.imperfect}."
    if bench.num_rx > 1:
        text += (
            f" {bench.num_rx} receive antennas: mean gain {10 * math.log10(bench.num_rx):.1f} dB."
        )
    return text


def _truth(bench: Bench) -> Bench:
    """The bench whose h is the fade itself."""
    try:
        return bench.strict
    except NotApplicable:
        return bench  # at n0 = 0 its h is the closest there is


def _decibels(gain: np.ndarray) -> np.ndarray:
    return 10 * np.log10(np.maximum(gain, 10 ** (_FLOOR_DB / 10)))


# --------------------------------------------------------------------------------------------------------- panels


def _wideband(channel: Any, seed: Seed) -> list[Draw]:
    """Impulse response and |H(f)|, of a channel that offers them."""
    impulse = getattr(channel, "impulse_response", None)
    spectrum = getattr(channel, "frequency_response", None)
    found: list[Draw] = []
    if impulse is not None:
        delays, taps = impulse(seed.child("taps"), 200)
        delays, taps = np.asarray(delays, float), np.asarray(taps)
        found.append(lambda ax: _draw_taps(ax, delays, taps))
        if spectrum is None:
            span = 8 / max(float(np.ptp(delays)), 1e-9)
            frequencies = np.linspace(-span / 2, span / 2, 401)
            turned = taps[:_SHOWN] @ np.exp(-2j * np.pi * np.outer(delays, frequencies))
            found.append(lambda ax: _draw_spectrum(ax, frequencies, turned))
    if spectrum is not None:
        at, values = spectrum(seed.child("taps"), _SHOWN)
        found.append(lambda ax: _draw_spectrum(ax, np.asarray(at, float), np.asarray(values)))
    return found


def _draw_taps(ax: Axes, delays: np.ndarray, taps: np.ndarray) -> None:
    unit, scale = ("ns", 1e9) if delays.max(initial=0) < 1e-6 else ("µs", 1e6)
    at = delays * scale
    mean = _decibels((np.abs(taps) ** 2).mean(axis=0))
    for row, color in zip(taps[:_SHOWN], OTHERS, strict=False):
        ax.plot(at, _decibels(np.abs(row) ** 2), ".", color=color, markersize=3, alpha=0.7)
    ax.vlines(at, _FLOOR_DB, mean, color="0.35", linewidth=1)
    ax.plot(at, mean, "_", color="0.1", markersize=6, label="mean power")
    ax.set(xlabel=f"delay ({unit})", ylabel="power of a tap (dB)", ylim=(_FLOOR_DB, 8))
    ax.set_title(f"impulse response: mean and {_SHOWN} draws")


def _draw_spectrum(ax: Axes, frequencies: np.ndarray, values: np.ndarray) -> None:
    for row, color in zip(values[:_SHOWN], OTHERS, strict=False):
        ax.plot(frequencies / 1e6, _decibels(np.abs(row) ** 2), color=color, linewidth=0.9)
    ax.set(xlabel="frequency (MHz)", ylabel="$|H(f)|^2$ (dB)")
    ax.set_title(f"frequency response, {_SHOWN} draws")


def _over_time(bench: Bench) -> Draw:
    frames, x = bench.seeds(_SHOWN), bench.x(_SHOWN)
    true = np.abs(_truth(bench).send(x, 0.0, frames).full()[1]) ** 2
    seen = np.abs(bench.send(x, bench.n0, frames).full()[1]) ** 2
    differs = not np.allclose(true, seen, atol=1e-6)

    def draw(ax: Axes) -> None:
        for row, color in zip(_decibels(true), OTHERS, strict=False):
            ax.plot(row, color=color, linewidth=0.9)
        if differs:
            ax.plot(
                _decibels(seen[0]),
                ":",
                color="0.2",
                linewidth=0.9,
                label="as the receiver knows it",
            )
            ax.legend(loc="lower left", framealpha=0.85, edgecolor="none")
        ax.set(xlabel="symbol of the frame", ylabel="$|h(t)|^2$ (dB)")
        low, high = ax.get_ylim()
        ax.set_ylim(min(low, -6), max(high, 6))
        ax.set_title(f"fade over a frame, {_SHOWN} frames")

    return draw


def _distribution(bench: Bench) -> list[Draw]:
    gains = _truth(bench).gains
    if gains.std() < 1e-6:
        return []  # does not fade
    law = getattr(bench.channel, "gain_cdf", None)
    mean_db = 10 * math.log10(bench.num_rx)
    low, high = float(np.quantile(_decibels(gains), 0.0005)), float(_decibels(gains).max())
    edges = np.linspace(max(low - 1, _FLOOR_DB), max(high + 1, mean_db + 2), 50)
    width = edges[1] - edges[0]
    share = np.histogram(_decibels(gains), edges)[0] / (len(gains) * width)

    def draw(ax: Axes) -> None:
        ax.stairs(share, edges, fill=True, color=MEASURED, alpha=0.45, label="measured")
        if law is not None:
            expected = np.diff(np.asarray(law(10 ** (edges / 10)), float)) / width
            middle = (edges[1:] + edges[:-1]) / 2
            ax.plot(middle, expected, color=THEORY, label="closed form")
        ax.set(xlabel="$|h|^2$ (dB)", ylabel="density (1/dB)")
        ax.set_title("distribution of the gain")
        ax.legend(frameon=False, loc="upper left")

    return [draw]


def _memory(bench: Bench) -> list[Draw]:
    law = getattr(bench.channel, "autocorrelation", None)
    if law is None:
        return []
    lags = autocorrelation_lags(law)
    short = Bench(bench.channel, min(bench.frames, 300), bench.symbols, bench.n0, bench.seed)
    measured, error = measured_autocorrelation(short, lags)
    every = np.unique(np.round(np.linspace(0, lags[-1], 400)).astype(int))

    def draw(ax: Axes) -> None:
        ax.plot(every, np.real(law(every)), color=THEORY, label="closed form")
        ax.errorbar(
            lags,
            measured.real,
            2 * error,
            fmt=".",
            color=MEASURED,
            markersize=3,
            elinewidth=0.7,
            label="measured",
        )
        ax.set(xlabel="lag (symbols)", ylabel="autocorrelation of h")
        ax.set_title("memory of the fade")
        ax.legend(frameon=False)

    return [draw]


def _received(bench: Bench, es_n0_db: float) -> Draw:
    """QPSK as it arrives, the known fade divided out; weak symbols are pale, as a demapper weighs them."""
    frames = 12
    x = bench.x(frames, min(bench.symbols, 128))
    received = bench.send(x, bench.n0, bench.seeds(frames, "received"))
    y, h, noise = (np.asarray(part) for part in received.full())
    strength = np.abs(h) ** 2 / np.maximum(noise, 1e-6)
    shown = (y * h.conj() / np.maximum(np.abs(h) ** 2, 1e-9)).ravel()
    pale = np.clip(strength.ravel() / max(float(np.median(strength)), 1e-9), 0.06, 1.0)

    def draw(ax: Axes) -> None:
        ax.scatter(
            shown.real,
            shown.imag,
            s=2,
            color=MEASURED,
            alpha=0.6 * pale,
            linewidths=0,
            rasterized=True,
        )
        ax.set(
            xlim=(-2.2, 2.2),
            ylim=(-2.2, 2.2),
            aspect="equal",
            xlabel="real part",
            ylabel="imaginary part",
        )
        ax.set_title(f"received QPSK, y/h, {es_n0_db:g} dB")

    return draw


def shown_panels(figure: Figure) -> Sequence[str]:
    """Titles of the panels of a figure."""
    return [ax.get_title() for ax in figure.axes if ax.get_visible()]
