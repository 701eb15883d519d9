"""The built-in photographs."""

import numpy as np
import pytest

from linksim.image import samples
from linksim.image.samples import Samples
from linksim.image.source import ImageSource


def test_at_least_twelve_different_colour_crops():
    source = Samples(size=128)
    assert isinstance(source, ImageSource)
    assert len(source) >= 12
    images = list(source)
    assert all(i.shape == (128, 128, 3) and i.dtype == np.uint8 for i in images)
    assert len({source.digest(i) for i in range(len(source))}) == len(source)
    assert len({source.key(i) for i in range(len(source))}) == len(source)
    for image in images[:12]:
        spread = image.astype(float).std((0, 1))
        assert spread.max() > 15, "a crop with next to nothing in it"
        assert np.abs(image[..., 0].astype(int) - image[..., 2]).mean() > 3, "a grey picture"
    flat = np.stack(images[:12]).reshape(12, -1)
    assert np.abs(np.corrcoef(flat) - np.eye(12)).max() < 0.9, "two crops look alike"


def test_size_and_limit():
    source = Samples(size=48, limit=3)
    assert len(source) == 3 and source.size(2) == (48, 48)
    assert source.load(2).shape == (48, 48, 3)
    with pytest.raises(IndexError):
        source.load(3)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"size": 0}, "size: must be a whole number 1..8192, got 0"),
        ({"size": None}, "size: must be a whole number"),
        ({"size": "big"}, "size: must be a whole number 1..8192, got 'big'"),
        ({"limit": 0}, "limit: must be a whole number"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(ValueError, match=message):
        Samples(**parameters)


def test_photographs_are_not_there(monkeypatch, tmp_path):
    monkeypatch.setattr(samples, "photo_folder", lambda: tmp_path)
    with pytest.raises(samples.MissingAssetError, match="pip install scikit-image"):
        Samples().load(0)
