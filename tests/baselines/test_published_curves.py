from __future__ import annotations

import pytest

from baselines.published import curve, curves
from linksim.errors import UnknownNameError


def test_every_curve_names_its_source_and_settings() -> None:
    assert len(curves()) >= 5
    for name, entry in curves().items():
        assert name == entry.name
        assert len(entry.source) > 20 and len(entry.settings) > 20 and entry.data
        assert entry.x in ("cbr", "bpp", "es_n0_db")
        x, psnr = entry.line("psnr")
        assert x == sorted(x) and psnr == sorted(psnr) and len(x) >= 2
        assert all(15 < value < 45 for value in psnr)


def test_kodak_points() -> None:
    assert curve("ntscc-kodak-awgn10").line("psnr") == ([0.029, 0.065], [30.9, 34.35])
    assert curve("neural-dsc-kitti").line("ms-ssim")[1][-1] == 0.976


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'ntscc-kodak-awgn10'"):
        curve("ntscc-kodak-awgn")
    with pytest.raises(UnknownNameError, match="no metric 'lpips'"):
        curve("dsin-kitti").line("lpips")
