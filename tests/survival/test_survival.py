"""A run that is killed, interrupted, out of disk or damaged has, once resumed, the rows of one that was not.

The short form runs always; ``-m slow`` brings fifty kills, some damage between them, and prints what they met (as a
command: tests/survival/kills.py).
"""

from __future__ import annotations

import json

import pytest
from disturber import STUDY, Disturber
from kills import FORMS, campaign

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
    disturber.campaign(["SIGKILL", "SIGINT", "worker killed"], expected)
    assert disturber.finished >= 1
    assert disturber.seen_gone >= 2 * 2  # two runs that were ended, two workers each: no orphans


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_fifty_kills_change_no_row(tmp_path, capsys, form):
    """Twenty-five of a run in one process and twenty-five of one with workers."""
    report = campaign(tmp_path, form, 25)
    with capsys.disabled():
        print(json.dumps(report))
    assert sum(report["disturbances"].values()) == 25 + 25 // 5
