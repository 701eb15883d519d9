"""A mask token without a prior: what is drawn, and that learning it pays."""

from __future__ import annotations

import numpy as np
import pytest
from dsc_small import pictures
from tokens_small import write

from linksim import registry
from linksim.bench.mask_token import drawn, given, measure
from linksim.codec.tokens import TokenCodec


@pytest.fixture(scope="module")
def codec(tmp_path_factory) -> TokenCodec:
    return TokenCodec(write(tmp_path_factory.mktemp("tokens")))


def test_a_vector_shows_where_something_is_lost_alone(codec):
    engine = codec.painter
    index = codec.tokenise(pictures(2, 1, (64, 96))).astype(np.int64)
    lost = np.zeros(index.shape[:3], bool)
    some, other = engine.mean.sum(0), np.full_like(engine.mean[0], 3.0)
    whole = np.asarray(drawn(engine.net, *given(engine, index, lost), some))
    assert np.array_equal(whole, np.asarray(drawn(engine.net, *given(engine, index, lost), other)))
    lost[0, 1, 2] = True
    shown = [np.asarray(drawn(engine.net, *given(engine, index, lost), v)) for v in (some, other)]
    assert np.array_equal(shown[0][1], whole[1]) and np.array_equal(shown[1][1], whole[1])
    assert not np.array_equal(shown[0][0], shown[1][0])


@pytest.mark.assets
def test_learning_a_mask_token_pays_less_than_a_prior(assets):
    path = f"{assets}/faces128/val-000.tar"
    source = registry.create("images", {"name": "tar", "path": path, "limit": 20})
    images = np.stack([source.load(i) for i in range(20)])
    for found in measure(
        TokenCodec(), images[:16], [images[16:]], 8, loss_rate=0.3, steps=25, draws=2
    ):
        learned = [found[f"mask token learned on {aim}"] for aim in ("MSE", "LPIPS")]
        ours, whole = found["transformer"], found["nothing lost"]
        assert found["mean token"]["psnr"] < learned[0]["psnr"]
        assert max(one["psnr"] for one in learned) + 1 < ours["psnr"] < whole["psnr"]
        assert min(one["lpips-alex"] for one in learned) > ours["lpips-alex"] > whole["lpips-alex"]
    assert found["pictures"] == 4
