"""A run that is killed, interrupted, out of disk or damaged has, once resumed, the rows of one that was not.

The short form runs always; ``-m slow`` brings fifty kills, some damage between them, and prints what they met.
"""

from __future__ import annotations

import json

import pytest
from disturber import KILLS, STUDY, Disturber

SMALL = {**STUDY, "images": {**STUDY["images"], "limit": 6}, "channels": ["awgn"]}


def test_a_few_disturbances_change_no_row(tmp_path):
    disturber = Disturber(tmp_path, seed=1, study=SMALL)
    expected = disturber.undisturbed()
    assert len(expected) == 3 * 2 * 6 * 2
    disturber.campaign(["full disk", "SIGKILL", "damage", "SIGINT"], expected)
    assert sum(disturber.ended.values()) == 4


@pytest.mark.slow
def test_fifty_kills_change_no_row(tmp_path, capsys):
    disturber = Disturber(tmp_path, seed=2024)
    expected = disturber.undisturbed()
    kills = [disturber.rng.choice(KILLS) for _ in range(50)]
    kinds = [
        k for i, kill in enumerate(kills) for k in ([kill, "damage"] if i % 10 == 9 else [kill])
    ]
    disturber.campaign(kinds, expected)
    met = {f"{kind}, exit {status}": n for (kind, status), n in sorted(disturber.ended.items())}
    with capsys.disabled():
        print(
            json.dumps(
                {"rows": len(expected), "disturbances": met, "runs to the end": disturber.finished}
            )
        )
    assert sum(disturber.ended.values()) == 55
