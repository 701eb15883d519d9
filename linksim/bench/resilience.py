"""``python -m linksim.bench.resilience RUN [--system tokens]``: what filling in is worth where packets get lost.

Reads the table of a run of scenarios/erasure-sweep.yaml (``table.csv`` with ``run.json``, so a kept run without its
rows will do) and answers, for every loss process with an axis of rates:

  no prior   the system against the same tokens whose losses a learned vector or the mean token fills: LPIPS and PSNR
             at 20 % loss, and whether LPIPS grows monotonically with the loss rate
  tokens+RS  the system against the same tokens with Reed-Solomon parity and no prior at the receiver: MSE, LPIPS over
             theirs, before and beyond the loss rate that the code is made for (parity / packets), where half of its
             images lose too much
  others     the system against every separated system: LPIPS over theirs from 10 to 50 %, and the steepest rise
             between neighbouring rates

Ratios are of means over images, below 1 where the system is better. Paired intervals: ``linksim.bench.gain``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

LPIPS, MSE, PSNR = "lpips-alex", "mse", "psnr"
AT = 0.2  # loss rate at which concealment is judged
LEAST_LPIPS, LEAST_PSNR = 0.30, 1.5  # what it must take off LPIPS, and add to PSNR [dB]
MOST_BEFORE = 1.10  # of a code's LPIPS and MSE, before its cliff
VVC_RATES = (0.1, 0.5)
WITHOUT_PRIOR = ("none", "mean-token")


@dataclass
class Curves:
    """One system under one loss process.

    Args: label: of the system. of: metric -> loss rate -> mean. spec: of the system, from the scenario.
    """

    label: str
    spec: Mapping[str, Any]
    of: dict[str, dict[float, float]] = field(default_factory=dict)

    @property
    def overhead(self) -> float:
        """Share of the packets that are parity; 0 where it is chosen by what the transmitter believes."""
        parity = self.spec.get("parity", 0)
        return 0.0 if parity == "auto" else int(parity) / int(self.spec.get("packets", 10))


def read(folder: Path) -> dict[str, list[Curves]]:
    """Loss process -> curves of the systems, for processes with an axis of rates.

    Raises: LinksimError: no run; ValueError: not one over lost packets.
    """
    manifest, table = _load(folder)
    specs = {str(s.get("label")): s for s in manifest["scenario"]["systems"]}
    if "erasure" not in table.columns or "erasure_rate" not in table.columns:
        raise ValueError(f"{folder} is no run over lost packets with an axis erasure_rate")
    found: dict[str, list[Curves]] = {}
    for process, part in table.groupby("erasure", sort=False):
        if part["erasure_rate"].nunique() < 2:
            continue  # a process with one rate of its own
        for label, mine in part.groupby("system", sort=False):
            curves = Curves(str(label), specs.get(str(label), {}))
            for metric, values in mine.groupby("metric"):
                kept = values.dropna(subset=["value"]).sort_values("erasure_rate")
                pairs = zip(kept["erasure_rate"], kept["value"], strict=True)
                curves.of[str(metric)] = {round(float(r), 6): float(v) for r, v in pairs}
            found.setdefault(str(process), []).append(curves)
    if not found:
        raise ValueError(f"{folder} has no loss process with several rates")
    return found


def _load(folder: Path) -> tuple[dict[str, Any], pd.DataFrame]:
    import pandas as pd

    from linksim.results import RunFolder, table

    run = RunFolder(folder)
    kept = folder / "table.csv"
    return dict(run.manifest), pd.read_csv(kept) if kept.exists() else table(run)


def _is(spec: Mapping[str, Any], **wanted: Any) -> bool:
    return all(spec.get(key, default) == value for key, (default, value) in wanted.items())


def no_prior(mine: Curves, others: Sequence[Curves]) -> list[dict[str, Any]]:
    """The system against the same one without a prior at the receiver, at 20 % loss."""
    rows = []
    for other in others:
        plain = _is(other.spec, name=("", "tokens"), parity=(0, 0)) and any(
            _is(other.spec, conceal=("one-shot", how)) for how in WITHOUT_PRIOR
        )
        if not plain or other.label == mine.label or AT not in mine.of[LPIPS]:
            continue
        lpips = 1 - mine.of[LPIPS][AT] / other.of[LPIPS][AT]
        psnr = mine.of[PSNR][AT] - other.of[PSNR][AT]
        levels = list(mine.of[LPIPS].values())
        monotone = all(a <= b for a, b in pairwise(levels))
        rows.append(
            {
                "against": other.label,
                "loss": AT,
                "lpips": mine.of[LPIPS][AT],
                "its_lpips": other.of[LPIPS][AT],
                "lpips_lower_by": round(lpips, 4),
                "psnr": mine.of[PSNR][AT],
                "its_psnr": other.of[PSNR][AT],
                "psnr_higher_by_db": round(psnr, 3),
                "lpips_monotone": monotone,
                "holds": lpips >= LEAST_LPIPS and psnr >= LEAST_PSNR and monotone,
            }
        )
    return rows


def against_parity(mine: Curves, others: Sequence[Curves]) -> list[dict[str, Any]]:
    """The system against the same tokens under Reed-Solomon codes."""
    rows = []
    for other in others:
        kind = other.spec.get("name")
        fills_in = other.spec.get("conceal", "one-shot") not in WITHOUT_PRIOR
        if kind != "tokens" or other.overhead == 0 or fills_in:
            continue
        parts: dict[str, dict[str, float]] = {"before": {}, "at": {}, "beyond": {}}
        for metric in (LPIPS, MSE):
            for rate, value in mine.of[metric].items():
                gap = rate - other.overhead
                side = "at" if abs(gap) < 1e-9 else "before" if gap < 0 else "beyond"
                ratio = value / other.of[metric][rate]
                parts[side][metric] = max(ratio, parts[side].get(metric, 0.0))
        before, beyond = parts["before"], parts["beyond"]
        rows.append(
            {
                "against": other.label,
                "cliff": other.overhead,
                **{
                    f"worst_{side}_{metric}": round(value, 4)
                    for side, ratios in parts.items()
                    for metric, value in ratios.items()
                },
                "holds_before": all(r <= MOST_BEFORE for r in before.values()),
                "holds_beyond": all(r < 1 for r in beyond.values()),
            }
        )
    return rows


def against_separated(mine: Curves, others: Sequence[Curves]) -> list[dict[str, Any]]:
    """The system's LPIPS against that of source codecs, with parity or without."""
    rows = []
    for other in others:
        if other.spec.get("name") not in ("separated", "erasure-coded"):
            continue
        ratios = {
            rate: value / other.of[LPIPS][rate]
            for rate, value in mine.of[LPIPS].items()
            if VVC_RATES[0] <= rate <= VVC_RATES[1] and rate in other.of[LPIPS]
        }
        rows.append(
            {
                "against": other.label,
                "worst_lpips": round(max(ratios.values(), default=float("nan")), 4),
                "at": max(ratios, key=lambda r: ratios[r], default=None),
                "its_steepest_rise": round(_steepest(other), 4),
                "holds": bool(ratios) and max(ratios.values()) < 1,
            }
        )
    return rows


def _steepest(curves: Curves) -> float:
    """Largest rise of LPIPS for each 10 % of loss, between neighbouring rates."""
    points = list(curves.of[LPIPS].items())
    rises = [(b - a) / (q - p) / 10 for (p, a), (q, b) in pairwise(points)]
    return max(rises, default=0.0)


def study(folder: Path, system: str) -> dict[str, Any]:
    """Everything by loss process.

    Raises: LinksimError: no run; ValueError: no such system, or metrics missing.
    """
    found: dict[str, Any] = {}
    for process, systems in read(folder).items():
        mine = next((s for s in systems if s.label == system), None)
        if mine is None:
            raise ValueError(
                f"{folder} has no system {system!r}, only {sorted(s.label for s in systems)}"
            )
        missing = [m for m in (LPIPS, MSE, PSNR) if not mine.of.get(m)]
        if missing:
            raise ValueError(f"{folder} lacks the metrics {', '.join(missing)}")
        found[process] = {
            "steepest_rise": round(_steepest(mine), 4),
            "no prior": no_prior(mine, systems),
            "tokens+RS": against_parity(mine, systems),
            "others": against_separated(mine, systems),
        }
    return found


def text(found: Mapping[str, Any]) -> str:
    """The study as Markdown tables."""
    lines = []
    for process, parts in found.items():
        lines += [
            f"### {process}",
            "",
            f"steepest rise of LPIPS: {parts['steepest_rise']:g} for 10 % of loss",
            "",
        ]
        for name in ("no prior", "tokens+RS", "others"):
            rows = parts[name]
            if not rows:
                continue
            keys = list(dict.fromkeys(key for row in rows for key in row))
            lines += [f"| {' | '.join(keys)} |", f"|{'---|' * len(keys)}"]
            lines += [f"| {' | '.join(_cell(row.get(key)) for key in keys)} |" for row in rows]
            lines.append("")
    return "\n".join(lines)


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def main(arguments: list[str] | None = None) -> int:
    """Returns: the exit status: 0 done, 2 bad input."""
    parser = argparse.ArgumentParser(
        prog="python -m linksim.bench.resilience",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="results folder")
    parser.add_argument("--system", default="tokens", help="label of the system that fills in")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args(arguments)
    from linksim.errors import LinksimError

    try:
        found = study(given.run, given.system)
    except (LinksimError, ValueError, KeyError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(json.dumps(found, indent=1) if given.json else text(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
