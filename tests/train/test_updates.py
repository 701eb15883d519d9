"""Training of f_u: it alone moves, its symbols are better for it, and its file holds nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from test_perceptual import JOINT, joint  # noqa: F401
from test_training import data, log, recipe  # noqa: F401

from linksim.errors import ScenarioError
from linksim.train.config import load_config
from linksim.train.prepare import prepare


def updates(data, output, blocks=1, **changes):  # noqa: F811
    given = {
        "model": "ntscc-update",
        "options": {"network": {**JOINT, "blocks_u": blocks}, "k": [8, 24], "uniform": 1.0},
        "start_from": [{"weights": "joint.npz"}],
        "freeze": ["g_a", "g_s", "f_e", "f_d"],
        **{"log_every": 1, "validate_every": 1000, "warmup": 1, **changes},
    }
    return recipe(data, output, **given)


def test_f_u_alone_learns_and_is_all_of_its_file(data, joint, tmp_path):  # noqa: F811
    from linksim.joint.machine import machine
    from linksim.model.store import load_bundle, read_arrays
    from linksim.train.export import export

    path = updates(data, tmp_path / "run", steps=20, learning_rate=3e-3, log_every=5)
    run = prepare(load_config(path), tmp_path)
    before = run.stepper.state()
    start = {row["updates"]: row["psnr"] for row in run.task.validate(run.net, run.images[:4])}
    assert start[0] < start[1] < start[2] < start[3]  # a step down the slope, and another one
    run.train()
    assert np.isfinite([float(row["loss"]) for row in log(tmp_path / "run")]).all()
    after = run.stepper.state()
    moved = {k for k in before if k.startswith("weights/") and (before[k] != after[k]).any()}
    assert {name.removeprefix("weights/").split("/")[0].split(".")[0] for name in moved} == {"f_u"}

    found = export(load_config(path), tmp_path, "updates", tmp_path, bits=7)
    own, bundle, whole = read_arrays(found), load_bundle(str(found)), load_bundle(str(joint)).arrays
    assert all(name.startswith(("f_u.", "f_u/")) for name in own)
    (shared,) = bundle.card["shared"]
    assert (shared["weights"], shared["parts"]) == ("joint", ["g_a", "g_s", "f_e", "f_d"])
    assert set(bundle.arrays) == set(whole) | set(own)
    # the simulator's transmitter does what validation measures
    x = run.images[:2].astype(np.float32)
    snr, k = np.full(2, 6.0, np.float32), np.full((2, 4, 4), 16.0, np.float32)
    sender = machine(str(found))
    s = sender.encode(x, snr, k)
    once = sender.update(x, s, snr, k, 1)
    assert np.abs(once - s).max() > 1e-3
    np.testing.assert_allclose(once, run.task.updated(sender.net, x, s, snr, k, 0), atol=1e-4)


def test_what_f_u_wants(data, joint, tmp_path):  # noqa: F811
    path = updates(data, tmp_path / "none", blocks=0, steps=1)
    with pytest.raises(ScenarioError, match="blocks_u: 1 or more"):
        prepare(load_config(path), tmp_path)
    for again, plain in ((0.6, 0.5), (-0.1, 0.0), (0.1, 1.1)):
        options = {
            "network": {**JOINT, "blocks_u": 1},
            "k": [8, 24],
            "again": again,
            "plain": plain,
        }
        path = updates(data, tmp_path / f"run{plain}", steps=1, options=options)
        run = prepare(load_config(path), tmp_path)
        with pytest.raises(ScenarioError, match="shares must be at least 0"):
            run.train()


def test_snrs_follow_the_quantiles_of_a_recipe(data, joint, tmp_path):  # noqa: F811
    network = {"network": {**JOINT, "blocks_u": 1}, "k": [8, 24], "uniform": 1.0}
    options = network | {"snr_db": [-3, 5, 6, 12]}
    path = updates(data, tmp_path / "run", steps=1, options=options, batch=300)
    run = prepare(load_config(path), tmp_path)
    snr = np.sort(run.task.batch(0, run.net)["snr_tx_db"])
    assert snr[0] >= -3 and snr[-1] <= 12
    assert [(snr < edge).sum() for edge in (5, 6)] == [100, 200]
    for i, wrong in enumerate((3, [3], [4, 3], ["a", "b"], [0, float("inf")])):
        path = updates(data, tmp_path / f"bad{i}", steps=1, options=network | {"snr_db": wrong})
        with pytest.raises(ScenarioError, match="snr_db must be 2 or more quantiles"):
            prepare(load_config(path), tmp_path).train()


def test_an_encoder_learns_beside_f_u(data, joint, tmp_path):  # noqa: F811
    """Nothing frozen: all parts move, with pictures that have none, one and two updates in a batch."""
    options = {"network": {**JOINT, "blocks_u": 1}, "k": [8, 24], "again": 0.25, "plain": 0.25}
    path = updates(data, tmp_path / "run", steps=2, options=options, freeze=[])
    run = prepare(load_config(path), tmp_path)
    before = run.stepper.state()
    run.train()
    after = run.stepper.state()
    moved = {k for k in before if k.startswith("weights/") and (before[k] != after[k]).any()}
    parts = {name.removeprefix("weights/").split("/")[0].split(".")[0] for name in moved}
    assert parts == {"g_a", "g_s", "f_e", "f_d", "f_u"}
