"""Units and budgets."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linksim import units


def test_decibels():
    np.testing.assert_allclose(
        units.db_to_linear([-10, 0, 3, 10]), [0.1, 1, 1.99526, 10], rtol=1e-5
    )
    assert units.linear_to_db(0.0) == -np.inf
    assert float(units.linear_to_db(100)) == pytest.approx(20)


@given(st.floats(-200, 200))
def test_decibels_round_trip(db):
    assert float(units.linear_to_db(units.db_to_linear(db))) == pytest.approx(db, abs=1e-9)


def test_n0_is_the_noise_power_of_a_complex_symbol():
    assert units.n0_from_es_n0_db(0.0) == 1.0
    assert units.n0_from_es_n0_db(10.0) == pytest.approx(0.1)
    assert units.n0_from_es_n0_db(-3.0) == pytest.approx(1.99526, rel=1e-5)
    assert units.n0_from_es_n0_db(math.inf) == 0.0


@pytest.mark.parametrize("bad", [math.nan, -math.inf])
def test_bad_snr(bad):
    with pytest.raises(ValueError, match="es_n0_db must be a number above -inf"):
        units.n0_from_es_n0_db(bad)


def test_eb_n0():
    assert units.eb_n0_db_from_es_n0_db(10.0, 4.0) == pytest.approx(3.979, abs=1e-3)
    assert units.eb_n0_db_from_es_n0_db(3.0, 1.0) == 3.0


@pytest.mark.parametrize(
    ("cbr", "size", "uses"),
    [
        (1 / 24, (128, 128), 2048),
        (1 / 48, (512, 768), 24576),
        (1 / 6, (1, 1), 0),
        (0.1, (10, 10), 30),
        (1 / 3, (7, 1), 7),
    ],
)
def test_channel_uses(cbr, size, uses):
    assert units.channel_uses(cbr, *size) == uses


@given(st.integers(1, 5000), st.integers(1, 300), st.integers(1, 300))
def test_a_ratio_of_whole_uses_gives_them_back(uses, height, width):
    assert units.channel_uses(uses / (3 * height * width), height, width) == uses


@pytest.mark.parametrize("bad", [0.0, -1.0, math.nan, math.inf])
def test_bad_budgets(bad):
    with pytest.raises(ValueError, match="cbr must be a positive number"):
        units.channel_uses(bad, 8, 8)
    with pytest.raises(ValueError, match="bpp must be a positive number"):
        units.payload_bits(bad, 8, 8)


@pytest.mark.parametrize(
    ("bpp", "size", "bits"), [(0.5, (128, 128), 8192), (0.1, (10, 10), 8), (0.05, (10, 10), 0)]
)
def test_payload_bits_are_whole_bytes(bpp, size, bits):
    assert units.payload_bits(bpp, *size) == bits
