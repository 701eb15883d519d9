"""`linksim check channel` and `linksim check erasure`: tables, exit statuses, drawings and mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from linksim.channel.laws import LAWS
from linksim.cli import app
from linksim.packet.laws import LAWS as ERASURE_LAWS

SMALL = ["--frames", "300", "--no-figures"]

GOOD = '''
from dataclasses import dataclass
import numpy as np
from linksim.channel.apply import faded

print("noise on stdout, at import")

@dataclass(frozen=True)
class Nakagami:
    """Nakagami-m block fading."""
    m: float = 2.0

    def __post_init__(self):
        print("noise on stdout, at construction")
        if self.m < 0.5:
            raise ValueError(f"m must be at least 0.5, got {self.m}")

    def __call__(self, x, n0, seed):
        print("noise on stdout, at each call")
        power = np.stack([s.generator().gamma(self.m, 1 / self.m, 1) for s in seed.child("fading")])
        return faded(x, np.sqrt(power).astype(np.complex64), n0, seed)
'''

LOUD = """
from linksim.channel.fading import Rayleigh

class Loud(Rayleigh):
    def __call__(self, x, n0, seed):
        return super().__call__(x, 2 * n0, seed)
"""


def call(*arguments: str):
    return CliRunner().invoke(app, ["check", *arguments])


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "loud.py").write_text(LOUD)
    (tmp_path / "two.py").write_text("class A: pass\nclass B: pass\n")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "other.py").write_text("class NoChannel: pass\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_channel_by_name_with_parameters(here: Path) -> None:
    result = call("channel", "{name: rician, k_factor_db: 3}", "--json", *SMALL)
    assert result.exit_code == 0, result.stderr
    data = json.loads(result.stdout)
    assert data["channel"] == {"name": "rician", "k_factor_db": 3}
    assert [law["law"] for law in data["laws"]] == list(LAWS)
    assert {law["verdict"] for law in data["laws"]} == {"passed", "n/a"}
    elsewhere = next(law for law in data["laws"] if law["law"] == "same output in another process")
    assert elsewhere["verdict"] == "passed"
    assert "20 laws hold, 0 do not, 1 do not apply" in result.stderr


@pytest.mark.parametrize("written", ["good.py", "good.py:Nakagami", "{plugin: good.py, m: 4}"])
def test_a_file_that_prints_keeps_stdout_clean(here: Path, written: str) -> None:
    result = call("channel", written, "--format", "json", *SMALL)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["laws"]
    assert "noise on stdout, at each call" in result.stderr


def test_a_law_that_fails_is_exit_1_with_the_amount(here: Path) -> None:
    result = call("channel", "loud.py", *SMALL)
    assert result.exit_code == 1
    line = next(line for line in result.stdout.splitlines() if "measured SNR" in line)
    assert "FAILED" in line and ("off by -3.0" in line or "off by -2.9" in line)
    assert "do not" in result.stderr and "Traceback" not in result.stderr


def test_the_drawing(here: Path) -> None:
    result = call("channel", "rayleigh", "--frames", "300", "--out", "drawn", "--es-n0-db", "12")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-2:] == ["drawn/channel.png", "drawn/channel.svg"]
    assert (here / "drawn" / "channel.png").stat().st_size > 10_000
    assert call("channel", "awgn", "--frames", "300").exit_code == 0
    assert (here / "results" / "channels" / "awgn" / "channel.png").is_file()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["channel", "rayliegh"], "unknown channel 'rayliegh'; did you mean 'rayleigh'?"),
        (["channel", "gone.py"], "there is no file"),
        (["channel", "gone.py:A"], "there is no file"),
        (["channel", "broken.py"], "importing it raised SyntaxError"),
        (["channel", "two.py"], "it has A, B; write two.py:ClassName"),
        (["channel", "good.py:Nakagame"], "has no class 'Nakagame'; it has ['Nakagami']"),
        (["channel", "other.py"], "NoChannel has no __call__(); a channel needs it"),
        (["channel", "{plugin: good.py, m: 0.1}"], "m must be at least 0.5, got 0.1"),
        (["channel", "{plugin: good.py, mm: 1}"], "no parameter 'mm'; did you mean 'm'?"),
        (["channel", "{plugin: good.py, m: many}"], "m: Input should be a valid number"),
        (["channel", "{name: rician, k_factor_db: 999}"], "k_factor_db must be in -100..100 dB"),
        (["channel", "{name: awgn"], "is not YAML"),
        (["channel", "{awgn, rayleigh: [}"], "is not YAML"),
        (["channel", "{}"], "is given by `name` or by `plugin`"),
        (["channel", "awgn", "--es-n0-db", "900"], "--es-n0-db must be in -60..60 dB, got 900"),
        (["erasure", "iid"], "packet loss process 'iid': rate: Field required"),
        (["erasure", "idd"], "unknown packet loss process 'idd'; did you mean 'iid'?"),
    ],
)
def test_mistakes_are_one_line_and_exit_2(here: Path, arguments: list[str], says: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    errors = [line for line in result.stderr.splitlines() if not line.startswith("noise on")]
    assert len(errors) == 1 and errors[0].startswith("error: "), result.stderr
    assert says in errors[0]


def test_a_loss_process() -> None:
    result = call("erasure", "{name: iid, rate: 0.2}", "--json", "--frames", "1000")
    assert result.exit_code == 0
    data = json.loads(result.stdout)
    assert [law["law"] for law in data["laws"]] == list(ERASURE_LAWS)
    assert call("erasure", "{name: iid, rate: 0.2}").exit_code == 0


def test_a_loss_process_that_lies(here: Path) -> None:
    (here / "lies.py").write_text(
        "from linksim.packet.loss import Iid\nclass Lies(Iid):\n    loss_rate = 0.5\n"
    )
    result = call("erasure", "{plugin: lies.py, rate: 0.2}")
    assert result.exit_code == 1
    assert "loss rate follows its closed form" in result.stdout and "FAILED" in result.stdout


def test_scenario_is_what_else_is_checked(here: Path) -> None:
    for arguments in (["gone.yaml"], ["scenario", "gone.yaml"]):
        result = call(*arguments)
        assert result.exit_code == 2 and "gone.yaml" in result.stderr
    shown = call("--help")
    assert shown.exit_code == 0
    for word in ("scenario", "channel", "erasure"):
        assert word in shown.stdout
