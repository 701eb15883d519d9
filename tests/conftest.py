"""Shared fixtures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long forms out unless they are asked for with ``-m slow``."""
    if "slow" in config.option.markexpr:
        return
    long = [item for item in items if item.get_closest_marker("slow")]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


@pytest.fixture(scope="session")
def assets() -> Path:
    """The folder that LINKSIM_ASSETS names; skipped where it is unset, failed where it is set and empty."""
    named = os.environ.get("LINKSIM_ASSETS")
    if not named:
        pytest.skip("LINKSIM_ASSETS is not set (development data: photos and metric weights)")
    folder = Path(named)
    assert (folder / "lpips").is_dir(), f"LINKSIM_ASSETS={named} has no lpips folder"
    return folder
