"""Pictures that source codecs code for a study, by mode of the ladder, and how often a search misses the best rung.

    python tests/benchmarks/bench_ladders.py scenarios/quickstart.yaml [--modes auto lazy full]

Caches are empty at the start of each mode; rows of all modes are compared, exactly. Misses are counted on whole
ladders, over 60 budgets of each, spread evenly over the logarithm of the size.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from baselines import ladder, store
from baselines.ladder import LadderCodec
from linksim import registry, runner, scenario
from linksim.results import RunFolder

_coded: Counter[str] = Counter()
_calls: Counter[str] = Counter()


def _counted(self: LadderCodec, images: Any, key: Any, plain: Any = LadderCodec._rungs) -> Any:
    _coded[self.codec] += len(images)
    _calls[self.codec] += 1
    return plain(self, images, key)


def run(study: dict[str, Any], folder: Path, mode: str, work: Path) -> dict[str, Any]:
    """The study with this mode: pictures and calls by codec, CPU s of the encoders' processes."""
    for cache in (ladder._ladders, ladder._prepared, ladder._pictures):
        cache.clear()
    _coded.clear()
    _calls.clear()
    os.environ["LINKSIM_CACHE"] = str(work / f"cache-{mode}")
    systems = [{"name": s} if isinstance(s, str) else dict(s) for s in study["systems"]]
    for system in systems:
        if system.get("name") in CODECS:
            system["ladder"] = mode
    path = folder / f".{mode}-bench.yaml"
    path.write_text(yaml.safe_dump({**study, "systems": systems, "metrics": ["mse"]}))
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    try:
        runner.run(scenario.load(path), work / mode)
    finally:
        path.unlink()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    total = sum(_coded.values())
    return {
        "pictures": dict(_coded),
        "in all": total,
        "calls": dict(_calls),
        "encoders_cpu_s": round(spent, 1),
    }


def misses(cache: Path) -> dict[str, Any]:
    """By codec: ladders, budgets, how many got another rung than the best of all, and the worst loss."""
    found = {}
    for name, codec in CODECS.items():
        ladders = [
            store.parse(p.read_bytes()) for p in (cache / "ladders" / name).rglob("*.ladder")
        ]
        whole = max((len(r) for r in ladders if r), default=0)
        budgets, lost = 0, []
        for rungs in (r for r in ladders if r and len(r) == whole):
            sizes = [len(r.data) for r in rungs.values()]
            view = _View(codec, rungs)
            for budget in np.unique(np.geomspace(min(sizes), max(sizes), 60).astype(int)):
                budgets += 1
                got, _ = view._search(rungs, int(budget))
                best = min(r.mse for r in rungs.values() if len(r.data) <= budget)
                if got is None or got.mse != best:
                    lost.append(np.inf if got is None else 10 * np.log10(got.mse / best))
        if budgets:
            found[name] = {
                "ladders": len(ladders),
                "budgets": budgets,
                "missed": len(lost),
                "worst_db": round(max(lost, default=0.0), 3),
            }
    return found


class _View:
    """A codec's search over the qualities that ladders hold."""

    _search = LadderCodec._search

    def __init__(self, codec: LadderCodec, rungs: store.Rungs) -> None:
        up = codec.qualities()[1]
        down = up[0] > up[-1]
        tiers: dict[int, list[int]] = {}
        for scale, quality in sorted(rungs):
            tiers.setdefault(scale, []).append(quality)
        self._tiers = {s: tuple(sorted(q, reverse=down)) for s, q in tiers.items()}

    def qualities(self) -> dict[int, tuple[int, ...]]:
        return self._tiers


CODECS: dict[str, LadderCodec] = {
    name: codec
    for name in ("vvc", "hevc", "avif", "jpeg2000", "jpeg")
    if hasattr(codec := registry.create("codecs", name), "qualities")
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", type=Path, nargs="?")
    parser.add_argument("--modes", nargs="*", default=["auto", "lazy", "full"])
    parser.add_argument(
        "--misses", type=Path, help="only count misses on the ladders of this cache"
    )
    parser.add_argument("--smoke", action="store_true", help="two pictures, jpeg, one SNR")
    options = parser.parse_args()
    if options.smoke:
        options.scenario = Path(__file__).parents[2] / "scenarios" / "quickstart.yaml"
    elif options.scenario is None and options.misses is None:
        parser.error("name a scenario, or --smoke")
    if options.misses is not None:
        print(json.dumps(misses(options.misses), indent=1))
        return
    LadderCodec._rungs = _counted  # type: ignore[method-assign]
    study = yaml.safe_load(options.scenario.read_text())
    if options.smoke:
        study["images"]["limit"], study["systems"] = 2, ["jpeg"]
        study["axes"]["es_n0_db"], study["channels"] = [4], ["awgn"]
        study.pop("figures", None)
    with tempfile.TemporaryDirectory(prefix="linksim-ladders-") as folder:
        work, rows = Path(folder), []
        report: dict[str, Any] = {}
        for mode in options.modes:
            report[mode] = run(study, options.scenario.resolve().parent, mode, work)
            rows.append(RunFolder(work / mode).rows().drop(columns=["cell", "point"]))
            pd.testing.assert_frame_equal(rows[0], rows[-1], check_exact=True)
        if "full" in options.modes:
            report["misses"] = misses(work / "cache-full")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
