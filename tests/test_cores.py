"""Sharing work among threads, and graphs whose results do not depend on how many there are."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from linksim import cores
from linksim.errors import RunStateError


def test_every_row_is_worked_on_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSIM_THREADS", "3")
    for rows in (0, 1, 7, 100):
        seen, workers = np.zeros(rows, int), set()

        def work(start: int, stop: int, seen: np.ndarray = seen, workers: set = workers) -> None:
            seen[start:stop] += 1
            workers.add(threading.get_ident())

        cores.over_rows(work, rows, 5)
        assert (seen == 1).all()
        assert len(workers) <= 3
    monkeypatch.setenv("LINKSIM_THREADS", "none")
    with pytest.raises(RunStateError, match="LINKSIM_THREADS must be a whole number"):
        cores.over_rows(work, 10, 1)


def test_parts_come_back_in_order_and_no_more_threads_work_than_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("LINKSIM_THREADS", "3")
    workers = set()

    def work(part: int) -> int:
        workers.add(threading.get_ident())
        time.sleep(0.002 * (7 - part % 7))
        return part * part

    assert cores.each(work, range(40)) == [part * part for part in range(40)]
    assert 2 <= len(workers) <= 3
    assert cores.each(work, []) == []


def test_work_inside_a_part_stays_on_its_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every thread of the pool waiting for others, a part that shared its own work would wait for ever."""
    monkeypatch.setenv("LINKSIM_THREADS", "2")

    def outer(part: int) -> list[bool]:
        mine, rows = threading.get_ident(), []
        cores.over_rows(lambda a, b: rows.append(threading.get_ident() == mine), 100, 1)
        return [*rows, *cores.each(lambda _: threading.get_ident() == mine, range(5))]

    assert all(all(found) and len(found) == 6 for found in cores.each(outer, range(20)))
    seen = []
    cores.over_rows(lambda a, b: seen.append(b - a), 100, 1)
    assert len(seen) == 2  # shared again afterwards


def test_an_error_of_a_part_is_raised_and_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINKSIM_THREADS", "2")
    begun = []

    def work(part: int) -> None:
        begun.append(part)
        time.sleep(0.001)
        if part == 3:
            raise ValueError("part 3")

    with pytest.raises(ValueError, match="part 3"):
        cores.each(work, range(1000))
    assert len(begun) < 20
    assert cores.each(lambda part: part, range(5)) == [0, 1, 2, 3, 4]


IN_A_PROCESS = """
import sys
import numpy as np
from linksim import registry
from linksim.errors import MissingAssetError
from linksim.types import Delivered, Received, TxKnowledge
from linksim.codec.tokens import TokenCodec

rng = np.random.default_rng(3)
smooth = rng.integers(0, 256, (5, 8, 8, 3)).repeat(16, 1).repeat(16, 2)
x = np.clip(np.concatenate([smooth] * 8)[:37] + rng.normal(0, 8, (37, 128, 128, 3)), 0, 255).astype(np.uint8)
found = {}
coder, k = registry.create("joints", "ntscc"), 24 * 64
sent = coder.encode(x, np.full(37, k), TxKnowledge(np.full(37, 5.0)), 0)
found["sent"] = sent.symbols.x
received = Received(sent.symbols.x, np.ones((37, 1), np.complex64), 0.3)
got = coder.decode(Delivered(((),) * 37, ((),) * 37, received, (128, 128)))
found["shown"] = np.stack(got.images)
for name, codec in (("ntc", "ntc"), ("refined", {"name": "ntc", "refine": 4})):
    packets = registry.create("codecs", codec).encode_at(x[:20], 60)
    found[name] = np.frombuffer(b"".join(p.data for ps in packets.of for p in ps), np.uint8)
found["tokens"] = TokenCodec().tokenise(x[:6])
try:
    lpips = registry.create("metrics", "lpips-alex")
except MissingAssetError:
    pass
else:
    found["lpips"] = lpips(x, found["shown"])
np.savez(sys.argv[1], **found)
"""


def test_networks_give_the_same_on_one_thread_and_on_three(tmp_path: Path) -> None:
    """To the bit: parts of a batch are the same, and an operation inside a graph has one thread."""
    found = []
    taken = [name for name in os.environ if name.startswith("TF_NUM_")]
    env = {name: value for name, value in os.environ.items() if name not in taken}
    for threads in ("1", "3"):
        path = tmp_path / f"{threads}.npz"
        done = subprocess.run(
            [sys.executable, "-c", IN_A_PROCESS, str(path)],
            env={**env, "LINKSIM_THREADS": threads},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        found.append(np.load(path))
    one, three = found
    assert len(one.files) == 5 + ("LINKSIM_ASSETS" in os.environ)
    for name in one.files:
        np.testing.assert_array_equal(one[name], three[name], err_msg=name)


@pytest.mark.parametrize(
    "first",
    [
        "from linksim.codec.tokens import TokenCodec; TokenCodec().tokenise(x)",
        "from linksim.codec.ntc import Ntc; Ntc().encode(x, np.array([4000]))",
        "from linksim.joint.machine import machine; machine('ntscc')",
    ],
    ids=["tokens", "ntc", "ntscc"],
)
def test_whoever_needs_tensorflow_first_gets_one_thread_an_operation(first: str) -> None:
    code = f"import numpy as np; x = np.zeros((1, 64, 64, 3), np.uint8); {first}\n"
    code += "import os; print(os.environ['TF_NUM_INTRAOP_THREADS'])"
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("TF_", "LINKSIM_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=clean
    )
    assert done.stdout.split()[-1] == "1" and done.stderr == ""
