"""The documentation's code runs as it stands: files are saved, commands typed, Python pasted, in the page's order."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from linksim import registry
from linksim.check import parse
from linksim.cli import app
from linksim.runner import preview
from linksim.scenario import load

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "channels.md"
_BLOCK = re.compile(
    r"(?:<!-- file: (?P<file>\S+) -->\n)?^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.S | re.M
)
_TUTORIAL = "## What a channel may declare"  # what comes before it is one continuous session
TOO_SLOW = ("tdl", "cdl", "cir")  # their laws have tests of their own


def blocks(text: str) -> list[tuple[str, str, str]]:
    """(file name or "", language, body) of each fenced block."""
    return [(m["file"] or "", m["kind"], m["body"]) for m in _BLOCK.finditer(text)]


def commands(body: str) -> list[list[str]]:
    return [
        shlex.split(line, comments=True)
        for line in body.splitlines()
        if line.startswith("uv run linksim")
    ]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, as a user would."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("LINKSIM_CACHE", str(tmp_path / "cache"))
    return tmp_path


def linksim(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, f"{arguments}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"


def test_the_page_has_what_is_tested() -> None:
    found = blocks(PAGE.read_text())
    assert {"my_channel.py", "study.yaml"} <= {file for file, _, _ in found if file}
    assert sum(len(commands(body)) for _, _, body in found) >= 8
    assert sum(kind == "python" and not file for file, kind, _ in found) >= 2


def test_the_tutorial_is_under_40_lines() -> None:
    """Write, check, run, plot."""
    text = PAGE.read_text().partition("### In a notebook")[0]
    lines = [line for _, _, body in blocks(text) for line in body.splitlines() if line.strip()]
    assert len(lines) < 40


def test_the_tutorial_runs_as_it_stands(here: Path, capsys: pytest.CaptureFixture) -> None:
    python = ""
    for file, kind, body in blocks(PAGE.read_text().partition(_TUTORIAL)[0]):
        if file:
            (here / file).write_text(body)
        elif kind == "python":
            python += body
        for _, _, _, *arguments in commands(body):
            linksim(arguments)
    for made in (
        "channels/nakagami/channel.png",
        "channels/m07/channel.png",
        "mine/figures/psnr.png",
    ):
        assert (here / "results" / made).is_file(), made
    try:
        exec(compile(python, "notebook", "exec"), {"__name__": "notebook"})
        said = capsys.readouterr().out
    finally:
        registry.unregister("channels", "nakagami")
        sys.modules.pop("my_channel", None)
    assert "passed measured SNR" in said and "FAILED" not in said
    assert (here / "results" / "notebook" / "run.json").is_file()


REST = [
    arguments
    for _, _, body in blocks(PAGE.read_text().partition(_TUTORIAL)[2])
    for _, _, _, *arguments in commands(body)
]


@pytest.mark.parametrize("arguments", REST, ids=" ".join)
def test_the_other_commands_make_sense(arguments: list[str], here: Path) -> None:
    """Those that take seconds are run; of a study the scenario is loaded, of a wideband channel it is built."""
    if arguments[0] == "run":
        assert load(ROOT / arguments[1]).points()
    elif arguments[:2] == ["check", "channel"] and any(w in arguments[2] for w in TOO_SLOW):
        assert registry.create("channels", parse("channels", arguments[2]))
    elif arguments[0] == "check":
        linksim(arguments)
    else:
        assert arguments[0] in {c.name for c in app.registered_commands} | {"assets", "bench"}


SCENARIOS = [
    (file, body)
    for file, _, body in blocks(PAGE.read_text().partition(_TUTORIAL)[2])
    if file.endswith(".yaml")
]


@pytest.mark.parametrize(
    ("file", "body"), SCENARIOS, ids=lambda v: v if v.endswith(".yaml") else ""
)
def test_the_other_scenarios_can_be_run(file: str, body: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(body)
    assert all(p.error is None for p in preview(load(tmp_path / file)))


@pytest.mark.parametrize("kind", ["channels", "impairments", "erasures"])
def test_every_channel_and_loss_process_is_in_its_table(kind: str) -> None:
    """A new component gets a row in docs/channels.md."""
    page = PAGE.read_text()
    missing = [name for name in registry.entries(kind) if f"\n| `{name}` |" not in page]
    assert not missing, f"add rows to docs/channels.md for {missing}"


def test_the_readme_points_to_the_page() -> None:
    assert "docs/channels.md" in (ROOT / "README.md").read_text()
