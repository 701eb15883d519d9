"""Scenarios: what is read, what is refused and where, and the points that come out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from linksim import registry
from linksim.errors import ScenarioError
from linksim.scenario import Scenario, from_mapping, json_schema, load

SHIPPED = sorted((Path(__file__).parents[1] / "scenarios").glob("*.yaml"))

BASE = """\
seed: 7
images: {source: samples, size: 64, limit: 2}
link: phy
channels: [awgn]
axes:
  es_n0_db: [0, 5]
  cbr: 1/24
systems: [jpeg, softcast]
metrics: [psnr]
"""

PACKET = """\
images: {source: samples, size: 64, limit: 2}
link: packet
axes: {erasure_rate: [0, 0.1], bpp: 1}
systems: [jpeg]
"""

PLUGIN = """\
from dataclasses import dataclass


@dataclass(frozen=True)
class Loud:
    \"\"\"A channel of a test.\"\"\"

    level: float = 1.0

    def __post_init__(self):
        if self.level < 0:
            raise ValueError(f"level must be at least 0, got {self.level}")

    def __call__(self, x, n0, seed):
        raise NotImplementedError
"""


def write(folder: Path, text: str = BASE, **replaced: str) -> Path:
    """A scenario file in ``folder``; ``replaced`` gives whole lines anew, by their first word."""
    lines = text.splitlines()
    for key, line in replaced.items():
        at = [i for i, old in enumerate(lines) if re.match(rf"\s*{key}:", old)]
        if at:
            lines[at[0]] = line
        else:
            lines.append(line)
    path = folder / "study.yaml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def mistake(path: Path, *overrides: str) -> ScenarioError:
    with pytest.raises(ScenarioError) as caught:
        load(path, overrides).points()
    assert "\n" not in str(caught.value)
    return caught.value


# ------------------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("replaced", "key", "line", "says"),
    [
        ({"chanels": "chanels: [awgn]"}, "chanels", 10, "unknown key 'chanels'.*'channels'"),
        ({"stop": "stop: {max_fail: 3}"}, "stop.max_fail", 10, "did you mean 'max_failed'"),
        ({"figures": "figures: {grid: {image: [0]}}"}, "figures.grid.image", 10, "'images'"),
        ({"seed": "seed: many"}, "seed", 1, "integer, got 'many'"),
        ({"seed": "seed: -1"}, "seed", 1, "got -1"),
        ({"seed": "seed: true"}, "seed", 1, "integer, got True"),
        ({"realisations": "realisations: 0"}, "realisations", 10, "got 0"),
        ({"batch": "batch: 1.5"}, "batch", 10, "integer, got 1.5"),
        ({"link": "link: phi"}, "link", 3, "must be one of phy, packet, got 'phi'"),
        ({"csi_tx": "csi_tx: perfect"}, "csi_tx", 10, "instantaneous, mean, none"),
        ({"failure": "failure: grey"}, "failure", 10, "mean-grey"),
        ({"budget": "budget: set"}, "budget", 10, "per_image, mean"),
        ({"name": "name: a/b"}, "name", 10, "letters, digits"),
        ({"axes": "axes: 5", "es_n0_db": "", "cbr": ""}, "axes", 5, "must be a mapping"),
        ({"es_n0_db": "  es_n0_db: []"}, "axes.es_n0_db", 6, "sweep is empty"),
        ({"es_n0_db": "  es_n0_db: [0, .nan]"}, "axes.es_n0_db.1", 6, "finite number, got nan"),
        ({"es_n0_db": "  es_n0_db: nan"}, "axes.es_n0_db", 6, "finite number, got 'nan'"),
        ({"es_n0_db": "  es_n0_db: .inf"}, "axes.es_n0_db", 6, "finite number, got inf"),
        ({"es_n0_db": "  es_n0_db: 3000"}, "axes.es_n0_db", 6, "between -200 and 200"),
        ({"es_n0_db": "  es_n0_db: [1, 1]"}, "axes.es_n0_db.1", 6, "given twice"),
        ({"es_n0_db": "  es_n0_db: [yes]"}, "axes.es_n0_db.0", 6, "number, got True"),
        (
            {"es_n0_db": "  es_n0_db: {start: 0, stop: 5}"},
            "axes.es_n0_db",
            6,
            "step missing",
        ),
        (
            {"es_n0_db": "  es_n0_db: {start: 0, stop: 5, step: 0}"},
            "axes.es_n0_db.step",
            6,
            "must not be 0",
        ),
        (
            {"es_n0_db": "  es_n0_db: {start: 0, stop: 5, step: -1}"},
            "axes.es_n0_db",
            6,
            "empty: from 0 to 5",
        ),
        (
            {"es_n0_db": "  es_n0_db: {start: 0, stop: 5, step: 1e-9}"},
            "axes.es_n0_db",
            6,
            "raise step",
        ),
        ({"cbr": "  cbr: -0.1"}, "axes.cbr", 7, "above 0, got -0.1"),
        ({"cbr": "  cbr: 1/0"}, "axes.cbr", 7, "fraction such as 1/24, got '1/0'"),
        ({"es_n0_db": ""}, "axes.es_n0_db", 5, "link: phy needs the axis es_n0_db"),
        ({"channels": "channels: []"}, "channels", 4, "list is empty"),
        ({"channels": "channels: [5]"}, "channels.0", 4, "name of a channel or a mapping"),
        ({"channels": "channels: [awgm]"}, "channels.0.name", 4, "did you mean 'awgn'"),
        (
            {"channels": "channels: [awgn, {name: rician, k_factor: 3}]"},
            "channels.1.k_factor",
            4,
            "no parameter 'k_factor'; did you mean 'k_factor_db'",
        ),
        (
            {"channels": "channels: [{name: rician, k_factor_db: much}]"},
            "channels.0.k_factor_db",
            4,
            "'much'",
        ),
        ({"channels": "channels: [awgn, awgn]"}, "channels.1", 4, "called 'awgn'.*label"),
        ({"channels": "channels: [{label: x}]"}, "channels.0", 4, "`name` or by `plugin`"),
        (
            {"channels": 'channels: [{plugin: "absent.py:X"}]'},
            "channels.0.plugin",
            4,
            "there is no file",
        ),
        ({"channel": "channel: awgn"}, "channel", 10, "beside `channels`"),
        ({"erasures": "erasures: [iid]"}, "erasures", 10, "belongs to link: packet"),
        ({"systems": "systems: [jpegg]"}, "systems.0.name", 8, "unknown system.*'jpeg'"),
        ({"systems": "systems: [jpeg, jpeg]"}, "systems.1", 8, "two systems are called 'jpeg'"),
        (
            {"systems": "systems: [{name: jpeg, amcc: {rule: genie}}]"},
            "systems.0.amcc",
            8,
            "did you mean 'amc'",
        ),
        (
            {"systems": "systems: [{name: jpeg, amc: {target: 2}}]"},
            "systems.0.amc",
            8,
            "target must be an error rate",
        ),
        (
            {"systems": "systems: [{name: jpeg, codec: {name: vvc}}]"},
            "systems.0.codec.name",
            8,
            "second coder",
        ),
        (
            {"systems": "systems: [{name: jpeg, codec: {qualty: 3}}]"},
            "systems.0.codec.qualty",
            8,
            "no parameter 'qualty'",
        ),
        (
            {"systems": "systems: [{name: separated}]"},
            "systems.0",
            8,
            "needs a codec",
        ),
        ({"systems": "systems: [{label: x}]"}, "systems.0", 8, "needs a `name`"),
        ({"metrics": "metrics: [psrn]"}, "metrics.0", 9, "did you mean 'psnr'"),
        ({"metrics": "metrics: [psnr, mse, psnr]"}, "metrics.2", 9, "given twice"),
        ({"metrics": "metrics: []"}, "metrics", 9, "list is empty"),
        ({"metrics": "metrics: [3]"}, "metrics", 9, "must be a name or"),
        ({"metrics": "metrics: [{psnr: 1}]"}, "metrics", 9, "must be a name or"),
        ({"metrics": "metrics: [psnr, {name: mse, n: 1}]"}, "metrics.1.n", 9, "no parameter 'n'"),
        ({"images": "images: {source: sample}"}, "images.source", 2, "did you mean 'samples'"),
        ({"images": "images: {source: samples, sise: 64}"}, "images.sise", 2, "'size'"),
        ({"images": "images: {size: 64}"}, "images", 2, "`source` or by `plugin`"),
        (
            {"images": "images: {source: folder, path: nowhere}"},
            "images",
            2,
            "nowhere",
        ),
        (
            {"figures": "figures: {grid: {images: [0], es_n0_db: [3]}}"},
            "figures.grid.es_n0_db.0",
            10,
            "3 is not swept; choose of 0, 5",
        ),
        ({"figures": "figures: {grid: {images: []}}"}, "figures.grid.images", 10, "empty"),
    ],
)
def test_each_mistake_names_file_line_and_key(
    tmp_path: Path, replaced: dict[str, str], key: str | None, line: int | None, says: str
) -> None:
    path = write(tmp_path, **replaced)
    error = mistake(path)
    assert re.search(says, str(error)), str(error)
    if key is not None:
        assert (error.file, error.line, error.key) == (path, line, key)
        assert str(error).startswith(f"{path}:{line}: {key}: ")


@pytest.mark.parametrize(
    ("axis", "says"),
    [
        ("bpp: 1", "is an axis of link: packet.*es_n0_db, snr_amc_db, cbr"),
        ("jpg.quality: [1]", "did you mean 'jpeg'"),
        ("es_no_db: [1]", "did you mean 'es_n0_db'"),
        ("jpeg.amc.targett: [0.1]", "targett"),
        ("jpeg.qualty: [1]", "no parameter 'qualty'"),
        ("jpeg.amc.target: []", "sweep is empty"),
        ("jpeg.amc.target: [0.1, 2]", "target must be an error rate"),
        ("snr_amc_db: {offset: 3}", "offset_db"),
        ("snr_amc_db: {offset_db: [x]}", "got 'x'"),
    ],
)
def test_mistakes_in_axes_are_placed_there(tmp_path: Path, axis: str, says: str) -> None:
    path = write(tmp_path, cbr=f"  cbr: 1/24\n  {axis}")
    error = mistake(path)
    assert re.search(says, str(error)), str(error)
    assert error.line == 8
    assert error.key is not None and error.key.startswith("axes." + axis.partition(":")[0])


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: [1, 2\nb: 3\n", 2, "broken YAML"),
        ("a: 1\n\tb: 2\n", 2, "broken YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, "a: is given twice, first on line 1"),
        ("x:\n  - {b: 1, b: 2}\n", 2, "x.0.b: is given twice"),
        ("a: 1\n---\nb: 2\n", 2, "broken YAML"),
        ("1: x\n", 1, "keys must be text, got '1'"),
        ("a: !!python/object:os.system x\n", 1, "broken YAML"),
        ("", None, "mapping of keys, got nothing"),
        ("- a\n", None, "mapping of keys, got a list"),
        ("a: &x [*x]\n", 1, "aliases"),
        ("a: 2024-99-99\n", None, "broken YAML: month"),
    ],
)
def test_broken_yaml(tmp_path: Path, text: str, line: int | None, says: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)
    error = mistake(path)
    assert re.search(says, str(error)), str(error)
    assert (error.file, error.line) == (path, line)


def test_aliases_that_unfold_without_end_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    path.write_text("\n".join(lines))
    assert "aliases" in str(mistake(path))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    assert "No such file" in str(mistake(tmp_path / "absent.yaml"))
    assert "directory" in str(mistake(tmp_path))
    binary = tmp_path / "picture.yaml"
    binary.write_bytes(b"\x89PNG\xff")
    assert "is not UTF-8" in str(mistake(binary))
    binary.write_bytes(b"a: \x00")
    assert "broken YAML" in str(mistake(binary))


def test_missing_parts_are_named(tmp_path: Path) -> None:
    path = tmp_path / "little.yaml"
    path.write_text("seed: 1\n")
    assert re.search("images: is missing.*2 more", str(mistake(path)))


# ------------------------------------------------------------------------------------------------------ overrides


def test_overrides_reach_every_kind_of_key(tmp_path: Path) -> None:
    path = write(tmp_path)
    scenario = load(
        path,
        [
            "axes.es_n0_db={start: 0, stop: 4, step: 2}",
            "axes.es_n0_db.stop=2",
            "systems.0.amc.target=0.1",
            "axes.jpeg.amc.target=[0.2, 0.3]",
            "stop.max_failed=3",
            "channel=rayleigh",
            "name=other",
        ],
    )
    assert scenario.name == "other" and scenario.stop.max_failed == 3
    assert {p.channel_label for p in scenario.points()} == {"rayleigh"}
    assert {p.es_n0_db for p in scenario.points()} == {0, 2}
    targets = {
        p.system_spec["amc"]["target"] for p in scenario.points() if p.system_label == "jpeg"
    }
    assert targets == {0.2, 0.3}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("axes.es_n0_db=[x]", r"^--set axes.es_n0_db=\[x\]: axes.es_n0_db.0: must be a number"),
        ("axes.es_n0_db=[1", "^--set .*: the value is broken YAML"),
        ("seed", "^--set seed: must be key=value"),
        ("=3", "^--set =3: must be key=value"),
        ("sed=3", "^--set sed=3: sed: unknown key 'sed'; did you mean 'seed'"),
        ("systems.9=vvc", "^--set systems.9=vvc: systems is a list.*0..1, got '9'"),
        ("systems.x=vvc", "^--set systems.x=vvc: systems is a list"),
        ("seed.x=3", "^--set seed.x=3: seed is 7, which has no key 'x'"),
        ("systems.0.presset=3", "^--set systems.0.presset=3: systems.0.presset: .*no parameter"),
    ],
)
def test_mistakes_in_overrides_name_the_override(tmp_path: Path, override: str, says: str) -> None:
    assert re.search(says, str(mistake(write(tmp_path), override)))


# --------------------------------------------------------------------------------------------------------- points


def test_every_combination_is_a_point_of_every_system(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        channels="channels: [awgn, {name: rician, k_factor_db: 6, label: 'K = 6 dB'}]",
        es_n0_db="  es_n0_db: {start: -4, stop: 10, step: 2}",
        cbr='  cbr: ["1/24", 0.0833, 1e-1]',
    )
    points = load(path).points()
    assert len(points) == len({p.id for p in points}) == 2 * 2 * 8 * 3
    assert [p.es_n0_db for p in points[:8]] == [-4, -2, 0, 2, 4, 6, 8, 10]
    assert {p.cbr for p in points} == {1 / 24, 0.0833, 0.1}
    assert {p.channel_label for p in points} == {"awgn", "K = 6 dB"}
    assert all(p.snr_amc_db == p.es_n0_db for p in points)
    assert all(list(p.axes) == ["es_n0_db", "cbr_target"] for p in points)
    assert all(p.bpp is None and p.erasure_rate is None and p.erasure_spec is None for p in points)


@pytest.mark.parametrize(
    ("written", "believed", "shown"),
    [
        ("{offset_db: 0}", {(0, 0), (5, 5)}, False),
        ("{offset_db: [0, -3]}", {(0, 0), (0, -3), (5, 5), (5, 2)}, True),
        ("6", {(0, 6), (5, 6)}, True),
        ("[0, 6]", {(0, 0), (0, 6), (5, 0), (5, 6)}, True),
        ("{start: 0, stop: 1, step: 1}", {(0, 0), (0, 1), (5, 0), (5, 1)}, True),
    ],
)
def test_what_the_transmitter_believes(
    tmp_path: Path, written: str, believed: set[tuple[float, float]], shown: bool
) -> None:
    path = write(tmp_path, cbr=f"  cbr: 1/24\n  snr_amc_db: {written}")
    scenario = load(path)
    points = scenario.points()
    assert {(p.es_n0_db, p.snr_amc_db) for p in points} == believed
    assert all(("snr_amc_db" in p.axes) == shown for p in points)
    assert from_mapping(scenario.resolved(), tmp_path).points() == points


def test_one_system_may_believe_something_of_its_own(tmp_path: Path) -> None:
    stuck = "{name: jpeg, label: stuck, snr_amc_db: 6}"
    entries = f"[jpeg, {stuck}, {{name: jpeg, label: above, snr_amc_db: {{offset_db: 2}}}}]"
    scenario = load(write(tmp_path, systems=f"systems: {entries}"))
    believed = {(p.system_label, p.es_n0_db): p.snr_amc_db for p in scenario.points()}
    assert believed["jpeg", 0] == 0 and believed["jpeg", 5] == 5
    assert believed["stuck", 0] == believed["stuck", 5] == 6
    assert believed["above", 0] == 2 and believed["above", 5] == 7
    again = from_mapping(scenario.resolved(), tmp_path)
    assert [p.id for p in again.points()] == [p.id for p in scenario.points()]
    several = write(tmp_path, systems="systems: [{name: jpeg, snr_amc_db: [0, 6]}]")
    assert "single value" in str(mistake(several))


def test_ranges_are_exact_and_include_their_end(tmp_path: Path) -> None:
    path = write(tmp_path, es_n0_db="  es_n0_db: {start: 0, stop: 0.5, step: 0.1}")
    assert [p.es_n0_db for p in load(path).points()[:6]] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]


def test_parameters_of_one_system_are_axes_of_its_own(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        cbr="  cbr: 1/24\n  J.amc.target: [0.1, 0.01]",
        systems="systems: [{name: jpeg, label: J}, {name: jpeg, label: J.K}]",
    )
    points = load(path).points()
    mine = [p for p in points if p.system_label == "J"]
    assert len(points) == 6 and len(mine) == 4
    assert {p.axes["J.amc.target"] for p in mine} == {0.1, 0.01}
    assert all(p.axes["J.amc.target"] == p.system_spec["amc"]["target"] for p in mine)
    assert not any("J.amc.target" in p.axes for p in points if p not in mine)


def test_systems_are_named_by_codec_joint_or_system(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        systems="systems: [jpeg, softcast, {name: separated, codec: jpeg2000}, {codec: avif, mtu: 300}]",
    )
    specs = {p.system_label: p.system_spec for p in load(path).points()}
    assert specs == {
        "jpeg": {"name": "separated", "codec": {"name": "jpeg"}},
        "softcast": {"name": "joint", "joint": {"name": "softcast"}},
        "separated": {"name": "separated", "codec": {"name": "jpeg2000"}},
        "avif": {"name": "separated", "codec": {"name": "avif"}, "mtu": 300},
    }


def test_parameters_of_the_codec_may_stand_beside_its_name(tmp_path: Path) -> None:
    beside = write(tmp_path, systems="systems: [{name: vvc, preset: fast, mtu: 300}]")
    first = load(beside).points()
    nested = write(tmp_path, systems="systems: [{name: vvc, codec: {preset: fast}, mtu: 300}]")
    assert load(nested).points() == first
    assert first[0].system_spec["codec"] == {"name": "vvc", "preset": "fast"}
    wrong = write(tmp_path, systems="systems: [{name: vvc, preset: 7}]")
    error = mistake(wrong)
    assert (error.key, error.line) == ("systems.0.preset", 8)
    swept = write(tmp_path, systems="systems: [vvc]", cbr="  cbr: 1/24\n  vvc.preset: [fast, x]")
    assert mistake(swept).key == "axes.vvc.preset.1"


def test_the_packet_link_has_axes_of_its_own(tmp_path: Path) -> None:
    points = load(write(tmp_path, PACKET)).points()
    assert [p.axes for p in points] == [
        {"erasure": "iid", "erasure_rate": rate, "bpp_target": 1.0} for rate in (0.0, 0.1)
    ]
    assert [p.erasure_spec for p in points] == [{"name": "iid", "rate": r} for r in (0.0, 0.1)]
    assert all(p.channel_spec is None and p.es_n0_db is None for p in points)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("axes: {erasure_rate: [1.5], bpp: 1}", "axes.erasure_rate.0: must be between 0 and 1"),
        ("axes: {erasure_rate: [0, 1], bpp: 1}", "axes.erasure_rate.1: packet loss process 'iid'"),
        ("axes: {bpp: 1}", "erasures.0: packet loss process 'iid': rate"),
        ("axes: {es_n0_db: 3, bpp: 1}", "axes.es_n0_db: is an axis of link: phy"),
        ("axes: {erasure_rate: 0.1}", "axes.bpp: link: packet needs the axis bpp"),
        ("erasures: [{name: iid, rate: 0.3}]", "erasures.0.rate: the axis erasure_rate"),
        ("csi_tx: mean", "csi_tx: belongs to link: phy"),
        ("systems: [softcast]", "no system can cross this link: softcast: not applicable"),
    ],
)
def test_mistakes_on_the_packet_link(tmp_path: Path, line: str, says: str) -> None:
    path = write(tmp_path, PACKET, **{line.partition(":")[0]: line})
    assert says in str(mistake(path))


def test_a_system_that_cannot_cross_the_link_is_left_out_with_a_reason(tmp_path: Path) -> None:
    scenario = load(write(tmp_path, PACKET, systems="systems: [jpeg, softcast]"))
    assert {p.system_label for p in scenario.points()} == {"jpeg"}
    assert scenario.not_applicable == {
        "softcast": "not applicable on link: packet; it crosses link: phy"
    }


def test_too_many_points_are_refused(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        es_n0_db="  es_n0_db: {start: 0, stop: 99, step: 0.1}",
        cbr="  cbr: {start: 0.01, stop: 1, step: 0.01}",
    )
    assert "axes: gives more than 100000 points" in str(mistake(path))


# ------------------------------------------------------------------------------------------------------ identities


def ids(scenario: Scenario) -> dict[tuple[Any, ...], str]:
    return {(p.system_label, p.channel_label, p.es_n0_db, p.cbr): p.id for p in scenario.points()}


def test_ids_do_not_depend_on_order_or_on_what_else_is_swept(tmp_path: Path) -> None:
    one = ids(load(write(tmp_path)))
    other = ids(
        load(
            write(
                tmp_path,
                seed="seed: 99",
                channels="channels: [rayleigh, awgn]",
                es_n0_db="  es_n0_db: [5, 2, 0]",
                cbr="  cbr: [0.2, 0.041666666666666664]",
                systems="systems: [vvc, softcast, {name: jpeg}]",
                metrics="metrics: [mse]",
            )
        )
    )
    assert one.items() <= other.items()
    assert len(set(other.values())) == len(other)


@pytest.mark.parametrize(
    "replaced",
    [
        {"csi_tx": "csi_tx: instantaneous"},
        {"failure": "failure: exclude"},
        {"systems": "systems: [{name: jpeg, mtu: 99}, {name: softcast, side_snr_db: 0}]"},
        {"channels": "channels: [{name: rayleigh, label: awgn}]"},
    ],
)
def test_ids_depend_on_whatever_determines_rows(tmp_path: Path, replaced: dict[str, str]) -> None:
    one = ids(load(write(tmp_path)))
    other = ids(load(write(tmp_path, **replaced)))
    assert one.keys() == other.keys()
    assert not set(one.values()) & set(other.values())


def test_ids_are_the_same_in_every_release(tmp_path: Path) -> None:
    """Changed ids make every stored run incomplete: change them knowingly."""
    found = ids(load(write(tmp_path)))
    assert found["jpeg", "awgn", 0, 1 / 24] == "43acc06595d73c5bc75c6dea"
    assert found["softcast", "awgn", 5, 1 / 24] == "0335d903ff24bc535cb68c56"


def test_the_resolved_form_gives_the_same_study(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        channels="channels: [awgn, {name: rician, k_factor_db: 6, label: K6}]",
        cbr="  cbr: [1/24, 1/12]\n  jpeg.amc.target: [0.1, 0.01]\n  snr_amc_db: [6]",
        figures="figures: {grid: {images: [0], es_n0_db: 5}, width: page}",
    )
    first = load(path)
    again = from_mapping(json.loads(json.dumps(first.resolved())), tmp_path)
    assert again.points() == first.points()
    assert (again.digest(), again.resolved()) == (first.digest(), first.resolved())
    again_path = tmp_path / "again.yaml"
    again_path.write_text(yaml.safe_dump(first.resolved()))
    assert load(again_path).digest() == first.digest()
    assert [first.in_grid(p) for p in first.points()[:2]] == [False, True]


def test_the_digest_is_of_rows_not_of_looks(tmp_path: Path) -> None:
    first = load(write(tmp_path)).digest()
    looks = ["name=x", "description=y", "batch=3", "figures.width=page"]
    assert load(write(tmp_path), looks).digest() == first
    for override in ("seed=8", "realisations=2", "metrics=[mse]", "images.limit=1"):
        assert load(write(tmp_path), [override]).digest() != first


# -------------------------------------------------------------------------------------------------- files beside it


def test_plugins_are_found_beside_the_scenario_and_hashed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = tmp_path / "study"
    study.mkdir()
    (study / "mine.py").write_text(PLUGIN)
    path = write(study, channels='channels: [{plugin: "mine.py:Loud", level: 2}]')
    monkeypatch.chdir(tmp_path)
    point = load(path).points()[0]
    assert point.channel_label == "Loud"
    assert point.channel_spec == {"plugin": f"{study / 'mine.py'}:Loud", "level": 2}
    assert registry.create("channels", point.channel_spec).level == 2
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine.py").write_text(PLUGIN)
    moved = write(elsewhere, channels='channels: [{plugin: "mine.py:Loud", level: 2}]')
    assert load(moved).points()[0].id == point.id
    (elsewhere / "mine.py").write_text(PLUGIN + "# changed\n")
    assert load(moved).points()[0].id != point.id
    wrong = write(study, channels='channels: [{plugin: "mine.py:Loud", level: -2}]')
    assert "level must be at least 0, got -2" in str(mistake(wrong))
    wrong = write(study, channels='channels: [{plugin: "mine.py:Load"}]')
    assert "has no class 'Load'; it has ['Loud']" in str(mistake(wrong))


def test_relative_paths_start_at_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import Image

    photos = tmp_path / "photos"
    photos.mkdir()
    Image.new("RGB", (64, 64), (200, 10, 10)).save(photos / "a.png")
    monkeypatch.chdir(photos)
    scenario = load(write(tmp_path, images="images: {source: folder, path: photos}"))
    assert scenario.image_spec == {"name": "folder", "path": str(photos)}
    assert scenario.resolved()["images"] == {"source": "folder", "path": "photos"}
    named = write(tmp_path, images="images: {source: folder, path: $LINKSIM_ASSETS/photos}")
    monkeypatch.setenv("LINKSIM_ASSETS", str(tmp_path))
    assert load(named).image_spec["path"] == str(photos)
    monkeypatch.delenv("LINKSIM_ASSETS")
    error = mistake(named)
    assert "LINKSIM_ASSETS, the folder of the data sets; set it" in str(error) and error.line == 2


# --------------------------------------------------------------------------------------------------------- shipped


def conforms(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """A validator for the part of JSON schema that ours uses; an unknown keyword is an error."""
    notes = {"description", "title", "default", "$defs", "$schema"}
    types = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    for word, rule in schema.items():
        if word in notes or word in ("properties", "patternProperties", "additionalProperties"):
            continue
        elif word == "$ref":
            good = conforms(value, root["$defs"][rule.rpartition("/")[2]], root)
        elif word == "anyOf":
            good = any(conforms(value, option, root) for option in rule)
        elif word == "type":
            good = isinstance(value, types[rule]) and not (
                isinstance(value, bool) and rule != "boolean"
            )
        elif word == "enum":
            good = value in rule
        elif word == "minimum":
            good = not isinstance(value, int | float) or value >= rule
        elif word == "exclusiveMinimum":
            good = not isinstance(value, int | float) or value > rule
        elif word == "minProperties":
            good = not isinstance(value, dict) or len(value) >= rule
        elif word == "maximum":
            good = not isinstance(value, int | float) or value <= rule
        elif word == "pattern":
            good = not isinstance(value, str) or re.search(rule, value) is not None
        elif word == "minItems":
            good = not isinstance(value, list) or len(value) >= rule
        elif word == "items":
            good = not isinstance(value, list) or all(conforms(v, rule, root) for v in value)
        elif word == "required":
            good = not isinstance(value, dict) or all(key in value for key in rule)
        else:
            raise AssertionError(f"the schema uses {word}, which this test does not know")
        if not good:
            return False
    if isinstance(value, dict) and schema.get("type") == "object":
        patterns = schema.get("patternProperties", {})
        for key, item in value.items():
            rules = [rule for pattern, rule in patterns.items() if re.search(pattern, key)]
            if key in schema.get("properties", {}):
                rules.append(schema["properties"][key])
            others = schema.get("additionalProperties")
            if not rules and others is False:
                return False
            if not rules and isinstance(others, dict):
                rules.append(others)
            if not all(conforms(item, rule, root) for rule in rules):
                return False
    return True


def test_there_are_shipped_scenarios() -> None:
    names = {path.stem for path in SHIPPED}
    assert {"quickstart", "kodak-small", "mismatch", "packet-loss"} <= names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_keep_the_schema(path: Path) -> None:
    schema = json_schema()
    written = yaml.safe_load(path.read_text())
    assert conforms(written, schema, schema)
    assert not conforms({**written, "sed": 3}, schema, schema)
    assert not conforms({**written, "systems": ["nothing"]}, schema, schema)
    assert not conforms({**written, "axes": {"es_no_db": 3}}, schema, schema)
    assert not conforms({k: v for k, v in written.items() if k != "images"}, schema, schema)


def test_the_resolved_form_keeps_the_schema_too(tmp_path: Path) -> None:
    schema = json_schema()
    assert conforms(load(write(tmp_path)).resolved(), schema, schema)
    assert conforms(load(write(tmp_path, PACKET)).resolved(), schema, schema)


def test_every_key_of_the_schema_is_described() -> None:
    schema = json_schema()
    for form in [schema, *schema["$defs"].values()]:
        for key, about in form["properties"].items():
            assert about.get("description"), key


@pytest.mark.parametrize("name", ["quickstart", "packet-loss"])
def test_shipped_scenarios_load_without_downloads(name: str) -> None:
    scenario = load(next(path for path in SHIPPED if path.stem == name))
    assert scenario.name == name and scenario.points()


@pytest.mark.assets
@pytest.mark.parametrize("name", ["kodak-small", "mismatch"])
def test_shipped_scenarios_load_with_assets(name: str, assets: Path) -> None:
    scenario = load(next(path for path in SHIPPED if path.stem == name))
    assert scenario.name == name and scenario.points()


def test_the_quickstart_is_what_the_readme_promises() -> None:
    scenario = load(next(path for path in SHIPPED if path.stem == "quickstart"))
    points = scenario.points()
    assert scenario.image_spec == {"name": "samples", "size": 128, "limit": 12}
    assert {p.channel_label for p in points} == {"awgn", "rayleigh"}
    assert {p.es_n0_db for p in points} == {-4, -2, 0, 2, 4, 6, 8, 10}
    names = [p.system_spec["name"] for p in {p.system_label: p for p in points}.values()]
    assert names.count("separated") >= 3 and {"joint", "tokens"} <= set(names)


def test_impairments_of_a_channel(tmp_path):
    listed = [
        {"name": "rayleigh", "impairments": [{"name": "rapp", "input_backoff_db": 3}, "cfo"]},
        {"name": "impaired", "channel": "awgn", "impairments": ["cfo"]},
        {"name": "awgn", "impairments": ["cfo"], "label": "offset"},
    ]
    study = from_mapping({**_impaired(), "channels": listed})
    assert [p.channel_label for p in study.points()] == [
        "rayleigh + rapp + cfo",
        "awgn + cfo",
        "offset",
    ]
    again = from_mapping(study.resolved())
    assert [p.id for p in again.points()] == [p.id for p in study.points()]


def _impaired():
    return {
        "images": {"source": "samples", "size": 32, "limit": 1},
        "axes": {"es_n0_db": [5], "cbr": 0.1},
        "systems": ["softcast"],
        "metrics": ["psnr"],
    }


@pytest.mark.parametrize(
    ("channel", "key", "message"),
    [
        ({"name": "rayleigh", "impairments": ["cof"]}, "channels.0.impairments.0.name", "'cfo'"),
        (
            {"name": "rayleigh", "impairments": [{"name": "cfo", "ofset_rms": 1}]},
            "channels.0.impairments.0.ofset_rms",
            "did you mean 'offset_rms'",
        ),
        ({"name": "raleigh", "impairments": ["cfo"]}, "channels.0.name", "'rayleigh'"),
        ({"name": "rayleigh", "dopler": 1, "impairments": ["cfo"]}, "channels.0.dopler", "doppler"),
        ({"name": "rayleigh", "doppler": 1, "impairments": ["cfo"]}, "channels.0", "0..0.5"),
        ({"name": "rayleigh", "impairments": [3]}, "channels.0.impairments.0", "a mapping, got 3"),
        ({"name": "rayleigh", "impairments": []}, "channels.0", "a list of at least one"),
    ],
)
def test_bad_impairments_are_named_where_they_stand(channel, key, message):
    with pytest.raises(ScenarioError, match=message) as caught:
        from_mapping({**_impaired(), "channels": [channel]})
    assert str(caught.value).startswith(key)
