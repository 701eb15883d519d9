"""Training of the tokens: from a recipe to one file with tokeniser and transformer."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml
from dsc_small import pictures
from PIL import Image

from linksim.errors import ScenarioError
from linksim.model.store import load_bundle
from linksim.model.token_net import TokenConfig
from linksim.train.config import load_config
from linksim.train.export import export
from linksim.train.prepare import prepare
from linksim.train.token_prior_task import TokenPriorTask, random_order, stacked
from linksim.train.tokens_task import TokensTask

WIDTHS = {"width4": 8, "width8": 8, "width16": 8, "hidden4": 8, "hidden8": 8, "hidden16": 8}
TRANSFORMS = {**WIDTHS, "blocks8": 1, "latent": 12, "slices": [12]}
PRIOR = {"dim": 16, "heads": 2, "layers": 1, "hidden": 16, "rows": 4, "columns": 4, "tags": 2}
SMALL = {"dim": 6, "stages": 3, "codes": 32, "transforms": TRANSFORMS}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    for i, picture in enumerate(pictures(24, 5, (64, 64))):
        Image.fromarray(picture).save(folder / f"{i}.png")
    return folder


def recipe(data, output, **changes):
    faces = {"path": str(data), "size": 64}
    content = {
        "model": "tokens",
        "train": [faces],
        "validation": faces,
        "validation_images": 6,
        "output": str(output),
        "batch": 4,
        "steps": 30,
        "warmup": 2,
        "ema": 0.8,
        "log_every": 5,
        "validate_every": 30,
        "licence": "for tests alone",
        "options": SMALL,
        **changes,
    }
    path = output.parent / f"{output.name}.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def column(folder, name, file="log.csv"):
    head, *lines = [line.split(",") for line in (folder / file).read_text().splitlines()]
    return [float(line[head.index(name)]) for line in lines]


@pytest.fixture(scope="module")
def tokeniser(data, tmp_path_factory):
    """A trained tokeniser: PSNR before the first step by stages, the exported weights. Its run is beside them."""
    folder = tmp_path_factory.mktemp("tokens")
    path = recipe(data, folder / "run")
    run = prepare(load_config(path), path.parent)
    start = [row["psnr"] for row in run.task.validate(run.net, run.images)]
    run.train()
    return start, export(load_config(path), path.parent, "small", folder)


def test_the_start_is_already_a_codec_the_loss_falls_and_more_tokens_show_more(tokeniser):
    start, weights = tokeniser
    folder = weights.parent
    assert start[0] > 15 and start[-1] > start[0] + 1
    loss = column(folder / "run", "loss")
    assert loss[-1] < loss[0]
    psnr = column(folder / "run", "psnr", "validation.csv")
    assert len(psnr) == 3 and psnr == sorted(psnr)
    hurt = column(folder / "run", "psnr_lost", "validation.csv")
    assert all(a > b for a, b in zip(psnr, hurt, strict=True))
    bpp = column(folder / "run", "bpp", "validation.csv")
    for s, found in enumerate(bpp, 1):
        assert 3 * s / 256 < found < 5.5 * s / 256, (
            "about what five bits a token are at fixed length"
        )
    card = load_bundle(str(weights)).card
    assert card["architecture"]["prior"] is None
    assert TokensTask.differences(weights, card["golden"]) == []
    changed = json.loads(json.dumps(card["golden"]))
    changed[0]["tokens"] = [(t + 1) % 32 for t in changed[0]["tokens"]]
    assert len(TokensTask.differences(weights, changed)) == 3


def test_what_a_bit_is_worth_decides_how_many_are_spent(data, tokeniser, tmp_path):
    """Bands and Lagrange multipliers from a recipe: fewer bits, and more error, than the nearest codes."""
    plain = tokeniser[1].parent / "run"
    worth = {"bands": [[0, 6], [0, 4], [2, 6]], "lagrange": [5.0, 3.0, 2.0]}
    path = recipe(data, tmp_path / "run", options={**SMALL, **worth})
    prepare(load_config(path), path.parent).train()
    bpp, psnr = (column(tmp_path / "run", name, "validation.csv") for name in ("bpp", "psnr"))
    assert psnr == sorted(psnr)
    assert 0 < bpp[-1] < 0.8 * column(plain, "bpp", "validation.csv")[-1]
    assert psnr[-1] < column(plain, "psnr", "validation.csv")[-1]
    weights = export(load_config(path), path.parent, "cheap", tmp_path)
    bundle = load_bundle(str(weights))
    assert bundle.card["architecture"]["bands"] == worth["bands"]
    books = [bundle.arrays[f"q.stage{s}/codebook"] for s in range(3)]
    assert not books[1][:, 4:].any() and not books[2][:, :2].any()
    assert books[0][0].any() and not books[1][0].any() and not books[2][0].any()
    for wrong in ({"bands": [[0, 6]]}, {"bands": [[0, 9]] * 3}, {"lagrange": [-1.0, 0, 0]}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            TokenConfig(**{**SMALL, **wrong})


def test_the_transformer_learns_on_tokens_computed_once(data, tokeniser, tmp_path):
    _, weights = tokeniser
    path = recipe(
        data,
        tmp_path / "prior",
        model="token-prior",
        start_from=[{"weights": str(weights)}],
        freeze=["g_a", "g_s", "down", "up", "lost", "q"],
        options={**SMALL, "prior": PRIOR},
        steps=40,
        batch=8,
        learning_rate=5e-3,
        checkpoint_every=20,
        validate_every=40,
    )
    config = load_config(path)
    run = prepare(config, path.parent)
    kept = sorted((tmp_path / "prior" / "data").glob("tokens-*.npz"))
    assert len(kept) == 1
    stored = np.load(kept[0])["tokens"]
    assert stored.shape == (2, 24, 4, 4, 3)
    x = np.asarray(run.task.images.arrays[0][:5])
    for flip, shown in ((0, x), (1, x[:, :, ::-1])):
        assert (
            np.asarray(run.net.encode(shown.astype(np.float32))) == stored[flip][:5]
        ).mean() > 0.99
    share = np.bincount(stored[..., 1].ravel(), minlength=32) / stored[..., 1].size
    start = np.exp(run.net.prior.bias.numpy()[1])
    assert np.allclose(start / start.sum(), share, atol=2e-3)

    before = {k: v.copy() for k, v in run.stepper.state().items() if k.startswith("weights/")}
    run.train(until=20)
    again = prepare(config, path.parent)  # as after a kill
    assert again.step == 20
    one, two = (r.task.batch(20, r.net) for r in (run, again))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    run.train()
    end = run.stepper.state()
    moved = {k for k, v in before.items() if (end[k] != v).any()}
    assert moved and all(name.startswith("weights/prior") for name in moved)
    bits = column(tmp_path / "prior", "bits")
    assert bits[-1] < bits[0] - 0.05
    row = run.validate()[1]
    assert row["stages"] == 2 and row["fixed"] == 5 and row["order0"] < 5.1
    assert row["layered"] < row["order0"], "what it has learned helps"
    assert row["estimate_20"] < 1

    both = export(config, path.parent, "both", weights.parent)
    assert all(name.startswith("prior") for name in np.load(both).files), "the rest lies elsewhere"
    bundle = load_bundle(str(both))
    assert bundle.card["architecture"]["prior"]["dim"] == 16
    assert np.array_equal(
        bundle.arrays["g_a.stem/kernel"], load_bundle(str(weights)).arrays["g_a.stem/kernel"]
    )
    assert TokenPriorTask.differences(both, bundle.card["golden"]) == []
    # under the tokeniser's own name one file holds all, and what shares with the old one shares with it
    joined = tmp_path / "joined"
    one = export(config, path.parent, "small", joined)
    assert len(np.load(one).files) == len(bundle.arrays)
    export(config, path.parent, "other", joined)
    assert len(np.load(joined / "other.npz").files) < len(bundle.arrays)
    assert (
        load_bundle(str(joined / "other.npz")).card["shared"][0]["sha256"]
        == load_bundle(str(one)).card["sha256"]
    )
    wrong = json.loads(json.dumps(bundle.card["golden"]))
    wrong[0]["bits"]["intra"] *= 1.1
    assert len(TokenPriorTask.differences(both, wrong)) == 1


def test_a_transformer_needs_a_tokeniser_and_sizes(data, tokeniser, tmp_path):
    path = recipe(data, tmp_path / "a", model="token-prior", options={**SMALL, "prior": PRIOR})
    with pytest.raises(ScenarioError, match="must fill the tokeniser"):
        prepare(load_config(path), path.parent)
    path = recipe(data, tmp_path / "b", model="token-prior")
    with pytest.raises(ScenarioError, match="must hold the prior's sizes"):
        prepare(load_config(path), path.parent)


def test_orders_cover_all_rates_and_shares():
    rng = np.random.default_rng(0)
    known, depth = [], []
    for _ in range(300):
        order = random_order((4, 4), 3, float(rng.random()), rng)
        assert order.depth.min() >= 0 and order.depth.max() <= 3
        assert np.ptp(order.depth) <= 1
        assert np.array_equal(order.rounds < 0, order.depth == 0)
        for i in np.flatnonzero(order.depth):
            same = (order.groups == order.groups[i]) & (order.depth > 0)
            known.append((same & (order.rounds < order.rounds[i])).sum())
        depth.append(order.depth.sum())
    counts = np.bincount(known, minlength=16)
    assert (counts > 0).all(), "everything from nothing to all the others is met"
    assert np.ptp(depth) > 40
    batch = stacked([order, order])
    assert batch["rounds"].shape == (2, 16) and batch["rounds"].dtype == np.int32


@pytest.mark.assets
def test_another_decoder_for_the_same_tokens(assets, data, tokeniser, tmp_path):
    _, weights = tokeniser
    path = recipe(
        data,
        tmp_path / "seen",
        model="tokens-perceptual",
        start_from=[{"weights": str(weights)}],
        freeze=["g_a", "down", "q"],
        options={**SMALL, "perceptual": {"lpips": 1.0, "adversarial": 0.01}},
        steps=2,
        log_every=1,
        validate_every=2,
    )
    prepare(load_config(path), path.parent).train()
    assert np.isfinite(column(tmp_path / "seen", "critic")).all()
    lpips = column(tmp_path / "seen", "lpips_alex", "validation.csv")
    assert len(lpips) == 3 and 0 < lpips[-1] < lpips[0]
    before = load_bundle(str(weights)).arrays
    after = load_bundle(str(export(load_config(path), path.parent, "seen", tmp_path))).arrays
    assert set(before) == set(after), "the critic stays behind"
    moved = {
        name.split("/")[0].split(".")[0] for name in before if (before[name] != after[name]).any()
    }
    assert moved == {"g_s", "up", "lost"}
