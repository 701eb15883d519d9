"""FID, KID and the LPIPS-Frechet distance: loader on a synthetic graph, the sample rule, the names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from linksim.errors import ComponentError
from linksim.metric import fid
from linksim.metric.fid import Fid, Kid
from linksim.metric.frechet import frechet_distance, kernel_distance
from linksim.metric.frechet_lpips import FrechetLpipsAlex


def synthetic_graph(path: Path, *, entry: str = "ExpandDims", channels: int = 2048) -> Path:
    """A graph with the nodes of the original's two ends, frozen for one JPEG: a coarse strided convolution between."""
    import tensorflow as tf

    v1 = tf.compat.v1
    kernel = np.random.default_rng(0).normal(0, 0.1, (37, 37, 3, channels)).astype(np.float32)
    with tf.Graph().as_default() as graph:
        contents = v1.constant(b"", name="DecodeJpeg/contents")
        decoded = tf.cast(v1.image.decode_jpeg(contents, channels=3), tf.float32, name="Cast")
        one = tf.expand_dims(decoded, 0, name=entry)
        resized = v1.image.resize_bilinear(one, [299, 299], name="ResizeBilinear")
        scaled = tf.multiply(tf.subtract(resized, 128.0, name="Sub"), 1 / 128, name="Mul")
        maps = tf.nn.relu(v1.nn.conv2d(scaled, kernel, [1, 37, 37, 1], "VALID", name="conv"))
        pooled = v1.nn.avg_pool(maps, [1, 8, 8, 1], [1, 1, 1, 1], "VALID", name="pool_3")
        flat = tf.reshape(pooled, [1, channels], name="pool_3/_reshape")
        tf.nn.softmax(flat, name="softmax")
        path.write_bytes(graph.as_graph_def(add_shapes=True).SerializeToString())
    return path


def test_loader_runs_a_batch_through_a_graph_frozen_for_one(tmp_path: Path) -> None:
    import tensorflow as tf

    from linksim.metric.inception import load_graph

    path = synthetic_graph(tmp_path / "graph.pb")
    extract = load_graph(path)
    images = np.random.default_rng(1).integers(0, 256, (19, 40, 56, 3), np.uint8)
    got = extract(images)
    assert got.shape == (19, 2048) and got.dtype == np.float32
    np.testing.assert_allclose(extract(images[7:8])[0], got[7], rtol=1e-4, atol=1e-5)
    assert extract(images[:0]).shape == (0, 2048)

    # As the original's users ran it: one image into the whole graph, in a session.
    v1 = tf.compat.v1
    graph_def = v1.GraphDef.FromString(path.read_bytes())
    with tf.Graph().as_default() as graph, v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(graph_def, name="")
        want = session.run("pool_3:0", {"ExpandDims:0": images[3:4].astype(np.float32)})
    np.testing.assert_allclose(got[3], want.ravel(), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="uint8"):
        extract(images.astype(np.float32))


def test_loader_refuses_other_graphs(tmp_path: Path) -> None:
    from linksim.metric.inception import load_graph

    with pytest.raises(ComponentError, match="has no node ExpandDims"):
        load_graph(synthetic_graph(tmp_path / "other.pb", entry="Other", channels=8))
    (tmp_path / "noise.pb").write_bytes(b"\xff" * 50)
    with pytest.raises(ComponentError, match=r"noise\.pb is not a TensorFlow graph"):
        load_graph(tmp_path / "noise.pb")
    narrow = load_graph(synthetic_graph(tmp_path / "narrow.pb", channels=8))
    with pytest.raises(ComponentError, match="has 8 values an image, not 2048"):
        narrow(np.zeros((1, 32, 32, 3), np.uint8))


@pytest.fixture
def weights_present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fid.assets, "locate", lambda name: Path("present"))
    monkeypatch.setattr(fid.assets, "verified", lambda name: Path("present"))


@pytest.mark.usefixtures("weights_present")
def test_sample_rule() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 600, 5))
    for metric, name, distance in (
        (Fid(), "fid", frechet_distance),
        (Kid(), "kid", kernel_distance),
        (FrechetLpipsAlex(), "frechet-lpips-alex", frechet_distance),
    ):
        assert metric.min_images == 500
        assert metric.distance(a, b) == distance(a, b)
        with pytest.raises(ValueError, match=f"{name} needs at least 500 images, got 499"):
            metric.distance(a, b[:499])
        with pytest.raises(ValueError, match="min_images must be at least 2"):
            type(metric)(min_images=1)
        assert type(metric)(min_images=20).distance(a[:20], b[:20]) == distance(a[:20], b[:20])


@pytest.mark.usefixtures("weights_present")
def test_names_and_honesty() -> None:
    assert Fid().extractor == Kid().extractor == "inception-2015-12-05"
    assert FrechetLpipsAlex().extractor != Fid().extractor
    assert not Fid.verified and not Kid.verified  # until a published value has been reproduced
    assert not any(m.higher_is_better for m in (Fid(), Kid(), FrechetLpipsAlex()))


@pytest.mark.assets
def test_lpips_features(assets: Path) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 48, 48, 3), np.uint8)
    metric = FrechetLpipsAlex(min_images=40)
    features = metric.features(images)
    assert features.shape == (40, 1152) and features.dtype == np.float32
    np.testing.assert_allclose(metric.features(images[9:10])[0], features[9], rtol=1e-4, atol=1e-6)
    assert metric.features(images[:0]).shape == (0, 1152)
    assert metric.distance(features, features) == pytest.approx(0, abs=1e-9)
    grey = metric.features((images // 2) + 64)
    assert metric.distance(features, grey) > 1e-3
    with pytest.raises(ValueError, match="at least 31 px"):
        metric.features(images[:, :30])
