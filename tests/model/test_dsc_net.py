"""The network of distributed coding: what starts as nothing, and what finds a shift without training."""

from __future__ import annotations

import numpy as np
import pytest
from dsc_small import options, pictures

from linksim import quiet


@pytest.fixture(scope="module", autouse=True)
def keras():
    quiet.load("keras")


def outputs(net, sees, level=2.0):
    from linksim.model.dsc import mask_of
    from linksim.train.dsc_task import arrived_at

    x, side = pictures(2, 1).astype(np.float32), pictures(2, 2).astype(np.float32)
    mask = np.stack([mask_of(net.cfg, arrived_at(net.cfg, level, 32, 48))] * 2)
    return np.asarray(net(x, side, np.array([sees] * 2, np.float32), mask)[0])


def test_the_fine_branch_starts_as_nothing_and_serves_those_who_see():
    from linksim.model.dsc import SEES, DscConfig, DscNet
    from linksim.model.store import assign, gather

    plain = DscNet(DscConfig(**options()))
    fine = DscNet(DscConfig(**options(detail=6)))
    assign(fine, gather(plain), only=gather(plain))
    for sees in SEES.values():
        assert np.allclose(outputs(plain, sees), outputs(fine, sees), atol=1e-3)
    before = {mode: outputs(fine, sees) for mode, sees in SEES.items()}
    fine.g_s.detail.out.bias.assign(np.full(64, 0.1, np.float32))
    after = {mode: outputs(fine, sees) for mode, sees in SEES.items()}
    assert np.array_equal(before["separate"], after["separate"])
    for mode in ("distributed", "joint"):
        assert np.abs(before[mode] - after[mode]).mean() > 1


def test_looks_and_the_seam_start_as_nothing_and_serve_those_who_see():
    from linksim.model.dsc import SEES, DscConfig, DscNet
    from linksim.model.store import assign, gather

    plain = DscNet(DscConfig(**options(detail=6)))
    more = DscNet(DscConfig(**options(detail=6, looks=2, seam=8)))
    assign(more, gather(plain), only=gather(plain))
    for sees in SEES.values():
        assert np.allclose(outputs(plain, sees), outputs(more, sees), atol=1e-3)
    before = {mode: outputs(more, sees) for mode, sees in SEES.items()}
    more.g_s.looks[1].merge.kernel.assign(
        np.full(more.g_s.looks[1].merge.kernel.shape, 0.1, np.float32)
    )
    looked = {mode: outputs(more, sees) for mode, sees in SEES.items()}
    more.g_s.seam.out.bias.assign(np.full(48, 0.1, np.float32))
    seamed = {mode: outputs(more, sees) for mode, sees in SEES.items()}
    assert np.array_equal(before["separate"], looked["separate"])
    assert np.array_equal(before["separate"], seamed["separate"])
    border = 4 * more.g_s.seam.ROWS
    for mode in ("distributed", "joint"):
        assert np.abs(before[mode] - looked[mode]).mean() > 0.01
        moved = np.abs(seamed[mode] - looked[mode])
        assert moved[:, -border:].mean() > 1 and not moved[:, :-border].any()


def test_own_maps_and_codebooks_start_as_nothing_and_follow_their_modes():
    from linksim.model.dsc import SEES, DscConfig, DscNet
    from linksim.model.store import assign, gather

    plain = DscNet(DscConfig(**options()))
    more = DscNet(DscConfig(**options(own=True)))
    assign(more, gather(plain), only=gather(plain))
    for mine, theirs in zip(more.q_side.weights, more.q.weights, strict=True):
        mine.assign(theirs)
    for sees in SEES.values():
        assert np.allclose(outputs(plain, sees), outputs(more, sees), atol=1e-3)
    before = {mode: outputs(more, sees) for mode, sees in SEES.items()}
    kernel = more.g_s.own.map.kernel
    kernel.assign(np.concatenate([np.zeros((1, 1, 6, 192)), np.full((1, 1, 6, 192), 0.1)], 2))
    after = {mode: outputs(more, sees) for mode, sees in SEES.items()}
    assert np.array_equal(before["separate"], after["separate"])
    moved = np.abs(after["distributed"] - before["distributed"]).mean((0, 2, 3))
    assert moved[-8:].min() > 0.1  # this half of the map is that of the row next to the border

    x, side = pictures(4, 1).astype(np.float32), pictures(4, 2).astype(np.float32)
    revive = np.zeros((3, 24), np.int32)
    for mode, quiet_one in (("separate", more.q_side), ("joint", more.q)):
        sees = np.array([SEES[mode]] * 4, np.float32)
        y = more.analyse(x, more.look(side, sees), sees)
        _, inputs, _, indices = more.quantise(y, sees)
        new = more.updates(inputs, indices, revive, sees)
        for quantiser in (more.q, more.q_side):
            for stage in quantiser.stages:
                ratio = np.asarray(new[stage.usage.path]) / stage.usage.numpy()
                kept = np.allclose(ratio, 0.99) and np.allclose(
                    new[stage.codebook.path], stage.codebook, atol=1e-5
                )
                assert kept == (quantiser is quiet_one)


def test_the_seam_sees_the_other_side_of_the_border():
    """What touches the border below changes what is added above it, and nothing far away."""
    from linksim.model.dsc_config import DscConfig
    from linksim.model.dsc_look import Seam
    from linksim.model.layers import space_to_depth

    seam = Seam(DscConfig(**options(seam=8)), "seam")
    seam.out.kernel.assign(
        np.random.default_rng(0).normal(size=seam.out.kernel.shape).astype(np.float32)
    )
    now = np.zeros((1, 8, 12, 48), np.float32)
    h = np.zeros((1, 8, 12, 8), np.float32)
    side = np.zeros((1, 32, 48, 3), np.float32)
    flat = np.asarray(seam(h, space_to_depth(side, 4), now))
    side[:, -1, 24] = 1.0  # mirrored: the last row is the one that touches the picture
    touched = np.abs(np.asarray(seam(h, space_to_depth(side, 4), now)) - flat)[0].sum(-1)
    assert touched[-1].argmax() in (5, 6, 7) and touched[-1].max() > touched[-4].max()
    assert not touched[:4].any()


def test_fit_finds_a_shift_without_training():
    from linksim.model.alignment import RowFit
    from linksim.model.dsc_config import DscConfig
    from linksim.model.dsc_side import SideRows
    from linksim.model.layers import space_to_depth

    rng = np.random.default_rng(0)
    scene = np.repeat(np.repeat(rng.uniform(-0.5, 0.5, (1, 8, 24, 3)), 4, 1), 4, 2)
    left, right = (
        scene[:, :, :64],
        scene[:, :, 12:76],
    )  # what is at x on the right is at x + 12 on the left
    _, pixels = SideRows(DscConfig(alignment="rows"))(left.astype(np.float32))
    score = np.asarray(RowFit("fit")(space_to_depth(right.astype(np.float32), 4), pixels))
    assert score.shape == (1, 8, 16, 32) and score.max() <= 0
    inside = score[0, :, 2:9]  # windows that lie in both views
    assert (inside.argmax(-1) == 2 * np.arange(2, 9) + 6).all()


def test_side_information_is_judged_only_where_something_is_known():
    from linksim.model.dsc import SEES, DscConfig, DscNet

    net = DscNet(DscConfig(**options("rows", mirror=False, fit=True)))
    before = outputs(net, SEES["distributed"], 0.0), outputs(net, SEES["distributed"])
    net.g_s.finder.fit.log_factor.assign(np.array([12.0], np.float32))
    after = outputs(net, SEES["distributed"], 0.0), outputs(net, SEES["distributed"])
    assert np.array_equal(before[0], after[0]) and (before[1] != after[1]).any()


@pytest.mark.parametrize(
    "given",
    [
        {"detail": -1},
        {"fit": True},
        {"looks": -1},
        {"looks": 1, "alignment": "rows"},
        {"seam": 8},
    ],
)
def test_parameters_are_checked(given):
    from linksim.model.dsc import DscConfig

    with pytest.raises(ValueError, match=r"detail must be|fit: true needs|looks|seam needs"):
        DscConfig(**given)
