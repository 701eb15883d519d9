"""The run folder: round trip, damage, kills, locks, full disks; and the table against a hand calculation."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from synthetic_runs import make_run, manifest, rows

from linksim import atomic as atomic_module
from linksim.errors import MissingAssetError, RunStateError
from linksim.registry import register, unregister
from linksim.results import RunFolder, sweep_of, table, table_for_people, to_csv, to_json, to_text
from linksim.results.axes import OFFSET, with_offset

KEYS = [f"photo-{i:02d}" for i in range(4)]


def cell_rows(cell: str = "c0", point: str = "p0", **given) -> list[dict]:
    return rows(cell, point, "vvc", images=KEYS, **given)


def opened(path: Path, **changes) -> RunFolder:
    return RunFolder.create_or_open(path, manifest(**changes))


def snapshot(path: Path) -> dict[str, bytes]:
    """Every file but the log and the lock."""
    files = (f for f in path.rglob("*") if f.is_file() and f.name not in ("run.log", "run.lock"))
    return {str(f.relative_to(path)): f.read_bytes() for f in files}


# ---------------------------------------------------------------------------------------------------- round trip


def test_rows_and_features_come_back_as_they_were_written(tmp_path):
    given = cell_rows(realisations=2)
    given[0]["metric_psnr"] = float("nan")
    features = np.arange(24, dtype=np.float64).reshape(8, 3)
    with opened(tmp_path) as folder:
        folder.write("c0", given, {"inception": features})
        assert folder.done() == {"c0"}
        assert folder.columns("c0", ["failed", "absent"]) == {
            "failed": [row["failed"] for row in given]
        }
    read = RunFolder(tmp_path)
    for got, want in zip(read.iter_rows(), given, strict=True):
        assert got.keys() == want.keys()
        for key, value in want.items():
            assert got[key] == value or (got[key] != got[key] and value != value), key
    assert read.features("p0", "inception").dtype == np.float32
    np.testing.assert_array_equal(read.features("p0", "inception"), features)
    with pytest.raises(RunStateError, match="has no 'alex' features"):
        read.features("p0", "alex")


def test_a_data_frame_writes_the_same_part_as_its_records(tmp_path):
    given = cell_rows()
    given[1]["mcs"] = None
    with opened(tmp_path / "a") as a, opened(tmp_path / "b") as b:
        a.write("c0", given)
        b.write("c0", pd.DataFrame(given))
    one, other = (tmp_path / x / "parts/c0.parquet" for x in "ab")
    assert one.read_bytes() == other.read_bytes()


def test_rows_are_in_the_order_of_the_scenario_whatever_order_they_were_written_in(tmp_path):
    cells = [("z1", "pa", "jpeg", 2.0), ("a2", "pb", "vvc", 4), ("m3", "pc", "vvc", -4)]
    for name, order in (("one", cells), ("two", cells[::-1])):
        with opened(tmp_path / name) as folder:
            for cell, point, system, snr in order:
                folder.write(cell, rows(cell, point, system, images=KEYS, snr=snr))
    first, second = RunFolder(tmp_path / "one").rows(), RunFolder(tmp_path / "two").rows()
    assert_frame_equal(first, second)
    assert list(dict.fromkeys(first["point"])) == ["pc", "pb", "pa"]  # vvc before jpeg, by SNR


def test_axes_of_mixed_points_meet_in_one_frame(tmp_path):
    with opened(tmp_path) as folder:
        folder.write("c0", cell_rows(axes={"es_n0_db": 4, "vvc.preset": "fast"}))
        folder.write("c1", cell_rows("c1", "p1", axes={"es_n0_db": 4.5}))
    frame = RunFolder(tmp_path).rows()
    assert frame["es_n0_db"].dtype == np.float64
    assert set(frame["vvc.preset"].dropna()) == {"fast"}
    assert set(RunFolder(tmp_path).points()[0]["axes"]) == {"es_n0_db", "vvc.preset"}


def test_write_refuses_rows_of_another_cell_and_features_of_other_frames(tmp_path):
    with opened(tmp_path) as folder:
        with pytest.raises(ValueError, match="cell c9 needs rows of its own"):
            folder.write("c9", cell_rows())
        with pytest.raises(ValueError, match=r"must be \[4, D\], got \(3, 2\)"):
            folder.write("c0", cell_rows(), {"alex": np.zeros((3, 2))})
        with pytest.raises(ValueError, match="letters, digits"):
            folder.write("../c", [{**r, "cell": "../c"} for r in cell_rows()])
        assert folder.done() == set()
    with pytest.raises(RunStateError, match="open for reading"):
        RunFolder(tmp_path).write("c0", cell_rows())


def test_reference_features_are_kept_shard_by_shard(tmp_path):
    with opened(tmp_path) as folder:
        assert not folder.has_reference("alex", 0)
        for shard in (10, 2):
            folder.write_reference("alex", shard, np.full((2, 3), shard))
        assert folder.has_reference("alex", 2)
    assert RunFolder(tmp_path).reference("alex")[:, 0].tolist() == [2, 2, 10, 10]
    assert RunFolder(tmp_path).reference("none").size == 0


# ------------------------------------------------------------------------------------------- opening and refusing


def test_another_scenario_is_refused_and_both_are_named(tmp_path):
    opened(tmp_path).close()
    other = manifest(scenario_digest="f" * 32)
    other["scenario"] = {**other["scenario"], "name": "kodak"}
    with pytest.raises(RunStateError, match=r"'synthetic' \(0123456789ab\), not 'kodak' \(f{12}\)"):
        RunFolder.create_or_open(tmp_path, other)
    with opened(tmp_path):  # and the refusal has released the lock
        pass


def test_another_format_is_refused_and_both_are_named(tmp_path):
    opened(tmp_path).close()
    path = tmp_path / "run.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    for attempt in (lambda: opened(tmp_path), lambda: RunFolder(tmp_path)):
        with pytest.raises(
            RunStateError, match="format 99, this linksim reads and writes format 1"
        ):
            attempt()


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}'])
def test_a_broken_run_json_is_one_clear_line(tmp_path, text):
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunStateError, match=r"run\.json cannot be read") as error:
        opened(tmp_path)
    assert "\n" not in str(error.value)


def test_places_that_hold_no_run_are_refused(tmp_path):
    with pytest.raises(RunStateError, match="holds no run"):
        RunFolder(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(RunStateError, match="is a file"):
        opened(tmp_path / "file")
    (tmp_path / "other/parts").mkdir(parents=True)
    (tmp_path / "other/parts/x.parquet").touch()
    with pytest.raises(RunStateError, match=r"parts but no run\.json"):
        opened(tmp_path / "other")


def test_a_second_writer_is_refused_and_a_dead_one_is_not_in_the_way(tmp_path):
    script = f"""
        import sys, time
        sys.path[:0] = {sys.path!r}
        from synthetic_runs import manifest
        from linksim.results import RunFolder
        folder = RunFolder.create_or_open({str(tmp_path)!r}, manifest())
        print("locked", flush=True)
        time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(RunStateError, match=f"being written by process {process.pid}"):
            opened(tmp_path)
        RunFolder(tmp_path)  # reading is free
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "run.lock").exists()
    with opened(tmp_path) as folder, pytest.raises(RunStateError, match="being written by"):
        opened(folder.path)  # nor twice in one process


def test_rows_of_another_version_or_of_changed_images_are_not_mixed_in(tmp_path):
    with opened(tmp_path) as folder:
        folder.write("c0", cell_rows())
        folder.write_reference("alex", 0, np.zeros((2, 2)))
    with opened(tmp_path, images={"count": 12, "digest": "other"}) as folder:
        assert folder.done() == set()
        assert not folder.has_reference("alex", 0)
        folder.write("c1", cell_rows("c1"))
    assert set(RunFolder(tmp_path).rows()["cell"]) == {"c1"}
    with opened(tmp_path) as folder:  # the first images again: their cell is still there
        assert folder.done() == {"c0"}


def test_a_second_run_with_nothing_to_do_changes_no_byte(tmp_path):
    make_run(tmp_path / "r", num_images=4, snrs=(0,), channels=("awgn",))
    before = snapshot(tmp_path / "r")
    changed = json.loads(before["run.json"])
    with RunFolder.create_or_open(tmp_path / "r", changed) as folder:
        cells = sorted(folder.done())
        folder.finish(cells=cells, seconds=0.1)
    assert snapshot(tmp_path / "r") == before
    assert changed["finished"] and changed["num_cells"] == len(cells)


# ------------------------------------------------------------------------------------------------------- damage


def test_a_part_cut_anywhere_is_found_and_redone(tmp_path):
    with opened(tmp_path / "whole") as folder:
        folder.write("c0", cell_rows())
        folder.write("c1", cell_rows("c1", "p1"))
    want = RunFolder(tmp_path / "whole").rows()
    whole = (tmp_path / "whole/parts/c1.parquet").read_bytes()
    part = tmp_path / "whole/parts/c1.parquet"
    for length in [*range(0, len(whole), 97), len(whole) - 1]:
        part.write_bytes(whole[:length])
        reader = RunFolder(tmp_path / "whole")
        assert set(reader.rows()["cell"]) == {"c0"}, length
        assert "c1.parquet is damaged" in reader.notes[0]
        assert part.exists()  # a reader moves nothing
    with opened(tmp_path / "whole") as folder:
        assert folder.done() == {"c0"}
        assert "set aside" in folder.notes[0]
        assert (tmp_path / "whole/parts/c1.parquet.damaged").exists()
        folder.write("c1", cell_rows("c1", "p1"))
        assert folder.done() == {"c0", "c1"}
    assert part.read_bytes() == whole
    assert_frame_equal(RunFolder(tmp_path / "whole").rows(), want)


def test_a_changed_byte_of_the_data_is_found(tmp_path):
    with opened(tmp_path) as folder:
        folder.write("c0", cell_rows())
        part = tmp_path / "parts/c0.parquet"
        whole = part.read_bytes()
        want = folder.rows()
        missed = 0
        for at in range(4, len(whole), 211):
            part.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
            os.utime(part, ns=(at, at))  # a change within the clock's tick is a change too
            try:
                missed += not folder.rows().equals(want) if len(folder.rows()) else 0
            except RunStateError:
                continue
            part.write_bytes(whole)
        assert missed == 0  # what is read is what was written, or is left out


def test_missing_or_cut_features_make_their_cell_undone(tmp_path):
    for damage in (Path.unlink, lambda p: p.write_bytes(p.read_bytes()[:-5])):
        folder = opened(tmp_path / str(id(damage)))
        folder.write("c0", cell_rows(), {"alex": np.ones((4, 8))})
        assert folder.done() == {"c0"}
        damage(folder.path / "features/c0.alex.npy")
        assert folder.done() == set()
        assert "alex features" in folder.notes[0]
        folder.close()


@pytest.mark.parametrize("moment", ["before the rename", "after the features"])
def test_a_run_killed_between_two_steps_resumes_to_the_same_rows(tmp_path, monkeypatch, moment):
    """The kill is an exception that no handler sees, so that the half-done state stays as a real one would."""
    features = {"alex": np.ones((4, 2))}
    with opened(tmp_path / "calm") as folder:
        for i in range(3):
            folder.write(f"c{i}", cell_rows(f"c{i}", f"p{i}"), features)
        folder.finish(cells=["c0", "c1", "c2"])

    class Killed(BaseException):
        pass

    replace = os.replace
    calls = []

    def dying(source, target):
        calls.append(str(target))
        if str(target).endswith("c1.alex.npy" if moment == "before the rename" else "c1.parquet"):
            raise Killed
        replace(source, target)

    folder = opened(tmp_path / "killed")
    folder.write("c0", cell_rows(), features)
    with monkeypatch.context() as patch:
        patch.setattr(atomic_module.os, "replace", dying)
        patch.setattr(Path, "unlink", lambda *a, **k: None)  # a killed process tidies nothing
        with pytest.raises(Killed):
            folder.write("c1", cell_rows("c1", "p1"), features)
    folder.close()
    assert list((tmp_path / "killed").rglob(".*.tmp"))
    with opened(tmp_path / "killed") as again:
        assert not list((tmp_path / "killed").rglob(".*.tmp"))
        assert again.done() == {"c0"}
        for i in (1, 2):
            again.write(f"c{i}", cell_rows(f"c{i}", f"p{i}"), features)
        again.finish(cells=["c0", "c1", "c2"])
    calm, killed = snapshot(tmp_path / "calm"), snapshot(tmp_path / "killed")
    for name in calm.keys() | killed.keys():
        if name != "run.json":  # which tells when
            assert calm[name] == killed[name], name
    assert_frame_equal(RunFolder(tmp_path / "calm").rows(), RunFolder(tmp_path / "killed").rows())


def test_a_full_disk_names_the_cell_and_keeps_what_was_there(tmp_path, monkeypatch):
    folder = opened(tmp_path)
    folder.write("c0", cell_rows())
    before = snapshot(tmp_path)

    def full(handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(atomic_module.os, "fsync", full)
        with pytest.raises(RunStateError, match=r"cannot write cell c1 .*No space left.*make room"):
            folder.write("c1", cell_rows("c1"), {"alex": np.ones((4, 2))})
        with pytest.raises(RunStateError, match="cannot write picture 3"):
            folder.write_picture("p0", 3, np.zeros((2, 2, 3), np.uint8))
        with pytest.raises(RunStateError, match=r"cannot write run\.json"):
            folder.finish(cells=["c0"])
    assert snapshot(tmp_path) == before
    folder.write("c1", cell_rows("c1"))
    assert folder.done() == {"c0", "c1"}
    folder.close()


def test_a_real_limit_on_file_size_is_a_full_disk(tmp_path):
    script = f"""
        import resource, sys
        sys.path[:0] = {sys.path!r}
        from synthetic_runs import manifest, rows
        from linksim.errors import RunStateError
        from linksim.results import RunFolder
        folder = RunFolder.create_or_open({str(tmp_path)!r}, manifest())
        folder.write("c0", rows("c0", "p0", "vvc", images=["a", "b"]))
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        try:
            folder.write("c1", rows("c1", "p0", "vvc", images=["c", "d"]))
        except RunStateError as error:
            print(error)
    """
    run = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(run, capture_output=True, text=True, check=True)
    assert "cannot write cell c1" in done.stdout and "make room" in done.stdout
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["c0.parquet"]
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 4096  # ours is untouched


def test_an_unwritable_place_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunStateError, match=r"cannot open .*Not a directory"):
        opened(tmp_path / "file/run")


# -------------------------------------------------------------------------------------------------------- table


def hand_made(tmp_path: Path, policy: str = "mean-grey", **changes) -> Path:
    """Two images x two realisations; PSNR 30, 10 (failed), 24, 20 and MSE 65, 6500, 260, 650."""
    base = manifest(**changes)
    base["scenario"] = {**base["scenario"], "failure": policy, "metrics": ["psnr", "mse"]}
    made = rows("c0", "p0", "vvc", images=["a", "b"], realisations=2)
    for row, psnr, mse, failed in zip(
        made, (30, 10, 24, 20), (65, 6500, 260, 650), (0, 1, 0, 0), strict=True
    ):
        row |= {"metric_psnr": psnr, "metric_mse": mse, "failed": bool(failed)}
        row |= {"status": "OUTAGE" if failed else "OK"}
        del row["metric_lpips-alex"]
    with RunFolder.create_or_open(tmp_path, base) as folder:
        folder.write("c0", made)
    return tmp_path


def test_the_table_agrees_with_a_hand_calculation(tmp_path):
    tidy = table(hand_made(tmp_path)).set_index("metric")
    assert list(tidy.index) == ["psnr", "mse", "psnr-of-mean-mse"]
    assert tidy.loc["psnr", "value"] == pytest.approx(21.0)
    assert tidy.loc["mse", "value"] == pytest.approx(1868.75)
    assert tidy.loc["psnr-of-mean-mse", "value"] == pytest.approx(15.4153, abs=1e-4)
    row = tidy.loc["psnr"]
    assert (row["num_images"], row["num_frames"], row["num_failed"], row["num_outage"]) == (
        *(2, 4, 1),
        1,
    )
    # Resampling two images, both realisations of each together, gives means 20, 21 or 22 and nothing else.
    assert (row["ci_low"], row["ci_high"]) == (pytest.approx(20), pytest.approx(22))
    assert tidy.loc["psnr-of-mean-mse", "ci_low"] < tidy.loc["psnr-of-mean-mse", "ci_high"]
    assert row["system"] == "vvc" and row["es_n0_db"] == 4 and row["channel"] == "awgn"
    assert row["cbr"] == pytest.approx(2048 / (3 * 128**2)) and np.isnan(row["bpp"])


def test_excluded_failures_leave_the_mean_and_stay_in_the_count(tmp_path):
    tidy = table(hand_made(tmp_path, "exclude")).set_index("metric")
    assert tidy.loc["psnr", "value"] == pytest.approx((30 + 24 + 20) / 3)
    assert tidy.loc["psnr", "num_failed"] == 1 and tidy.loc["psnr", "num_frames"] == 4


def test_a_metric_that_could_not_be_computed_is_null_with_its_reason(tmp_path):
    path = tmp_path / "run"
    notes = {"lpips-squeeze": "no weights; run linksim assets fetch lpips"}
    made = cell_rows()
    for row in made:
        row["metric_ssim"] = float("nan")
    with opened(path, metric_notes=notes) as folder:
        folder.write("c0", made)
    tidy = table(path).set_index("metric")
    assert np.isnan(tidy.loc["lpips-squeeze", "value"])
    assert tidy.loc["lpips-squeeze", "reason"] == notes["lpips-squeeze"]
    assert tidy.loc["ssim", "reason"] == "not computed for any frame"
    row = next(r for r in json.loads(to_json(table(path))) if r["metric"] == "lpips-squeeze")
    assert row["value"] is None and row["reason"] == notes["lpips-squeeze"]
    assert notes["lpips-squeeze"] in " ".join(to_text(path).split())


@pytest.fixture
def set_metrics():
    """A distance of feature means, one that needs more images, and one whose weights are absent."""

    class Gap:
        unit, higher_is_better, extractor, min_images = "", False, "toy", 2
        verified = False

        def features(self, images):
            return np.asarray(images, np.float64).mean((1, 2, 3))[:, None]

        def distance(self, reference, features):
            return float(abs(reference.mean() - features.mean()))

    class Hungry(Gap):
        min_images = 500

    class Absent:
        def __init__(self):
            raise MissingAssetError("inception weights are absent; set LINKSIM_ASSETS")

    names = {"toy-gap": Gap, "toy-hungry": Hungry, "toy-absent": Absent}
    for name, cls in names.items():
        register("metrics", name)(cls)
    yield list(names)
    for name in names:
        unregister("metrics", name)


@pytest.mark.parametrize(("policy", "want"), [("mean-grey", 2.0), ("exclude", 1.0)])
def test_set_metrics_come_from_features_under_the_failure_policy(
    tmp_path, set_metrics, policy, want
):
    base = manifest()
    base["scenario"] = {**base["scenario"], "failure": policy, "metrics": set_metrics}
    made = cell_rows(snr=10)
    for row in made:
        row["failed"] = row["image"] == KEYS[0]
    with RunFolder.create_or_open(tmp_path, base) as folder:
        folder.write("c0", made, {"toy": np.array([[5.0], [1.0], [1.0], [1.0]])})
        folder.write_reference("toy", 0, np.zeros((4, 1)))
    tidy = table(tmp_path).set_index("metric")
    assert tidy.loc["toy-gap", "value"] == want
    assert "unverified" in tidy.loc["toy-gap", "reason"]
    assert "needs at least 500 images" in tidy.loc["toy-hungry", "reason"]
    assert tidy.loc["toy-absent", "reason"] == "inception weights are absent; set LINKSIM_ASSETS"


def test_the_csv_has_the_tidy_columns_and_empty_nulls(tmp_path):
    path = make_run(tmp_path / "r", num_images=4, snrs=(0, 2.5), channels=("awgn",))
    text = to_csv(table(path))
    assert (path / "table.csv").read_text() == text
    head = text.partition("\n")[0].split(",")
    want = "system es_n0_db cbr_target cbr metric value ci_low ci_high num_images num_failed reason"
    assert set(want.split()) <= set(head)
    first = text.splitlines()[1].split(",")
    assert first[head.index("bpp")] == "" and first[head.index("num_images")] == "4"
    assert len(first[head.index("value")].replace(".", "").lstrip("-")) <= 6


def test_the_table_is_the_same_after_merging_parts_of_two_folders(tmp_path):
    make_run(tmp_path / "all", num_images=8, snrs=(0, 4), channels=("awgn",))
    for name, keep in (("a", "-00.parquet"), ("b", "-01.parquet")):
        shutil.copytree(tmp_path / "all", tmp_path / name)
        for part in (tmp_path / name / "parts").iterdir():
            if not part.name.endswith(keep):
                part.unlink()
    for part in (tmp_path / "b/parts").iterdir():
        shutil.copy(part, tmp_path / "a/parts")
    assert to_csv(table(tmp_path / "a")) == to_csv(table(tmp_path / "all"))


def test_the_table_for_people_fits_a_hundred_columns(tmp_path):
    path = make_run(tmp_path / "r", num_images=4, snrs=range(-4, 12, 2))
    text = to_text(path, width=100)
    assert max(map(len, text.splitlines())) <= 100
    assert "PSNR [dB]" in text and "Es/N0 [dB]" in text and "failed images [%]" in text
    tidy = table(path)
    row = tidy[(tidy.metric == "psnr") & (tidy.system == "softcast") & (tidy.es_n0_db == 10)]
    for value in row["value"]:
        assert f"{value:.2f}" in text
    assert table_for_people(path, metrics=["unknown"]).renderables


def test_a_believed_snr_at_fixed_offsets_is_shown_as_its_offset():
    frame = pd.DataFrame({"es_n0_db": [0, 0, 5, 5], "snr_amc_db": [0.0, 3, 5, 8], "system": "vvc"})
    shifted = with_offset(frame)
    assert sorted(shifted[OFFSET].unique()) == [0, 3]
    assert sweep_of(shifted, ["es_n0_db"]).others == (OFFSET,)
    same = with_offset(frame.assign(snr_amc_db=6.0))
    assert OFFSET not in same and sweep_of(same, ["es_n0_db", "snr_amc_db"]).others == ()


def test_a_reader_of_a_kept_table_is_told_of_damage_too(tmp_path):
    path = make_run(tmp_path / "r", num_images=4, snrs=(0, 4), channels=("awgn",))
    part = next((path / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:500])
    for _ in range(2):
        assert f"part {part.name} is damaged" in " ".join(to_text(path, width=400).split())


def test_a_lost_table_is_written_again(tmp_path):
    path = make_run(tmp_path / "r", num_images=4, snrs=(0,), channels=("awgn",))
    text = (path / "table.csv").read_text()
    (path / "table.csv").unlink()
    with RunFolder.create_or_open(path, json.loads((path / "run.json").read_text())) as folder:
        folder.finish(cells=sorted(folder.done()))
    assert (path / "table.csv").read_text() == text
