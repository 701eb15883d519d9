"""Impairments: closed forms, Bussgang's decomposition, honest bookkeeping, and what stays as it was."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
from scipy.special import j0

from linksim import registry
from linksim.channel.awgn import Awgn
from linksim.channel.fading import Rayleigh, Rician
from linksim.channel.impairment.cfo import Cfo
from linksim.channel.impairment.impaired import Impaired
from linksim.channel.impairment.interleaver import Interleaver
from linksim.channel.impairment.outdated import OutdatedCsi
from linksim.channel.impairment.phase_noise import PhaseNoise
from linksim.channel.impairment.rapp import Rapp
from linksim.errors import ComponentError
from linksim.link.csi import knowledge
from linksim.link.system import LinkPoint
from linksim.phy import modem
from linksim.phy.ldpc5g import Ldpc5G
from linksim.seeds import FrameSeeds
from linksim.units import n0_from_es_n0_db


def gaussian(frames, symbols, seed=3):
    x = FrameSeeds.of(seed, frames).child("x").complex_normal(symbols)
    return (x / np.sqrt(np.mean(np.abs(x) ** 2, axis=1, keepdims=True))).astype(np.complex64)


def qpsk(frames, symbols, seed=4):
    draws = FrameSeeds.of(seed, frames).uniform(symbols)
    return np.exp(0.5j * np.pi * (np.floor(4 * draws) + 0.5)).astype(np.complex64)


ALL = [
    Cfo(2e-3),
    Cfo(4e-3, tracking=20),
    PhaseNoise(2e-3),
    PhaseNoise(4e-3, tracking=12),
    Rapp(1.0, 2.0),
    Rapp(-3.0, 3.0),
    OutdatedCsi(rho=0.9),
    OutdatedCsi(delay=9),
]


@pytest.mark.parametrize("impairment", ALL, ids=repr)
@pytest.mark.parametrize("n0", [0.0, 0.05])
def test_n0_eff_is_the_power_of_what_the_receiver_does_not_know(impairment, n0):
    """At every position of the frame, for symbols of constant and of Gaussian amplitude."""
    base = Rayleigh(doppler=0.01) if isinstance(impairment, OutdatedCsi) else Awgn()
    channel = Impaired(base, [impairment])
    for x in (gaussian(2500, 50), qpsk(2500, 50)):
        y, h, n0_eff = channel(x, n0, FrameSeeds.of(5, len(x))).full()
        error = np.abs(y.astype(np.complex128) - h.astype(np.complex128) * x) ** 2
        claimed = n0_eff.mean(axis=0)
        spread = 5 * error.std(axis=0, ddof=1) / math.sqrt(len(x))
        assert (np.abs(error.mean(axis=0) - claimed) < spread + 0.01 * claimed + 1e-9).all()


def test_the_channel_is_the_same_with_and_without():
    seeds, x = FrameSeeds.of(1, 3), qpsk(3, 40)
    bare = Rayleigh(doppler=0.01)(x, 0.1, seeds)
    nothing = Impaired(Rayleigh(doppler=0.01), [Cfo(0.0), PhaseNoise(0.0), OutdatedCsi(delay=0)])
    same = nothing(x, 0.1, seeds)
    np.testing.assert_allclose(same.y, bare.y, atol=1e-6)
    np.testing.assert_allclose(same.full()[1], bare.h, atol=1e-6)
    np.testing.assert_allclose(same.n0_eff, 0.1, rtol=1e-6)
    assert Impaired(Rayleigh(), [Rapp()]).perfect() == Rayleigh()


def test_carrier_offset_turns_the_frame():
    x = np.ones((400, 200), np.complex64)
    y = Impaired(Awgn(), [Cfo(1e-4)])(x, 0.0, FrameSeeds.of(0, 400)).y
    turn = np.angle(y[:, 199]) / (2 * np.pi * 199)
    assert turn.std() == pytest.approx(1e-4, rel=0.12)
    np.testing.assert_allclose(np.angle(y[:, 100]) / 100, np.angle(y[:, 199]) / 199, rtol=1e-3)
    tracked = Impaired(Awgn(), [Cfo(1e-2, tracking=11)])(x, 0.0, FrameSeeds.of(0, 400)).y
    np.testing.assert_allclose(tracked[:, 5::11], 1, atol=1e-6)


@pytest.mark.parametrize("tracking", [None, 7, 32])
def test_phase_noise_variance_is_its_closed_form(tracking):
    impairment, frames = PhaseNoise(2e-4, tracking), 4000
    x = np.ones((frames, 64), np.complex64)
    phase = np.angle(Impaired(Awgn(), [impairment])(x, 0.0, FrameSeeds.of(0, frames)).y)
    expected = impairment.variance(64)
    np.testing.assert_allclose(
        phase.var(axis=0), expected, atol=1e-9, rtol=5 * math.sqrt(2 / frames)
    )
    if tracking is not None:
        whole = phase[:, : 64 // tracking * tracking].reshape(frames, -1, tracking)
        np.testing.assert_allclose(whole.mean(axis=2), 0, atol=1e-5)
    else:
        steps = np.diff(phase, axis=1)
        assert steps.var() == pytest.approx(2 * np.pi * 2e-4, rel=0.02)


def test_rapp_curve():
    amplifier = Rapp(input_backoff_db=3.0, p=2.0)
    limit = 10 ** (3 / 20)
    r = np.array([0.0, 1e-6, 0.5, 1.0, limit, 10.0, 1e9])
    expected = r / (1 + (r / limit) ** 4) ** 0.25
    np.testing.assert_allclose(amplifier.compress(r), expected, rtol=1e-12)
    hard = Rapp(input_backoff_db=0.0, p=100.0).compress(np.array([0.5, 0.9, 1.1, 50.0, 1e300]))
    np.testing.assert_allclose(hard, [0.5, 0.9, 1, 1, 1], atol=1e-2)


@pytest.mark.parametrize("backoff", [-5.0, 0.0, 3.0, 8.0])
def test_bussgang(backoff):
    """g(x) = a x + d: d is uncorrelated with x, power is what it was, and long Gaussian frames have the closed form."""
    x = gaussian(40, 20_000)
    received = Impaired(Awgn(), [Rapp(backoff)])(x, 0.0, FrameSeeds.of(0, 40))
    y, h, n0_eff = received.full()
    np.testing.assert_allclose(np.mean(np.abs(y) ** 2, axis=1), 1, rtol=1e-4)
    d = y - h * x
    np.testing.assert_allclose(np.mean(d * x.conj(), axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.mean(np.abs(d) ** 2, axis=1), n0_eff[:, 0], rtol=1e-3)
    a, distortion = Rapp(backoff).of_gaussian
    assert h[:, 0].real.mean() == pytest.approx(a, rel=2e-3)
    assert n0_eff[:, 0].mean() == pytest.approx(distortion, rel=0.02)
    silent = Impaired(Awgn(), [Rapp(backoff)])(0 * x, 0.0, FrameSeeds.of(0, 40))
    assert silent.h[0, 0] == pytest.approx(a) and silent.n0_eff[0, 0] == pytest.approx(distortion)


def test_a_hard_limiter_of_a_gaussian_signal_is_the_textbook_one():
    """All amplitudes clipped to one: a = sqrt(pi / 4), the rest is distortion."""
    a, distortion = Rapp(input_backoff_db=-20.0, p=100.0).of_gaussian
    assert a == pytest.approx(math.sqrt(math.pi / 4), rel=3e-3)
    assert distortion == pytest.approx(1 - math.pi / 4, rel=0.02)


def test_an_amplifier_acts_on_peaks():
    """QPSK passes untouched, QAM is bent, Gaussian symbols suffer most."""
    amplifier = Impaired(Awgn(), [Rapp(1.0)])
    levels = np.array([-3, -1, 1, 3]) / math.sqrt(10)
    draws = FrameSeeds.of(0, 30).uniform(2000, 2)
    qam = levels[(4 * draws).astype(int)]
    frames = [qpsk(30, 2000), (qam[..., 0] + 1j * qam[..., 1]).astype(np.complex64)]
    frames.append(gaussian(30, 2000))
    distortion = [float(np.mean(amplifier(x, 0.0, FrameSeeds.of(0, 30)).n0_eff)) for x in frames]
    assert distortion[0] < 1e-6
    assert 1e-3 < distortion[1] < 0.5 * distortion[2]
    padded = np.pad(frames[2], ((0, 0), (0, 3000)))
    found = amplifier(padded, 0.0, FrameSeeds.of(0, 30))
    assert float(np.mean(found.n0_eff)) == pytest.approx(distortion[2], rel=1e-3)
    assert not found.y[:, 2000:].any(), "silence stays silence"


@pytest.mark.parametrize(
    ("channel", "impairment", "rho"),
    [
        (Rayleigh(doppler=0.01), OutdatedCsi(delay=12), float(j0(0.24 * np.pi))),
        (Rayleigh(), OutdatedCsi(rho=0.8), 0.8),
        (Rayleigh(block_length=4), OutdatedCsi(rho=0.8), 0.8),
        (Rician(3.0, doppler=0.02, los_doppler=0.7), OutdatedCsi(delay=6), float(j0(0.24 * np.pi))),
    ],
    ids=repr,
)
def test_outdated_knowledge(channel, impairment, rho):
    frames = 4000
    x = np.ones((frames, 8), np.complex64)
    seeds = FrameSeeds.of(0, frames)
    truth = channel(x, 0.0, seeds).full()[1].astype(np.complex128)
    y, known, n0_eff = Impaired(channel, [impairment])(x, 0.0, seeds).full()
    share = 1 / (channel.k_factor + 1) if isinstance(channel, Rician) else 1.0
    np.testing.assert_allclose(n0_eff, share * (1 - rho**2), rtol=1e-5)
    np.testing.assert_allclose(y, truth, atol=1e-6)
    error = truth - known
    assert np.mean(np.abs(error) ** 2) == pytest.approx(share * (1 - rho**2), rel=0.1)
    assert abs(np.mean(error[:, 0] * known[:, 0].conj())) < 4 / math.sqrt(frames)
    assert np.mean(np.abs(known) ** 2) == pytest.approx(1 - share * (1 - rho**2), rel=0.06)
    past = channel.past(8, seeds, delay=impairment.delay, rho=impairment.rho)
    assert np.mean(np.abs(past.h) ** 2) == pytest.approx(1, rel=0.06)


def test_a_delay_looks_back_along_the_same_fade():
    channel, seeds = Rayleigh(doppler=0.01), FrameSeeds.of(0, 3)
    h = channel(np.zeros((3, 100), np.complex64), 0.0, seeds).h
    past = channel.past(100, seeds, delay=30, rho=None)
    np.testing.assert_allclose(past.h[:, 30:], h[:, :70], atol=3e-6)


def test_outdated_transmitter():
    """csi_tx instantaneous decides on what was; the receiver knows what is."""
    base = Rayleigh(doppler=0.01)
    channel = Impaired(base, [OutdatedCsi(delay=40, side="transmitter")])
    x, seeds = qpsk(200, 5), FrameSeeds.of(0, 200)
    np.testing.assert_array_equal(channel(x, 0.1, seeds).y, base(x, 0.1, seeds).y)
    np.testing.assert_allclose(channel(x, 0.1, seeds).full()[1], base(x, 0.1, seeds).h, rtol=1e-6)

    def believed(channel):
        point = LinkPoint("phy", channel, 10.0, 10.0, 0.1, csi_tx="instantaneous")
        return knowledge(point, 1, seeds).snr_amc_db

    now, then = believed(base), believed(channel)
    old = base.past(1, seeds, delay=40, rho=None).h[:, 0]
    np.testing.assert_allclose(then, 10 + 20 * np.log10(np.abs(old)), atol=1e-3)
    assert np.corrcoef(10 ** (now / 10), 10 ** (then / 10))[0, 1] == pytest.approx(
        j0(0.8 * np.pi) ** 2, abs=0.2
    )
    receiver = Impaired(base, [OutdatedCsi(delay=40)])
    assert receiver.known_to_transmitter(1, 0.1, seeds) is None
    both = Impaired(base, [Interleaver(4, 4), Rapp(0.0), OutdatedCsi(delay=40, side="both")])
    assert (believed(both) < then + 0.01).all(), "the amplifier counts, for what is old too"


def test_a_transmitter_sees_the_floor():
    """AMC believes in the SNR behind the receiver: phase noise bounds it, whatever n0 is."""
    channel = Impaired(Awgn(), [PhaseNoise(1e-3, tracking=32)])
    snr = channel.post_snr(64, 1e-6, FrameSeeds.of(0, 2))
    variance = PhaseNoise(1e-3, tracking=32).variance(64)
    np.testing.assert_allclose(snr[0], 1 / np.expm1(variance), rtol=1e-3)


def test_interleaver():
    inner = Rayleigh(block_length=4)
    channel = Impaired(inner, [Interleaver(rows=6, columns=10)])
    seeds = FrameSeeds.of(0, 3)
    x = qpsk(3, 150)
    h = channel(x, 0.0, seeds).h
    fade = inner(np.zeros((3, 180), np.complex64), 0.0, seeds).h
    place = np.arange(150)
    block, inside = np.divmod(place, 60)
    row, column = np.divmod(inside, 10)
    np.testing.assert_array_equal(h, fade[:, 60 * block + 6 * column + row])
    received = channel(x, 0.1, seeds)
    np.testing.assert_allclose(received.n0_eff, 0.1, rtol=1e-6)
    assert channel.distorts == "" and not hasattr(channel, "autocorrelation")
    assert hasattr(Impaired(inner, [Cfo()]), "autocorrelation")


def test_two_of_a_kind_draw_apart():
    x = np.ones((300, 50), np.complex64)
    twice = Impaired(Awgn(), [PhaseNoise(1e-4), PhaseNoise(1e-4)])
    phase = np.angle(twice(x, 0.0, FrameSeeds.of(0, 300)).y[:, -1])
    assert phase.var() == pytest.approx(2 * 2 * np.pi * 1e-4 * 49, rel=0.35)


def test_a_block_code_feels_what_n0_eff_says():
    """Decoding with an honest n0_eff beats decoding with the noise alone."""
    code = Ldpc5G()
    plan = code.plan(400, 4, 0.5)
    bits = (FrameSeeds.of(8, 300).uniform(plan.info_bits) < 0.5).astype(np.uint8)
    x = modem.map_bits(code.encode(bits, plan), 4)
    channel = Impaired(Awgn(), [PhaseNoise(2e-3, tracking=40)])
    n0 = n0_from_es_n0_db(10.0)
    y, h, n0_eff = channel(x, n0, FrameSeeds.of(9, 300)).full()
    naive = np.ones_like(h), np.full_like(n0_eff, n0)
    errors = [
        int((~code.decode(modem.demap(y, *known, 4), plan)[1]).sum())
        for known in ((h, n0_eff), naive)
    ]
    assert errors[0] < 0.75 * errors[1] and errors[1] > 20


@dataclass(frozen=True)
class Quarter:
    """An impairment of a user's own: loses a quarter turn and says nothing."""

    def __call__(self, x, seed, rest):
        received = rest(1j * x)
        return received


def test_the_registry_builds_lists():
    spec = {
        "name": "rayleigh",
        "doppler": 0.01,
        "impairments": ["cfo", {"name": "rapp", "input_backoff_db": 3}],
    }
    channel = registry.create("channels", spec)
    assert channel == Impaired(Rayleigh(doppler=0.01), (Cfo(), Rapp(3.0)))
    assert hash(channel) == hash(registry.create("channels", spec))
    assert registry.create(
        "channels", {"name": "impaired", "channel": "awgn", "impairments": ["cfo"]}
    ) == (Impaired(Awgn(), (Cfo(),)))
    registry.register("impairments", "quarter")(Quarter)
    try:
        mine = registry.create("channels", {"name": "ideal", "impairments": ["quarter"]})
        x = qpsk(2, 5)
        np.testing.assert_allclose(mine(x, 0.1, FrameSeeds.of(0, 2)).y, 1j * x)
        assert mine.adds_noise is False
    finally:
        registry.unregister("impairments", "quarter")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"impairments": []}, "must be a list of at least one, got"),
        ({"impairments": "cfo"}, "must be a list of at least one, got 'cfo'"),
        ({"impairments": ["cof"]}, "unknown impairment 'cof'; did you mean 'cfo'"),
        (
            {"impairments": [{"name": "cfo", "ofset": 1}]},
            "impairment 'cfo' has no parameter 'ofset'",
        ),
        ({"impairments": [{"name": "cfo", "offset_rms": 3}]}, "offset_rms must be in 0..0.5"),
        ({"impairments": [{"name": "cfo", "tracking": 0}]}, "tracking must be at least 1"),
        ({"impairments": [{"name": "phase-noise", "linewidth": -1}]}, "linewidth must be in 0..1"),
        ({"impairments": [{"name": "rapp", "p": 0}]}, "p must be in 0.5..100"),
        (
            {"impairments": [{"name": "rapp", "input_backoff_db": 99}]},
            "input_backoff_db must be in",
        ),
        (
            {"impairments": [{"name": "interleaver", "rows": 0}]},
            "rows and columns must be at least 1",
        ),
        ({"impairments": [{"name": "outdated-csi"}]}, "give delay or rho, one of the two"),
        ({"impairments": [{"name": "outdated-csi", "rho": 1.2}]}, "rho must be in 0..1"),
        (
            {"impairments": [{"name": "outdated-csi", "delay": 3}]},
            "delay needs a channel with doppler",
        ),
        (
            {"impairments": [{"name": "outdated-csi", "rho": 0.9}, "cfo"]},
            "put it last of the impairments",
        ),
    ],
)
def test_bad_parameters(spec, message):
    with pytest.raises(ComponentError, match=message):
        registry.create("channels", {"name": "rayleigh", **spec})
    with pytest.raises(ComponentError, match="needs a channel with a past"):
        registry.create(
            "channels", {"name": "awgn", "impairments": [{"name": "outdated-csi", "rho": 0.9}]}
        )
