"""One cache folder for all tests here, so that a codec's ladder is encoded once a session, and photos to code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def ladder_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("ladders")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LINKSIM_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def photos() -> np.ndarray:
    """[2, 64, 64, 3] uint8."""
    from skimage import data

    return np.stack([data.astronaut()[60:124, 190:254], data.coffee()[150:214, 250:314]])
