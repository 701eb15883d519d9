"""The NTC network: shapes, densities, gradients, the linear start."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

SMALL = {"width4": 8, "width8": 8, "width16": 16, "hidden4": 8, "hidden8": 8, "hidden16": 8}
SMALL |= {"blocks8": 1, "latent": 32, "hyper": 16, "hyper_out": 16, "side": 8, "context": 8}
SMALL |= {"slices": [8, 8, 16]}


@pytest.fixture(scope="module")
def net():
    import keras

    from linksim.model.ntc import NtcConfig, NtcNet

    keras.utils.set_random_seed(5)
    return NtcNet(NtcConfig(**SMALL))


@pytest.mark.parametrize("size", [(64, 64), (128, 192)])
def test_shapes_follow_the_picture(net, size):
    x = np.random.default_rng(0).random((2, *size, 3), np.float32) * 255
    x_hat, bits_u, bits_z = net(x, np.array([0.1, 0.9], np.float32))
    assert tuple(x_hat.shape) == x.shape
    assert tuple(bits_u.shape) == (2, size[0] // 16, size[1] // 16, 32)
    assert tuple(bits_z.shape) == (2, size[0] // 64, size[1] // 64, 8)
    assert np.isfinite(np.asarray(x_hat)).all() and (np.asarray(bits_u) >= 0).all()


@pytest.mark.parametrize("more", [{"blocks4": 1}, {"blocks8": 2}, {"blocks16": 2}])
def test_more_blocks_start_near_the_network_without_them(net, more):
    """A network can be trained on with more residual blocks: they begin as almost nothing."""
    from linksim.model.ntc import NtcConfig, NtcNet
    from linksim.model.store import assign, gather, variables

    grown = NtcNet(NtcConfig(**SMALL | more))
    before = gather(net)
    new = set(variables(grown)) - set(before)
    assert {path.split(".")[0] for path in new} == {"g_a", "g_s"}
    assign(grown, before, what="smaller network", only=list(before))
    x = np.random.default_rng(3).random((1, 64, 64, 3), np.float32) * 255
    q = np.array([0.5], np.float32)
    phi = net.basis(q)
    y, grown_y = (np.asarray(n.analyse(x, phi)[0]) for n in (net, grown))
    shown, grown_shown = (np.asarray(n.synthesise(y, phi)) for n in (net, grown))
    assert 0 < np.abs(grown_y - y).max() < 0.1 * y.std()
    assert 0 < np.abs(grown_shown - shown).max() < 0.1 * shown.std()


@pytest.mark.parametrize("slices", [[8, 8, 24, 8], [8, 8, 24]])
def test_a_network_with_more_latents_holds_the_smaller_one(net, slices):
    from linksim.errors import ComponentError
    from linksim.model.ntc import NtcConfig, NtcNet, fitted
    from linksim.model.store import assign, gather

    wide = NtcNet(NtcConfig(**SMALL | {"latent": sum(slices), "slices": slices}))
    narrow = NtcNet(NtcConfig(**SMALL))
    rng = np.random.default_rng(8)
    # nothing is zero, as ctx is at the start
    old = {path: 0.1 * rng.standard_normal(v.shape, np.float32) for path, v in gather(net).items()}
    assign(narrow, old)
    fresh = gather(wide)
    grown = {path: fitted(path, old[path], fresh[path]) for path in old}
    assign(wide, grown, what="narrow", only=list(old))
    assert np.array_equal(wide.gain.table.numpy()[:, 32:], fresh["gain/table"][:, 32:])
    x = np.random.default_rng(4).random((2, 64, 64, 3), np.float32) * 255
    q = np.array([0.2, 0.9], np.float32)
    x_hat, bits_u, bits_z = (np.asarray(t) for t in narrow(x, q))
    wide_x, wide_u, wide_z = (np.asarray(t) for t in wide(x, q))
    assert np.allclose(wide_x, x_hat, atol=0.01)
    assert np.allclose(wide_u[..., :32], bits_u, atol=1e-3, rtol=1e-3)
    assert np.allclose(wide_z, bits_z, atol=1e-3)
    back = {path: fitted(path, grown[path], value) for path, value in old.items()}
    assert all(np.array_equal(back[path], value) for path, value in old.items())
    with pytest.raises(ComponentError, match=r"g_s.inp/kernel has shape .*, which .* cannot take"):
        fitted("g_s.inp/kernel", old["g_s.inp/kernel"], old["g_s.inp/bias"])
    with pytest.raises(ComponentError, match="cannot take"):
        fitted("g_s.inp/kernel", old["h_a.conv0/kernel"], old["g_s.inp/kernel"])


def test_more_latents_start_from_what_was_missed(net):
    from linksim.model.ntc import NtcConfig, NtcNet, fitted
    from linksim.model.store import assign, gather
    from linksim.train.start import add_axes, start_from_patches

    rng = np.random.default_rng(6)
    images = np.kron(rng.integers(0, 256, (60, 16, 16, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
    narrow = NtcNet(NtcConfig(**SMALL))
    start_from_patches(narrow, images)
    for part in (narrow.g_a, narrow.g_s):  # the linear skeleton alone
        part.out.kernel.assign(0 * part.out.kernel)
    wide = NtcNet(NtcConfig(**SMALL | {"latent": 48, "slices": [8, 8, 16, 16]}))
    old, fresh = gather(narrow), gather(wide)
    grown = {path: fitted(path, old[path], fresh[path]) for path in old}
    assign(wide, grown, only=list(old))
    add_axes(wide, images)
    axes = wide.g_s.linear.matrix.numpy()
    assert np.allclose(axes @ axes.T, np.eye(48), atol=1e-4)
    best, x = np.ones(10, np.float32), images[:10].astype(np.float32)
    errors = [np.mean((np.asarray(n(x, best)[0]) - x) ** 2) for n in (narrow, wide)]
    assert errors[1] < 0.8 * errors[0]  # 48 axes hold all that 4x4 tiles have in a block
    before = gather(wide)
    add_axes(wide, images)  # every latent has its axis now
    assert all(np.array_equal(before[path], value) for path, value in gather(wide).items())


def test_shuffles_undo_each_other():
    from linksim.model.layers import depth_to_space, space_to_depth

    x = np.random.default_rng(0).random((2, 8, 12, 3), np.float32)
    packed = np.asarray(space_to_depth(x, 4))
    assert packed.shape == (2, 2, 3, 48)
    assert np.array_equal(packed[0, 1, 2].reshape(4, 4, 3), x[0, 4:8, 8:12])
    assert np.array_equal(np.asarray(depth_to_space(packed, 4)), x)


def test_hat_basis_interpolates():
    from linksim.model.layers import hat_basis

    phi = np.asarray(hat_basis(np.array([0.0, 0.3, 1.0], np.float32), 5))
    assert np.allclose(phi.sum(1), 1) and (phi >= 0).all()
    assert np.allclose(phi @ np.arange(5), [0, 1.2, 4], atol=1e-6)


def test_gaussian_bits_against_scipy():
    from linksim.model.entropy import gaussian_bits

    r, s = np.meshgrid(np.linspace(-6, 6, 25), [0.15, 0.5, 1.0, 4.0, 30.0])
    exact = -(np.logaddexp(norm.logcdf(0.5 - np.abs(r), scale=s), -800)) / np.log(2)
    lower = norm.cdf(-np.abs(r) - 0.5, scale=s)
    exact = -np.log2(np.maximum(norm.cdf(0.5 - np.abs(r), scale=s) - lower, 1e-300))
    got = np.asarray(gaussian_bits(r.astype(np.float32), s.astype(np.float32)))
    near = exact < 900
    assert np.allclose(got[near], exact[near], rtol=0.01, atol=1e-3)


def test_far_tail_keeps_a_gradient():
    from linksim.model.entropy import gaussian_bits

    steps = np.array([3.0, 5.0, 9.0], np.float32)
    bits = np.asarray(gaussian_bits(steps, np.full(3, 0.1, np.float32)))
    assert np.isfinite(bits).all() and (np.diff(bits) > 100).all()


def test_prior_is_a_probability(net):
    z = np.arange(-60, 61, dtype=np.float32)
    grid = np.broadcast_to(z[None, :, None, None], (1, 121, 1, 8)).copy()
    for quality in (0.0, 0.55, 1.0):
        phi = net.basis(np.array([quality], np.float32))
        p = 2.0 ** -np.asarray(net.prior(grid, phi), np.float64)
        assert np.allclose(p.sum(1), 1, atol=1e-4)


def test_rate_rises_and_error_falls_with_quality_from_the_linear_start(net):
    from linksim.model.store import assign, gather
    from linksim.train.start import start_from_patches

    before = gather(net)
    ramp = np.add.outer(np.arange(64), np.arange(64))[None, :, :, None]
    rng = np.random.default_rng(1)
    images = (ramp + rng.integers(0, 90, (40, 1, 1, 3)) + rng.integers(0, 8, (40, 64, 64, 3))) % 256
    images = images.astype(np.uint8)
    try:
        start_from_patches(net, images)
        for part in (net.g_a, net.g_s):
            part.out.kernel.assign(0 * part.out.kernel)
        q = np.repeat(np.array([0.0, 0.5, 1.0], np.float32), 8)
        x = np.tile(images[:8].astype(np.float32), (3, 1, 1, 1))
        x_hat, bits_u, _ = (np.asarray(t) for t in net(x, q))
        rate = bits_u.sum((1, 2, 3)).reshape(3, 8).mean(1)
        mse = ((x_hat - x) ** 2).mean((1, 2, 3)).reshape(3, 8).mean(1)
        assert rate[0] < rate[1] < rate[2]
        assert mse[2] < mse[1] < mse[0]
    finally:
        assign(net, before)


def test_principal_axes_are_those_of_the_patches():
    from linksim.train.start import principal_axes

    rng = np.random.default_rng(0)
    direction = rng.standard_normal(3 * 16)
    direction /= np.linalg.norm(direction)
    flat = 128 + rng.standard_normal((400, 1)) * 300 * direction
    blocks = np.clip(flat, 0, 255).astype(np.uint8).reshape(400, 4, 4, 3)
    axes, deviation = principal_axes(blocks, 4, 5)
    assert np.allclose(axes @ axes.T, np.eye(5), atol=1e-9)
    assert (np.diff(deviation) <= 0).all()
    assert abs(axes[0] @ direction) > 0.95


def test_weights_of_another_shape_are_refused(net):
    from linksim.errors import ComponentError
    from linksim.model.store import assign, gather

    arrays = gather(net)
    arrays["g_a.stem/bias"] = np.zeros(3, np.float32)
    with pytest.raises(ComponentError, match="shape"):
        assign(net, arrays)
    del arrays["g_a.stem/bias"]
    with pytest.raises(ComponentError, match=r"lacks 1 of .* g_a\.stem/bias"):
        assign(net, arrays)
