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
