"""Channels that declare what they are not: estimates, antennas, distortion. And the same without the declaration."""

from dataclasses import dataclass

import numpy as np
import pytest

from linksim.channel.apply import faded
from linksim.channel.draws import draws
from linksim.channel.fading import Rayleigh
from linksim.channel.laws import check_channel
from linksim.errors import ComponentError
from linksim.seeds import FrameSeeds
from linksim.types import Received

PILOTS = 4


def table(channel, **options):
    options = {"frames": 2500, "symbols": 48, **options}
    return {r.name: r for r in check_channel(channel, **options)}


def failing(channel, **options):
    return [name for name, r in table(channel, **options).items() if not r.passed]


@dataclass(frozen=True)
class LeastSquares:
    """Rayleigh block fading, h estimated from PILOTS pilots outside the frame."""

    understate: float = 1.0  # of the error's power in n0_eff: 0 forgets it

    csi_rx = "estimated"

    def perfect(self):
        return Rayleigh()

    def __call__(self, x, n0, seed):
        true = Rayleigh()(x, n0, seed)
        error = np.float32(np.sqrt(n0 / PILOTS)) * seed.child("pilots").complex_normal(1)
        n0_eff = np.float32(n0 * (1 + self.understate / PILOTS)) * np.ones((), np.float32)
        return Received(true.y, true.h + error, n0_eff)


class Undeclared(LeastSquares):
    csi_rx = "perfect"


class NoTwin(LeastSquares):
    perfect = None


class TooGood(LeastSquares):
    """Its receiver has half of the noise that its twin has."""

    def __call__(self, x, n0, seed):
        return super().__call__(x, n0 / 2, seed)


class EstimateKnowsX(LeastSquares):
    def __call__(self, x, n0, seed):
        received = super().__call__(x, n0, seed)
        return Received(received.y, received.h + 1e-3 * np.abs(x[:, :1]), received.n0_eff)


@dataclass(frozen=True)
class TwoAntennas:
    """Maximum ratio combining over two Rayleigh branches: |h|^2 is the sum of their gains."""

    num_rx = 2

    def __call__(self, x, n0, seed):
        branches = seed.child("fading").complex_normal(2)
        h = np.sqrt((np.abs(branches) ** 2).sum(axis=1, keepdims=True)).astype(np.complex64)
        return faded(x, h, n0, seed)

    def gain_cdf(self, gain):
        return 1 - np.exp(-gain) * (1 + np.asarray(gain))


class OneDeclared(TwoAntennas):
    num_rx = 1


@dataclass(frozen=True)
class Jitter:
    """Phase noise of a given standard deviation [rad], independent from symbol to symbol."""

    std: float = 0.1
    counted: bool = True

    distorts = "phase noise"

    def perfect(self):
        return Rayleigh()

    def __call__(self, x, n0, seed):
        phase = self.std * seed.child("phase").normal(x.shape[1])
        kept = np.float32(np.exp(-(self.std**2) / 2))
        true = Rayleigh()(x, n0, seed)
        y = true.y + true.h * x * (np.exp(1j * phase) - 1).astype(np.complex64)
        power = np.abs(true.h) ** 2 * (1 - kept**2) if self.counted else 0.0
        return Received(y, true.h * kept, (n0 + power + 0 * true.h.real).astype(np.float32))


def test_estimates_pass_and_say_what_they_cost():
    found = table(LeastSquares())
    assert not [r for r in found.values() if not r.passed]
    cost = found["no better than perfect knowledge"]
    assert cost.expected - cost.measured == pytest.approx(10 * np.log10(1.25 + 0.08), abs=0.3)
    assert "the price of csi_rx = 'estimated'" in cost.text
    assert "declares csi_rx" in found["n0_eff is the noise power"].text
    assert found["measured SNR"].text.endswith("; of its perfect()")
    assert "perfect()" not in found["batch invariance"].text
    assert not found["gradient in x"].applies and "declares csi_rx" in found["gradient in x"].text


def test_undeclared_estimates_are_found():
    assert {"without noise y is h x"}.isdisjoint(failing(Undeclared()))
    assert {"measured SNR", "fade does not depend on x or n0"} <= set(failing(Undeclared()))


def test_without_a_twin_nothing_is_measured_in_silence():
    found = table(NoTwin())
    quiet = [name for name, r in found.items() if not r.applies]
    assert {"average gain", "measured SNR", "doubling n0 doubles the noise"} <= set(quiet)
    assert "offers no perfect()" in found["measured SNR"].text
    assert found["n0_eff is the noise power"].applies and found["batch invariance"].applies


@pytest.mark.parametrize(
    ("channel", "law"),
    [
        (LeastSquares(understate=0.0), "n0_eff is the noise power"),
        (TooGood(), "no better than perfect knowledge"),
        (EstimateKnowsX(), "fade does not depend on x or n0"),
        (OneDeclared(), "average gain"),
        (Jitter(std=0.4, counted=False), "n0_eff is the noise power"),
    ],
    ids=lambda v: v if isinstance(v, str) else type(v).__name__,
)
def test_planted_fault_of_a_declared_channel_is_found(channel, law):
    assert law in failing(channel)


def test_two_antennas():
    found = table(TwoAntennas())
    assert not [r for r in found.values() if not r.passed]
    assert found["average gain"].expected == 2
    assert found["outage follows its closed form"].applies


def test_distortion_is_counted_in_n0_eff():
    found = table(Jitter())
    assert not [r for r in found.values() if not r.passed]
    assert found["no better than perfect knowledge"].text.endswith("distorts = 'phase noise'")
    assert "measured SNR" in failing(type("Silent", (Jitter,), {"distorts": ""})())


def test_declarations_that_make_no_sense():
    odd = type("Odd", (LeastSquares,), {"csi_rx": None})()
    assert "csi_rx must be" in table(odd)["measured SNR"].text
    twice = type("Twice", (LeastSquares,), {"perfect": lambda self: LeastSquares()})()
    assert "perfect() returns a channel that declares" in table(twice)["measured SNR"].text
    fewer = type("Fewer", (LeastSquares,), {"num_rx": 2})()
    assert "num_rx" in table(fewer)["average gain"].text


class Jakes:
    """A fade with a Gaussian autocorrelation: a moving average of white draws."""

    def __init__(self, claimed=1.0):
        self.claimed = claimed

    def __call__(self, x, n0, seed):
        white = seed.child("fading").complex_normal(x.shape[1] + 40)
        taps = np.exp(-0.5 * (np.arange(-20, 21) / 4) ** 2)
        taps /= np.sqrt((taps**2).sum())
        h = np.stack([np.convolve(row, taps, "valid") for row in white])
        return faded(x, h, n0, seed)

    def autocorrelation(self, lag):
        return np.exp(-0.25 * (self.claimed * np.asarray(lag) / 4) ** 2)


def test_autocorrelation_against_its_closed_form():
    law = "autocorrelation follows its closed form"
    right, wrong = table(Jakes(), only=[law])[law], table(Jakes(1.15), only=[law])[law]
    assert right.applies and right.passed and right.measured < 0.05
    assert not wrong.passed


@dataclass(frozen=True)
class Limiter:
    """A soft limiter in front of Rayleigh fading, with a TensorFlow twin."""

    wrong: float = 1.0

    distorts = "soft limiter"
    differentiable = True

    def perfect(self):
        return Rayleigh()

    def __call__(self, x, n0, seed):
        true = Rayleigh()(x, n0, seed)
        squashed = x / (1 + 0.05 * np.abs(x) ** 2)
        n0_eff = np.float32(n0) + np.float32(0.003) * np.abs(true.h) ** 2
        return Received(true.y + true.h * (squashed - x), true.h, n0_eff)

    def tensor(self, x, n0, seed):
        import tensorflow as tf

        h, w, _ = draws(self, x.shape[1], n0, seed)
        power = tf.cast(tf.abs(x) ** 2, tf.complex64)
        return h * x / (1 + 0.05 * self.wrong * power) + w


class Blocked(Limiter):
    def tensor(self, x, n0, seed):
        import tensorflow as tf

        return tf.stop_gradient(super().tensor(x, n0, seed))


class Forgotten(Limiter):
    tensor = None


def test_gradients():
    law = "gradient in x"
    assert table(Limiter(), only=[law])[law].passed
    assert "differs from the channel's own y" in table(Limiter(1.1), only=[law])[law].text
    assert "no gradient flows" in table(Blocked(), only=[law])[law].text
    assert "has no method tensor" in table(Forgotten(), only=[law])[law].text
    assert table(Rayleigh(), only=[law])[law].passed


def test_draws_are_the_channel():
    seed, x = FrameSeeds.of(3, 4), FrameSeeds.of(4, 4).complex_normal(20)
    h, w, n0_eff = draws(Rayleigh(block_length=3), 20, 0.1, seed)
    np.testing.assert_allclose(h * x + w, Rayleigh(block_length=3)(x, 0.1, seed).y, atol=1e-6)
    assert h.shape == w.shape == n0_eff.shape == (4, 20) and h.flags.writeable
    assert draws(LeastSquares(), 20, 0.1, seed)[2] == pytest.approx(0.1)
    with pytest.raises(ComponentError, match=r"offers no perfect\(\)"):
        draws(NoTwin(), 20, 0.1, seed)


HASHED = """
from dataclasses import dataclass
import numpy as np
from linksim.channel.apply import faded

@dataclass(frozen=True)
class Hashed:
    "Its fade comes from Python's hash of a string, which every process salts anew."
    def __call__(self, x, n0, seed):
        h = [np.exp(1j * (hash(s.child("fading").key.hex()) % 628) / 100) for s in seed]
        return faded(x, np.array(h)[:, None], n0, seed)
"""


def test_another_process(tmp_path):
    from linksim import registry

    law = "same output in another process"
    spec = {"name": "rician", "k_factor_db": 3}
    channel = registry.create("channels", spec)
    found = table(channel, only=[law], spec=spec)[law]
    assert found.applies and found.passed and found.text == "bit for bit"
    assert not table(channel, only=[law])[law].applies
    (tmp_path / "hashed.py").write_text(HASHED)
    spec = {"plugin": "hashed.py:Hashed"}
    channel = registry.create("channels", spec, base=tmp_path)
    assert not table(channel, only=[law], spec=spec, base=tmp_path)[law].passed
