"""Every image metric that is registered, linksim's own and those of plug-ins alike."""

from __future__ import annotations

import numpy as np
import pytest

from linksim import registry
from linksim.errors import ComponentError, MissingAssetError


@pytest.mark.parametrize("name", registry.entries("metrics"))
def test_law(name: str) -> None:
    cls = registry.find("metrics", name).load()
    assert isinstance(cls.unit, str) and isinstance(cls.higher_is_better, bool)
    assert isinstance(cls.averaging, str) and cls.averaging
    with pytest.raises(ComponentError, match="has no parameter 'nonsense'"):
        registry.create("metrics", {"name": name, "nonsense": 1})
    try:
        metric = registry.create("metrics", name)
    except (ComponentError, MissingAssetError) as error:
        missing = error if isinstance(error, MissingAssetError) else error.__cause__
        assert isinstance(missing, MissingAssetError), error
        pytest.skip(str(missing))
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (3, 48, 64, 3), np.uint8)
    noisy = [np.clip(a + rng.normal(0, s, a.shape), 0, 255).astype(np.uint8) for s in (5, 50)]
    if hasattr(metric, "extractor"):
        features = metric.features(a)
        assert features.shape[0] == 3 and features.dtype == np.float32
        with pytest.raises(ValueError, match="at least"):
            metric.distance(features, features)
        return
    little, much = metric(a, noisy[0]), metric(a, noisy[1])
    for values in (little, much, metric(a, a)):
        assert values.shape == (3,) and values.dtype == np.float64 and np.isfinite(values).all()
    sign = 1 if metric.higher_is_better else -1
    assert (sign * metric(a, a) >= sign * little).all()
    assert (sign * little > sign * much).all()
