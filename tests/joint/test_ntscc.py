"""NTSCC as a coder: frames, side information, declared sizes, what it does with damage."""

from dataclasses import asdict

import numpy as np
import pytest

from linksim import registry
from linksim.channel.awgn import Awgn, Ideal
from linksim.errors import BudgetError, ComponentError, MissingAssetError
from linksim.joint.deepjscc import DeepJscc
from linksim.joint.ntscc import Ntscc, from_frame, grid, machine, to_frame
from linksim.seeds import FrameSeeds
from linksim.types import Delivered, Received, Status, TxKnowledge

SMALL = {
    "width4": 8, "width8": 8, "width16": 8, "hidden4": 8, "hidden8": 8, "hidden16": 8, "blocks8": 1,
    "latent": 16, "slices": [16],
}  # fmt: skip


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A small network with random weights, exported."""
    import keras

    from linksim.model.ntscc import NtsccConfig, NtsccNet, start_linear
    from linksim.model.store import gather, write_bundle

    keras.utils.set_random_seed(0)
    cfg = NtsccConfig(
        transforms=SMALL, width=16, heads=2, hidden=16, window=2, blocks_e=1, blocks_d=2, symbols=64
    )
    net = NtsccNet(cfg)
    start_linear(net, np.random.default_rng(0).normal(size=(500, 16)))
    rng = np.random.default_rng(1)
    for coder in (net.f_e, net.f_d):  # a network that has been trained depends on its condition
        table = np.asarray(coder.table.numpy())
        coder.table.assign(table + 0.1 * rng.normal(size=table.shape).astype(np.float32))
    path = tmp_path_factory.mktemp("weights") / "small.npz"
    write_bundle(path, gather(net), {"network": "ntscc", "architecture": asdict(cfg)})
    return str(path)


def pictures(height=48, width=64, count=3):
    rng = np.random.default_rng(1)
    rough = rng.integers(0, 256, (count, height // 4 + 1, width // 4 + 1, 3))
    return np.repeat(np.repeat(rough, 4, 1), 4, 2)[:, :height, :width].astype(np.uint8)


def knowledge(count, snr_db=6.0):
    return TxKnowledge(np.full(count, snr_db))


def deliver(payload, received, size, ok=True):
    packets = payload.packets.of if payload.packets else ((),) * len(received.y)
    data = tuple(tuple(p.data for p in row) for row in packets)
    return Delivered(data, tuple((ok,) * len(row) for row in data), received, size)


@pytest.mark.parametrize("size", [(48, 64), (33, 50), (16, 16), (5, 7)])
@pytest.mark.parametrize("side_bits", [0, None])
def test_a_frame_is_filled_exactly(weights, size, side_bits):
    coder, images = Ntscc(weights), pictures(*size)
    rows, columns = grid(*size)
    uses = 10 * rows * columns + 3
    payload = coder.encode(images, np.full(3, uses), knowledge(3), side_bits)
    assert (payload.symbols.num_symbols == uses).all()
    np.testing.assert_allclose(np.mean(np.abs(payload.symbols.x) ** 2, 1), 1, atol=1e-5)
    assert (payload.packets is None) == (side_bits == 0)
    decoded = coder.decode(
        deliver(payload, Ideal()(payload.symbols.x, 0.0, FrameSeeds.of(0, 3)), size)
    )
    assert decoded.status == (Status.OK,) * 3
    assert all(image.shape == (*size, 3) for image in decoded.images)


def test_frames_of_different_lengths_share_a_batch(weights):
    coder, images = Ntscc(weights), pictures()
    uses = np.array([100, 200, 150])
    payload = coder.encode(images, uses, knowledge(3), 0)
    np.testing.assert_array_equal(payload.symbols.num_symbols, uses)
    assert not payload.symbols.x[0, 100:].any()
    received = Ideal()(payload.symbols.x, 0.0, FrameSeeds.of(0, 3))
    together = coder.decode(Delivered(((),) * 3, ((),) * 3, received, (48, 64), uses))
    for b, n in enumerate(uses):
        one = Received(received.y[b : b + 1, :n], received.h[b : b + 1], received.n0_eff)
        alone = coder.decode(Delivered(((),), ((),), one, (48, 64)))
        assert np.abs(alone.images[0].astype(int) - together.images[b]).max() <= 1


def test_a_lost_side_block_is_a_lost_picture(weights):
    coder, images = Ntscc(weights), pictures()
    payload = coder.encode(images, np.full(3, 200), knowledge(3))
    received = Ideal()(payload.symbols.x, 0.0, FrameSeeds.of(0, 3))
    decoded = coder.decode(deliver(payload, received, (48, 64), ok=False))
    assert decoded.status == (Status.FAILED,) * 3 and decoded.images == (None,) * 3


def test_the_receiver_needs_the_declared_size(weights):
    received = Received(np.ones((1, 200), np.complex64), np.ones((1, 1), np.complex64), 0.1)
    assert Ntscc(weights).decode(Delivered(((),), ((),), received)).status == (Status.FAILED,)
    huge = Delivered(((),), ((),), received, (1 << 20, 1 << 20))
    assert Ntscc(weights).decode(huge).status == (Status.FAILED,)


def test_symbols_that_are_not_finite_count_as_not_received(weights):
    coder, images = Ntscc(weights), pictures(count=2)
    payload = coder.encode(images, np.full(2, 200), knowledge(2), 0)
    received = Awgn()(payload.symbols.x, 0.1, FrameSeeds.of(0, 2))
    received.y[0, 50:60] = np.nan
    decoded = coder.decode(deliver(payload, received, (48, 64)))
    assert decoded.status == (Status.CONCEALED, Status.OK)
    assert decoded.images[0].dtype == np.uint8
    blank = Received(np.full_like(received.y, np.nan), received.h, received.n0_eff)
    assert coder.decode(deliver(payload, blank, (48, 64))).status == (Status.CONCEALED,) * 2


def test_the_equaliser_is_the_mmse_estimate():
    k = np.array([[6, 4], [5, 9]])
    rng = np.random.default_rng(0)
    s = rng.normal(size=(2, 2, 20)).astype(np.float32)
    x = to_frame(s, k)
    h = np.exp(1j * rng.uniform(0, 6, len(x))) * rng.uniform(0.3, 2, len(x))
    received = Received((h * x)[None].astype(np.complex64), h[None].astype(np.complex64), 0.5)
    r, snr_db, whole = from_frame(received, k, 20)
    assert whole
    factor = np.abs(h) ** 2 / (np.abs(h) ** 2 + 0.5)
    assert r[0, 0, 0] == pytest.approx(np.sqrt(2) * factor[0] * x[0].real, rel=1e-4)
    assert not r[0, 1, 8:].any() and r[1, 1, 17] != 0
    assert snr_db.min() > -10 and snr_db.max() < 10


def test_the_first_symbols_of_every_embedding_go_first():
    s = np.arange(4 * 20, dtype=np.float32).reshape(2, 2, 20)
    x = to_frame(s, np.array([[6, 4], [5, 9]]))
    first = np.sqrt(np.mean(np.abs(x) ** 2)) * x[:4] / x[3].imag * s[1, 1, 1]
    np.testing.assert_allclose(first.real, s[..., 0].ravel(), atol=1e-3)
    assert len(x) == 24


def test_the_transmitter_conditions_on_what_it_believes(weights):
    coder, images = Ntscc(weights), pictures()
    low, high = (
        coder.encode(images, np.full(3, 200), knowledge(3, snr), 0).symbols.x for snr in (-4, 12)
    )
    assert np.abs(low - high).max() > 1e-4


def test_deepjscc_is_the_uniform_profile_without_side_information(weights):
    coder, images = DeepJscc(weights), pictures()
    payload = coder.encode(images, np.full(3, 200), knowledge(3))
    assert payload.packets is None and coder.side_bits(48, 64) == 0
    same = Ntscc(weights, profile="uniform").encode(images, np.full(3, 200), knowledge(3))
    np.testing.assert_array_equal(payload.symbols.x, same.symbols.x)
    received = Ideal()(payload.symbols.x, 0.0, FrameSeeds.of(0, 3))
    assert coder.decode(deliver(payload, received, (48, 64))).status == (Status.OK,) * 3


def test_embeddings_are_those_of_the_transforms():
    from linksim.joint import ntscc
    from linksim.model import ntc

    assert ntscc.STRIDE == ntc.STRIDE


def test_too_small_a_budget(weights):
    with pytest.raises(BudgetError, match="needs 48 uses for 48x64, got 47"):
        Ntscc(weights).encode(pictures(), np.full(3, 47), knowledge(3))


def test_bad_weights(tmp_path):
    with pytest.raises(MissingAssetError, match="no model card"):
        Ntscc(str(tmp_path / "none.npz")).encode(pictures(), np.full(3, 200), knowledge(3), 0)
    with pytest.raises(
        ComponentError,
        match="network 'ntc', ntscc needs ntscc, ntscc-update, ntscc-perceptual or deepjscc",
    ):
        Ntscc("ntc").encode(pictures(), np.full(3, 200), knowledge(3), 0)
    with pytest.raises(ValueError, match="profile must be auto or uniform"):
        Ntscc(profile="none")


@pytest.mark.parametrize("side", ["coded", "capacity", "free"])
def test_side_information_is_priced_as_declared(weights, side):
    from linksim.link.system import LinkPoint

    spec = {"name": "joint", "joint": {"name": "ntscc", "weights": weights}, "side": side}
    system = registry.create("systems", {**spec, "side_share": 0.6})
    images = pictures(64, 64)
    point = LinkPoint("phy", Awgn(), 12.0, 12.0, 0.125)
    outcome = system.simulate(images, point, FrameSeeds.of(0, 3))
    share = outcome.ledger.side_information
    assert (outcome.note is None) == (side == "coded")
    assert (outcome.ledger.total <= point.uses(64, 64)).all()
    if side == "free":
        assert not share.any()
    elif side == "capacity":
        bits = Ntscc(weights).side_bits(64, 64)
        np.testing.assert_array_equal(share, np.ceil(bits / np.log2(1 + 10**1.2)))
    else:
        assert (share > 48).all() and (share <= 0.6 * point.uses(64, 64)).all()


def test_where_side_information_is_too_dear_the_profile_is_uniform(weights):
    from linksim.link.system import LinkPoint

    system = registry.create(
        "systems", {"name": "joint", "joint": {"name": "ntscc", "weights": weights}}
    )
    point = LinkPoint("phy", Awgn(), 6.0, 6.0, 1 / 24)
    outcome = system.simulate(pictures(64, 64), point, FrameSeeds.of(0, 3))
    assert not outcome.ledger.side_information.any()
    assert (outcome.ledger.payload == point.uses(64, 64)).all()


@pytest.fixture(scope="module")
def other(weights, tmp_path_factory):
    """The same network with half of g_s: a decoder that shows other pictures of the same symbols."""
    from linksim.model.store import load_bundle, write_bundle

    bundle = load_bundle(weights)
    arrays = {k: 0.5 * v if k.startswith("g_s") else v for k, v in bundle.arrays.items()}
    card = {"network": "ntscc-perceptual", "architecture": bundle.card["architecture"]}
    path = tmp_path_factory.mktemp("weights") / "other.npz"
    write_bundle(path, arrays, card)
    return str(path)


def test_receivers_between_two_decoders(weights, other):
    """Blending is linear in the weights: its ends are the two decoders, the symbols are the transmitter's."""
    from linksim.model.store import load_bundle

    bundle, arrays = load_bundle(weights), load_bundle(other).arrays

    def shown(**how):
        coder = Ntscc(weights, **how)
        payload = coder.encode(pictures(), np.full(3, 200), knowledge(3), 0)
        received = Received(payload.symbols.x, np.ones((3, 1), np.complex64), 0.1)
        return np.stack(coder.decode(deliver(payload, received, (48, 64))).images).astype(int)

    ends = shown(), shown(decoder=other)
    assert np.array_equal(shown(decoder=other, blend=0.0), ends[0])
    middle = shown(decoder=other, blend=0.5)
    assert (middle != ends[0]).any() and (middle != ends[1]).any()
    mixed = machine(other, weights, 0.25).net
    table = np.asarray(mixed.g_s.linear.log_scale)
    expected = 0.25 * arrays["g_s.linear/log_scale"] + 0.75 * bundle.arrays["g_s.linear/log_scale"]
    assert np.allclose(table, expected, atol=1e-3)
    with pytest.raises(ValueError, match="blend must be"):
        Ntscc(blend=1.5)


def test_what_images_ask_for_rises_along_the_grid():
    demand = Ntscc().demand(pictures(64, 64, 2), knowledge(2))
    assert demand.uses[:, 0].min() >= 4 * 16 and (demand.uses[:, -1] <= 128 * 16).all()
    assert (np.diff(demand.uses, axis=1) >= 0).all() and demand.uses[0, 0] < demand.uses[0, -1]


def test_refined_symbols_bring_a_better_picture_and_depend_on_it_alone(weights):
    images = pictures(count=3)
    tx, uses = knowledge(3, 8.0), np.full(3, 300)
    seeds = FrameSeeds.of(5, 3)

    def error(coder):
        payload = coder.encode(images, uses, tx, 0)
        np.testing.assert_allclose(np.mean(np.abs(payload.symbols.x) ** 2, 1), 1, atol=1e-5)
        received = Awgn()(payload.symbols.x, 10**-0.8, seeds)
        decoded = coder.decode(deliver(payload, received, (48, 64)))
        assert decoded.status == (Status.OK,) * 3
        shown = np.stack(decoded.images).astype(float)
        return payload.symbols.x, np.log(np.mean((shown - images) ** 2, (1, 2, 3)))

    _, plain = error(Ntscc(weights))
    symbols, refined = error(Ntscc(weights, refine=30))
    assert (refined < plain - 0.02).all()
    alone = Ntscc(weights, refine=30).encode(images[1:2], uses[1:2], knowledge(1, 8.0), 0)
    np.testing.assert_allclose(alone.symbols.x[0], symbols[1], atol=2e-2)


def test_refinement_sees_every_noise_and_its_negative(weights, monkeypatch):
    sender = machine(str(weights))
    seen = []

    def slope(verb, rows, noise, pixels):
        seen.append(noise)
        return np.ones_like(rows[1])

    monkeypatch.setattr(sender, "_run", slope)
    s, k = np.zeros((2, 3, 4, 64), np.float32), np.full((2, 3, 4), 8.0, np.float32)
    sender.refine(np.zeros((2, 48, 64, 3), np.float32), s, np.zeros(2, np.float32), k, 5)
    np.testing.assert_array_equal(seen[1], -seen[0])
    np.testing.assert_array_equal(seen[3], -seen[2])
    assert len(seen) == 5 and abs(np.corrcoef(seen[0].ravel(), seen[2].ravel())[0, 1]) < 0.2


def test_refinement_looks_through_the_receiver(weights, other):
    """Symbols refined for another decoder are better there than those refined for the transmitter's."""
    images, uses = pictures(count=2), np.full(2, 300)

    def error(coder):
        payload = coder.encode(images, uses, knowledge(2, 12.0), 0)
        received = Received(payload.symbols.x, np.ones((2, 1), np.complex64), 0.06)
        seen = Ntscc(weights, decoder=other).decode(deliver(payload, received, (48, 64)))
        return np.mean((np.stack(seen.images).astype(float) - images) ** 2)

    assert error(Ntscc(weights, decoder=other, refine=30)) < error(Ntscc(weights, refine=30)) - 1


@pytest.mark.parametrize("steps", [-1, 1001])
def test_refine_is_a_number_of_steps(steps):
    with pytest.raises(ValueError, match=r"refine must be 0\.\.1000 steps, got"):
        Ntscc(refine=steps)


@pytest.mark.assets
def test_refined_for_perception_lpips_falls(weights, assets):
    images, uses = pictures(count=2), np.full(2, 300)
    lpips = registry.create("metrics", "lpips-squeeze")

    def distance(coder):
        payload = coder.encode(images, uses, knowledge(2, 8.0), 0)
        received = Awgn()(payload.symbols.x, 10**-0.8, FrameSeeds.of(5, 2))
        decoded = coder.decode(deliver(payload, received, (48, 64)))
        return lpips(images, np.stack(decoded.images))

    plain = distance(Ntscc(weights, refine=20))
    assert (distance(Ntscc(weights, refine=20, refine_for="perceptual")) < plain).all()


def test_perceptual_refinement_needs_its_weights(monkeypatch, tmp_path):
    monkeypatch.setenv("LINKSIM_ASSETS", str(tmp_path))
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path))
    with pytest.raises(ComponentError, match="linksim assets fetch lpips"):
        Ntscc(refine=5, refine_for="perceptual")
    with pytest.raises(ValueError, match="refine_for must be mse or perceptual"):
        Ntscc(refine_for="lpips")


@pytest.fixture(scope="module")
def updating(weights, tmp_path_factory):
    """The small network with an f_u besides that takes a step down the slope, as training starts it."""
    from linksim.model.ntscc import NtsccConfig, NtsccNet, start_update
    from linksim.model.store import assign, gather, load_bundle, write_bundle

    bundle = load_bundle(weights)
    cfg = NtsccConfig(**{**bundle.card["architecture"], "blocks_u": 1})
    net = NtsccNet(cfg)
    assign(net, {**gather(net), **bundle.arrays})
    start_update(net)
    path = tmp_path_factory.mktemp("weights") / "updating.npz"
    write_bundle(path, gather(net), {"network": "ntscc-update", "architecture": asdict(cfg)})
    return str(path)


def shown(coder, images, uses, tx, seeds):
    """Symbols, and ln MSE of each picture over AWGN at the SNR believed."""
    payload = coder.encode(images, uses, tx, 0)
    x = payload.symbols.x
    decoded = coder.decode(
        deliver(payload, Awgn()(x, 10 ** (-tx.snr_amc_db[0] / 10), seeds), (48, 64))
    )
    assert decoded.status == (Status.OK,) * len(images)
    error = np.stack(decoded.images).astype(float) - images
    return x, np.log(np.mean(error**2, (1, 2, 3)))


def test_updates_bring_better_pictures_and_depend_on_each_alone(weights, updating):
    images, uses, tx, seeds = (
        pictures(count=3),
        np.full(3, 300),
        knowledge(3, 8.0),
        FrameSeeds.of(5, 3),
    )
    _, plain = shown(Ntscc(weights), images, uses, tx, seeds)
    x0, none = shown(Ntscc(updating, updates=0), images, uses, tx, seeds)
    _, once = shown(Ntscc(updating, updates=1), images, uses, tx, seeds)
    x2, twice = shown(Ntscc(updating), images, uses, tx, seeds)
    _, thrice = shown(Ntscc(updating, updates=3), images, uses, tx, seeds)
    np.testing.assert_allclose(none, plain, atol=1e-3)  # f_u apart, the networks are one
    for fewer, more in ((none, once), (once, twice), (twice, thrice)):
        assert (more < fewer - 0.001).all()
    for x in (x0, x2):
        np.testing.assert_allclose(np.mean(np.abs(x) ** 2, 1), 1, atol=1e-5)
    np.testing.assert_array_equal(
        x2, Ntscc(updating, updates=2).encode(images, uses, tx, 0).symbols.x
    )
    alone = Ntscc(updating).encode(images[1:2], uses[1:2], knowledge(1, 8.0), 0)
    np.testing.assert_allclose(alone.symbols.x[0], x2[1], atol=1e-3)


def test_a_receiver_need_not_know_of_updates(weights, updating):
    """Weights without f_u show what weights with it have sent, and are mixed with them."""
    images, uses, tx, seeds = (
        pictures(count=2),
        np.full(2, 300),
        knowledge(2, 8.0),
        FrameSeeds.of(5, 2),
    )
    here = shown(Ntscc(updating), images, uses, tx, seeds)
    there = shown(Ntscc(updating, decoder=weights), images, uses, tx, seeds)
    mixed = shown(Ntscc(updating, decoder=weights, blend=0.5), images, uses, tx, seeds)
    for found in (there, mixed):
        np.testing.assert_array_equal(found[0], here[0])
        np.testing.assert_allclose(found[1], here[1], atol=0.01)


def test_bad_updates(weights):
    for updates in (-1, 9):
        with pytest.raises(ValueError, match=rf"updates must be 0\.\.8, got {updates}"):
            Ntscc(updates=updates)
    with pytest.raises(ComponentError, match="have no f_u, which updates: 2 needs; ntscc has"):
        Ntscc(weights, updates=2).encode(pictures(), np.full(3, 200), knowledge(3), 0)


def test_slopes_are_those_of_finite_differences(weights):
    sender = machine(weights)
    rng = np.random.default_rng(3)
    x, snr, k = pictures(count=2).astype(np.float32), np.full(2, 8.0), np.full((2, 3, 4), 20.0)
    s = sender.encode(x, snr, k)
    noise = rng.standard_normal((1, 3, 4, 64)).astype(np.float32)

    def loss(moved):
        shown = np.asarray(
            sender.net.through(
                moved.astype(np.float32), snr.astype(np.float32), k.astype(np.float32), noise
            )
        )
        return np.log(np.mean((shown.astype(np.float64) - x) ** 2, (1, 2, 3)) + 1)

    slope = sender._beside(x, s, snr, k, verb="mse_slope", noise=noise)
    along = rng.standard_normal(s.shape) * (np.abs(s) > 0)
    step = 1e-2
    found = (loss(s + step * along) - loss(s - step * along)) / (2 * step)
    np.testing.assert_allclose(found, (slope * along).sum((1, 2, 3)), rtol=0.05, atol=2e-3)
