"""Distributed coding as a codec: bits within the budget, pictures from bits and side information alone."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from dsc_small import SIZE, pictures, write

from linksim.codec.dsc import Dsc, engine
from linksim.errors import ComponentError
from linksim.types import Delivered, Status

IMAGES, SIDE = pictures(3, 1), pictures(3, 2)


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> str:
    return write(tmp_path_factory.mktemp("dsc"))


def delivered(packets, lost=()) -> Delivered:
    """What arrives: packets at (image, number) in ``lost`` do not."""
    data, ok = [], []
    for b, row in enumerate(packets.of):
        gone = [(b, p) in lost for p in range(len(row))]
        data.append(tuple(b"" if g else q.data for q, g in zip(row, gone, strict=True)))
        ok.append(tuple(not g for g in gone))
    return Delivered(tuple(data), tuple(ok))


@pytest.mark.parametrize("mode", ["separate", "distributed", "joint"])
@pytest.mark.parametrize("bands", [1, 2])
def test_budgets_are_kept_and_pictures_come_back(weights, mode, bands):
    here, there = Dsc(weights, mode, bands=bands), Dsc(weights, mode, bands=bands)
    seen = SIDE if mode == "joint" else None
    least = here.min_bits(*SIZE)
    budget = np.array([least - 8, least + 40, 4000])
    packets = here.encode(IMAGES, budget, seen)
    assert packets.of[0] == () and all(len(row) == bands for row in packets.of[1:])
    assert (packets.num_bits() <= budget).all()
    decoded = there.decode(delivered(packets), *SIZE, None if mode == "separate" else SIDE)
    assert decoded.status == (Status.OUTAGE, Status.OK, Status.OK)
    assert decoded.images[0] is None
    assert all(p.shape == (*SIZE, 3) and p.dtype == np.uint8 for p in decoded.images[1:])


def test_more_bits_carry_more_indices(weights):
    codec = Dsc(weights)
    sizes = [codec.encode(IMAGES[:1], np.array([b])).num_bits()[0] for b in (90, 150, 210)]
    assert sizes == sorted(sizes) and sizes[0] > 70 and sizes[2] > 190


def test_distributed_encoder_does_not_see_the_side_information(weights):
    with pytest.raises(ValueError, match="joint and in no other"):
        Dsc(weights, "distributed").encode(IMAGES, np.full(3, 400), SIDE)
    with pytest.raises(ValueError, match="missing"):
        Dsc(weights, "joint").encode(IMAGES, np.full(3, 400))
    joint = Dsc(weights, "joint")
    a, b = (joint.encode(IMAGES, np.full(3, 400), s) for s in (SIDE, SIDE[::-1].copy()))
    assert a != b, "in joint mode what it sends depends on it"


def test_the_decoder_uses_it_and_separate_does_not(weights):
    codec = Dsc(weights)
    packets = codec.encode(IMAGES, np.full(3, 400))
    shown = [
        codec.decode(delivered(packets), *SIZE, s).images for s in (SIDE, SIDE[::-1].copy(), None)
    ]
    assert all((a != b).any() for a, b in zip(shown[0][:1], shown[1][:1], strict=True))
    assert all((a != b).any() for a, b in zip(shown[0], shown[2], strict=True))
    alone = Dsc(weights, "separate")
    packets = alone.encode(IMAGES, np.full(3, 400))
    a, b = (alone.decode(delivered(packets), *SIZE, s).images for s in (SIDE, None))
    assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))


def test_side_information_of_another_size_is_refused(weights):
    codec = Dsc(weights)
    packets = codec.encode(IMAGES, np.full(3, 400))
    with pytest.raises(ValueError, match="side information must be"):
        codec.decode(delivered(packets), *SIZE, SIDE[:, :16])
    with pytest.raises(ValueError, match="side information must be"):
        codec.decode(delivered(packets), *SIZE, SIDE[..., :1])


@pytest.mark.parametrize("fill", ["side", "prior"])
def test_lost_packets_are_concealed(weights, fill):
    codec = Dsc(weights, bands=2, fill=fill)
    packets = codec.encode(IMAGES, np.full(3, 500))
    every = {(2, 0), (2, 1)}
    decoded = codec.decode(delivered(packets, {(1, 0), *every}), *SIZE, SIDE)
    whole = codec.decode(delivered(packets), *SIZE, SIDE)
    assert decoded.status == (Status.OK, Status.CONCEALED, Status.CONCEALED)
    assert np.array_equal(decoded.images[0], whole.images[0])
    assert (decoded.images[1] != whole.images[1]).any()
    assert np.array_equal(decoded.images[2], codec.side_only(SIDE)[2])
    blind = codec.decode(delivered(packets, every), *SIZE, None)
    assert blind.status[2] is Status.FAILED and blind.images[2] is None


def test_filling_in_differs_from_leaving_out(weights):
    packets = Dsc(weights, bands=2).encode(IMAGES, np.full(3, 500))
    a, b = (
        Dsc(weights, bands=2, fill=f).decode(delivered(packets, {(0, 1)}), *SIZE, SIDE).images[0]
        for f in ("side", "prior")
    )
    assert (a != b).any()


def test_a_picture_does_not_depend_on_its_batch(weights):
    codec = Dsc(weights)
    together = codec.encode(IMAGES, np.full(3, 400))
    alone = codec.encode(IMAGES[2:], np.full(1, 400))
    assert together.of[2] == alone.of[0]
    shown = codec.decode(delivered(together), *SIZE, SIDE).images[2]
    assert np.array_equal(shown, codec.decode(delivered(alone), *SIZE, SIDE[2:]).images[0])


def test_sizes_that_are_no_multiples_of_16(weights):
    codec = Dsc(weights)
    images, side = pictures(1, 5, (27, 41)), pictures(1, 6, (27, 41))
    packets = codec.encode(images, np.array([600]))
    decoded = codec.decode(delivered(packets), 27, 41, side)
    assert decoded.images[0].shape == (27, 41, 3)


def test_decodes_in_another_process(weights):
    codec = Dsc(weights)
    packets = codec.encode(IMAGES[:1], np.array([380]))
    script = (
        "import sys; import numpy as np; sys.path.insert(0, sys.argv[1]);"
        "from linksim.codec.dsc import Dsc; from linksim.types import Delivered; import hashlib;"
        "from dsc_small import pictures, SIZE; codec = Dsc(sys.argv[2]);"
        "data = bytes.fromhex(sys.argv[3]); band = codec._bands(*SIZE)[0];"
        "index = codec._coder.read([data], band)[0];"
        "print(hashlib.sha256(np.concatenate([g.reshape(-1) for g in index]).tobytes()).hexdigest());"
        "side = pictures(3, 2)[:1];"
        "print(codec.decode(Delivered(((data,),), ((True,),)), *SIZE, side).images[0].mean())"
    )
    root = Path(__file__).parents[1]
    run = subprocess.run(
        [sys.executable, "-c", script, str(root), weights, packets.of[0][0].data.hex()],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    digest, mean = run.stdout.split()
    index = codec._coder.read([packets.of[0][0].data], codec._bands(*SIZE)[0])[0]
    mine = hashlib.sha256(np.concatenate([g.reshape(-1) for g in index]).tobytes()).hexdigest()
    assert digest == mine
    here = codec.decode(delivered(packets), *SIZE, SIDE[:1]).images[0].mean()
    assert abs(float(mean) - here) < 0.5


def test_arbitrary_bytes(weights):
    codec = Dsc(weights, bands=2)
    rng = np.random.default_rng(0)
    for n in (0, 1, 2, 9, 40):
        data = Delivered(((rng.bytes(n), rng.bytes(n)),), ((True, True),))
        decoded = codec.decode(data, *SIZE, SIDE[:1])
        assert decoded.images[0].shape == (*SIZE, 3)
    short = codec.decode(Delivered(((rng.bytes(7),),), ((True,),)), *SIZE, SIDE[:1])
    assert short.status[0] in (Status.CONCEALED, Status.OK)


def test_cost_counts_what_packets_take(weights):
    for prior in ("transformer", "order-0", "none"):
        cost = Dsc(weights, prior=prior, bands=2).cost(IMAGES[0])
        assert [i.shape for i in cost.index] == [(2, 3), (4, 6), (4, 6)]
        assert cost.estimate <= cost.real <= cost.estimate + 32
    fixed = 2 * 8 + sum(np.log2(k) * n for k, n in ((24, 6), (20, 24), (16, 24)))
    assert cost.estimate == pytest.approx(fixed + 2 * np.log2(28), rel=0.01)


def test_cost_of_a_share_of_the_indices(weights):
    codec = Dsc(weights, bands=2)
    costs = [codec.cost(IMAGES[0], share=s) for s in (0.1, 0.5, 1.0)]
    assert costs[0].estimate < costs[1].estimate < costs[2].estimate
    assert all(c.estimate <= c.real <= c.estimate + 32 for c in costs)
    assert costs[2].real == codec.cost(IMAGES[0]).real


def test_distortion_falls_with_the_budget(weights):
    codec = Dsc(weights)
    mse = codec.distortion(IMAGES, np.array([8, 200, 400, 900]))
    assert mse.shape == (3, 4) and np.isinf(mse[:, 0]).all()
    assert (np.diff(mse[:, 1:], axis=1) <= 0).all() and np.isfinite(mse[:, 1:]).all()


@pytest.mark.parametrize(
    ("alignment", "more"),
    [
        ("rows", {}),
        ("concat", {}),
        ("global", {"detail": 6}),
        ("global", {"detail": 6, "looks": 1, "seam": 8}),
        ("rows", {"detail": 6, "fit": True, "mirror": False}),
        ("global", {"own": True}),
        ("rows", {"own": True, "mirror": False}),
    ],
)
def test_other_architectures_run(tmp_path, alignment, more):
    codec = Dsc(write(tmp_path, alignment, **more))
    packets = codec.encode(IMAGES, np.full(3, 400))
    a, b = (codec.decode(delivered(packets), *SIZE, s).images[0] for s in (SIDE, SIDE[::-1]))
    assert (a != b).any()


def test_modes_with_side_information_use_their_own_codebooks(tmp_path):
    weights = write(tmp_path, own=True)
    machine = engine(weights)
    assert machine.codebooks("joint") is machine.codebooks("distributed")
    assert machine.codebooks("separate") is not machine.codebooks("distributed")
    for mode in ("separate", "distributed", "joint"):
        codec = Dsc(weights, mode)
        seen = SIDE[:1] if mode == "joint" else None
        packets = codec.encode(IMAGES[:1], np.array([4000]), seen)
        sent = machine.encode(IMAGES[0], SIDE[0] if mode == "joint" else None, mode)
        (read,) = codec.indices([packets.of[0][0].data], *SIZE)
        assert all(np.array_equal(a, b) for a, b in zip(sent, read, strict=True))
        codes = [b[i] for b, i in zip(machine.codebooks(mode).books, sent, strict=True)]
        mask = np.ones((SIZE[0] // 8, SIZE[1] // 8, len(sent)), np.float32)
        y_hat = machine.codebooks(mode).latent(codes)
        side = None if mode == "separate" else SIDE[0]
        expected = machine.synthesise(y_hat, mask, side, mode, *SIZE)
        shown = codec.decode(delivered(packets), *SIZE, SIDE[:1]).images[0]
        assert np.abs(expected.astype(int) - shown).max() <= 1
        # without its side information the picture is still that of its own codes
        alone = codec.decode(delivered(packets), *SIZE, None).images[0]
        assert (alone == shown).all() == (mode == "separate")


def test_weights_of_another_network_are_refused(tmp_path):
    with pytest.raises(ComponentError, match="needs 'dsc'"):
        engine(write(tmp_path, network="ntc"))


@pytest.mark.parametrize("given", [{"bands": 0}, {"fill": "prior", "prior": "none"}])
def test_parameters_are_checked(weights, given):
    with pytest.raises(ValueError, match=r"bands must be|fill: prior"):
        Dsc(weights, **given)
