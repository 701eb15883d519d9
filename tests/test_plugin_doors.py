"""Every kind of component comes in through each of the three doors: a file, an entry point, a decorator."""

from __future__ import annotations

import subprocess
import sys
import types
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from linksim import registry
from linksim.errors import ComponentError, DuplicateNameError, UnknownNameError

KINDS = list(registry.KINDS)
# What a class of each kind has, as text, so that it can be put into a file.
MEMBERS = {
    kind: "".join(
        f"    {name} = None\n"
        if not name.startswith("__")
        else f"    def {name}(self, *args): return 0\n"
        for name in names
    )
    for kind, names in registry.NEEDS.items()
}
SOURCE = '''
from dataclasses import dataclass

@dataclass(frozen=True)
class Mine:
    """A component of somebody else's."""

    level: int = 1

    def __post_init__(self):
        if self.level < 0:
            raise ValueError(f"level must be at least 0, got {{self.level}}")

{members}
'''


def source(kind: str) -> str:
    return SOURCE.format(members=MEMBERS[kind])


def made_class(kind: str) -> type:
    notebook = sys.modules.setdefault("notebook", types.ModuleType("notebook"))
    exec(source(kind), vars(notebook))
    return notebook.Mine


def test_every_kind_has_its_needs():
    assert set(registry.NEEDS) == set(registry.KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_shipped_has_what_its_kind_needs(kind: str) -> None:
    entry = next(iter(registry.entries(kind).values()))
    cls = entry.load()
    named = {**vars(cls), **getattr(cls, "__annotations__", {})}
    lacking = [n for n in registry.NEEDS[kind] if not hasattr(cls, n) and n not in named]
    assert not lacking, f"{cls} lacks {lacking}"


@pytest.mark.parametrize("kind", KINDS)
def test_a_file(kind: str, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(source(kind))
    made = registry.create(kind, {"plugin": "mine.py:Mine", "level": 4}, base=tmp_path)
    assert made.level == 4
    with pytest.raises(ComponentError, match="level must be at least 0, got -1"):
        registry.create(kind, {"plugin": "mine.py:Mine", "level": -1}, base=tmp_path)
    with pytest.raises(ComponentError, match="no parameter 'levle'; did you mean 'level'"):
        registry.create(kind, {"plugin": "mine.py:Mine", "levle": 1}, base=tmp_path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_decorator(kind: str) -> None:
    name = "from-a-notebook"
    try:
        registry.register(kind, name)(made_class(kind))
        assert registry.create(kind, {"name": name, "level": 2}).level == 2
        assert registry.entries(kind)[name].origin == "registered in this process"
        with pytest.raises(UnknownNameError, match=f"did you mean '{name}'"):
            registry.find(kind, "from-a-notebok")
    finally:
        registry.unregister(kind, name)


@pytest.mark.parametrize("kind", KINDS)
def test_a_decorator_does_not_take_a_name_that_is_there(kind: str) -> None:
    taken = next(iter(registry.entries(kind).values()))
    with pytest.raises(DuplicateNameError) as caught:
        registry.register(kind, taken.name)(made_class(kind))
    assert taken.target in str(caught.value) and "notebook:Mine" in str(caught.value)


def test_entry_points_of_an_installed_package(tmp_path: Path) -> None:
    """As pip leaves a package behind: a folder on sys.path with the module and its .dist-info."""
    groups = []
    for kind in KINDS:
        (tmp_path / f"mine_{kind}.py").write_text(source(kind))
        groups.append(f"[linksim.{kind}]\nmine = mine_{kind}:Mine\n")
    info = tmp_path / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("\n".join(groups))
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        "from linksim import registry\n"
        "for kind in registry.KINDS:\n"
        "    made = registry.create(kind, {'name': 'mine', 'level': 3})\n"
        "    entry = registry.entries(kind)['mine']\n"
        "    print(kind, made.level, entry.origin, entry.summary())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = [f"{kind} 3 mine 1.0 A component of somebody else's." for kind in KINDS]
    assert done.stdout.splitlines() == expected


def test_two_packages_of_one_name_are_both_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def points(group: str) -> list[EntryPoint]:
        return [EntryPoint("twin", "first:A", group), EntryPoint("twin", "second:B", group)]

    monkeypatch.setattr(registry, "entry_points", points)
    registry._installed.cache_clear()
    try:
        with pytest.raises(DuplicateNameError, match=r"first:A .* and second:B"):
            registry.find("channels", "twin")
    finally:
        monkeypatch.undo()
        registry._installed.cache_clear()


@pytest.mark.parametrize("kind", KINDS)
def test_a_class_of_another_kind_is_refused(kind: str, tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("class Odd:\n    pass\n")
    with pytest.raises(ComponentError, match=f"Odd has no .*a {registry.KINDS[kind]} needs it"):
        registry.create(kind, {"plugin": "odd.py:Odd"}, base=tmp_path)


NESTED = """
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Inner:
    rate: float = 0.5

@dataclass(frozen=True)
class Other:
    depth: int = 1

@dataclass(frozen=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    maybe: Inner | None = None
    either: Inner | Other = field(default_factory=Other)
    many: tuple[Inner, ...] = ()

    def __call__(self, x, n0, seed): return None
"""


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"inner": {"rat": 1}}, "inner has no parameter 'rat'; did you mean 'rate'?"),
        ({"maybe": {"rat": 1}}, "maybe has no parameter 'rat'"),
        ({"either": {"breadth": 1}}, "either has no parameter 'breadth'"),
        ({"many": [{"rate": 1}, {"rat": 1}]}, "many.1 has no parameter 'rat'"),
        ({"inner": {"rate": "fast"}}, "inner.rate: .*got 'fast'"),
    ],
)
def test_unknown_keys_inside_parameters_are_refused(given: dict, says: str, tmp_path: Path) -> None:
    (tmp_path / "nested.py").write_text(NESTED)
    with pytest.raises(ComponentError, match=says):
        registry.create("channels", {"plugin": "nested.py:Outer", **given}, base=tmp_path)


def test_known_keys_inside_parameters_are_taken(tmp_path: Path) -> None:
    (tmp_path / "nested.py").write_text(NESTED)
    given = {"inner": {"rate": 1}, "either": {"depth": 3}, "many": [{"rate": 0.1}]}
    made = registry.create("channels", {"plugin": "nested.py:Outer", **given}, base=tmp_path)
    assert (made.inner.rate, made.either.depth, made.many[0].rate) == (1.0, 3, 0.1)


def test_a_file_that_was_edited_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(source("channels"))
    assert registry.create("channels", {"plugin": "mine.py:Mine"}, base=tmp_path).level == 1
    file.write_text(source("channels").replace("level: int = 1", "level: int = 7"))
    assert registry.create("channels", {"plugin": "mine.py:Mine"}, base=tmp_path).level == 7


def test_examples(tmp_path: Path) -> None:
    class Needs:
        def __init__(self, path): ...

    class Gives(Needs):
        @classmethod
        def examples(cls, folder):
            (folder / "data.txt").write_text("1")
            return [{"path": str(folder / "data.txt")}]

    assert registry.examples(made_class("channels"), tmp_path) == [{}]
    assert registry.examples(Gives, tmp_path) == [{"path": str(tmp_path / "data.txt")}]
    with pytest.raises(
        ComponentError, match=r"needs path; give it a classmethod examples\(folder\)"
    ):
        registry.examples(Needs, tmp_path)
