"""How loss processes and the axis erasure_rate meet in a scenario."""

import numpy as np
import pytest

from linksim import scenario
from linksim.errors import ScenarioError


def study(erasures, folder=None, **axes):
    value = {
        "images": {"source": "samples", "size": 64, "limit": 1},
        "link": "packet",
        "erasures": erasures,
        "axes": {"bpp": 1, **axes},
        "systems": ["jpeg"],
    }
    return scenario.from_mapping(value, folder)


def rates(found):
    return {(p.erasure_label, p.erasure_rate) for p in found.points()}


def test_the_axis_sets_the_rate_of_processes_that_take_one():
    burst = {"name": "gilbert-elliott", "mean_burst": 2.5}
    chain = {"name": "gilbert-elliott", "label": "chain", "good_to_bad": 0.1, "bad_to_good": 0.5}
    ep4 = {"name": "markov", "label": "EP4", "preset": "EP4"}
    found = study(["iid", burst, chain, ep4], erasure_rate=[0, 0.1])
    assert rates(found) == {
        ("iid", 0.0),
        ("iid", 0.1),
        ("gilbert-elliott", 0.0),
        ("gilbert-elliott", 0.1),
        ("chain", None),
        ("EP4", None),
    }


def test_a_rate_of_its_own_stands_in_the_table():
    found = study(["iid", {"name": "markov", "preset": "EP4"}], erasure_rate=[0.1])
    assert [p.axes["erasure_rate"] for p in found.points()] == [0.1, 0.138319]


def test_a_rate_that_the_burst_does_not_allow_is_placed_at_the_axis():
    with pytest.raises(ScenarioError, match=r"erasure_rate.*mean_burst may be 4 or more"):
        study([{"name": "gilbert-elliott", "mean_burst": 2}], erasure_rate=[0.1, 0.8])


def test_without_the_axis_a_rate_is_missed():
    with pytest.raises(ScenarioError, match="give either rate"):
        study([{"name": "gilbert-elliott", "mean_burst": 2}])


def test_a_trace_lies_beside_the_scenario_and_its_content_is_part_of_the_point(tmp_path):
    (tmp_path / "t.txt").write_text("0010")
    first = study([{"name": "trace", "path": "t.txt"}], tmp_path).points()[0]
    (tmp_path / "t.txt").write_text("0110")
    second = study([{"name": "trace", "path": "t.txt"}], tmp_path).points()[0]
    assert first.id != second.id
    (tmp_path / "elsewhere").mkdir()
    np.save(tmp_path / "elsewhere" / "t.npy", [0, 1])
    assert study([{"name": "trace", "path": "elsewhere/t.npy"}], tmp_path).points()


def test_a_bad_trace_is_one_line_at_its_place(tmp_path):
    (tmp_path / "t.txt").write_text("0 1 2")
    with pytest.raises(ScenarioError, match="must hold 0 and 1 alone") as caught:
        study([{"name": "trace", "path": "t.txt"}], tmp_path)
    assert "\n" not in str(caught.value)
