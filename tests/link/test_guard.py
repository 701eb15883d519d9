"""What a channel or a loss process does wrong becomes one line, before it reaches a receiver."""

import numpy as np
import pytest

from linksim import registry
from linksim.errors import ComponentError
from linksim.link import csi, guard
from linksim.link.system import LinkPoint
from linksim.packet.loss import Iid
from linksim.seeds import FrameSeeds
from linksim.types import Received

X = np.ones((3, 10), np.complex64)
SEEDS = FrameSeeds.of(0, 3)


def raises(x, n0, seed):
    raise RuntimeError("no fade\ntoday")


def leaves(x, n0, seed):
    raise SystemExit(0)


def doubles(x, n0, seed):
    return Received(x.astype(np.complex128), np.ones((3, 1), np.complex64), np.float32(n0))


def nans(x, n0, seed):
    return Received(np.full_like(x, np.nan), np.ones((3, 1), np.complex64), np.float32(n0))


def short(x, n0, seed):
    return Received(x[:, 1:], np.ones((3, 1), np.complex64), np.float32(n0))


def negative(x, n0, seed):
    return Received(x, np.ones((3, 1), np.complex64), np.float32(-1))


@pytest.mark.parametrize(
    ("channel", "message"),
    [
        (raises, r"^channel raises raised RuntimeError: no fade today \(test_guard\.py:\d+\)$"),
        (leaves, "^channel leaves raised SystemExit: 0 "),
        (doubles, "^channel doubles: y is complex128, must be complex64$"),
        (nans, "y has 30 values not finite"),
        (short, r"y has shape \(3, 9\), must be \(3, 10\)"),
        (negative, "n0_eff has values that are negative"),
        (lambda x, n0, seed: x, "returned ndarray; return linksim.types.Received"),
        (lambda x, n0, seed: Received(x, x, None), "n0_eff is object, must be float32"),
    ],
)
def test_channels(channel, message):
    with pytest.raises(ComponentError, match=message) as caught:
        guard.send(channel, X, 0.1, SEEDS)
    assert "\n" not in str(caught.value)


def test_what_is_right_passes_through():
    channel = registry.create("channels", "rayleigh")
    np.testing.assert_array_equal(guard.send(channel, X, 0.1, SEEDS).y, channel(X, 0.1, SEEDS).y)
    lost = guard.lose(Iid(0.3), [3, 0, 5], SEEDS)
    assert [len(row) for row in lost] == [3, 0, 5]


@pytest.mark.parametrize(
    ("process", "message"),
    [
        (
            lambda n, s: [np.zeros(k, bool) for k in n][1:],
            "a list of 3 arrays, one per frame, got 2",
        ),
        (lambda n, s: np.zeros(3, bool), "a list of 3 arrays, one per frame, got ndarray"),
        (lambda n, s: [np.zeros(k) for k in n], "frame 0 are float64, must be an array of bool"),
        (
            lambda n, s: [np.zeros(k + 1, bool) for k in n],
            r"frame 0 have shape \(5,\), must be \(4,\)",
        ),
        (lambda n, s: 1 / 0, "raised ZeroDivisionError: division by zero"),
    ],
)
def test_processes(process, message):
    with pytest.raises(ComponentError, match=f"^packet loss process .*{message}"):
        guard.lose(process, [4, 4, 4], SEEDS)


@pytest.mark.parametrize(
    "system", [{"name": "separated", "codec": "jpeg"}, {"name": "joint", "joint": "softcast"}]
)
def test_every_system_sends_through_the_guard(system):
    class Turns:
        """Right where the transmitter asks for fades (n0 = 0), wrong on the air."""

        def __call__(self, x, n0, seed):
            received = registry.create("channels", "awgn")(x, n0, seed)
            return (
                received if n0 == 0 else Received(received.y * np.nan, received.h, np.float32(n0))
            )

    images = np.full((2, 32, 32, 3), 90, np.uint8)
    point = LinkPoint("phy", Turns(), es_n0_db=10, snr_amc_db=10, cbr=0.5)
    with pytest.raises(ComponentError, match=r"channel .*Turns: y has \d+ values not finite"):
        registry.create("systems", system).simulate(images, point, FrameSeeds.of(0, 2))


def test_the_transmitters_view_passes_through_it_too():
    with pytest.raises(ComponentError, match="channel doubles: y is complex128"):
        csi.fades(doubles, 10, 0.0, SEEDS)
