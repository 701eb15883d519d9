"""The command line. Data go to stdout, everything else to stderr; exit 0 done, 1 failed points, 2 bad input.

Each command imports what it needs when it is called, so that ``linksim --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from linksim import check
from linksim.errors import LinksimError
from linksim.terminal import (
    BAD_INPUT,
    DONE,
    FAILED_POINTS,
    INTERRUPTED,
    Overrides,
    RunProgress,
    TextOrJson,
    duration,
    plugins_on_stderr,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from linksim.registry import Entry
    from linksim.scenario import Scenario

_SHOWN = 10  # lines of what is missing


class _Group(TyperGroup):
    """The one place where errors become a line and an exit status."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            resume = ctx.invoked_subcommand in ("run", "train")
            say("interrupted; run the same command to resume" if resume else "interrupted")
            raise typer.Exit(INTERRUPTED) from None
        except MemoryError as error:
            if ctx.params.get("debug"):
                raise
            detail = f" ({error})" if str(error) else ""
            say(
                f"error: out of memory{detail}; finished cells are kept, a smaller batch or fewer --workers need less"
            )
            raise typer.Exit(BAD_INPUT) from None
        except (LinksimError, OSError) as error:
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):
                raise
            say(f"error: {' '.join(str(error).split())}")
            raise typer.Exit(BAD_INPUT) from None


# Without rich's markup --help is drawn in a third of the time.
app = typer.Typer(
    cls=_Group,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Simulate image transmission end to end: every system under one channel and one budget.",
)
assets_app = typer.Typer(
    rich_markup_mode=None, no_args_is_help=True, help="Metric weights: what is here, and fetching."
)
app.add_typer(check.app, name="check", short_help="Check a scenario, a channel or a loss process.")
app.add_typer(assets_app, name="assets")


class Kind(StrEnum):
    """What `list` can be narrowed to; the keys of linksim.registry.KINDS."""

    channels = "channels"
    impairments = "impairments"
    erasures = "erasures"
    codecs = "codecs"
    joints = "joints"
    systems = "systems"
    channel_codes = "channel_codes"
    metrics = "metrics"
    images = "images"


class TableFormat(StrEnum):
    """Forms of a table."""

    csv = "csv"
    json = "json"
    text = "text"


ScenarioPath = Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario YAML file.")]
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Results folder of a run.")]


def _version(asked: bool) -> None:
    if asked:
        from linksim import __version__

        print(__version__)
        raise typer.Exit(DONE)


@app.callback()
def _options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


@app.command(short_help="Run a scenario, or resume it.")
def run(
    scenario: ScenarioPath,
    out: Annotated[
        Path | None,
        typer.Option(help="Results folder; by default results/NAME.", show_default=False),
    ] = None,
    overrides: Overrides = None,
    figures: Annotated[bool, typer.Option(help="Draw the figures at the end.")] = True,
    part: Annotated[
        str | None,
        typer.Option(
            metavar="K/N",
            help="Compute only the Kth of N parts, for a machine of its own; `linksim merge` joins them.",
            show_default=False,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Compute in N processes on this machine, or in N jobs of --cluster slurm; 1: in this one.",
            show_default=False,
        ),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS|slurm",
            help="Compute on the workers of the Dask scheduler at ADDRESS, or in SLURM jobs.",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            help="Seconds that one point may take on one batch of images; a longer one fails the point.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run a scenario, or resume it where it stopped. The rows do not depend on who computes them."""
    _check_workers(workers, cluster)
    # TensorFlow reports its build to stderr at import; what matters of it comes as exceptions.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if timeout is not None and not timeout > 0:
        raise LinksimError(f"--timeout must be above 0 seconds, got {timeout:g}")
    with plugins_on_stderr():
        study = _load(scenario, overrides)
        from linksim import runner

        share = runner.Share.parse(part) if part is not None else None
        folder = out if out is not None else Path("results") / study.name
        with RunProgress() as progress:
            summary = runner.run(
                study,
                folder,
                progress=progress,
                workers=workers or 1,
                cluster=cluster,
                part=share,
                timeout_s=timeout,
            )
    _print_results(folder)
    paths = [folder / "table.csv"]
    if figures:
        from linksim.figure import plot_run

        paths += [Path(path) for path in plot_run(folder)]
    print()
    for path in paths:
        print(path)
    _report(summary, study)
    if summary.failed:
        raise typer.Exit(FAILED_POINTS)


def _check_workers(workers: int | None, cluster: str | None) -> None:
    if workers is not None and workers < 1:
        raise LinksimError(f"--workers must be at least 1, got {workers}")
    if cluster == "slurm" and workers is None:
        raise LinksimError("--cluster slurm needs --workers N, the number of jobs")
    if cluster not in (None, "slurm") and workers is not None:
        raise LinksimError(
            f"--workers does not go with --cluster {cluster}: the workers of a running cluster are used as they are; "
            "leave --workers out"
        )


def _print_results(folder: Path) -> None:
    from linksim.results import table_for_people
    from linksim.terminal import console

    console().print(table_for_people(folder))


def _report(summary: Any, study: Scenario) -> None:
    """What people should know beside the table, on stderr."""
    for note in summary.notes:
        say(f"note: {note}")
    for label, reason in study.not_applicable.items():
        say(f"note: {label}: {reason}")
    for point, reason in summary.failed:
        say(f"failed: {point.title}: {reason}")
    say(
        f"{summary.num_points} points, {summary.num_cells} cells ({summary.num_computed} computed now) "
        f"in {duration(summary.seconds)}"
        + (f"; {len(summary.failed)} points failed" if summary.failed else "")
    )


@app.command("list", short_help="List channels, codecs, metrics, ...")
def list_components(
    kind: Annotated[Kind | None, typer.Argument(help="Only this kind.", show_default=False)] = None,
    form: Annotated[TextOrJson, typer.Option("--format", help="How to print.")] = TextOrJson.text,
) -> None:
    """List channels, codecs, systems, metrics, ... and where each comes from."""
    from linksim import registry

    kinds = [kind.value] if kind is not None else list(registry.KINDS)
    found = {k: list(registry.entries(k).values()) for k in kinds}
    if form is TextOrJson.json:
        print_json(
            [
                {
                    "kind": entry.kind,
                    "name": entry.name,
                    "summary": entry.summary(),
                    "target": entry.target,
                    "origin": entry.origin,
                    "missing": _missing(entry),
                }
                for listed in found.values()
                for entry in listed
            ]
        )
        return
    for k, listed in found.items():
        rows = []
        for entry in listed:
            missing = _missing(entry)
            about = f"{entry.summary()} NOT HERE YET: {missing}" if missing else entry.summary()
            rows.append([entry.name, about, f"{entry.target} ({entry.origin})"])
        print_table([k, "what it is", "where it comes from"], rows)


def _missing(entry: Entry) -> str | None:
    """What keeps a metric from being computed on this machine.

    Asked of linksim's own metrics alone: they import nothing heavy, and a third party's might.
    """
    if entry.kind != "metrics" or not entry.module.startswith("linksim."):
        return None
    from linksim import registry
    from linksim.errors import MissingAssetError

    try:
        registry.create(entry.kind, entry.name)
    except LinksimError as error:
        cause = error.__cause__
        return str(cause) if isinstance(cause, MissingAssetError) else None
    return None


@app.command(short_help="Print a run's table.")
def table(
    folder: RunPath,
    form: Annotated[TableFormat, typer.Option("--format", help="How to print.")] = TableFormat.text,
) -> None:
    """Print a run's table: a row per system, sweep point and metric (text: compact, for people)."""
    from linksim import results

    if form is TableFormat.text:
        _print_results(folder)
        return
    tidy = results.table(folder)
    text = results.to_csv(tidy) if form is TableFormat.csv else results.to_json(tidy) + "\n"
    sys.stdout.write(text)


@app.command(short_help="Join runs of several machines.")
def merge(
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the joined run.")],
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Results folders of one scenario.")
    ],
) -> None:
    """Join results folders of one scenario: parts of a run, or runs that were not finished.

    Merging again changes nothing. Runs that contradict each other are refused.
    """
    from linksim import results

    report = results.merge(out, runs)
    for note in report.notes:
        say(f"note: {note}")
    total = "" if report.num_all is None else f" of {report.num_all}"
    say(f"{report.num_cells}{total} cells, {report.num_new} of them new")
    for line in report.missing[:_SHOWN]:
        say(f"missing: {line}")
    if len(report.missing) > _SHOWN:
        say(f"missing: cells of {len(report.missing) - _SHOWN} more points")
    if report.resume is not None:
        say(f"to compute what is missing: {report.resume}")
    print(report.folder)


@app.command(short_help="Draw a run's figures.")
def plot(
    folder: RunPath,
    plane: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Two metrics: draw the second against the first instead."),
    ] = None,
) -> None:
    """Draw a run's figures and print their paths."""
    from linksim.figure import plot_run

    for path in plot_run(folder, plane):
        print(path)


@app.command(short_help="Train a network, or go on training.")
def train(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Training recipe (YAML).")],
    until: Annotated[
        int | None, typer.Option(metavar="STEP", help="Stop at this step.", show_default=False)
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads of a CPU backend.")] = 2,
    figures: Annotated[bool, typer.Option(help="Draw the figure at each validation.")] = True,
) -> None:
    """Train a network, or go on where its output folder's checkpoint is; KERAS_BACKEND: tensorflow or jax."""
    from linksim.terminal import TrainProgress
    from linksim.train.command import train as go

    def draw(folder: Path, axes: tuple[str, ...]) -> None:
        from linksim.figure.training import plot_training

        plot_training(folder, axes)

    with TrainProgress() as progress:
        folder = go(recipe, until, threads, progress.of, draw if figures else None)
    print(folder)


@app.command(short_help="Export a trained network's weights.")
def export(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE", help="Recipe of the run (YAML).")],
    name: Annotated[str, typer.Option(help="Name of the weights.")],
    to: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="By default the shipped weights.", show_default=False),
    ] = None,
    history: Annotated[str, typer.Option(help="A remark for the model card.")] = "",
    bits: Annotated[
        str,
        typer.Option(
            help="Kernels are rounded to their RMS / 2^BITS, by part like 7,f_e=5,f_d=5; 0: not at all."
        ),
    ] = "7",
) -> None:
    """Write float16 weights and a model card from the last checkpoint of a training run; print their path."""
    from linksim.train.command import export as write

    print(write(recipe, name, to, history, bits))


@app.command(short_help="Measure speed and memory beside references.")
def bench(
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Only this section: link, sources, joint, metrics or sweep. Repeatable.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[TextOrJson, typer.Option("--format", help="How to print.")] = TextOrJson.text,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Sizes that take seconds; see that all of it runs.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Also write the JSON to this file.", show_default=False)
    ] = None,
) -> None:
    """Measure speed and memory beside references, in the same run, on this machine."""
    import json

    from linksim import bench as benchmarks

    if out is not None and not out.parent.is_dir():
        raise LinksimError(f"--out {out}: there is no folder {out.parent}; make it first")
    report = benchmarks.suite(only or (), smoke=smoke, progress=lambda name: say(f"{name} ..."))
    report = {"command": " ".join(["linksim", *sys.argv[1:]]), **report}
    if out is not None:
        out.write_text(json.dumps(report, indent=2) + "\n")
    if form is TextOrJson.json:
        print_json(report)
        return
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    print_table(
        ["section", "what", "ours", "reference", "theirs", "times better"],
        [
            [
                row["section"],
                row["what"],
                f"{row['ours']:g} {row['unit']}",
                row["reference"] or "",
                "" if row["theirs"] is None else f"{row['theirs']:g}",
                "" if row["ratio"] is None else f"{row['ratio']:.3g}",
            ]
            for row in report["rows"]
        ],
    )


@app.command(short_help="Print the JSON schema of scenarios.")
def schema() -> None:
    """Print the JSON schema of scenario files, for editors."""
    from linksim.scenario import json_schema

    print_json(json_schema())


@assets_app.command("list", short_help="Show what is here and what is missing.")
def list_assets(
    form: Annotated[TextOrJson, typer.Option("--format", help="How to print.")] = TextOrJson.text,
) -> None:
    """Show which weights are on this machine, and where from the others come."""
    from linksim import assets

    found = assets.status()
    if form is TextOrJson.json:
        print_json(
            [
                {
                    "name": s.asset.name,
                    "group": s.asset.group,
                    "summary": s.asset.summary,
                    "path": s.path,
                    "check": s.check,
                    "url": s.asset.url,
                    "licence": s.asset.licence,
                }
                for s in found
            ]
        )
        return
    rows = [
        [
            s.asset.name,
            s.asset.group,
            s.asset.summary,
            str(s.path) if s.path else f"missing; its home is {s.asset.url}",
            s.check,
        ]
        for s in found
    ]
    print_table(["asset", "group", "what it is", "where it is", "checked by"], rows)
    if missing := sorted({s.asset.group for s in found if s.path is None}):
        say(f"to get what is missing: linksim assets fetch {' '.join(missing)}")


@assets_app.command("fetch", short_help="Download weights, checked, into the cache.")
def fetch_assets(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Assets or groups; by default all.", show_default=False),
    ] = None,
) -> None:
    """Download weights from their public homes, once, and print their paths."""
    from linksim import assets

    for asset in assets.select(names or assets.groups()):
        say(f"{asset.name}: {asset.summary}")
        for path in assets.fetch(asset.name, progress=sys.stderr.isatty()):
            print(path)


def _load(scenario: Path, overrides: list[str] | None) -> Scenario:
    from linksim.scenario import load

    return load(scenario, overrides or [])


def main() -> None:
    """Entry point of the ``linksim`` command."""
    app(prog_name="linksim")
