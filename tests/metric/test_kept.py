"""Features of originals from run to run: computed once, exact, bounded, whatever becomes of the files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from linksim import runner, scenario
from linksim.metric import kept
from linksim.metric.frechet_lpips import FrechetLpipsAlex

IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 9, 3), np.uint8)


class Counting:
    """A metric whose features cost a count."""

    extractor = "counting"

    def __init__(self, weights: str = "w1") -> None:
        self.seen, self.weights = 0, weights

    def weights_digest(self) -> str:
        return self.weights

    def features(self, images: np.ndarray) -> np.ndarray:
        self.seen += len(images)
        flat = images.reshape(len(images), int(np.prod(images.shape[1:])))
        return flat[:, :40].astype(np.float32) / 7


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path))
    return tmp_path / "features"


def test_computed_once_by_content_and_weights(own_folder: Path) -> None:
    first, again = Counting(), Counting()
    want = first.features(IMAGES)
    np.testing.assert_array_equal(kept.features(first, IMAGES[:4]), want[:4])
    np.testing.assert_array_equal(kept.features(again, IMAGES[::-1]), want[::-1])
    assert again.seen == 2
    for other, images in (
        (Counting("w2"), IMAGES),
        (Counting(), IMAGES ^ 1),
        (Counting(), IMAGES.reshape(6, 9, 8, 3)),
    ):
        kept.features(other, images)
        assert other.seen == 6
    assert kept.features(again, IMAGES[:0]).shape == (0, 40)
    assert not list(own_folder.rglob("*.tmp"))


def test_a_metric_that_does_not_tell_its_weights_is_asked_each_time(own_folder: Path) -> None:
    metric = Counting()
    metric.weights_digest = None  # type: ignore[assignment, method-assign]
    for _ in range(2):
        kept.features(metric, IMAGES)
    assert metric.seen == 12 and not own_folder.exists()


@pytest.mark.parametrize(
    "damage", [lambda b: b[:-3], lambda b: b"", lambda b: b[:30] + b"x" + b[31:]]
)
def test_damaged_files_are_made_again(damage, own_folder: Path) -> None:
    want = kept.features(Counting(), IMAGES)
    files = list(own_folder.rglob("*.features"))
    assert len(files) == 6
    for file in files:
        file.write_bytes(damage(file.read_bytes()))
    metric = Counting()
    np.testing.assert_array_equal(kept.features(metric, IMAGES), want)
    assert metric.seen == 6
    kept.features(metric, IMAGES)
    assert metric.seen == 6


def test_the_folder_is_bounded_and_the_longest_unused_go(own_folder: Path, monkeypatch) -> None:
    size = len(kept.dump(np.zeros(40, np.float32)))
    monkeypatch.setattr(kept, "LIMIT", 256 * 2 * size)
    images = np.random.default_rng(1).integers(0, 256, (2000, 4, 4, 3), np.uint8)
    for start in range(0, 2000, 500):
        kept.features(Counting(), images[start : start + 500])
        kept.features(Counting(), images[:1])  # in use
    held = [len(list(folder.iterdir())) for folder in own_folder.iterdir()]
    assert max(held) == 2 and len(held) > 200
    metric = Counting()
    kept.features(metric, images[:1])
    assert metric.seen == 0


def test_a_disk_that_refuses_costs_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "write_atomically", full)
    with pytest.warns(UserWarning, match=r"cannot be kept in .* \(No space left on device\)"):
        assert kept.features(Counting(), IMAGES).shape == (6, 40)


@pytest.mark.assets
def test_a_second_run_computes_no_features_of_originals(tmp_path: Path, monkeypatch) -> None:
    """Through the runner; the network itself is left out, its weights' digest is the real one."""
    seen: list[int] = []

    def counted(self, images):
        seen.append(len(images))
        return images.reshape(len(images), -1)[:, :1152].astype(np.float32)

    monkeypatch.setattr(FrechetLpipsAlex, "features", counted)
    study = tmp_path / "study.yaml"
    study.write_text(
        "images: {source: samples, size: 48, limit: 4}\nlink: phy\nchannels: [awgn]\n"
        "axes: {es_n0_db: 8, cbr: 0.2}\nsystems: [softcast]\nmetrics: [frechet-lpips-alex]\nbatch: 2\n"
    )
    from linksim.results import RunFolder

    counts, references = [], []
    for name in ("one", "two"):
        seen.clear()
        assert not runner.run(scenario.load(study), tmp_path / name).failed
        counts.append(sum(seen))
        references.append(RunFolder(tmp_path / name).reference("lpips-alex-pooled"))
    assert counts == [4 + 4, 4]
    np.testing.assert_array_equal(*references)
