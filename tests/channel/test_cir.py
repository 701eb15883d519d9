"""Impulse responses from files: what is played back, how it is scaled, and files that are refused."""

import math
import zipfile

import h5py
import numpy as np
import pytest

from linksim import registry
from linksim.channel.cir import Cir
from linksim.channel.cir_file import open_file, write
from linksim.channel.ofdm.grid import Grid
from linksim.errors import ComponentError
from linksim.seeds import FrameSeeds


def drawn(num, *shape, seed=0):
    return FrameSeeds.of(seed, num).complex_normal(math.prod(shape)).reshape(num, *shape)


def gains(channel, frames=3000, symbols=1):
    x = np.zeros((frames, symbols), np.complex64)
    return np.abs(channel(x, 0.0, FrameSeeds.of(5, frames)).full()[1].astype(np.complex128)) ** 2


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_what_is_written_is_read(tmp_path, suffix):
    h, delays = drawn(5, 2, 3, 4), np.arange(3) * 1e-7
    file = open_file(write(tmp_path / f"set{suffix}", h, delays, 500.0))
    assert file.shape == (5, 2, 3, 4) and file.sample_rate_hz == 500
    np.testing.assert_array_equal(file.read(np.array([4, 0, 4])), h[[4, 0, 4]])
    np.testing.assert_array_equal(file.delays_s, delays)
    np.testing.assert_allclose(file.tap_powers(), (np.abs(h) ** 2).mean((1, 3)), rtol=1e-6)
    assert isinstance(file.h, np.memmap if suffix == ".npz" else h5py.Dataset), "lazily"
    assert not list(tmp_path.glob("*.tmp"))
    np.savez_compressed(tmp_path / "packed.npz", h=h[:, 0], delays_s=delays, sample_rate_hz=500.0)
    np.testing.assert_array_equal(open_file(tmp_path / "packed.npz").read(np.arange(5)), h[:, :1])


def test_a_flat_set_is_played_back(tmp_path):
    h = drawn(6, 1)
    channel = Cir(str(write(tmp_path / "flat.npz", h)))
    assert channel.num_rx == 1 and channel.block_symbols == 0 and channel.data_uses(77) == 77
    x = np.ones((600, 3), np.complex64)
    found = channel(x, 0.0, FrameSeeds.of(0, 600)).full()[1]
    scaled = h[:, 0] / np.sqrt(np.mean(np.abs(h) ** 2))
    which = np.argmin(np.abs(found[:, :1] - scaled), axis=1)
    np.testing.assert_allclose(found, np.repeat(scaled[which][:, None], 3, axis=1), rtol=1e-5)
    counts = np.bincount(which, minlength=6)
    assert ((counts - 100) ** 2 / 100).sum() < 25, "uniformly"
    again = channel(x[:4], 0.0, FrameSeeds.of(0, 600)[:4]).full()[1]
    np.testing.assert_array_equal(again, found[:4])


def test_normalisation(tmp_path):
    h = drawn(50, 1) * np.geomspace(1e-5, 1e-3, 50, dtype=np.float32)[:, None]  # near and far
    path = str(write(tmp_path / "flat.h5", h))
    everyone = gains(Cir(path))
    assert everyone.mean() == pytest.approx(1, rel=0.15) and everyone.std() > 1
    np.testing.assert_allclose(gains(Cir(path, normalise="each"), 100), 1, rtol=1e-5)
    assert gains(Cir(path, normalise="none"), 100).max() < 1e-4


def test_antennas_are_combined(tmp_path):
    path = str(write(tmp_path / "two.npz", drawn(4000, 2, 1, 1)))
    channel = Cir(path)
    assert channel.num_rx == 2
    found = gains(channel)
    assert found.mean() == pytest.approx(2, rel=0.05)
    assert found.var() == pytest.approx(2, rel=0.15)  # of two branches of unit exponential power


def test_a_recording_over_time(tmp_path):
    ramp = (1 + np.arange(5))[None, None, :] * np.ones((1, 1, 1))
    path = str(write(tmp_path / "time.npz", ramp.astype(np.complex64), None, 1000.0))
    channel = Cir(path, normalise="none", symbol_rate_khz=2.0)
    h = channel(np.zeros((1, 20), np.complex64), 0.0, FrameSeeds.of(0, 1)).h[0].real
    expected = [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 4.5, 4, 3.5, 3, 2.5, 2, 1.5, 1, 1.5, 2, 2.5]
    np.testing.assert_allclose(h, expected, rtol=1e-6)
    with pytest.raises(ValueError, match="give symbol_rate_khz"):
        Cir(path)


@pytest.mark.parametrize("per_place", [False, True])
def test_several_taps_go_through_ofdm(tmp_path, per_place):
    """Over OFDM the response is the transform of the taps, at every cell of the grid."""
    grid = Grid(num_subcarriers=24, num_symbols=4, pilot_symbols=(0, 3))
    taps = drawn(7, 3)
    delays = np.array([0, 2.5e-7, 7e-7])
    delays = delays * (1 + 0.1 * np.arange(7))[:, None] if per_place else delays
    channel = Cir(str(write(tmp_path / "wide.npz", taps, delays)), grid=grid)
    seeds = FrameSeeds.of(0, 9)
    x = np.ones((9, channel.block_symbols), np.complex64)
    h = channel(x, 0.0, seeds).full()[1]
    scale = np.sqrt((np.abs(taps) ** 2).sum(1).mean())
    rows = np.broadcast_to(delays, (7, 3))
    turn = np.exp(-2j * np.pi * rows[:, :, None] * grid.frequencies)
    full = np.einsum("np,npf->nf", taps, turn) / scale
    cells = full[:, grid.data_index % grid.num_subcarriers]
    nearest = np.argmin(np.abs(h[:, None, :] - cells).max(axis=2), axis=1)
    np.testing.assert_allclose(h, cells[nearest], atol=1e-5)
    assert channel.data_uses(channel.total_uses(50)) >= 50 < channel.total_uses(50)


def test_estimators_are_matched_to_the_set(tmp_path):
    path = write(tmp_path / "wide.npz", drawn(500, 3), np.array([0, 2e-7, 5e-7]))
    x = np.ones((200, 400), np.complex64)
    error = {}
    for csi_rx in ("ls", "lmmse"):
        channel = Cir(str(path), csi_rx=csi_rx)
        y, h, n0_eff = channel(x, 0.3, FrameSeeds.of(0, 200)).full()
        truth = channel.perfect()(x, 0.0, FrameSeeds.of(0, 200)).full()[1]
        believed = channel.post_snr(400, 0.3, FrameSeeds.of(0, 200))
        assert believed.shape == x.shape and 0.5 < 0.3 * believed.mean() < 0.95
        error[csi_rx] = np.mean(np.abs(h - truth) ** 2)
        assert np.mean(np.abs(y - h * x) ** 2) == pytest.approx(np.mean(n0_eff), rel=0.05)
    perfect = channel.perfect().post_snr(400, 0.3, FrameSeeds.of(0, 200))
    np.testing.assert_allclose(perfect, np.abs(truth) ** 2 / 0.3, rtol=1e-4)
    assert error["lmmse"] < 0.5 * error["ls"]


def test_doppler_is_read_off_a_recording(tmp_path):
    from linksim.channel.jakes import BLOCK, clarke

    h = clarke(np.arange(BLOCK), 0.02, FrameSeeds.of(0, 600)).reshape(300, 2, BLOCK)
    path = write(tmp_path / "moving.npz", h, np.array([0, 3e-7]), 5000.0)
    assert Cir(str(path))._doppler_hz() == pytest.approx(100, rel=0.1)


def bad(path, **arrays):
    np.savez(path, **arrays)
    return path


H = drawn(4, 2)
DELAYS = np.array([0, 1e-7])


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"delays_s": DELAYS}, "has no array h"),
        ({"h": H}, "has 2 taps and no delays_s"),
        ({"h": H.real, "delays_s": DELAYS}, "h must be complex, got float32"),
        ({"h": H[0], "delays_s": DELAYS}, r"h must be \[num, taps\], .*got \(2,\)"),
        ({"h": H[:0], "delays_s": DELAYS}, "is empty or too large"),
        ({"h": H, "delays_s": DELAYS[:1]}, r"delays_s must be \[2\] or \[4, 2\], got \[1\]"),
        ({"h": H, "delays_s": -DELAYS - 1}, "delays_s must be finite and >= 0"),
        ({"h": H, "delays_s": DELAYS * np.nan}, "delays_s must be finite and >= 0"),
        ({"h": H, "delays_s": DELAYS * 1j}, "delays_s must be real numbers"),
        ({"h": H[:, :, None] * np.ones(3), "delays_s": DELAYS}, "3 times and no sample_rate_hz"),
        (
            {"h": H, "delays_s": DELAYS, "sample_rate_hz": np.array(0.0)},
            "sample_rate_hz must be one number above 0",
        ),
        ({"h": 0 * H, "delays_s": DELAYS}, "h is zero everywhere"),
        (
            {"h": np.where(np.arange(4)[:, None] == 2, np.nan, H), "delays_s": DELAYS},
            "h of realisation 2 has values that are not finite",
        ),
        ({"h": H, "delays_s": DELAYS + 1}, "cyclic prefix .* too short for"),
        (
            {"h": np.where(np.arange(4)[:, None] == 1, 0, H), "delays_s": DELAYS},
            "realisation 1 of .* has no power; take normalise: set",
        ),
    ],
)
def test_wrong_content_is_one_clear_line(tmp_path, suffix, arrays, message):
    path = tmp_path / f"set{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        with h5py.File(path, "w") as file:
            for name, value in arrays.items():
                file[name] = value
    with pytest.raises(ComponentError, match=message) as caught:
        registry.create("channels", {"name": "cir", "path": str(path), "normalise": "each"})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [".npz", ".h5"])
def test_damaged_files_are_one_clear_line(tmp_path, suffix):
    whole = write(tmp_path / f"whole{suffix}", drawn(300, 4), np.arange(4) * 1e-7).read_bytes()
    for name, data in (("cut", whole[: len(whole) // 2]), ("text", b"h,delays\n"), ("none", b"")):
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(data)
        with pytest.raises(ComponentError, match=f"{name}{suffix} is not a readable") as caught:
            open_file(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ComponentError, match="there is no file of impulse responses"):
        open_file(tmp_path / f"gone{suffix}")
    (tmp_path / "set.mat").write_bytes(whole)
    with pytest.raises(ComponentError, match=r"must end in \.npz or \.h5"):
        open_file(tmp_path / "set.mat")


def test_bombs_objects_and_links_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", h=np.array([{"a": 1}], object))
    with pytest.raises(ComponentError, match="holds Python objects"):
        open_file(tmp_path / "objects.npz")
    np.savez_compressed(tmp_path / "bomb.npz", h=np.zeros((4000, 4000), np.complex64))
    with pytest.raises(ComponentError, match="unfolds to 128000"):
        open_file(tmp_path / "bomb.npz")
    header = b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little")
    text = b"{'descr': '<c8', 'fortran_order': False, 'shape': (1000000, 4), }"
    with zipfile.ZipFile(tmp_path / "announced.npz", "w") as archive:
        archive.writestr("h.npy", header + text.ljust(117) + b"\n" + bytes(64))
    with pytest.raises(ComponentError, match="h announces 4000000 values"):
        open_file(tmp_path / "announced.npz")
    with h5py.File(tmp_path / "bomb.h5", "w") as file:
        file.create_dataset("h", (1 << 20, 1000), np.complex64, chunks=(64, 1000))
    with pytest.raises(ComponentError, match=r"bytes announce|too large"):
        open_file(tmp_path / "bomb.h5")
    write(tmp_path / "other.h5", drawn(3, 1))
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["h"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "h")
    with pytest.raises(ComponentError, match="must be a dataset in the file itself"):
        open_file(tmp_path / "link.h5")
    with h5py.File(tmp_path / "group.h5", "w") as file:
        file.create_group("h")
    with pytest.raises(ComponentError, match="must be a dataset in the file itself"):
        open_file(tmp_path / "group.h5")
    with h5py.File(tmp_path / "outside.h5", "w") as file:
        outside = [(str(tmp_path / "other.h5"), 0, 800)]
        file.create_dataset("h", (100, 1), np.complex64, external=outside)
    with pytest.raises(ComponentError, match="must be a dataset in the file itself"):
        open_file(tmp_path / "outside.h5")


def test_nothing_wrong_is_written(tmp_path):
    with pytest.raises(ComponentError, match="not finite"):
        write(tmp_path / "x.npz", H * np.nan, DELAYS)
    with pytest.raises(ComponentError, match=r"must end in \.npz or \.h5"):
        write(tmp_path / "x.mat", H, DELAYS)
    assert not list(tmp_path.iterdir())


def test_parameters_that_do_not_fit(tmp_path):
    flat = str(write(tmp_path / "flat.npz", drawn(3, 1)))
    wide = str(write(tmp_path / "wide.npz", H, DELAYS))
    for path, parameters, message in (
        (flat, {"csi_rx": "ls"}, "one tap, which makes a flat channel"),
        (wide, {"symbol_rate_khz": 5.0}, "goes through OFDM, whose grid sets the time"),
        (flat, {"normalise": "all"}, "Input should be 'set', 'each' or 'none'"),
        (flat, {"symbol_rate_khz": -5.0}, "symbol_rate_khz must be above 0"),
    ):
        with pytest.raises(ComponentError, match=message):
            registry.create("channels", {"name": "cir", "path": path, **parameters})
