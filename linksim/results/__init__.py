"""What happened: the run folder and the views on it.

Rows are facts (one per image, realisation and point) and are written once; means, intervals, set distances and tables
are views that are computed from them. pandas and pyarrow are imported at first use.
"""

from linksim.results.axes import Sweep, sweep_of
from linksim.results.describe import MetricInfo, describe
from linksim.results.folder import RunFolder
from linksim.results.manifest import FORMAT
from linksim.results.merge import MergeReport, merge
from linksim.results.table import table
from linksim.results.text import save_csv, table_for_people, to_csv, to_json, to_text

__all__ = [
    "FORMAT",
    "MergeReport",
    "MetricInfo",
    "RunFolder",
    "Sweep",
    "describe",
    "merge",
    "save_csv",
    "sweep_of",
    "table",
    "table_for_people",
    "to_csv",
    "to_json",
    "to_text",
]
