"""A run that is killed, interrupted, out of disk or damaged has, once resumed, the rows of one that was not.

The short form runs always; ``-m slow`` brings fifty kills, some damage between them, and prints what they met.
"""

from __future__ import annotations

import json

import pytest
from disturber import KILLS, KILLS_OF_WORKERS, STUDY, Disturber

SMALL = {**STUDY, "images": {**STUDY["images"], "limit": 6}, "channels": ["awgn"]}


def test_a_few_disturbances_change_no_row(tmp_path):
    disturber = Disturber(tmp_path, seed=1, study=SMALL)
    expected = disturber.undisturbed()
    assert len(expected) == 3 * 2 * 6 * 2
    disturber.campaign(["full disk", "SIGKILL", "damage", "SIGINT"], expected)
    assert sum(disturber.ended.values()) == 4


def test_runs_with_workers_and_workers_killed_change_no_row(tmp_path):
    disturber = Disturber(tmp_path, seed=5, study=SMALL, workers=2)
    expected = disturber.undisturbed()
    disturber.campaign(["SIGKILL", "worker killed"], expected)
    assert disturber.finished >= 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "workers, count, kinds", [(1, 25, KILLS), (2, 25, KILLS_OF_WORKERS)], ids=["one", "workers"]
)
def test_fifty_kills_change_no_row(tmp_path, capsys, workers, count, kinds):
    """Twenty-five of a run in one process and twenty-five of one with workers."""
    disturber = Disturber(tmp_path, seed=2024, workers=workers)
    expected = disturber.undisturbed()
    kills = [disturber.rng.choice(kinds) for _ in range(count)]
    kills = [
        k for i, kill in enumerate(kills) for k in ([kill, "damage"] if i % 10 == 9 else [kill])
    ]
    disturber.campaign(kills, expected)
    met = {f"{kind}, exit {status}": n for (kind, status), n in sorted(disturber.ended.items())}
    report = {
        "workers": workers,
        "rows": len(expected),
        "disturbances": met,
        "runs to the end": disturber.finished,
        "rows that differ": 0,
    }
    with capsys.disabled():
        print(json.dumps(report))
    assert sum(disturber.ended.values()) == count + count // 10
