"""The base graphs of 5G LDPC codes, 3GPP TS 38.212, tables 5.3.2-2 and 5.3.2-3, read from Sionna's data files."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

LIFTING_SETS = tuple(
    tuple(a << j for j in range(8) if a << j <= 384) for a in (2, 3, 5, 7, 9, 11, 13, 15)
)


@dataclass(frozen=True)
class BaseGraph:
    """A base graph at one lifting size, in compressed rows.

    Args:
      z:       lifting size.
      num_info_columns: 22 (base graph 1) or 10 (2).
      num_columns:      68 or 52.
      row_start: [R+1] int64, edges row_start[r]..row_start[r+1]-1 belong to row r.
      column:    [E] int64.
      shift:     [E] int64, in 0..z-1; bit i of the row meets bit (i + shift) mod z of the column.
    """

    z: int
    num_info_columns: int
    num_columns: int
    row_start: np.ndarray
    column: np.ndarray
    shift: np.ndarray


@cache
def _table(bg: int) -> np.ndarray:
    """[E, 10] int64: row, column, and the shift of each of the 8 lifting sets."""
    found = importlib.util.find_spec("sionna")  # finds the folder; imports nothing of TensorFlow
    if found is None or found.submodule_search_locations is None:
        raise ImportError("the LDPC base graphs are read from the package sionna-no-rt; install it")
    path = Path(next(iter(found.submodule_search_locations))) / f"phy/fec/ldpc/codes/5G_bg{bg}.csv"
    edges = []
    row = 0
    for line in path.read_text().splitlines()[2:]:
        cells = line.strip().lstrip("\ufeff").split(";")
        if cells[0]:
            row = int(cells[0])
        if len(cells) >= 10 and cells[1]:
            edges.append([row, *(int(c) for c in cells[1:10])])
    return np.array(edges, np.int64)


@cache
def base_graph(bg: int, z: int) -> BaseGraph:
    """Base graph ``bg`` (1 or 2) lifted by ``z``.

    Raises: ValueError: if there is no such graph or lifting size.
    """
    if bg not in (1, 2):
        raise ValueError(f"base graph must be 1 or 2, got {bg}")
    index = next((i for i, sizes in enumerate(LIFTING_SETS) if z in sizes), None)
    if index is None:
        raise ValueError(f"z={z} is not a lifting size of 38.212, table 5.3.2-1")
    table = _table(bg)
    rows = int(table[:, 0].max()) + 1
    start = np.searchsorted(table[:, 0], np.arange(rows + 1)).astype(np.int64)
    info, columns = (22, 68) if bg == 1 else (10, 52)
    return BaseGraph(
        z, info, columns, start, table[:, 1].copy(), np.ascontiguousarray(table[:, 2 + index] % z)
    )
