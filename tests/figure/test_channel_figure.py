"""The drawing of a channel: which panels there are, and that they show what was measured."""

import numpy as np
import pytest

from linksim.channel.apply import faded
from linksim.channel.awgn import Awgn
from linksim.channel.fading import Rayleigh
from linksim.figure.channel import channel_figure, plot_channel, shown_panels


class Echo:
    """Two taps, the second 10 dB weaker and 2 us later; a fade with a memory."""

    block_symbols = 200

    def __call__(self, x, n0, seed):
        turn = np.exp(2j * np.pi * (seed.uniform(1) + 0.002 * np.arange(x.shape[1])))
        return faded(x, turn.astype(np.complex64), n0, seed)

    def autocorrelation(self, lag):
        return np.exp(2j * np.pi * 0.002 * np.asarray(lag))

    def impulse_response(self, seed, num):
        draws = seed.generator().standard_normal((num, 2, 2))
        taps = (draws[..., 0] + 1j * draws[..., 1]) * np.sqrt(0.5) * [1.0, np.sqrt(0.1)]
        return np.array([0.0, 2e-6]), taps


def panels(channel):
    return list(shown_panels(channel_figure(channel, "it", frames=300)))


def test_panels_are_those_that_apply():
    assert [p.split(",")[0] for p in panels(Awgn())] == ["fade over a frame", "received QPSK"]
    assert "distribution of the gain" in panels(Rayleigh())
    wide = panels(Echo())
    assert wide[0].startswith("impulse response") and wide[1].startswith("frequency response")
    assert "memory of the fade" in wide


def test_the_histogram_is_the_distribution():
    figure = channel_figure(Rayleigh(), "rayleigh", frames=2000)
    ax = next(a for a in figure.axes if a.get_title() == "distribution of the gain")
    steps, line = ax.patches[0].get_data(), ax.lines[0]
    assert float((steps.values * np.diff(steps.edges)).sum()) == pytest.approx(1, abs=0.01)
    middle = (steps.edges[1:] + steps.edges[:-1]) / 2
    linear = 10 ** (middle / 10)
    density = np.log(10) / 10 * linear * np.exp(-linear)
    np.testing.assert_allclose(line.get_ydata(), density, atol=3e-3)
    np.testing.assert_allclose(steps.values, density, atol=0.012)
    assert ax.get_xlabel() == "$|h|^2$ (dB)" and ax.get_ylabel() == "density (1/dB)"


def test_mean_taps_and_memory():
    figure = channel_figure(Echo(), "echo", frames=300)
    taps = next(a for a in figure.axes if a.get_title().startswith("impulse"))
    mean = next(line for line in taps.lines if line.get_label() == "mean power")
    np.testing.assert_allclose(mean.get_xdata(), [0, 2])
    np.testing.assert_allclose(mean.get_ydata(), [0, -10], atol=1)
    memory = next(a for a in figure.axes if a.get_title() == "memory of the fade")
    at, value = memory.lines[0].get_data()
    np.testing.assert_allclose(value, np.cos(2 * np.pi * 0.002 * at), atol=1e-6)


def test_files(tmp_path):
    paths = plot_channel(Rayleigh(), tmp_path / "new", "rayleigh")
    assert [p.name for p in paths] == ["channel.png", "channel.svg"]
    again = plot_channel(Rayleigh(), tmp_path / "again", "rayleigh")
    assert paths[0].read_bytes() == again[0].read_bytes()
