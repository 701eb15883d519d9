"""The TDL and CDL tables of TR 38.901, clauses 7.7.1 and 7.7.2, as Sionna ships them."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

MODELS = ("A", "B", "C", "D", "E")
Profile = Literal["TDL", "CDL"]

# Offsets of the 20 rays of a cluster, table 7.5-3, in units of the cluster's angle spread.
_POSITIVE = (0.0447, 0.1413, 0.2492, 0.3715, 0.5129, 0.6797, 0.8844, 1.1481, 1.5195, 2.1551)
RAY_OFFSETS = np.array([sign * offset for offset in _POSITIVE for sign in (1, -1)])


@dataclass(frozen=True, eq=False)
class Table:
    """One model.

    Args:
      delay: [P], normalised by the delay spread; a steady path is in front, on a row of its own.
      power: [P], linear, adding up to 1.
      los:   whether the first row is a steady path.
      angles: name -> [P] degrees of "aoa", "zoa" (CDL; empty for TDL).
      spread: name -> degrees of "aoa", "zoa", the cluster's angle spread.
    """

    delay: np.ndarray
    power: np.ndarray
    los: bool
    angles: dict[str, np.ndarray]
    spread: dict[str, float]


@cache
def table(profile: Profile, model: str) -> Table:
    """Read one model; does not import Sionna, which takes seconds."""
    spec = importlib.util.find_spec("sionna")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the TDL and CDL tables come with sionna-no-rt; install it")
    folder = Path(spec.submodule_search_locations[0]) / "phy/channel/tr38901/models"
    read = json.loads((folder / f"{profile}-{model}.json").read_text(encoding="utf-8"))
    power = 10 ** (np.array(read["powers"], float) / 10)
    angles = {name: np.array(read[name], float) for name in ("aoa", "zoa") if name in read}
    spread = {name: float(read[_SPREAD[name]]) for name in angles}
    return Table(
        np.array(read["delays"], float), power / power.sum(), bool(read["los"]), angles, spread
    )


_SPREAD = {"aoa": "cASA", "zoa": "cZSA"}
