"""The study of a sweep over losses, on made-up rows whose answers are known."""

from __future__ import annotations

import json

import pytest
from synthetic_runs import manifest, rows

from linksim.bench.resilience import main, study
from linksim.results import RunFolder

RATES = (0.0, 0.1, 0.2, 0.4, 0.5)
SPECS = [
    {"name": "tokens", "label": "tokens"},
    {"name": "tokens", "label": "tokens, no prior", "conceal": "none"},
    {"name": "tokens", "label": "tokens + RS 7/10", "parity": 3, "conceal": "none"},
    {"name": "tokens", "label": "both", "parity": 3},
    {"name": "erasure-coded", "label": "vvc + RS", "codec": {"name": "vvc"}, "parity": 3},
    {"name": "separated", "label": "vvc", "codec": {"name": "vvc"}},
]


def psnr(label: str, rate: float) -> float:
    """Made-up mean PSNR: graceful, or with a cliff at 30 %."""
    if label == "tokens":
        return 28 - 10 * rate
    if label == "tokens, no prior":
        return 28 - 40 * rate
    if label == "vvc":
        return 27 - 60 * rate
    return (27.8 if "tokens" in label else 26) if rate < 0.3 else 12.0


def make(path, specs=SPECS, processes=("iid", "bursts")):
    keys = [f"photo-{i:02d}" for i in range(4)]
    scenario = {**manifest()["scenario"], "systems": specs, "link": "packet"}
    cells = []
    with RunFolder.create_or_open(path, manifest(scenario=scenario)) as folder:
        for s, spec in enumerate(specs):
            for e, process in enumerate(processes):
                for r, rate in enumerate(RATES if process != "EP1" else (0.002,)):
                    point = f"p{s}{e}{r}"
                    axes = {"erasure": process, "erasure_rate": rate, "bpp_target": 0.25}
                    snr = (psnr(spec["label"], rate) - 27) / 0.7  # of the made-up system `vvc`
                    made = rows(
                        f"{point}-00",
                        point,
                        "vvc",
                        images=keys,
                        snr=snr,
                        channel=None,
                        link="packet",
                        axes=axes,
                    )
                    fixed = [{**row, "system": spec["label"], "failed": False} for row in made]
                    for row in fixed:
                        level = psnr(spec["label"], rate)
                        row.update({"status": "OK", "metric_psnr": level})
                        row["metric_mse"] = 255.0**2 / 10 ** (level / 10)
                        row["metric_lpips-alex"] = 0.9 - level / 45
                    folder.write(f"{point}-00", fixed)
                    cells.append(f"{point}-00")
        folder.finish(cells=cells, seconds=1.0)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make(tmp_path_factory.mktemp("runs") / "run", processes=("iid", "bursts", "EP1"))


def test_the_comparisons_are_those_of_the_means(run):
    found = study(run, "tokens")
    assert set(found) == {"iid", "bursts"}, "a process with a rate of its own has no curve"
    (plain,) = found["iid"]["no prior"]
    assert plain["psnr_higher_by_db"] == pytest.approx(6.0, abs=1e-3)
    lpips = 1 - (0.9 - 26 / 45) / (0.9 - 20 / 45)
    assert plain["lpips_lower_by"] == pytest.approx(lpips, abs=1e-3)
    assert plain["lpips_monotone"] and plain["holds"] == (lpips >= 0.3)
    (code,) = found["iid"]["tokens+RS"]
    assert code["cliff"] == 0.3
    before = 10 ** ((27.8 - 26) / 10)
    assert code["worst_before_mse"] == pytest.approx(before, rel=1e-3)
    assert not code["holds_before"] and code["holds_beyond"]
    assert code["worst_beyond_mse"] == pytest.approx(10 ** ((12 - 23) / 10), rel=1e-2)
    others = {row["against"]: row for row in found["iid"]["others"]}
    assert set(others) == {"vvc", "vvc + RS"}
    assert others["vvc"]["holds"] and others["vvc"]["worst_lpips"] < 1
    level = others["vvc + RS"]
    assert not level["holds"] and (level["at"], level["worst_lpips"]) == (0.2, 1.0)
    assert others["vvc + RS"]["its_steepest_rise"] == pytest.approx(14 / 45 / 2, rel=1e-2)
    assert found["iid"]["steepest_rise"] == pytest.approx(1 / 45, rel=1e-2)


def test_the_table_alone_will_do(run, tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    for name in ("run.json", "table.csv"):
        (kept / name).write_bytes((run / name).read_bytes())
    assert study(kept, "tokens") == study(run, "tokens")


def test_command(run, capsys):
    assert main([str(run)]) == 0
    shown = capsys.readouterr().out
    assert "### iid" in shown and "tokens + RS 7/10" in shown
    assert main([str(run), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out)) == {"iid", "bursts"}
    assert main([str(run), "--system", "ntc"]) == 2
    assert "no system 'ntc'" in capsys.readouterr().err
    assert main([str(run.parent / "none")]) == 2
