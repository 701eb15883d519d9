"""The tidy table: one row per point and metric, computed from the rows of the run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from linksim import registry
from linksim.errors import LinksimError, MissingAssetError
from linksim.results.describe import PSNR_OF_MEAN_MSE
from linksim.results.folder import RunFolder
from linksim.seeds import Seed

if TYPE_CHECKING:
    import pandas as pd

HEAD = ("system", "family", "channel", "link")
COUNTS = ("num_images", "num_frames", "num_failed", "num_outage")
TAIL = (
    "cbr",
    "cbr_p95",
    "cbr_payload",
    "bpp",
    "papr_db",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    *COUNTS,
    "reason",
    "note",
    "point",
)
LEVEL = 0.95  # of the intervals


# A command computes, prints and draws the same table: distances between large sets are worth keeping.
_latest: dict[str, Any] = {}


def axes_of(table: pd.DataFrame) -> list[str]:
    """The sweep axes among a tidy table's columns."""
    return [c for c in table.columns if c not in HEAD and c not in TAIL]


def failure_policy(manifest: Mapping[str, Any]) -> str:
    """The scenario's ``failure``: what stands in for a picture that did not arrive."""
    scenario = manifest.get("scenario") or {}
    link = scenario.get("link")
    nested = link.get("failure") if isinstance(link, Mapping) else None
    return str(scenario.get("failure") or nested or "mean-grey")


def table(folder: RunFolder | str | Path) -> pd.DataFrame:
    """One row per point and metric; reads one point at a time.

    Columns: system, family, channel, link, one per sweep axis, cbr and bpp (measured means; cbr is all-in, cbr_p95 is
    its 95th percentile over frames, cbr_payload leaves out pilots, cyclic prefix and guards), papr_db (mean of the
    frames; the first transmission of each), metric, value, ci_low and
    ci_high (95 % bootstrap over images: all realisations of an image are drawn together), num_images (different ones),
    num_frames (images x realisations), num_failed and num_outage (of the frames; outages are failures too), reason (why
    a value is null, or what its mean leaves out), note (what the rows declare, such as HARQ's free feedback), point.

    Under ``failure: exclude`` failed frames are left out of every mean and counted all the same. ``psnr`` is the mean
    of the images' PSNR; where the MSE is there, ``psnr-of-mean-mse`` stands beside it under its own name. A metric that
    the run could not compute has rows with a null value and the reason.

    Raises: RunStateError: if there is no run.
    """
    import pandas as pd

    run = folder if isinstance(folder, RunFolder) else RunFolder(folder)
    state = run.state()
    if _latest.get("state") == state:
        run.notes += [note for note in _latest["notes"] if note not in run.notes]
        return _latest["table"].copy()
    points = run.points()
    axes = list(dict.fromkeys(a for p in [*points, *_declared(run)] for a in p["axes"]))
    found = [row for point in points for row in _point_rows(run, point)]
    found += _failed_rows(run, {p["id"] for p in points})
    frame = pd.DataFrame(found, columns=[*HEAD, *axes, *TAIL])
    frame = frame.astype({c: "Int64" for c in COUNTS})
    _latest.update(state=state, table=frame, notes=list(run.notes))
    return frame.copy()


def _requested(run: RunFolder) -> list[str]:
    metrics = (run.manifest.get("scenario") or {}).get("metrics") or ()
    return [str(m["name"] if isinstance(m, Mapping) else m) for m in metrics]


def _form(run: RunFolder, name: str) -> Any:
    """A metric as the scenario wrote it, with its parameters."""
    metrics = (run.manifest.get("scenario") or {}).get("metrics") or ()
    return next((m for m in metrics if isinstance(m, Mapping) and m.get("name") == name), name)


def _declared(run: RunFolder) -> list[dict[str, Any]]:
    return [p for p in run.manifest.get("points") or () if isinstance(p, Mapping)]  # type: ignore[misc]


def _point_rows(run: RunFolder, point: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    frame = run.frame(point["id"])
    failed = frame["failed"].to_numpy(bool)
    exclude = failure_policy(run.manifest) == "exclude"
    used = ~failed if exclude else np.ones(len(frame), bool)
    images = frame["image"].to_numpy()
    head = {**{k: point[k] for k in HEAD}, **point["axes"]}
    head |= {"cbr": float(frame["cbr"].mean()), "bpp": float(frame["bpp"].mean())}
    head["cbr_p95"] = float(frame["cbr"].quantile(0.95))
    head["cbr_payload"] = _without_pilots(frame)
    head["papr_db"] = float(frame["papr_db"].mean()) if "papr_db" in frame.columns else np.nan
    if "note" in frame.columns:  # what the rows declare
        head["note"] = "; ".join(sorted(frame["note"].dropna().unique())) or None
    head |= {
        "num_images": len(set(images)),
        "num_frames": len(frame),
        "num_failed": int(failed.sum()),
        "num_outage": int((frame["status"] == "OUTAGE").sum()),
        "point": point["id"],
    }
    seed = Seed.root(int(run.manifest.get("seed") or 0)).child("bootstrap")
    columns = [c.removeprefix("metric_") for c in frame.columns if c.startswith("metric_")]
    absent: Mapping[str, str] = run.manifest.get("metric_notes") or {}
    for name in dict.fromkeys([*_requested(run), *columns, *absent]):
        nothing = {"metric": name, "value": np.nan, "ci_low": np.nan, "ci_high": np.nan}
        if name not in columns:
            reason = absent.get(name)
            value = np.nan
            if reason is None:
                value, reason = _set_value(run, point["id"], name, used, images)
            yield {**head, **nothing, "value": value, "reason": reason}
            continue
        values = frame[f"metric_{name}"].to_numpy(float)
        kept = used & ~np.isnan(values)
        if not kept.any():
            reason = "all frames failed and the policy excludes them" if not used.any() else None
            reason = reason or absent.get(name, "not computed for any frame")
            yield {**head, **nothing, "reason": reason}
            continue
        missing = int((used & ~kept).sum())
        reason = f"{missing} of {used.sum()} frames have no value" if missing else None
        value, low, high = _mean(values[kept], images[kept], seed)
        yield _row(head, name, value, low, high, reason)
        if name == "mse":
            # PSNR falls with the MSE, so that the interval's ends map to its ends, crossed over.
            yield _row(head, PSNR_OF_MEAN_MSE, _psnr(value), _psnr(high), _psnr(low), reason)


def _without_pilots(frame: pd.DataFrame) -> float:
    """Mean CBR of the channel uses that carry data: what papers report that do not count pilots and prefix."""
    entries = [c for c in frame.columns if c.startswith("ledger_")]
    if "ledger_pilots" not in entries:
        return float(frame["cbr"].mean())
    total = frame[entries].sum(axis=1)
    share = (frame["ledger_pilots"] / total.where(total > 0)).fillna(0.0)
    return float((frame["cbr"] * (1 - share)).mean())


def _row(
    head: Mapping[str, Any],
    metric: str,
    value: float,
    low: float,
    high: float,
    reason: str | None,
) -> dict[str, Any]:
    return {
        **head,
        "metric": metric,
        "value": value,
        "ci_low": low,
        "ci_high": high,
        "reason": reason,
    }


def _psnr(mse: float) -> float:
    return float(10 * np.log10(255.0**2 / mse)) if mse > 0 else float("inf")


def _mean(values: np.ndarray, images: np.ndarray, seed: Seed) -> tuple[float, float, float]:
    """Mean over frames with its interval; no interval of a single image, or where the mean is infinite."""
    from linksim.metric.interval import bootstrap_mean

    value = float(np.mean(values))
    if not np.isfinite(value):
        return value, np.nan, np.nan
    low, high = bootstrap_mean(values, images, seed=seed.integer(), level=LEVEL)
    return value, low, high


def _set_value(
    run: RunFolder, point: str, name: str, used: np.ndarray, images: np.ndarray
) -> tuple[float, str | None]:
    """A set metric's distance between the originals and a point's pictures, or why there is none."""
    try:
        metric = registry.create("metrics", _form(run, name))
    except MissingAssetError as error:
        return np.nan, str(error)
    except LinksimError as error:
        return np.nan, str(error.__cause__ or error)
    if not hasattr(metric, "extractor"):
        return np.nan, "not in the rows of this point"
    try:
        reference = run.reference(metric.extractor)
        features = run.features(point, metric.extractor)[used]
    except LinksimError as error:
        return np.nan, str(error)
    count = min(len(reference), len(set(images[used])))
    if count < metric.min_images:
        return np.nan, f"needs at least {metric.min_images} images, this has {count}"
    try:
        value = float(metric.distance(reference, features))
    except (ValueError, ArithmeticError, np.linalg.LinAlgError) as error:
        return np.nan, f"cannot be computed: {error}"
    verified = getattr(metric, "verified", True)
    return value, None if verified else "unverified: no published value has been reproduced yet"


def _failed_rows(run: RunFolder, present: set[str]) -> list[dict[str, Any]]:
    """One row without a value for each metric of the points that could not be simulated."""
    reasons = dict(run.manifest.get("failed_points") or ())
    rows = []
    for point in _declared(run):
        if point["id"] not in reasons or point["id"] in present:
            continue
        head = {**{k: point.get(k) for k in HEAD}, **point["axes"], **dict.fromkeys(COUNTS, 0)}
        for name in _requested(run):
            row = _row(head, name, np.nan, np.nan, np.nan, reasons[point["id"]])
            rows.append({**row, "point": point["id"]})
    return rows
