"""Pictures that are encoded together come out as if alone, however many they are."""

import numpy as np
import pytest

from linksim import registry


@pytest.mark.parametrize("count", [1, 7, 8, 10])
def test_any_number_of_pictures(count):
    codec = registry.create("codecs", {"name": "vvc", "preset": "fast"})
    rng = np.random.default_rng(0)
    images = [np.full((64, 64, 3), 40 + 10 * i, np.uint8) for i in range(count)]
    images = [i + rng.integers(0, 9, i.shape, np.uint8) for i in images]
    together = codec.compress(images, 45)
    assert len(together) == count
    assert together[-1] == codec.compress(images[-1:], 45)[0]
