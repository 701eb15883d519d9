"""The trainer: recipes, data, determinism, resuming, export."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from linksim.errors import (
    ComponentError,
    ImageError,
    MissingAssetError,
    RunStateError,
    ScenarioError,
    UnknownNameError,
)
from linksim.model.store import read_arrays
from linksim.seeds import Seed
from linksim.train.config import DataSource, TrainConfig, load_config
from linksim.train.data import Mixture, digest, load
from linksim.train.loop import rate_at
from linksim.train.prepare import prepare

SMALL = {"width4": 8, "width8": 8, "width16": 16, "hidden4": 8, "hidden8": 8, "hidden16": 8}
SMALL |= {"blocks8": 1, "latent": 32, "hyper": 8, "hyper_out": 8, "side": 8, "context": 8}
SMALL |= {"slices": [8, 8, 16]}


def pictures(count: int, side: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:side, 0:side]
    speed = rng.normal(0, 0.15, (count, 2, 1, 1))
    wave = 128 + 90 * np.sin(speed[:, 0] * x + speed[:, 1] * y)
    tint = rng.random((count, 1, 1, 3))
    return np.clip(wave[..., None] * (0.4 + 0.6 * tint), 0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A tar shard of 30 pictures of 64x64, and a folder of 3 larger ones."""
    folder = tmp_path_factory.mktemp("data")
    with tarfile.open(folder / "shard.tar", "w") as tar:
        for i, picture in enumerate(pictures(30, 64)):
            buffer = io.BytesIO()
            Image.fromarray(picture).save(buffer, "PNG")
            info = tarfile.TarInfo(f"{i:03d}.png")
            info.size = buffer.tell()
            tar.addfile(info, io.BytesIO(buffer.getvalue()))
    (folder / "large").mkdir()
    for i, picture in enumerate(pictures(3, 150, seed=9)):
        Image.fromarray(picture).save(folder / "large" / f"{i}.png")
    return folder


def recipe(data: Path, output: Path, **changes) -> Path:
    content = {
        "train": [
            {"path": str(data / "shard.tar"), "weight": 3, "size": 64},
            {"path": str(data / "large"), "crops": 12, "size": 64},
        ],
        "validation": {"path": str(data / "shard.tar"), "size": 64},
        "validation_images": 4,
        "output": str(output),
        "batch": 4,
        "steps": 12,
        "log_every": 2,
        "validate_every": 6,
        "checkpoint_every": 4,
        "licence": "for tests alone",
        "options": SMALL,
        **changes,
    }
    path = output.parent / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def log(folder: Path, name: str = "log.csv") -> list[dict[str, str]]:
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory) -> Path:
    """A run of 12 steps that nothing interrupted. Returns: its recipe."""
    output = tmp_path_factory.mktemp("runs") / "whole"
    path = recipe(data, output)
    prepare(load_config(path), path.parent).train()
    return path


def test_a_run_killed_and_resumed_gives_the_same_curve(data, tmp_path, finished):
    path = recipe(data, tmp_path / "killed")
    run = prepare(load_config(path), path.parent)
    run.train(until=8)
    # what a kill leaves: lines written after the last checkpoint, the last one cut
    with (tmp_path / "killed" / "log.csv").open("a") as file:
        file.write("10,1,1,1,1\n12,0.5")
    again = prepare(load_config(path), path.parent)
    assert again.step == 8
    again.train()
    whole = finished.with_suffix("")
    for name in ("log.csv", "validation.csv"):
        first, second = log(whole, name), log(tmp_path / "killed", name)
        assert [row["step"] for row in first] == [row["step"] for row in second]
        for a, b in zip(first, second, strict=True):
            assert np.allclose(
                [float(v) for v in a.values()], [float(v) for v in b.values()], rtol=1e-4
            )


def test_checkpoints_hold_all_that_a_step_depends_on(finished):
    run = prepare(load_config(finished), finished.parent)
    assert run.step == 12
    state = run.stepper.state()
    first = run.stepper.steps([run.task.batch(12, run.net)], [1e-3])
    run.stepper.restore(state)
    second = run.stepper.steps([run.task.batch(12, run.net)], [1e-3])
    assert {k: float(v[0]) for k, v in first.items()} == pytest.approx(
        {k: float(v[0]) for k, v in second.items()}, rel=1e-5
    )
    assert any(name.startswith("optimizer/") for name in state)


def test_logs_and_validation(finished):
    folder = finished.with_suffix("")
    assert [row["step"] for row in log(folder)] == [str(s) for s in range(2, 13, 2)]
    rows = log(folder, "validation.csv")
    assert {row["step"] for row in rows} == {"6", "12"} and len(rows) == 12
    assert all(float(row["bpp"]) > 0 and 3 < float(row["psnr"]) < 60 for row in rows)


@pytest.mark.parametrize(("every", "expected"), [(2, {2, 3}), (3, {3}), (4, set())])
def test_the_last_step_is_validated(data, tmp_path, every, expected):
    path = recipe(data, tmp_path / "run", steps=3, validate_every=every)
    prepare(load_config(path), path.parent).train()
    table = tmp_path / "run" / "validation.csv"
    found = log(tmp_path / "run", "validation.csv") if table.is_file() else []
    assert {int(float(row["step"])) for row in found} == expected


def test_a_checkpoint_of_other_settings_is_refused(finished, tmp_path):
    content = yaml.safe_load(finished.read_text()) | {"seed": 7}
    path = tmp_path / "other.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RunStateError, match="other settings"):
        prepare(load_config(path), path.parent)


def test_export_shrinks_resumes_and_describes(finished, data, tmp_path):
    from linksim.codec.engine import engine
    from linksim.train.export import export

    path = export(load_config(finished), finished.parent, "tiny", tmp_path)
    card = json.loads(path.with_suffix(".json").read_text())
    assert card["steps"] == 12 and card["images_seen"] == 48 and card["network"] == "ntc"
    assert card["data"][0]["sha256"] == digest(DataSource(str(data / "shard.tar")))
    assert str(finished.parent) not in json.dumps(card["recipe"]["options"])
    assert len(card["golden"]) == 2 and card["licence"] == "for tests alone"
    assert sum(card["device"].values()) == pytest.approx(card["hours"], abs=0.02)
    assert {row["step"] for row in card["validation"]} == {12}
    assert engine(str(path)).bundle.card["name"] == "tiny"
    more = recipe(data, tmp_path / "more", start_from=str(path), steps=2)
    run = prepare(load_config(more), more.parent)
    state = prepare(load_config(finished), finished.parent).averaged()
    for name, value in run.averaged().items():
        assert np.allclose(value, state[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "muon"])
def test_training_lowers_the_loss(data, tmp_path, optimizer):
    path = recipe(data, tmp_path / optimizer, optimizer=optimizer, steps=60, warmup=5, log_every=10)
    path.write_text(path.read_text().replace("validate_every: 6", "validate_every: 600"))
    prepare(load_config(path), path.parent).train()
    losses = [float(row["loss"]) for row in log(tmp_path / optimizer)]
    assert losses[-1] < 0.9 * losses[0]


def test_muon_takes_orthogonal_steps():
    import keras

    from linksim.train.muon import ConvMuon

    rng = np.random.default_rng(0)
    kernel = keras.Variable(rng.standard_normal((3, 3, 32, 40)).astype(np.float32))
    bias = keras.Variable(np.ones(40, np.float32))
    before = np.array(kernel.numpy())
    optimizer = ConvMuon(0.1, 1e9)
    gradient = [rng.standard_normal(v.shape).astype(np.float32) for v in (kernel, bias)]
    optimizer.build([kernel, bias])
    optimizer.apply([keras.ops.convert_to_tensor(g) for g in gradient], [kernel, bias])
    step = (before - kernel.numpy()).reshape(288, 40)
    sizes = np.linalg.svd(step, compute_uv=False) / (0.1 * 0.2 * np.sqrt(288))
    assert sizes.min() > 0.5 and sizes.max() < 1.4
    assert np.allclose(bias.numpy(), 1 - 0.1 * np.sign(gradient[1]), atol=1e-3)


def test_batches_depend_on_seed_and_step_alone():
    arrays = (pictures(5, 8), pictures(7, 8, seed=1))
    mixture = Mixture(arrays, (1.0, 3.0), Seed.root(4))
    assert np.array_equal(mixture.batch(3, 6), mixture.batch(3, 6))
    assert not np.array_equal(mixture.batch(3, 6), mixture.batch(4, 6))
    known = {a.tobytes() for array in arrays for p in array for a in (p, p[:, ::-1])}
    assert all(image.tobytes() in known for image in mixture.batch(0, 40))


def test_images_are_decoded_once(data, tmp_path):
    source = DataSource(str(data / "large"), crops=5, size=32)
    first = load(source, tmp_path, Seed.root(1))
    assert first.shape == (5, 32, 32, 3) and first.dtype == np.uint8
    stamp = [p.stat().st_mtime_ns for p in tmp_path.iterdir()]
    assert np.array_equal(first, load(source, tmp_path, Seed.root(1)))
    assert [p.stat().st_mtime_ns for p in tmp_path.iterdir()] == stamp
    assert not np.array_equal(first, load(source, tmp_path, Seed.root(2))), "other crops"
    whole = DataSource(str(data / "shard.tar"), size=64)
    for seed in (1, 2):
        load(whole, tmp_path, Seed.root(seed))
    assert len(list(tmp_path.iterdir())) == 3, "whole images serve all seeds"


def test_runs_that_share_a_cache_may_decode_at_once(data, tmp_path):
    """Two trainings started together: both read whole arrays, and no leftover stays."""
    source = DataSource(str(data / "large"), crops=5, size=32)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: load(source, tmp_path, Seed.root(0)), range(8)))
    assert all(np.array_equal(found[0], one) for one in found)
    assert [path.suffix for path in tmp_path.iterdir()] == [".npy"]


def test_bad_data_is_named(data, tmp_path):
    with pytest.raises(MissingAssetError, match="nothing-here"):
        load(DataSource("nothing-here/*.tar"), tmp_path, Seed.root(0))
    with pytest.raises(ImageError, match="150x150, but size is 128"):
        load(DataSource(str(data / "large")), tmp_path, Seed.root(0))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "x.png").write_bytes(b"no picture")
    with pytest.raises(ImageError, match=r"x\.png"):
        load(DataSource(str(tmp_path / "bad")), tmp_path, Seed.root(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 0}, "batch must be at least 1"),
        ({"learning_rat": 1}, "learning_rat"),
        ({"optimizer": "sgd"}, "optimizer"),
        ({"train": []}, "at least one source"),
        ({"train": [{"path": "x", "weigth": 2}]}, "weigth"),
        ({"start_from": [{"weights": "ntc", "part": []}]}, "part"),
        ({"precision": "float16"}, "precision"),
        ({"rate_factors": {"g_a": 0}}, "must be above 0"),
        ({"steps_per_call": 0}, "steps_per_call must be at least 1"),
    ],
)
def test_bad_recipes_are_refused(data, tmp_path, changes, message):
    path = recipe(data, tmp_path / "bad", **changes)
    with pytest.raises(ScenarioError, match=message):
        load_config(path)


def test_an_unknown_model_is_named(data, tmp_path):
    path = recipe(data, tmp_path / "bad", model="vae")
    with pytest.raises(UnknownNameError, match="vae"):
        prepare(load_config(path), path.parent)


def test_new_settings_at_their_defaults_do_not_change_the_digest():
    source = DataSource("a")
    one = TrainConfig((source,), source, "x")
    assert one.digest() == TrainConfig((source,), source, "y", optimizer="adam").digest()
    assert one.digest() != TrainConfig((source,), source, "x", optimizer="muon").digest()


def test_learning_rate_warms_up_and_ends_low():
    source = DataSource("a")
    config = TrainConfig((source,), source, "x", steps=1000, warmup=100)
    rates = [rate_at(config, s) for s in (0, 99, 500, 999)]
    assert rates[0] == pytest.approx(1e-5, rel=0.01)
    assert rates[1] == pytest.approx(1e-3, rel=0.05)
    assert rates[3] == pytest.approx(config.final_rate * 1e-3, rel=0.05)


@pytest.mark.parametrize("module", ["linksim.train", "linksim"])
def test_command_line_reports_mistakes_in_one_line(module, tmp_path):
    command = [sys.executable, "-m", module, *(["train"] if module == "linksim" else [])]
    done = subprocess.run([*command, tmp_path / "none.yaml"], capture_output=True, text=True)
    assert done.returncode == 2
    error = done.stderr.strip().splitlines()
    assert error[-1].startswith("error:") and "none.yaml" in error[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_training_killed_at_random_moments_gives_the_same_log(data, tmp_path):
    """SIGKILL, and SIGTERM, whenever they come: the log of one that nobody disturbed, bit for bit nearly."""
    rng = np.random.default_rng(5)
    settings = {"steps": 60, "validate_every": 20, "checkpoint_every": 10, "log_every": 5}
    calm = recipe(data, tmp_path / "calm", **settings)
    hunted = recipe(data, tmp_path / "hunted", **settings)
    command = [sys.executable, "-m", "linksim", "train", "--no-figures", "--threads", "1"]
    subprocess.run([*command, calm], check=True, capture_output=True)
    (tmp_path / "hunted").mkdir()
    (tmp_path / "hunted" / ".checkpoint.npz.0.tmp").write_bytes(b"of a kill while it was written")
    deaths = 0
    for attempt in range(40):
        process = subprocess.Popen([*command, hunted], stderr=subprocess.DEVNULL)
        try:
            if attempt < 8:  # then it may finish
                process.wait(timeout=float(rng.uniform(4, 14)))
            else:
                process.wait()
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL if attempt % 3 else signal.SIGTERM)
            process.wait()
            deaths += 1
        if (
            process.returncode == 0
            and log(tmp_path / "hunted")[-1:]
            and (log(tmp_path / "hunted")[-1]["step"] == "60")
        ):
            break
    assert deaths >= 2
    assert not list((tmp_path / "hunted").glob(".*.tmp"))
    for name in ("log.csv", "validation.csv"):
        first, second = log(tmp_path / "calm", name), log(tmp_path / "hunted", name)
        assert len(first) == len(second) > 0
        for a, b in zip(first, second, strict=True):
            assert [*a] == [*b]
            assert np.allclose(
                [float(v) for v in a.values()], [float(v) for v in b.values()], rtol=1e-5
            )


def test_the_commands_train_draw_and_export(data, tmp_path):
    path = recipe(data, tmp_path / "run", steps=4, validate_every=2)
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    made = subprocess.run(
        [sys.executable, "-m", "linksim", "train", path, "--until", "4"],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout.strip() == str(tmp_path / "run")
    lines = made.stderr.strip().splitlines()
    assert any(line.startswith("step 4/4 loss") and "images/s" in line for line in lines)
    with Image.open(tmp_path / "run" / "training.png") as figure:
        assert figure.width > 1000
    done = subprocess.run(
        [sys.executable, "-m", "linksim", "export", path, "--name", "mini", "--to", tmp_path],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "mini.npz")
    assert json.loads((tmp_path / "mini.json").read_text())["steps"] == 4


@pytest.mark.parametrize(
    ("text", "bits"),
    [("7", 7), ("0", None), ("12", 12), ("7,f_e=5, f_d=4", {"": 7, "f_e": 5, "f_d": 4})],
)
def test_bits_of_the_command_line(text, bits):
    from linksim.train.command import parse_bits

    assert parse_bits(text) == bits


@pytest.mark.parametrize(
    "text", ["", "seven", "7,f_e", "7,=5", "7,f_e=0", "f_e=5", "7,a=5,a=6", "-1"]
)
def test_bits_that_are_none(text):
    from linksim.train.command import parse_bits

    with pytest.raises(ScenarioError, match="--bits: must be 0"):
        parse_bits(text)


def test_one_training_at_a_time(data, tmp_path):
    from linksim.results.lock import FolderLock
    from linksim.train.command import train

    path = recipe(data, tmp_path / "run", steps=1)
    (tmp_path / "run").mkdir()
    lock = FolderLock(tmp_path / "run")
    with pytest.raises(RunStateError, match="is being written by process"):
        train(path)
    lock.release()


# ------------------------------------------------------------------------------------------- starts and parts


def test_a_network_starts_from_parts_of_another(finished, data, tmp_path):
    from linksim.train.export import export

    weights = export(load_config(finished), finished.parent, "whole", tmp_path)
    given = [{"weights": str(weights), "parts": ["g_a", "h_s.conv0"]}]
    path = recipe(data, tmp_path / "parts", start_from=given, steps=1, seed=9)
    run = prepare(load_config(path), path.parent)
    taken, card = read_arrays(weights), run.origin[0]
    assert card["name"] == "whole" and card["parts"] == ["g_a", "h_s"]
    for name, value in run.averaged().items():
        same = np.allclose(value, taken[name], rtol=1e-3, atol=1e-4)
        if name.startswith(("g_a.", "h_s.conv0")):
            assert same, name
    fresh = run.averaged()["g_s.up8/kernel"]
    assert not np.allclose(fresh, taken["g_s.up8/kernel"], atol=1e-3)
    # the chain of weights goes on to the next export's card
    run.train()
    card = json.loads(
        export(load_config(path), path.parent, "next", tmp_path).with_suffix(".json").read_text()
    )
    assert [entry["name"] for entry in card["history"]] == ["whole"]
    assert card["started_from"][0]["sha256"] == card["history"][0]["sha256"]


def test_frozen_parts_stay_and_factors_slow_down(data, tmp_path):
    path = recipe(
        data,
        tmp_path / "frozen",
        freeze=["g_a", "h_a.down0"],
        rate_factors={"g_s": 0.01, "g_s.out": 1.0},
        steps=3,
        warmup=1,
    )
    run = prepare(load_config(path), path.parent)
    before = run.stepper.state()
    run.train()
    after = run.stepper.state()
    moved = {
        name.removeprefix("weights/"): float(np.abs(after[name] - before[name]).max())
        for name in before
        if name.startswith("weights/")
    }
    assert all(m == 0 for n, m in moved.items() if n.startswith(("g_a.", "h_a.down0")))
    assert moved["h_a.conv0/kernel"] > 1e-3 and moved["g_s.out/kernel"] > 1e-3
    assert 0 < moved["g_s.up8/kernel"] < 1e-4


def test_bfloat16_inside_stays_near_float32(data, tmp_path, finished):
    path = recipe(data, tmp_path / "low", precision="bfloat16")
    run = prepare(load_config(path), path.parent)
    assert run.net.g_a.stem.compute_dtype == "bfloat16"
    assert run.net.g_a.out.compute_dtype == "float32"
    assert all(v.dtype == "float32" for v in run.net.weights)
    run.train()
    whole = log(finished.with_suffix(""))
    for a, b in zip(log(tmp_path / "low"), whole, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=0.05)


def test_what_tensorflow_computes_in_bfloat16_stays_near_float32(data, tmp_path, finished):
    path = recipe(data, tmp_path / "auto", precision="auto")
    run = prepare(load_config(path), path.parent)
    assert tf_mixes()
    run.train()
    whole = log(finished.with_suffix(""))
    for a, b in zip(log(tmp_path / "auto"), whole, strict=True):
        assert float(a["loss"]) == pytest.approx(float(b["loss"]), rel=0.05)
    again = recipe(data, tmp_path / "plain")
    prepare(load_config(again), again.parent)
    assert not tf_mixes()  # the next run in this process is not touched


def tf_mixes() -> bool:
    import tensorflow as tf

    from linksim.train.tensorflow_stepper import MIXED

    return tf.config.optimizer.get_experimental_options().get(MIXED, False)


def test_only_tensorflow_chooses_precision_itself(data, tmp_path, monkeypatch):
    import keras

    path = recipe(data, tmp_path / "auto", precision="auto")
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ScenarioError, match="precision: auto is TensorFlow's own choice"):
        prepare(load_config(path), path.parent)


def test_a_network_with_more_latents_starts_from_one_with_fewer(finished, data, tmp_path, capfd):
    from linksim.train.export import export

    weights = export(load_config(finished), finished.parent, "narrow", tmp_path)
    more = {**SMALL, "latent": 48, "slices": [8, 8, 16, 16], "blocks8": 0}
    start = {"weights": str(weights)}
    path = recipe(data, tmp_path / "wide", start_from=[start], options=more, steps=2)
    with pytest.raises(ComponentError, match="the network needs"):
        prepare(load_config(path), path.parent)
    path = recipe(
        data, tmp_path / "wide", start_from=[start | {"fit": True}], options=more, steps=2
    )
    run = prepare(load_config(path), path.parent)
    # g_a and g_s: one block of two layers each, kernels and biases
    assert (
        "has 8 variables that this network lacks, the first g_a.block8.0" in capfd.readouterr().err
    )
    values, taken = run.averaged(), read_arrays(weights)
    assert np.allclose(values["g_a.out/kernel"][..., :32], taken["g_a.out/kernel"], atol=1e-3)
    axes = values["g_s.linear/matrix"]
    assert np.allclose(axes[32:] @ axes[32:].T, np.eye(16), atol=1e-4)
    assert np.allclose(axes[32:] @ axes[:32].T, 0, atol=1e-4)
    run.train()


def shipped_recipes() -> list[Path]:
    from importlib.resources import files

    return sorted(Path(str(files("linksim.train") / "recipes")).glob("*.yaml"))


@pytest.mark.parametrize("path", shipped_recipes(), ids=lambda path: path.stem)
def test_recipes_start_from_weights_that_fit_them(path):
    """With what they freeze whole: a part that lost blocks on the way would make other codes."""
    from linksim.model.store import belongs, variables
    from linksim.train.origin import load_parts, sources
    from linksim.train.prepare import network_of
    from linksim.train.tasks import task_class

    config = load_config(path)
    task = task_class(config.model)(config, None, Seed.root(0), path.parent)
    net = network_of(task)
    notes: list[str] = []
    load_parts(net, config, path.parent, notes.append)
    smaller = {"ntscc", "tokens", "dsc-stereo"}  # than what they start from, on purpose
    if path.stem not in smaller:
        assert notes == []
    filled = {name for _, _, chosen in sources(net, config, path.parent) for name in chosen}
    frozen = {name for name in variables(net) if any(belongs(name, part) for part in config.freeze)}
    assert frozen <= filled
    assert bool(frozen) == bool(config.freeze)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"freeze": ["g_x"]}, ScenarioError, "no 'g_x'; its parts are"),
        ({"rate_factors": {"ga": 2.0}}, ScenarioError, "no 'ga'"),
        ({"start_from": "no-such"}, MissingAssetError, "no-such"),
        ({"start_from": [{"weights": "ntc", "parts": ["g_q"]}]}, ScenarioError, "no 'g_q'"),
        ({"start_from": "ntc"}, ComponentError, "shape|lacks"),
        ({"options": {"width": 3}}, ScenarioError, "options: ntc: .*width"),
        ({"options": {**SMALL, "slices": [1, 2]}}, ScenarioError, "slices must sum"),
        ({"train": [{"path": "nowhere/*.tar"}]}, MissingAssetError, "nowhere"),
    ],
)
def test_recipes_that_do_not_fit_are_refused(data, tmp_path, changes, error, message):
    path = recipe(data, tmp_path / "bad", **changes)
    with pytest.raises(error, match=message):
        prepare(load_config(path), path.parent)


def test_a_folder_of_something_else_is_refused(data, tmp_path):
    path = recipe(data, tmp_path / "other")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "log.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(RunStateError, match="no checkpoint"):
        prepare(load_config(path), path.parent)
    np.savez(tmp_path / "other" / "checkpoint.npz", a=np.zeros(3))
    with pytest.raises(RunStateError, match="not a checkpoint"):
        prepare(load_config(path), path.parent)
    (tmp_path / "other" / "checkpoint.npz").write_bytes(b"PK damaged")
    with pytest.raises(ComponentError, match="not a readable"):
        prepare(load_config(path), path.parent)


def test_a_full_disk_leaves_the_last_checkpoint(data, tmp_path, monkeypatch):
    path = recipe(data, tmp_path / "full", checkpoint_every=2)
    run = prepare(load_config(path), path.parent)
    run.train(until=2)
    usual = os.fsync

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        RunStateError, match=r"No space left on device.*the checkpoint before it is whole"
    ):
        run.train(until=6)
    monkeypatch.setattr(os, "fsync", usual)
    assert not list((tmp_path / "full").glob("*.tmp"))
    assert prepare(load_config(path), path.parent).step == 2


def test_a_loss_that_is_not_finite_ends_the_run(data, tmp_path):
    path = recipe(data, tmp_path / "nan", learning_rate=1e18, warmup=1, clip_norm=1e30)
    run = prepare(load_config(path), path.parent)
    with pytest.raises(RunStateError, match=r"the loss is (nan|inf).*lower learning_rate"):
        run.train()
    kept = read_arrays(tmp_path / "nan" / "checkpoint.npz")
    assert all(np.isfinite(v).all() for n, v in kept.items() if n.startswith("weights/"))


def test_what_two_sources_share_is_told_once():
    from linksim.train.origin import history_of

    first = {"name": "ntc", "sha256": "a", "steps": 3}
    left = {"name": "l", "sha256": "b", "history": [{"note": "old"}, first], "parts": ["g_a"]}
    right = {"name": "r", "sha256": "c", "history": [{"note": "old"}, first | {"parts": ["g_s"]}]}
    found = history_of([left, right])
    assert [link.get("sha256") or link["note"] for link in found] == ["old", "a", "b", "c"]
    assert "history" not in found[2] and found[1] == first
