"""Components by name, by file and by decorator."""

from dataclasses import dataclass

import pytest

from linksim import registry
from linksim.errors import ComponentError, DuplicateNameError, UnknownNameError


@pytest.fixture
def added():
    names = []

    def add(kind, name, cls):
        names.append((kind, name))
        return registry.register(kind, name)(cls)

    yield add
    for kind, name in names:
        registry.unregister(kind, name)


@dataclass(frozen=True)
class Loud:
    """A louder channel.

    More text.
    """

    gain: float = 2.0
    block_length: int | None = None

    def __post_init__(self):
        if self.gain <= 0:
            raise ValueError(f"gain must be positive, got {self.gain}")

    def __call__(self, x, n0, seed):
        raise NotImplementedError


def test_every_declared_component_can_be_found():
    for kind in registry.KINDS:
        for name, entry in registry.entries(kind).items():
            assert entry.name == name and ":" in entry.target and entry.origin
    assert list(registry.entries("channels")) == sorted(registry.entries("channels"))
    assert registry.find("channels", "awgn").summary().startswith("Additive white Gaussian noise")


@pytest.mark.parametrize("kind", ["channels", "erasures", "joints", "images"])
def test_every_component_of_these_rooms_loads_and_says_what_it_is(kind):
    for entry in registry.entries(kind).values():
        assert entry.load().__name__ == entry.attribute
        assert entry.summary(), f"{entry.target} has no docstring"


def test_listing_imports_no_component():
    import subprocess
    import sys

    code = (
        "import sys; from linksim import registry;"
        "[e.summary() for k in registry.KINDS for e in registry.entries(k).values()];"
        "bad = [m for m in ('tensorflow', 'keras', 'sionna', 'numba', 'pydantic', 'scipy') if m in sys.modules];"
        "sys.exit(str(bad) if bad else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_unknown_names_offer_the_nearest():
    with pytest.raises(
        UnknownNameError, match="unknown channel 'rayliegh'; did you mean 'rayleigh'"
    ):
        registry.create("channels", "rayliegh")
    with pytest.raises(UnknownNameError, match=r"known: .*awgn"):
        registry.find("channels", "qqqq")
    with pytest.raises(ValueError, match="kind must be one of"):
        registry.entries("chanels")


def test_decorator(added):
    added("channels", "loud", Loud)
    assert registry.create("channels", "loud") == Loud()
    assert registry.create("channels", {"name": "loud", "gain": 3}) == Loud(3.0)
    assert registry.find("channels", "loud").summary() == "A louder channel."
    added("channels", "loud", Loud)  # running a cell again
    registry.unregister("channels", "loud")
    with pytest.raises(UnknownNameError):
        registry.find("channels", "loud")


def test_duplicates_name_both(added):
    with pytest.raises(DuplicateNameError, match=r"linksim\.channel\.awgn:Awgn .* and .*Loud"):
        registry.register("channels", "awgn")(Loud)
    assert registry.find("channels", "awgn").load().__name__ == "Awgn"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"gain": -1}, "channel 'loud': gain must be positive, got -1"),
        ({"gain": "much"}, "channel 'loud': gain: .*got 'much'"),
        ({"gains": 1}, "channel 'loud' has no parameter 'gains'; did you mean 'gain'"),
    ],
)
def test_bad_parameters_are_one_line(added, given, message):
    added("channels", "loud", Loud)
    with pytest.raises(ComponentError, match=message) as caught:
        registry.create("channels", {"name": "loud", **given})
    assert "\n" not in str(caught.value)


def test_name_or_plugin():
    for spec in ({}, {"name": "awgn", "plugin": "a.py:A"}):
        with pytest.raises(ComponentError, match="by `name` or by `plugin`"):
            registry.create("channels", spec)


def test_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Mine:\n"
        "    level: int = 1\n"
        "    def __call__(self, x, n0, seed): return None\n"
    )
    made = registry.create("channels", {"plugin": "mine.py:Mine", "level": 4}, base=tmp_path)
    assert made.level == 4
    again = registry.create("channels", {"plugin": "mine.py:Mine"}, base=tmp_path)
    assert type(again) is type(made)


@pytest.mark.parametrize(
    ("plugin", "message"),
    [
        ("mine.py", r"write it as file\.py:ClassName"),
        ("gone.py:Mine", "there is no file"),
        ("broken.py:Mine", "importing it raised ZeroDivisionError"),
        ("syntax.py:Mine", "importing it raised SyntaxError"),
        ("other.py:Mine", r"other\.py has no class 'Mine'; it has \['Other'\]"),
    ],
)
def test_bad_files(tmp_path, plugin, message):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    (tmp_path / "syntax.py").write_text("class Mine\n")
    (tmp_path / "other.py").write_text("class Other: pass\n")
    with pytest.raises(ComponentError, match=message):
        registry.create("channels", {"plugin": plugin}, base=tmp_path)


def test_parameters_of_classes_and_dataclasses():
    assert registry.parameters(Loud) == {"gain": 2.0, "block_length": None}

    class Plain:
        def __init__(self, a, b=3):
            pass

    found = registry.parameters(Plain)
    assert list(found) == ["a", "b"] and found["b"] == 3
