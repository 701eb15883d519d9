"""Which axes a run sweeps, and which of them a table or a figure puts where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

# Axes that may run along the x axis, the most telling first.
_X_ORDER = ("es_n0_db", "erasure_rate", "snr_amc_db", "cbr_target", "bpp_target")
_BUDGETS = ("cbr_target", "bpp_target")
_PLACES = ("channel", "erasure")
OFFSET = "snr_amc_offset_db"  # snr_amc_db - es_n0_db, where that is what was swept

LABELS = {
    "es_n0_db": "Es/N0 [dB]",
    "snr_amc_db": "Es/N0 assumed by the transmitter [dB]",
    OFFSET: "Es/N0 assumed - true [dB]",
    "erasure_rate": "packet loss rate",
    "cbr_target": "CBR budget [channel uses per source sample]",
    "bpp_target": "rate budget [bits per pixel]",
    "cbr": "CBR [channel uses per source sample]",
    "bpp": "rate [bits per pixel]",
}
_SHORT = {"es_n0_db": "Es/N0", "snr_amc_db": "AMC at", OFFSET: "AMC", "cbr_target": "CBR"}
_SHORT |= {"bpp_target": "bpp", "erasure_rate": "loss", "channel": "", "erasure": ""}


@dataclass(frozen=True)
class Sweep:
    """How the points of one kind of link are laid out.

    Args:
      x:      the axis along x; None where nothing is swept.
      place:  the axis that names where it happened (channel, loss process), one row of panels each; or None.
      budget: the budget axis, one column of panels each; or None.
      others: axes that split a system into several curves.
    """

    x: str | None
    place: str | None
    budget: str | None
    others: tuple[str, ...]


def with_offset(table: pd.DataFrame) -> pd.DataFrame:
    """``table`` with ``snr_amc_db`` replaced by its offset from ``es_n0_db`` where that takes fewer values."""
    if not {"es_n0_db", "snr_amc_db"} <= set(table.columns):
        return table
    offset = (table["snr_amc_db"] - table["es_n0_db"]).round(6)
    if offset.nunique() == 0 or offset.nunique() >= table["snr_amc_db"].nunique():
        return table
    return table.drop(columns="snr_amc_db").assign(**{OFFSET: offset})


def sweep_of(table: pd.DataFrame, axes: list[str]) -> Sweep:
    """Lay out the rows of one kind of link.

    Args:
      table: tidy table or rows, :func:`with_offset` applied.
      axes:  its sweep axes.
    """
    import pandas as pd

    known = [a for a in [*axes, OFFSET] if a in table.columns]
    varied = [a for a in dict.fromkeys(known) if table[a].nunique() > 1]
    numeric = [a for a in varied if pd.api.types.is_numeric_dtype(table[a])]
    x = next((a for a in (*_X_ORDER, *numeric) if a in numeric), None)
    if x is None:
        x = next((a for a in _X_ORDER if a in known and table[a].notna().any()), None)
    rest = [a for a in varied if a != x and not _follows(table, x, a)]
    # Loss processes with one rate each are told apart by it, and make one curve over it.
    place = next((a for a in _PLACES if a in table.columns and table[a].nunique() > 1), None)
    if place == "erasure" and x == "erasure_rate" and _follows(table, x, place):
        place = None
    budget = next((a for a in _BUDGETS if a in rest), None)
    return Sweep(x, place, budget, tuple(a for a in rest if a not in (place, budget)))


def _follows(table: pd.DataFrame, x: str | None, axis: str) -> bool:
    """Whether ``axis`` says nothing that ``x`` has not said."""
    return x is not None and int(table.groupby(x)[axis].nunique().max()) <= 1


def say(axis: str, value: Any) -> str:
    """One value of an axis, short: "CBR 0.0417", "rayleigh", "vvc.preset slower"."""
    if value is None or value != value:
        return ""
    text = number(value)
    if axis == OFFSET:
        text = f"{value:+g} dB"
    elif axis.endswith("_db"):
        text += " dB"
    return f"{_SHORT.get(axis, axis)} {text}".strip()


def number(value: Any) -> str:
    """A number in at most three significant digits, anything else as it is."""
    return f"{value:.3g}" if isinstance(value, int | float) and value is not True else str(value)
