"""Who may import whom, read from the sources without importing anything."""

import ast
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
GROUND = {
    "atomic",
    "packed",
    "types",
    "units",
    "seeds",
    "registry",
    "errors",
    "assets",
    "quiet",
    "cores",
    "graphs",
    "laws",
    "__init__",
}
PUBLIC = {"types", "units", "seeds", "registry", "errors"}
ROOMS = {"image", "codec", "joint", "packet", "phy", "channel", "metric"}
LAYERS = (
    GROUND,
    {"model"},
    ROOMS,
    {"link"},
    {"scenario", "runner", "results", "train"},
    {"figure", "report", "bench", "check", "cli", "terminal", "__main__"},
)
HEAVY = {"tensorflow", "keras", "sionna", "numba", "av", "pandas", "matplotlib", "skimage", "scipy"}

FILES = sorted(p for package in ("linksim", "baselines") for p in (ROOT / package).rglob("*.py"))


def room(module: str) -> str:
    """linksim.phy.modem -> phy; linksim itself -> __init__."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def name_of(file: Path) -> str:
    parts = list(file.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def imports(file: Path, *, top_level: bool = False, typing_too: bool = True) -> set[str]:
    """Modules that a file imports, absolute; ``top_level`` leaves out what only functions import."""
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    own = name_of(file).split(".")
    package = own if file.name == "__init__.py" else own[:-1]
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if top_level and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) and not typing_too:
            for other in node.orelse:
                visit(other)
            return
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                ours = base.split(".")[0] in ("linksim", "baselines")
                found.add(inner if ours and is_module(inner) else base)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(tree)
    return found


def layer(name: str) -> int:
    for rank, names in enumerate(LAYERS):
        if name in names:
            return rank
    pytest.fail(f"linksim/{name} is in no layer; put it into LAYERS of {Path(__file__).name}")


def test_there_is_something_to_check():
    assert len(FILES) > 40
    names = {name_of(f) for f in FILES}
    assert {"linksim.types", "linksim.link.joint", "baselines.vvc"} <= names
    assert "linksim.channel.apply" in imports(ROOT / "linksim/channel/awgn.py")
    assert "linksim.registry" in imports(ROOT / "linksim/link/joint.py"), "from linksim import x"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_go_down(file):
    name = name_of(file)
    for imported in sorted(imports(file)):
        head = imported.split(".")[0]
        if name.startswith("baselines"):
            if head == "linksim":
                assert room(imported) in PUBLIC | {"__init__"}, f"{name} imports {imported}"
            continue
        assert head != "baselines", f"{name} imports {imported}: baselines are plug-ins"
        if head != "linksim":
            continue
        mine, theirs = room(name), room(imported)
        if mine == theirs:
            continue
        assert layer(theirs) <= layer(mine), f"{name} imports {imported}, a layer above it"
        if mine in ROOMS:
            assert theirs not in ROOMS, f"{name} imports {imported}: rooms do not know each other"


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_who_may_use_what(file):
    name = name_of(file)
    used = {i.split(".")[0] for i in imports(file)}
    mine = room(name) if name.startswith("linksim") else "baselines"
    if mine != "figure":
        assert "matplotlib" not in used, f"{name}: matplotlib is imported in figure/ alone"
    if mine not in ("phy", "channel", "bench"):  # bench/ measures it as the reference
        assert "sionna" not in used, f"{name}: Sionna is imported in phy/ and channel/ alone"
    if mine == "model":
        others = used - {"keras", "numpy", "linksim"} - sys.stdlib_module_names
        assert not others, f"{name}: model/ imports keras and numpy alone, not {sorted(others)}"


CHEAP = GROUND | {"channel", "packet", "joint", "image"}


@pytest.mark.parametrize(
    "file",
    [f for f in FILES if f.is_relative_to(ROOT / "linksim") and room(name_of(f)) in CHEAP],
    ids=name_of,
)
def test_components_are_cheap_to_import(file):
    if "fast" in name_of(file).split("."):
        pytest.skip("kernels, imported when they are called")
    loaded = imports(file, top_level=True, typing_too=False)
    assert not [i for i in loaded if "fast" in i.split(".")], f"{name_of(file)} loads kernels"
    heavy = {i.split(".")[0] for i in loaded} & HEAVY
    assert not heavy, (
        f"{name_of(file)} imports {sorted(heavy)} when it is loaded; do it in a function"
    )


def test_no_module_imports_itself_in_a_circle():
    """Else it depends on which module comes first whether an import works."""
    import graphlib

    names = {name_of(file) for file in FILES}
    graph = {
        name_of(f): imports(f, top_level=True, typing_too=False) & names - {name_of(f)}
        for f in FILES
    }
    assert "linksim.link.guard" in graph["linksim.link.csi"], "nothing to check"
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))
