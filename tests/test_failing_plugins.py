"""Plug-ins that go wrong in a sweep: one clear line each, their own points fail, the rest of the sweep finishes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from linksim.cli import app

HEAD = """
import time, sys
from dataclasses import dataclass
import numpy as np
from linksim.channel.apply import faded
from linksim.types import Received

def awgn(x, n0, seed):
    return faded(x, np.ones((len(x), 1), np.complex64), n0, seed)

"""

# Right in the test before the run (frames of 64 symbols at most 200), wrong on the air (longer ones).
BODIES = {
    "raises": "raise RuntimeError('no fade today')",
    "nan": "r = awgn(x, n0, seed); return Received(r.y * np.nan, r.h, r.n0_eff)",
    "shape": "r = awgn(x, n0, seed); return Received(r.y[:, 1:], r.h, r.n0_eff)",
    "dtype": "r = awgn(x, n0, seed); return Received(r.y.astype(complex), r.h, r.n0_eff)",
    "exits": "sys.exit(3)",
    "sleeps": "time.sleep(60)",
    "prints": "print('hello from the plug-in'); return awgn(x, n0, seed)",
}
SAYS = {
    "raises": "channel Raises raised RuntimeError: no fade today (raises.py:",
    "nan": "channel Nan: y has ",
    "shape": "channel Shape: y has shape (",
    "dtype": "channel Dtype: y is complex128, must be complex64",
    "exits": "channel Exits raised SystemExit: 3 (exits.py:",
    "sleeps": "took longer than 5 s",
}


def write(folder: Path, name: str, body: str, *, always: bool = False) -> str:
    guard = "" if always else "        if x.shape[1] <= 200: return awgn(x, n0, seed)\n"
    (folder / f"{name}.py").write_text(
        f"{HEAD}@dataclass(frozen=True)\nclass {name.title()}:\n"
        f"    def __call__(self, x, n0, seed):\n{guard}        {body}\n"
    )
    return f"{name}.py:{name.title()}"


def study(folder: Path, channels: list, *, systems: list | None = None, **more) -> Path:
    path = folder / "study.yaml"
    scenario = {
        "images": {"source": "samples", "size": 32, "limit": 4},
        "axes": {"es_n0_db": [8], "cbr": 0.25},
        "systems": systems or [{"name": "softcast"}],
        "metrics": ["psnr"],
        "channels": channels,
        **more,
    }
    path.write_text(json.dumps(scenario))
    return path


def run(path: Path, *arguments: str):
    out = path.parent / "out"
    return CliRunner().invoke(
        app, ["run", str(path), "--out", str(out), "--no-figures", *arguments]
    )


def rows(path: Path) -> pd.DataFrame:
    return pd.read_csv(path.parent / "out" / "table.csv")


@pytest.fixture(scope="module", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Everything loaded and compiled before a time limit runs."""
    assert run(study(tmp_path_factory.mktemp("warm"), ["awgn"])).exit_code == 0


@pytest.mark.parametrize("kind", SAYS)
def test_a_failing_channel_fails_its_own_points(tmp_path: Path, kind: str) -> None:
    plugin = write(tmp_path, kind, BODIES[kind])
    path = study(tmp_path, ["awgn", {"plugin": plugin}])
    started = time.monotonic()
    result = run(path, *(["--timeout", "5"] if kind == "sleeps" else []))
    assert result.exit_code == 1, result.stderr
    failed = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1 and SAYS[kind] in failed[0], result.stderr
    assert "Traceback" not in result.stderr
    table = rows(path)
    assert set(table[table["value"].notna()]["channel"]) == {"awgn"}
    assert time.monotonic() - started < 45


def test_what_plugins_print_stays_off_stdout(tmp_path: Path) -> None:
    plugin = write(tmp_path, "prints", BODIES["prints"], always=True)
    result = run(study(tmp_path, [{"plugin": plugin}]))
    assert result.exit_code == 0, result.stderr
    assert "hello from" not in result.stdout and "hello from the plug-in" in result.stderr
    checked = CliRunner().invoke(app, ["check", str(tmp_path / "study.yaml"), "--format", "json"])
    assert checked.exit_code == 0 and json.loads(checked.stdout)


LOUD = "return awgn(x, 2 * n0, seed)"


def test_plugins_are_tested_before_they_run(tmp_path: Path) -> None:
    plugin = write(tmp_path, "loud", LOUD, always=True)
    path = study(tmp_path, ["awgn", {"plugin": plugin, "label": "mine"}])
    result = run(path)
    assert result.exit_code == 1
    failed = [line for line in result.stderr.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 1
    assert (
        "mine breaks the law 'measured SNR'" in failed[0]
        and "should be 5, dB, off by -" in failed[0]
    )
    assert f"linksim check channel '{tmp_path}/{plugin}'" in failed[0]
    assert set(rows(path)["channel"].dropna()) >= {"awgn"}
    listed = CliRunner().invoke(app, ["check", str(path)])
    assert listed.exit_code == 1 and "breaks the law" in listed.stdout.replace("\n", " ")


def test_the_test_can_be_left_out_and_run_json_says_so(tmp_path: Path) -> None:
    plugin = write(tmp_path, "loud", LOUD, always=True)
    result = run(study(tmp_path, [{"plugin": plugin, "unchecked": True}]))
    assert result.exit_code == 0, result.stderr
    assert "note: Loud runs untested, as the scenario asks" in result.stderr
    recorded = json.loads((tmp_path / "out" / "run.json").read_text())["scenario"]["channels"]
    assert recorded == [{"plugin": plugin, "label": "Loud", "unchecked": True}]


def test_a_plugin_inside_a_component_and_a_loss_process_are_tested_too(tmp_path: Path) -> None:
    (tmp_path / "lies.py").write_text(
        "from linksim.packet.loss import Iid\nclass Lies(Iid):\n    loss_rate = 0.9\n"
    )
    path = study(
        tmp_path,
        [],
        link="packet",
        systems=[{"name": "jpeg"}],
        erasures=["iid", {"plugin": "lies.py:Lies"}],
        axes={"erasure_rate": [0.1], "bpp": 4},
    )
    scenario = json.loads(path.read_text())
    del scenario["channels"]
    path.write_text(json.dumps(scenario))
    result = run(path)
    assert result.exit_code == 1
    assert "Lies breaks the law 'loss rate follows its closed form'" in result.stderr
    assert "linksim check erasure '{plugin: " in result.stderr


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (
            {"plugin": "gone.py:A"},
            "channels.0.plugin: plug-in channel 'gone.py:A': there is no file",
        ),
        ({"plugin": "broken.py:A"}, "importing it raised SyntaxError"),
        ({"plugin": "leaves.py:A"}, "importing it raised SystemExit"),
        ({"plugin": "loud.py:Quiet"}, "has no class 'Quiet'; it has ['Loud']"),
        ({"plugin": "loud.py"}, "write it as file.py:ClassName"),
        (
            {"plugin": "loud.py:Loud", "m": 3},
            "channels.0.m: channel 'loud.py:Loud' has no parameter",
        ),
        ({"name": "rician", "k_factor_db": 1000}, "k_factor_db must be in -100..100 dB, got 1000"),
        ({"name": "rician", "k_factor_db": "x"}, "channels.0.k_factor_db"),
        (
            {"name": "awgn", "unchecked": "yes"},
            "channels.0.unchecked: must be true or false, got 'yes'",
        ),
    ],
)
def test_what_cannot_be_loaded_is_bad_input(tmp_path: Path, entry: dict, says: str) -> None:
    write(tmp_path, "loud", LOUD)
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "leaves.py").write_text("raise SystemExit(0)\n")
    result = run(study(tmp_path, [entry]))
    assert result.exit_code == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("error: ")
    assert says in result.stderr


METRIC = """
class {name}:
    unit, higher_is_better = "", True
    def __call__(self, reference, image):
        {body}
"""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("raise KeyError('weights')", "metric raised KeyError: 'weights'"),
        ("return 3.0", "returned shape (), must be (4,)"),
        ("import numpy as np; return np.full(4, np.nan)", "NaN for 4 of 4 images"),
    ],
)
def test_metrics_that_fail(body: str, says: str) -> None:
    import numpy as np

    from linksim.errors import ComponentError
    from linksim.link import guard

    space: dict = {}
    exec(METRIC.format(name="Mine", body=body), space)
    images = np.zeros((4, 8, 8, 3), np.uint8)
    with pytest.raises(ComponentError) as caught:
        guard.score("mine", space["Mine"](), images, images)
    assert says.replace("metric raised", "metric mine raised") in str(caught.value)


@pytest.mark.parametrize(
    ("outcome", "says"),
    [
        ("None", "returned NoneType; return linksim.link.system.Outcome"),
        ("Outcome(images[:1], status, ledger, mcs)", "images are (1, 8, 8, 3) uint8, must be (2,"),
        ("Outcome(images, status[:1], ledger, mcs)", "status has 1 entries for 2 images"),
        (
            "Outcome(images, status, Ledger.zeros(3), mcs)",
            "the ledger's payload must be [2] numbers",
        ),
        ("1 / 0", "raised ZeroDivisionError"),
    ],
)
def test_systems_that_fail(outcome: str, says: str) -> None:
    import numpy as np

    from linksim.errors import ComponentError
    from linksim.link import guard
    from linksim.link.system import LinkPoint, Outcome
    from linksim.seeds import FrameSeeds
    from linksim.types import Ledger, Status

    class Mine:
        def simulate(self, images, point, seeds):
            space = {"images": images, "status": (Status.OK,) * 2, "mcs": (None,) * 2}
            return eval(
                outcome, {"Outcome": Outcome, "Ledger": Ledger, "ledger": Ledger.zeros(2), **space}
            )

    images = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(ComponentError, match="system mine") as caught:
        guard.simulate("mine", Mine(), images, LinkPoint("phy"), FrameSeeds.of(0, 2))
    assert says in str(caught.value)


def test_every_point_failing_is_a_table_without_values(tmp_path: Path) -> None:
    result = run(study(tmp_path, [{"plugin": write(tmp_path, "raises", BODIES["raises"])}]))
    assert result.exit_code == 1 and "failed: softcast, Raises" in result.stderr
    assert not isinstance(result.exception, KeyError)


# ------------------------------------------------------------------------------------------------------ time limits


def test_time_limit_in_the_main_thread_ends_a_sleep() -> None:
    from linksim.errors import TimeLimitError
    from linksim.runner.limit import time_limit

    started = time.monotonic()
    with pytest.raises(TimeLimitError, match=r"took longer than 0\.2 s"), time_limit(0.2):
        try:
            time.sleep(30)
        except Exception:  # a plug-in that catches everything
            time.sleep(30)
    assert time.monotonic() - started < 10
    with time_limit(0.2):
        pass
    time.sleep(0.3)  # nothing is left that would go off
    with time_limit(None):
        pass


def test_time_limit_in_another_thread_ends_a_loop() -> None:
    import threading

    from linksim.errors import TimeLimitError
    from linksim.runner.limit import time_limit

    caught: list[BaseException] = []

    def loop() -> None:
        try:
            with time_limit(0.2):
                while True:
                    time.sleep(0.01)
        except TimeLimitError as error:
            caught.append(error)

    thread = threading.Thread(target=loop, daemon=True)
    thread.start()
    thread.join(20)
    assert caught and "took longer than 0.2 s" in str(caught[0])


def test_what_is_slow_is_named(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from linksim import terminal

    monkeypatch.setattr(terminal, "SLOW_SECONDS", 0.2)
    with terminal.RunProgress() as progress:
        progress(0, 2, "softcast, mine, es_n0_db 8")
        time.sleep(1.0)
    said = capsys.readouterr().err
    assert said.count("still at softcast, mine, es_n0_db 8, for") >= 2
