"""Training of distributed coding: pairs, masks, codebooks, and a whole run to an exported codec."""

from __future__ import annotations

import numpy as np
import pytest
import yaml
from dsc_small import options, pictures
from PIL import Image

from linksim.codec.dsc import Dsc
from linksim.errors import ImageError, ScenarioError
from linksim.seeds import Seed
from linksim.train.codebooks import k_means, nearest, perplexity
from linksim.train.config import DataSource, load_config
from linksim.train.data import load
from linksim.train.dsc_task import arrived_at, split
from linksim.train.export import export
from linksim.train.prepare import prepare


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for name, count, size in (("faces", 24, (64, 64)), ("photos", 3, (150, 260))):
        (folder / name).mkdir()
        for i, picture in enumerate(pictures(count, 5, size)):
            Image.fromarray(picture).save(folder / name / f"{i}.png")
    (folder / "pairs").mkdir()
    for i, picture in enumerate(pictures(3, 6, (32, 80))):
        Image.fromarray(picture[:, :64]).save(folder / "pairs" / f"{i}_L.png")
        Image.fromarray(picture[:, 6:70]).save(folder / "pairs" / f"{i}_R.png")
    return folder


def recipe(data, output, **changes):
    faces = {"path": str(data / "faces"), "size": 64}
    content = {
        "model": "dsc",
        "train": [faces],
        "validation": faces,
        "validation_images": 4,
        "output": str(output),
        "batch": 4,
        "steps": 6,
        "log_every": 2,
        "validate_every": 6,
        "licence": "for tests alone",
        "options": options(),
        **changes,
    }
    path = output.parent / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_pairs_lie_side_by_side_and_mirror_into_pairs(data, tmp_path):
    source = DataSource(str(data / "pairs"), size=32, pairs="files")
    found = load(source, tmp_path, Seed.root(0))
    assert found.shape == (3, 32, 128, 3)
    x, side = split(np.asarray(found), mirror=False)
    assert np.array_equal(side[1], np.asarray(Image.open(data / "pairs" / "1_L.png")))
    assert np.array_equal(x[1], np.asarray(Image.open(data / "pairs" / "1_R.png")))
    assert np.array_equal(x[:, :, :50], side[:, :, 6:56]), "things lie further right on the left"
    mirrored_x, mirrored_side = split(np.asarray(found)[:, :, ::-1], mirror=False)
    assert np.array_equal(mirrored_x[:, :, :50], mirrored_side[:, :, 6:56])


def test_a_view_without_its_partner(data, tmp_path):
    folder = tmp_path / "half"
    folder.mkdir()
    Image.fromarray(pictures(1, 0, (32, 64))[0]).save(folder / "a_L.png")
    with pytest.raises(ImageError, match="a_L has no partner"):
        load(DataSource(str(folder), size=32, pairs="files"), tmp_path, Seed.root(0))


def test_synthetic_pairs_are_shifted_copies(data, tmp_path):
    source = DataSource(str(data / "photos"), crops=6, size=64, pairs="synthetic")
    found = np.asarray(load(source, tmp_path, Seed.root(1)), float)
    assert found.shape == (6, 64, 256, 3)
    x, side = split(found, mirror=False)
    best = []
    for a, b in zip(x, side, strict=True):
        error = [np.abs(a[:, :100] - b[:, d : 100 + d]).mean() for d in range(20)]
        best.append(int(np.argmin(error)))
        assert min(error) < 0.97 * error[0]
    assert min(best) >= 1


def test_levels_fill_stages_in_order():
    from linksim.model.dsc import DscConfig

    cfg = DscConfig(**options())
    counts = [[int(a.sum()) for a in arrived_at(cfg, level, 32, 48)] for level in (0, 0.5, 1, 2.25)]
    assert counts == [[0, 0, 0], [3, 0, 0], [6, 0, 0], [6, 24, 6]]


def test_k_means_finds_separate_clusters():
    rng = np.random.default_rng(0)
    centres = np.array([[0, 0], [9, 0], [0, 9]], np.float32)
    vectors = np.concatenate([c + rng.normal(0, 0.1, (50, 2)) for c in centres]).astype(np.float32)
    codes = k_means(vectors, 12, rng)
    assert np.sort(nearest(centres, codes)[1]).max() < 0.1
    assert perplexity(np.array([4, 4, 4, 0])) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("shares", "seen"),
    [
        ({"separate": 1}, {(0, 0)}),
        ({"distributed": 2, "joint": 2}, {(0, 1), (1, 1)}),
        (None, {(0, 0), (0, 1), (1, 1)}),
    ],
)
def test_modes_have_their_shares_of_a_batch(data, tmp_path, shares, seen):
    more = {} if shares is None else {"shares": shares}
    path = recipe(data, tmp_path / "run", batch=12, options=options(**more))
    run = prepare(load_config(path), path.parent)
    sees = [tuple(row) for step in range(3) for row in run.task.batch(step, run.net)["sees"]]
    assert set(sees) == seen
    if shares and len(shares) == 2:
        assert sees.count((0, 1)) == sees.count((1, 1))


@pytest.mark.parametrize("shares", [{"alone": 1}, {"joint": -1}, {"joint": 0}, 3, {"joint": "x"}])
def test_bad_shares_are_refused(data, tmp_path, shares):
    path = recipe(data, tmp_path / "run", options=options(shares=shares))
    with pytest.raises(ScenarioError, match=r"options\.shares.*must map modes"):
        prepare(load_config(path), path.parent)


def test_a_run_moves_codebooks_and_weights_and_exports_a_codec(data, tmp_path):
    path = recipe(data, tmp_path / "run")
    run = prepare(load_config(path), path.parent)
    before = {k: v.copy() for k, v in run.stepper.state().items() if k.startswith("weights/")}
    run.train()
    after = run.stepper.state()
    for name in ("q.stage0/codebook", "q.stage1/usage", "g_s.out/kernel", "prior.head0/kernel"):
        assert (after[f"weights/{name}"] != before[f"weights/{name}"]).any(), name
    assert not any(name.startswith("optimizer") and "codebook" in name for name in after)
    exported = export(load_config(path), path.parent, "small", tmp_path)
    image = pictures(1, 5, (64, 64))
    codec = Dsc(str(exported))
    packets = codec.encode(image[:, :32], np.array([400]))
    assert 0 < packets.num_bits()[0] <= 400

    more = recipe(
        data,
        tmp_path / "prior",
        model="dsc-prior",
        start_from=str(exported),
        freeze=["g_a", "g_s", "si", "q"],
    )
    second = prepare(load_config(more), more.parent)
    start = {k: v.copy() for k, v in second.stepper.state().items() if k.startswith("weights/")}
    second.train()
    end = second.stepper.state()
    moved = {k for k, v in start.items() if (end[k] != v).any()}
    assert moved and all(name.startswith("weights/prior") for name in moved)

    finer = recipe(
        data,
        tmp_path / "decoder",
        model="dsc-decoder",
        options=options(detail=6),
        start_from=[{"weights": str(exported)}],
        freeze=["g_a", "si", "q", "prior"],
    )
    third = prepare(load_config(finer), finer.parent)
    start = {k: v.copy() for k, v in third.stepper.state().items() if k.startswith("weights/")}
    third.train()
    end = third.stepper.state()
    moved = {k for k, v in start.items() if (end[k] != v).any()}
    assert moved and all(name.startswith("weights/g_s") for name in moved)
    assert {"weights/g_s.detail.out/kernel", "weights/g_s.out/kernel"} <= moved
    again = Dsc(str(export(load_config(finer), finer.parent, "finer", tmp_path)))
    assert (
        again.encode(image[:, :32], np.array([400])).of[0][0].data[1:] == packets.of[0][0].data[1:]
    )
