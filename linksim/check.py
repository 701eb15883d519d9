"""``linksim check``: what can be said before anything is simulated, of a scenario, a channel or a loss process."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from linksim.errors import ComponentError, LinksimError
from linksim.terminal import (
    BAD_INPUT,
    FAILED_POINTS,
    Overrides,
    TextOrJson,
    duration,
    plugins_on_stderr,
    print_json,
    print_table,
    say,
)

if TYPE_CHECKING:
    from linksim.laws import LawResult
    from linksim.runner import Preview

STYLES = {"passed": "green", "FAILED": "bold red", "n/a": "dim"}


class _Group(TyperGroup):
    """``linksim check study.yaml`` is short for ``linksim check scenario study.yaml``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("--help", "-h"):
            args = ["scenario", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    rich_markup_mode=None,
    no_args_is_help=True,
    help="Check a scenario (linksim check FILE.yaml), or put a channel or a packet loss process through its laws.",
    subcommand_metavar="SCENARIO | channel NAME|FILE.py:Class | erasure NAME|FILE.py:Class",
)

Component = Annotated[
    str,
    typer.Argument(
        metavar="COMPONENT",
        help="A name (rician), a file (mine.py or mine.py:Class), or either with parameters, as in a scenario: "
        "'{name: rician, k_factor_db: 3}', '{plugin: mine.py:Class, m: 4}'.",
    ),
]
Seed = Annotated[
    int, typer.Option(help="Of fades, noise and symbols: another independent look.", min=0)
]
Form = Annotated[TextOrJson, typer.Option("--format", help="How to print.")]
AsJson = Annotated[bool, typer.Option("--json", help="The same as --format json.")]


# ------------------------------------------------------------------------------------------------------- scenario


@app.command(short_help="Show a scenario's points, budgets and cost.")
def scenario(
    scenario: Annotated[Path, typer.Argument(metavar="SCENARIO", help="Scenario YAML file.")],
    overrides: Overrides = None,
    form: Form = TextOrJson.text,
) -> None:
    """Expand a scenario's points with budgets and cost; simulate nothing."""
    with plugins_on_stderr():
        from linksim import runner
        from linksim.scenario import load

        study = load(scenario, overrides or [])
        previews = runner.preview(study)
    failed = [preview for preview in previews if preview.error is not None]
    if form is TextOrJson.json:
        print_json([_preview_row(preview) for preview in previews])
    else:
        _print_previews(previews)
    for label, reason in study.not_applicable.items():
        say(f"note: {label}: {reason}")
    say(
        f"{len(previews)} points, about {duration(sum(p.cost_s for p in previews if p.error is None))} "
        "with source coding cached" + (f"; {len(failed)} cannot be run" if failed else "")
    )
    if failed:
        raise typer.Exit(BAD_INPUT if len(failed) == len(previews) else FAILED_POINTS)


def _preview_row(preview: Preview) -> dict[str, Any]:
    point = preview.point
    return {
        "point": point.id,
        "system": point.system_label,
        "link": point.link,
        "channel": point.channel_label,
        **point.axes,
        "budget": preview.text,
        "cost_s": preview.cost_s,
        "error": preview.error,
    }


def _print_previews(previews: list[Preview]) -> None:
    axes = list(dict.fromkeys(axis for p in previews for axis in p.point.axes))
    on_channel = any(p.point.channel_label for p in previews)
    rows = []
    for preview in previews:
        point = preview.point
        values = (point.axes.get(axis, "") for axis in axes)
        rows.append(
            [
                point.system_label,
                *([point.channel_label or ""] if on_channel else []),
                *(f"{v:.4g}" if isinstance(v, float) else str(v) for v in values),
                preview.text if preview.error is None else f"cannot run: {preview.error}",
                duration(preview.cost_s),
            ]
        )
    place = ["channel"] if on_channel else []
    print_table(["system", *place, *axes, "budget of one image", "cost"], rows)


# ------------------------------------------------------------------------------------------------ channel, erasure


@app.command(short_help="Put a channel through the laws, and draw it.")
def channel(
    component: Component,
    es_n0_db: Annotated[float, typer.Option(help="Es/N0 at which noise is measured, dB.")] = 5.0,
    frames: Annotated[
        int | None,
        typer.Option(
            help="Frames that averages run over; by default 4000.", min=50, show_default=False
        ),
    ] = None,
    symbols: Annotated[
        int | None,
        typer.Option(help="Symbols of a frame; by default 64.", min=2, show_default=False),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the drawing; by default results/channels/NAME.", show_default=False
        ),
    ] = None,
    figures: Annotated[bool, typer.Option(help="Draw the channel.")] = True,
    form: Form = TextOrJson.text,
    as_json: AsJson = False,
) -> None:
    """Put a channel through the laws: what holds, what does not and by how much. Exit 1 if a law fails.

    The laws, and what a channel may declare: linksim/channel/laws.py, docs/channels.md.
    """
    if not -60 <= es_n0_db <= 60:
        raise LinksimError(f"--es-n0-db must be in -60..60 dB, got {es_n0_db:g}")
    with plugins_on_stderr():
        from linksim.channel.laws import check_channel

        spec, made = _build("channels", component)
        results = check_channel(
            made, frames=frames, symbols=symbols, es_n0_db=es_n0_db, seed=seed, spec=spec
        )
        paths: list[Path] = []
        if figures and results[0].passed:
            from linksim.figure.channel import plot_channel

            folder = out or Path("results") / "channels" / _slug(spec)
            paths = plot_channel(made, folder, _title(spec), es_n0_db=es_n0_db, seed=seed)
    about = {"channel": spec, "es_n0_db": es_n0_db, "seed": seed}
    _report(about, results, paths, TextOrJson.json if as_json else form)


@app.command(short_help="Put a packet loss process through the laws.")
def erasure(
    component: Component,
    frames: Annotated[int, typer.Option(help="Frames that averages run over.", min=50)] = 4000,
    packets: Annotated[int, typer.Option(help="Packets of a frame.", min=2)] = 40,
    seed: Seed = 0,
    form: Form = TextOrJson.text,
    as_json: AsJson = False,
) -> None:
    """Put a packet loss process through the laws. Exit 1 if a law fails."""
    with plugins_on_stderr():
        from linksim.packet.laws import check_erasure

        spec, made = _build("erasures", component)
        results = check_erasure(made, frames=frames, packets=packets, seed=seed)
    _report({"erasure": spec, "seed": seed}, results, [], TextOrJson.json if as_json else form)


def _report(
    about: Mapping[str, Any], results: Sequence[LawResult], paths: Sequence[Path], form: TextOrJson
) -> None:
    """Print the results, and leave with 1 where a law fails."""
    if form is TextOrJson.json:
        laws = [
            {
                "law": r.name,
                "verdict": r.verdict.lower(),
                "measured": None if math.isnan(r.measured) else r.measured,
                "expected": None if math.isnan(r.expected) else r.expected,
                "text": r.text,
            }
            for r in results
        ]
        print_json({**about, "laws": laws, "figures": [str(path) for path in paths]})
    else:
        print_table(
            ["law", "verdict", "measured", "expected", "how"],
            [
                [r.name, r.verdict, _number(r.measured), _number(r.expected), r.text]
                for r in results
            ],
            styles=STYLES,
        )
        for path in paths:
            print(path)
    counts = {v: sum(r.verdict == v for r in results) for v in STYLES}
    left_out = len(results) == 1 and not results[0].passed
    say(
        f"{counts['passed']} laws hold, {counts['FAILED']} do not, {counts['n/a']} do not apply"
        + ("; the others were not measured" if left_out else "")
    )
    if counts["FAILED"]:
        raise typer.Exit(FAILED_POINTS)


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.4g}"


def _build(kind: str, text: str) -> tuple[dict[str, Any], Any]:
    """The spec that the command line names, its paths absolute, and the component. Raises LinksimError."""
    from linksim import registry
    from linksim.scenario.components import absolute

    spec = parse(kind, text)
    if "plugin" in spec:
        spec["plugin"] = registry.whole_plugin(kind, str(spec["plugin"]))
    try:
        spec = absolute(spec, Path.cwd())
    except ValueError as error:  # $LINKSIM_ASSETS is not set
        raise ComponentError(str(error)) from None
    return spec, registry.create(kind, spec)


def parse(kind: str, text: str) -> dict[str, Any]:
    """A component as it is written on the command line. Raises ComponentError: where that makes no sense."""
    if not text.lstrip().startswith("{"):
        is_file = re.search(r"\.py(:|$)", text) is not None
        return {"plugin" if is_file else "name": text}
    import yaml

    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ComponentError(
            f"{text!r} is not YAML ({' '.join(str(error).split())}); write it as '{{name: NAME, parameter: value}}'"
        ) from None
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ComponentError(
            f"{text!r} is no mapping; write it as '{{name: NAME, parameter: value}}'"
        )
    value.pop("label", None)
    return value


def _title(spec: Mapping[str, Any]) -> str:
    """ "rician, k_factor_db 3"."""
    name = spec.get("name") or str(spec.get("plugin", "")).rpartition(":")[2]
    rest = [f"{key} {value}" for key, value in spec.items() if key not in ("name", "plugin")]
    return ", ".join([str(name), *rest])


def _slug(spec: Mapping[str, Any]) -> str:
    """The title as the name of a folder."""
    words = re.findall(r"[A-Za-z0-9.+-]+", _title(spec))
    return "-".join(words)[:80].lower() or "channel"
