"""The spectrum model and its fields."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from linksim.joint import bitfield, spectrum
from linksim.joint import side as side_info


@given(st.lists(st.tuples(st.integers(1, 14), st.integers(0, 2**14)), max_size=30))
def test_bitfields_round_trip(fields):
    widths = [w for w, _ in fields]
    values = [v % (1 << w) for w, v in fields]
    data = bitfield.pack(values, widths)
    assert len(data) == -(-sum(widths) // 8)
    assert bitfield.unpack(data, widths) == values
    assert bitfield.unpack(data + b"\0", widths) is None


def test_bitfield_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="8 does not fit 3 bits"):
        bitfield.pack([8], [3])


def synthetic(shape, level, height, width, seed=0):
    rng = np.random.default_rng(seed)
    variance = np.exp2(spectrum.relative(shape, height, width) + level)
    return variance * rng.standard_normal(variance.shape) ** 2


def test_fit_finds_the_parameters_that_made_the_spectrum():
    given_shape = spectrum.Shape(
        *(np.array([v]) for v in (5, 9, 5, 1)), refine=np.zeros((1, 0), np.int64)
    )
    energy = synthetic(given_shape, 24.0, 128, 128)
    found = spectrum.fit(energy, 0)
    for name in ("chroma1", "chroma2", "slope", "tilt"):
        assert abs(int(getattr(found, name)[0]) - int(getattr(given_shape, name)[0])) <= 1, name


def test_refinement_lowers_the_error_of_the_fit():
    rng = np.random.default_rng(1)
    shape = spectrum.Shape(
        *(np.array([v]) for v in (5, 9, 4, 3)), refine=rng.integers(0, 8, (1, 60))
    )
    energy = synthetic(shape, 24.0, 128, 128)

    def error(refined):
        found = spectrum.relative(spectrum.fit(energy, refined), 128, 128)
        rest = found - spectrum.relative(shape, 128, 128)
        return np.std(rest[:, 0, :16, :16])

    assert error(60) < 0.6 * error(0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (16, 16), (100, 37), (512, 768)])
@pytest.mark.parametrize("with_snr", [False, True])
def test_side_information_round_trip(size, with_snr):
    rng = np.random.default_rng(0)
    refined = min(7, spectrum.num_cells(*size))
    batch = 3
    shape = spectrum.Shape(
        rng.integers(0, 16, batch),
        rng.integers(0, 16, batch),
        rng.integers(0, 8, batch),
        rng.integers(0, 8, batch),
        rng.integers(0, 8, (batch, refined)),
    )
    told = side_info.Side(
        *size,
        rng.integers(0, [64, 32, 32], (batch, 3)),
        rng.integers(0, 512, batch),
        shape,
        rng.integers(0, 8, batch) if with_snr else None,
    )
    packets = side_info.pack(told)
    assert {8 * len(p) for p in packets} == {side_info.num_bits(*size, refined, with_snr)}
    for b, data in enumerate(packets):
        assert side_info.read_size(data) == size
        read = side_info.unpack(data, refined, with_snr)
        assert read is not None and read.level[0] == told.level[b]
        np.testing.assert_array_equal(read.means[0], told.means[b])
        np.testing.assert_array_equal(read.shape.refine[0], shape.refine[b])
        assert read.shape.tilt[0] == shape.tilt[b] and read.shape.chroma1[0] == shape.chroma1[b]
        if with_snr:
            assert read.snr[0] == told.snr[b]


def test_means_cover_every_colour():
    from linksim.joint.softcast import PLANES

    corners = np.array([[r, g, b] for r in (0, 255) for g in (0, 255) for b in (0, 255)])
    code = side_info.quantise_means(corners @ PLANES.T)
    values = np.array(side_info.MEAN_LOW) + code * np.array(side_info.MEAN_STEP)
    assert (np.abs(values - corners @ PLANES.T) <= np.array(side_info.MEAN_STEP) / 2 + 1).all()


def test_a_size_that_cannot_be_named():
    with pytest.raises(ValueError, match=r"pictures of 1\.\.16383 pixels a side"):
        side_info.num_bits(20000, 3, 0, False)
