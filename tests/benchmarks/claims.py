"""What docs/joint.md claims of the joint coders, read off the tables of finished runs.

    uv run python tests/benchmarks/claims.py results/degradation results/consistency ...

A run is judged by its scenario's name. One line per claim: whether it holds, and the numbers. Exit 1 if one does not.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd

Claim = tuple[bool | None, str]  # None: for information
MOST_STEP_DB, MOST_LOSS_DB, LEAST_GAIN_DB, LOST_SHARE = 2.0, 2.0, 0.5, 0.05


def pick(table: pd.DataFrame, metric: str, **where: object) -> pd.DataFrame:
    """Rows of a metric, in the order of SNR."""
    rows = table[table["metric"] == metric]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows.sort_values("es_n0_db")


def degradation(table: pd.DataFrame) -> Iterator[Claim]:
    """Monotone over 1 dB steps, no step above 2 dB of PSNR; the stuck transmitter of NTSCC has no cliff, VVC's has."""
    for channel in table["channel"].unique():
        for system in ("ntscc, matched", "ntscc, stuck at 6 dB"):
            rows = pick(table, "psnr", channel=channel, system=system)
            if system.endswith("stuck at 6 dB"):
                rows = rows[rows["es_n0_db"] <= 6]
            step = rows["value"].diff().dropna()
            text = f"{channel}, {system}: PSNR {rows['value'].iloc[0]:.2f} to {rows['value'].iloc[-1]:.2f} dB, steps "
            text += f"{step.min():+.2f} to {step.max():+.2f} dB"
            yield bool(step.min() >= 0 and step.max() <= MOST_STEP_DB), text
            rows = pick(table, "lpips-alex", channel=channel, system=system)
            if system.endswith("stuck at 6 dB"):
                rows = rows[rows["es_n0_db"] <= 6]
            yield (
                bool((rows["value"].diff().dropna() <= 0).all()),
                f"{channel}, {system}: LPIPS {rows['value'].iloc[0]:.3f} to {rows['value'].iloc[-1]:.3f}, monotone",
            )
        for coder in ("ntscc", "vvc"):
            rows = pick(table, "psnr", channel=channel, system=f"{coder}, stuck at 6 dB")
            at = rows.set_index("es_n0_db")["value"]
            fall = at[6.0] - at[-4.0]
            # a collapsed picture is grey: about 14 dB
            text = f"{channel}, {coder} stuck at 6 dB: {fall:.2f} dB lost down to -4 dB ({at[-4.0]:.2f} dB left)"
            yield (fall < 12 and at[-4.0] > 16) if coder == "ntscc" else at[-4.0] < 16, text


def consistency(table: pd.DataFrame) -> Iterator[Claim]:
    """The perceptual receiver's LPIPS below VVC's, its PSNR at most 2 dB below NTSCC's."""
    for cbr in sorted(table["cbr_target"].unique()):
        for snr in sorted(table["es_n0_db"].unique()):
            where = {"cbr_target": cbr, "es_n0_db": snr}
            value = {
                (name, metric): pick(table, metric, system=name, **where)["value"].iloc[0]
                for name in ("ntscc", "ntscc-perceptual", "vvc")
                for metric in ("lpips-alex", "psnr")
            }
            vvc = pick(table, "lpips-alex", system="vvc", **where).iloc[0]
            lost = float(vvc["num_failed"] + vvc["num_outage"]) / float(vvc["num_frames"])
            seen, theirs = value["ntscc-perceptual", "lpips-alex"], value["vvc", "lpips-alex"]
            text = f"CBR {cbr:.4f}, {snr:g} dB: LPIPS {seen:.3f}, VVC {theirs:.3f}"
            if cbr < 1 / 24 - 1e-6 and lost >= LOST_SHARE:
                text += f" (VVC loses {100 * lost:.0f} %: not counted)"
                yield None, text
            else:
                yield bool(seen < theirs), text
            loss = value["ntscc", "psnr"] - value["ntscc-perceptual", "psnr"]
            yield (
                bool(loss <= MOST_LOSS_DB),
                f"CBR {cbr:.4f}, {snr:g} dB: {loss:.2f} dB below NTSCC",
            )
            bits = pick(table, "lpips-alex", system="ntc-perceptual", **where)
            if len(bits):
                text = f"CBR {cbr:.4f}, {snr:g} dB: LPIPS {seen:.3f}, NTC-perceptual {bits['value'].iloc[0]:.3f}"
                yield None, text


def distortion(table: pd.DataFrame) -> Iterator[Claim]:
    """PSNR at or above VVC's up to 6 dB, at equal rate.

    For information: with fewer updates than usual, and against VVC with 14 % more rate, where run.
    """
    low, *more = sorted(table["cbr_target"].unique())
    rates = {low: "", **dict.fromkeys(more, " with 14 % more rate")}
    for name in (s for s in table["system"].unique() if s != "vvc"):
        ours = pick(table, "psnr", system=name, cbr_target=low).set_index("es_n0_db")["value"]
        for cbr, note in rates.items():
            vvc = pick(table, "psnr", system="vvc", cbr_target=cbr).set_index("es_n0_db")["value"]
            for snr in ours.index[ours.index <= 6]:
                gain = ours[snr] - vvc[snr]
                text = f"{snr:g} dB: {name} {ours[snr]:.2f} dB, VVC{note} {vvc[snr]:.2f} dB, {gain:+.2f} dB"
                claimed = not note and not name.endswith((", no update", ", one update"))
                yield bool(gain >= 0) if claimed else None, text


def refined(table: pd.DataFrame) -> Iterator[Claim]:
    """What refinement brings at every point; the refined coders held to the claims of distortion and consistency."""
    low = table["cbr_target"].min()
    for cbr in sorted(table["cbr_target"].unique()):
        for snr in sorted(table["es_n0_db"].unique()):
            where = {"cbr_target": cbr, "es_n0_db": snr}
            psnr, lpips = (
                {
                    name: pick(table, metric, system=name, **where)["value"].iloc[0]
                    for name in table["system"].unique()
                }
                for metric in ("psnr", "lpips-alex")
            )
            ours, theirs = psnr["ntscc, refined"], psnr["vvc"]
            gain = ours - psnr["ntscc"]
            text = f"CBR {cbr:.4f}, {snr:g} dB: NTSCC refined {ours:.2f} dB ({gain:+.2f} dB), "
            text += f"VVC {theirs:.2f}"
            yield bool(ours >= theirs) if cbr == low and snr <= 6 else None, text
            seen, theirs = lpips["ntscc-perceptual, refined"], lpips["vvc"]
            plain = lpips["ntscc-perceptual"]
            text = f"CBR {cbr:.4f}, {snr:g} dB: LPIPS refined {seen:.3f} (plain {plain:.3f}), VVC {theirs:.3f}"
            yield bool(seen < theirs), text


def rate_pays(table: pd.DataFrame) -> Iterator[Claim]:
    """NTSCC at least 0.5 dB above DeepJSCC at equal mean CBR."""
    for metric in ("psnr", "psnr-of-mean-mse"):
        ours, theirs = (
            pick(table, metric, system=name).set_index("es_n0_db") for name in ("ntscc", "deepjscc")
        )
        for snr in ours.index:
            a, b = ours.loc[snr], theirs.loc[snr]
            gain = a["value"] - b["value"]
            text = f"{metric} at {snr:g} dB: {a['value']:.2f} against {b['value']:.2f} dB, {gain:+.2f} dB, CBR "
            text += f"{a['cbr']:.5f} against {b['cbr']:.5f}"
            yield bool(gain >= LEAST_GAIN_DB and a["cbr"] <= b["cbr"] + 1e-6), text


def ntc_rd(table: pd.DataFrame) -> Iterator[Claim]:
    """NTC's curves at or above VVC's below 0.5 bits per pixel, at the rates that were sent."""
    import numpy as np

    rows = table[table["metric"] == "psnr"].sort_values("bpp")
    vvc = rows[rows["system"] == "vvc"]
    for _, row in rows[rows["system"] != "vvc"].sort_values(["system", "bpp"]).iterrows():
        theirs = float(
            np.interp(np.log(row["bpp"]), np.log(vvc["bpp"].to_numpy(float)), vvc["value"])
        )
        text = f"{row['bpp']:.3f} bpp: {row['system']} {row['value']:.2f} dB, VVC there {theirs:.2f} dB"
        yield None if row["bpp"] >= 0.5 else bool(row["value"] >= theirs), text


CLAIMS: dict[str, Callable[[pd.DataFrame], Iterator[Claim]]] = {
    "degradation": degradation,
    "consistency": consistency,
    "distortion": distortion,
    "refined": refined,
    "rate-pays": rate_pays,
    "ntc-rd": ntc_rd,
}


def judge(folder: Path) -> list[Claim]:
    """The claims of a run. Raises ValueError for a scenario that none is made of."""
    name = json.loads((folder / "run.json").read_text())["scenario"]["name"]
    if name not in CLAIMS:
        raise ValueError(f"no claims are made of {name!r}; they are of {', '.join(CLAIMS)}")
    return list(CLAIMS[name](pd.read_csv(folder / "table.csv")))


def main(folders: list[str]) -> int:
    """Print what holds; 1 if something does not, 2 on bad input."""
    failed = False
    for folder in folders:
        try:
            claims = judge(Path(folder))
        except (OSError, ValueError) as error:
            print(f"error: {folder}: {error}", file=sys.stderr)
            return 2
        print(folder)
        for holds, text in claims:
            print(f"  {'noted' if holds is None else 'holds' if holds else 'FAILS'}  {text}")
            failed = failed or holds is False
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
