"""LPIPS: published values, layers, batching, gradients, missing and damaged weights."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from linksim.errors import ComponentError, MissingAssetError

# assets/SOURCES.md: d(ex_ref, ex_p0) and d(ex_ref, ex_p1) of the authors' code, version 0.1
GOLDEN = {"alex": (0.7219, 0.1376), "squeeze": (0.7110, 0.1479)}


def metric(backbone: str):
    from linksim.metric.lpips import LpipsAlex, LpipsSqueeze

    return {"alex": LpipsAlex, "squeeze": LpipsSqueeze}[backbone]()


def check_image(assets: Path, name: str) -> np.ndarray:
    from PIL import Image

    return np.asarray(Image.open(assets / "lpips" / "check_images" / f"{name}.png").convert("RGB"))


@pytest.mark.assets
@pytest.mark.parametrize("backbone", ["alex", "squeeze"])
def test_published_values(assets: Path, backbone: str) -> None:
    reference = np.stack([check_image(assets, "ex_ref")] * 3)
    image = np.stack([check_image(assets, name) for name in ("ex_p0", "ex_p1", "ex_ref")])
    got = metric(backbone)(reference, image)
    assert got.dtype == np.float64
    np.testing.assert_allclose(got[:2], GOLDEN[backbone], atol=1e-3)
    assert got[2] == 0


@pytest.mark.assets
@pytest.mark.parametrize("backbone", ["alex", "squeeze"])
def test_batch_and_order_do_not_matter(assets: Path, backbone: str) -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 37, 71, 64, 3), np.uint8)
    scored = metric(backbone)
    whole = scored(a, b)
    np.testing.assert_allclose(scored(a[5:6], b[5:6]), whole[5:6], rtol=1e-5)
    np.testing.assert_allclose(scored(b, a), whole, rtol=1e-5)
    np.testing.assert_array_equal(
        scored(a, b), whole
    )  # the kept taps of the reference change nothing
    other = a.copy()
    other[0] ^= 255
    assert scored(other, b)[0] != whole[0]
    np.testing.assert_allclose(scored(other, b)[1:], whole[1:], rtol=1e-6)


@pytest.mark.assets
def test_sizes(assets: Path) -> None:
    for backbone, least in (("alex", 31), ("squeeze", 17)):
        a = np.random.default_rng(1).integers(0, 256, (1, least, least + 9, 3), np.uint8)
        scored = metric(backbone)
        assert scored(a, 255 - a)[0] > 0
        assert np.isnan(scored(a[:, 1:], a[:, 1:])).all()
        assert scored(a[:0], a[:0]).shape == (0,)
        with pytest.raises(ValueError, match="one shape"):
            scored(a, a[:, 1:])
        with pytest.raises(ValueError, match="uint8"):
            scored(a.astype(np.float32), a)


@pytest.mark.assets
def test_differentiable(assets: Path) -> None:
    import tensorflow as tf

    from linksim.metric.lpips import load_weights
    from linksim.model.lpips import lpips_distance

    weights = load_weights("alex")
    rng = np.random.default_rng(2)
    a = tf.constant(rng.uniform(-1, 1, (1, 40, 40, 3)), tf.float32)
    b = tf.Variable(tf.clip_by_value(a + rng.normal(0, 0.2, a.shape).astype(np.float32), -1, 1))
    with tf.GradientTape() as tape:
        before = lpips_distance(weights, a, b)[0]
    slope = tape.gradient(before, b)
    assert np.isfinite(slope).all()
    # Equal pictures: the gradient is zero, not NaN; and a step down the slope lowers the distance as it promises.
    step = 1e-3 / tf.norm(slope)
    after = lpips_distance(weights, a, b - step * slope)[0]
    assert float(before - after) == pytest.approx(1e-3 * float(tf.norm(slope)), rel=0.1)
    with tf.GradientTape() as tape:
        tape.watch(a)
        same = lpips_distance(weights, tf.stop_gradient(a), a)[0]
    np.testing.assert_allclose(tape.gradient(same, a), 0, atol=1e-7)
    flat = tf.Variable(tf.zeros((1, 40, 40, 3)))
    with tf.GradientTape() as tape:
        loss = lpips_distance(weights, a, flat)[0]
    assert np.isfinite(tape.gradient(loss, flat)).all()


@pytest.mark.parametrize("size", [(17, 31), (64, 50), (33, 36), (2, 3)])
def test_pooling_is_that_of_ceil_mode(size: tuple[int, int]) -> None:
    from linksim.model.lpips import _pool_ceil

    x = np.random.default_rng(0).uniform(0, 1, (1, *size, 2)).astype(np.float32)
    got = np.asarray(_pool_ceil(x))
    rows, cols = (-(-(n - 3) // 2) + 1 for n in size)
    want = [
        [x[0, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3].max((0, 1)) for j in range(cols)]
        for i in range(rows)
    ]
    np.testing.assert_array_equal(got[0], want)


def test_pictures_of_many_sizes_share_a_graph() -> None:
    """Tracing takes a second or so; TensorFlow would warn of one for each size."""
    from linksim.metric.lpips import compiled

    double = compiled(lambda x: 2 * x)
    for size in range(1, 9):
        x = np.full((size, 3), size, np.float32)
        np.testing.assert_array_equal(np.asarray(double(x)), 2 * x)
    assert double.experimental_get_tracing_count() <= 2


def test_chunks_cover_a_batch_with_few_shapes() -> None:
    from linksim.metric.lpips import chunks

    for batch in (0, 1, 5, 32, 33, 100):
        cut = list(chunks(batch, 128, 128))
        assert [i for part, _ in cut for i in range(batch)[part]] == list(range(batch))
        for part, size in cut:
            assert part.stop - part.start <= size <= 16 and size.bit_count() == 1
    assert list(chunks(2, 4000, 4000)) == [(slice(0, 1), 1), (slice(1, 2), 1)]


def test_weights_that_do_not_fit() -> None:
    from linksim.model.lpips import LpipsWeights

    with pytest.raises(ComponentError, match=r"LPIPS alex: the weights lack 0\.weight"):
        LpipsWeights.from_torch("alex", {}, {})
    with pytest.raises(ComponentError, match=r"features|0\.weight has shape"):
        LpipsWeights.from_torch("squeeze", {"features.0.weight": np.zeros((64, 3, 11, 11))}, {})


def test_absent_weights_are_told_at_once_and_lightly(tmp_path: Path) -> None:
    code = f"""
import os, sys
os.environ.update(LINKSIM_CACHE={str(tmp_path)!r}, LINKSIM_ASSETS={str(tmp_path)!r})
from linksim.errors import MissingAssetError
from linksim.metric import fid, frechet_lpips, lpips
for cls in (lpips.LpipsAlex, lpips.LpipsSqueeze, fid.Fid, fid.Kid, frechet_lpips.FrechetLpipsAlex):
    try:
        cls()
    except MissingAssetError as error:
        assert "linksim assets fetch" in str(error)
    else:
        raise AssertionError(cls)
print([m for m in ("tensorflow", "keras", "scipy", "pooch") if m in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_damaged_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from linksim import assets
    from linksim.metric.lpips import LpipsAlex, load_weights, read_backbone

    monkeypatch.setenv("LINKSIM_ASSETS", str(tmp_path))
    (tmp_path / "lpips").mkdir()
    for name in ("lpips-alex-heads", "lpips-alex-backbone"):
        file = assets.ASSETS[name].files[-1]
        (tmp_path / file.path).write_bytes(bytes(file.size))
    for make in (LpipsAlex, lambda: load_weights.__wrapped__("alex")):
        with pytest.raises(MissingAssetError, match="has SHA-256"):
            make()
    with pytest.raises(ComponentError, match="not a readable weights file"):
        read_backbone(tmp_path / "lpips" / "alexnet_features_torchvision_layout.npz")


TOLERANCE = 1e-6  # of LPIPS, over thread counts and batch sizes
IN_A_PROCESS = """
import sys
import numpy as np
from linksim.metric.lpips import lpips
pictures = np.random.default_rng(5).integers(0, 256, (2, 6, 64, 64, 3), np.uint8)
pictures[1] = (pictures[0] // 2 + pictures[1] // 2)
found = [
    [lpips(net, *(p[i : i + batch] for p in pictures)) for i in range(0, 6, batch)]
    for net in ("alex", "squeeze")
    for batch in (1, 2, 3, 6)
]
np.save(sys.argv[1], np.array([np.concatenate(f) for f in found]))
"""


@pytest.mark.assets
def test_thread_counts_and_batch_sizes_change_nothing_that_matters(
    assets: Path, tmp_path: Path
) -> None:
    """Workers have other thread counts than one process, and a machine other ones than the next."""
    found = []
    for threads in ("1", "3"):
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS, str(tmp_path / f"{threads}.npy")],
            env={**os.environ, **dict.fromkeys(names, threads), "LINKSIM_ASSETS": str(assets)},
            check=True,
            capture_output=True,
        )
        found.append(np.load(tmp_path / f"{threads}.npy").reshape(2, 4, 6))
    one, three = found
    assert (one > 0.01).all()
    np.testing.assert_allclose(three, one, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(one, one[:, 3:].repeat(4, axis=1), rtol=0, atol=TOLERANCE)
