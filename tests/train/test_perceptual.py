"""The perceptual fine-tune: both players learn, the bits stay, and all of it resumes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml
from test_training import SMALL, data, log, recipe  # noqa: F401

from linksim.errors import ScenarioError
from linksim.train.config import load_config
from linksim.train.prepare import prepare

FROZEN = ["g_a", "h_a", "h_s", "ctx", "gain", "ungain", "gain_z", "ungain_z", "prior"]


def perceptual(data, output: Path, adversarial: float = 1e-3, **changes) -> Path:  # noqa: F811
    options = {
        **SMALL,
        "perceptual": {"lpips": 1.0, "adversarial": adversarial, "critic_rate": 10.0},
    }
    given = {
        "model": "ntc-perceptual",
        "options": options,
        "freeze": FROZEN,
        "warmup": 2,
        "validate_every": 1000,
        **changes,
    }
    return recipe(data, output, **given)


@pytest.mark.assets
def test_the_loss_falls_the_critic_learns_and_the_bits_stay(assets, data, tmp_path):  # noqa: F811
    path = perceptual(data, tmp_path / "run", steps=50, log_every=5, checkpoint_every=50)
    run = prepare(load_config(path), path.parent)
    before = run.stepper.state()
    run.train()
    rows = log(tmp_path / "run")
    assert {"loss", "lpips", "fooled", "critic", "mse"} <= set(rows[0])
    values = np.array([[float(v) for v in row.values()] for row in rows])
    assert np.isfinite(values).all()
    lpips = [float(row["lpips"]) for row in rows]
    assert lpips[-1] < 0.9 * lpips[0]
    critic = [float(row["critic"]) for row in rows]
    assert critic[-1] < critic[0]
    after = run.stepper.state()
    moved = {k for k in before if k.startswith("weights/") and (before[k] != after[k]).any()}
    parts = {name.removeprefix("weights/").split("/")[0].split(".")[0] for name in moved}
    assert parts == {"g_s", "critic"}
    assert "weights/critic.conv0/vector" in moved
    assert any(name.startswith("optimizer.critic/") for name in after)
    # what a checkpoint holds is all that the next step depends on, of both players
    again = prepare(load_config(path), path.parent)
    batch = run.task.batch(50, run.net)
    one, two = (r.stepper.steps([batch], [1e-3]) for r in (run, again))
    for name in one:
        assert float(one[name][0]) == pytest.approx(float(two[name][0]), rel=1e-4, abs=1e-5)


@pytest.mark.assets
def test_export_leaves_the_critic_behind(assets, data, tmp_path):  # noqa: F811
    from linksim.codec.engine import engine
    from linksim.train.export import export

    path = perceptual(data, tmp_path / "run", adversarial=0.0, steps=1)
    prepare(load_config(path), path.parent).train()
    weights = export(load_config(path), path.parent, "seen", tmp_path)
    bundle = engine(str(weights)).bundle
    assert not [name for name in bundle.arrays if name.startswith("critic")]
    assert "perceptual" not in bundle.card["architecture"]


@pytest.mark.assets
def test_the_critic_of_a_run_is_taken_from_its_checkpoint(assets, data, tmp_path):  # noqa: F811
    """A fresh one would have to learn anew what the old one knew of the pictures made."""
    from linksim.model.store import variables

    first = prepare(load_config(perceptual(data, tmp_path / "first", steps=2)), tmp_path)
    first.train()
    checkpoint = tmp_path / "first" / "checkpoint.npz"
    start = [{"weights": str(checkpoint), "parts": ["critic"]}]
    path = perceptual(data, tmp_path / "second", steps=1, seed=5, start_from=start)
    second = prepare(load_config(path), tmp_path)
    averages = first.averaged()
    same = {
        name.split("/")[0]
        for name, variable in variables(second.net).items()
        if name.endswith("/kernel") and np.array_equal(variable.numpy(), averages[name])
    }
    assert same >= {f"critic.conv{i}" for i in range(4)} and "g_s.up8" not in same
    assert second.origin == [{"name": "first", "steps": 2, "parts": ["critic"]}]


@pytest.fixture
def joint(tmp_path) -> Path:
    """A small NTSCC with random weights, exported. Its validation is not of this world."""
    import keras

    from linksim.model.ntscc import NtsccConfig, NtsccNet
    from linksim.model.store import gather, write_bundle

    keras.utils.set_random_seed(0)
    net = NtsccNet(NtsccConfig(**JOINT))
    card = {"name": "joint", "network": "ntscc", "architecture": JOINT, "history": []}
    write_bundle(tmp_path / "joint.npz", gather(net), card)
    return tmp_path / "joint.npz"


TRANSFORMS = {k: SMALL[k] for k in SMALL if k not in ("hyper", "hyper_out", "side", "context")}
JOINT = {"transforms": TRANSFORMS, "width": 16, "heads": 2, "hidden": 16, "window": 4}
JOINT |= {"blocks_e": 1, "blocks_d": 1, "symbols": 96}


@pytest.mark.assets
def test_a_perceptual_decoder_of_ntscc_is_the_file_of_what_moved(assets, data, joint, tmp_path):  # noqa: F811
    from linksim.joint.ntscc import machine
    from linksim.model.store import load_bundle, read_arrays, write_bundle
    from linksim.train.export import export

    path = recipe(
        data,
        tmp_path / "run",
        model="ntscc-perceptual",
        options={
            "network": JOINT,
            "k": [8, 24],
            "uniform": 1.0,
            "perceptual": {"lpips": 2.0, "adversarial": 0.05},
        },
        start_from=[{"weights": "joint.npz"}],
        freeze=["g_a", "f_e", "f_d"],
        **{"steps": 1, "log_every": 1, "validate_every": 1000, "warmup": 1},
    )
    run = prepare(load_config(path), tmp_path)
    run.train()
    assert {"loss", "lpips", "fooled", "critic", "mse"} <= set(log(tmp_path / "run")[0])
    figures = run.task.figures(run.images, run.task.received(run.net, run.images, 16, 6.0))
    assert 0 < figures["lpips_alex"] < 1.5 and 5 < figures["psnr"] < 40

    seen = export(load_config(path), tmp_path, "seen", tmp_path, bits=7)
    own, bundle, whole = read_arrays(seen), load_bundle(str(seen)), load_bundle(str(joint)).arrays
    assert {name.split(".")[0] for name in own} == {"g_s"}
    (shared,) = bundle.card["shared"]
    assert (shared["weights"], shared["parts"]) == ("joint", ["g_a", "f_e", "f_d"])
    assert bundle.card["parameters"] + shared["parameters"] == sum(v.size for v in whole.values())
    assert set(bundle.arrays) == set(whole)
    assert any((bundle.arrays[name] != whole[name]).any() for name in own)
    assert all((bundle.arrays[name] == whole[name]).all() for name in set(whole) - set(own))
    # transmitters agree, receivers do not
    x, snr, k = np.full((1, 64, 64, 3), 90.0), np.array([6.0]), np.full((1, 4, 4), 16)
    one, two = (machine(str(p)) for p in (joint, seen))
    sent = one.encode(x, snr, k)
    assert np.array_equal(sent, two.encode(x, snr, k))
    met = np.full((1, 4, 4), 6.0)
    assert not np.array_equal(one.decode(sent, met, k), two.decode(sent, met, k))
    # where the other file is not what the run started from, nothing is left out
    write_bundle(joint, whole, {"name": "joint", "network": "ntscc", "architecture": JOINT}, 3)
    later = export(load_config(path), tmp_path, "whole", tmp_path)
    assert set(read_arrays(later)) == set(whole) and "shared" not in load_bundle(str(later)).card


@pytest.mark.assets
def test_a_relative_weight_heeds_pictures_that_are_nearly_right(assets):
    """Its gradient is that of the plain term over LPIPS + 0.01: a factor, the larger the better the picture."""
    import tensorflow as tf

    from linksim.train.perceptual import LPIPS_FLOOR, Perceptual, generator_terms

    rng = np.random.default_rng(0)
    x = rng.uniform(0, 255, (1, 8, 8, 3)).repeat(8, 1).repeat(8, 2).astype(np.float32)
    factors = []
    for deviation in (4.0, 40.0):
        x_hat = tf.constant(x + rng.normal(0, deviation, x.shape).astype(np.float32))
        found = {}
        for relative in (False, True):
            with tf.GradientTape() as tape:
                tape.watch(x_hat)
                how = Perceptual(lpips=2.0, relative=relative)
                value, figures = generator_terms(None, how, x, x_hat)
            found[relative] = tape.gradient(value, x_hat).numpy()
        factor = np.linalg.norm(found[True]) / np.linalg.norm(found[False])
        assert factor == pytest.approx(1 / (float(figures["lpips"]) + LPIPS_FLOOR), rel=1e-3)
        assert np.allclose(found[True], factor * found[False], rtol=1e-2, atol=1e-6)
        factors.append(factor)
    assert factors[0] > 2 * factors[1]


def test_spectral_norms_are_one():
    from linksim.model.critic import SpectralConv

    conv = SpectralConv("c", 5, 7, 3, 1)
    for _ in range(60):
        for path, value in conv.updates().items():
            assert path == conv.vector.path
            conv.vector.assign(value)
    flat = np.asarray(conv.kernel).reshape(-1, 7)
    left, right = (np.asarray(v) for v in conv._iterate())
    norm = float((left * (flat @ right)).sum())
    assert norm == pytest.approx(np.linalg.svd(flat, compute_uv=False)[0], rel=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"lpip": 1}, "lpip"), ({"adversarial": -1}, "betas must be"), (3, "must be a mapping")],
)
def test_bad_weights_are_refused(data, tmp_path, given, message):  # noqa: F811
    path = perceptual(data, tmp_path / "bad")
    content = yaml.safe_load(path.read_text())
    content["options"]["perceptual"] = given
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(ScenarioError, match=message):
        prepare(load_config(path), path.parent)
