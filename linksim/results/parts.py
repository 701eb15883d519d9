"""Parts: the rows of one cell as one parquet file.

A part carries, in its footer, the cell, the point, the number of rows, the names of the feature files that belong to it
and a digest of its rows; a part that was cut or changed anywhere is known as damaged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_META = b"linksim"
_TEXT = {"point", "cell", "system", "family", "link", "channel", "image", "status", "mcs"}
_TEXT |= {"note"}
_FLOAT = {"cbr", "bpp", "papr_db"}
_FLOAT_PREFIXES = ("metric_", "ledger_")

# Columns that every row has; whatever else is there, and is no metric and no ledger entry, is a sweep axis.
FIXED = (
    *("point", "cell", "system", "family", "link", "channel", "image", "realisation"),
    *("status", "failed", "cbr", "bpp", "mcs", "papr_db"),
)
# Columns that rows of some systems have: how often HARQ sent an image, and what the row declares.
EXTRAS = ("transmissions", "note")


class DamagedPartError(Exception):
    """A part that is not whole; the message says what is wrong with it."""


@dataclass(frozen=True)
class PartInfo:
    """What the footer of a part says.

    Args:
      cell, point: ids.
      num_rows:    rows.
      extractors:  feature files that were written with it.
      digest:      of names and values of all columns; filled in by :func:`encode`.
      key:         digest of what the rows depend on beyond the scenario (see RunFolder); parts with another one are
                   left over from an earlier version or other images, and are not read.
    """

    cell: str
    point: str
    num_rows: int
    extractors: tuple[str, ...]
    key: str
    digest: str = ""


def is_axis(column: str) -> bool:
    """Whether a row's column is a sweep axis."""
    return column not in (*FIXED, *EXTRAS) and not column.startswith(_FLOAT_PREFIXES)


def encode(rows: Sequence[Mapping[str, Any]], info: PartInfo) -> bytes:
    """The parquet file of ``rows``; the same rows give the same bytes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, None] = {}
    for row in rows:
        columns.update(dict.fromkeys(row))
    arrays = {name: _array(name, [row.get(name) for row in rows]) for name in columns}
    plain = pa.table(arrays)
    footer = asdict(replace(info, digest=_digest(plain)))
    arrow = plain.replace_schema_metadata({_META: json.dumps(footer)})
    buffer = BytesIO()
    pq.write_table(arrow, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def _digest(arrow: pa.Table) -> str:
    text = repr(list(arrow.to_pydict().items()))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _array(name: str, values: list[Any]) -> pa.Array:
    """One column. Numbers of an axis that mixes whole and broken ones become float64, mappings JSON text."""
    import pyarrow as pa

    if name == "failed":
        return pa.array([bool(v) for v in values], pa.bool_())
    if name == "realisation":
        return pa.array([int(v) for v in values], pa.int64())
    if name in _FLOAT or name.startswith(_FLOAT_PREFIXES):
        return pa.array([float("nan") if v is None else float(v) for v in values], pa.float64())
    given = [None if v is None or v != v else v for v in values]  # pandas writes None as NaN
    if name in _TEXT:
        return pa.array([None if v is None else str(v) for v in given], pa.string())
    kinds = {type(v) for v in given if v is not None}
    if kinds <= {bool} or kinds <= {int} or kinds <= {str}:
        return pa.array(given)
    if all(issubclass(kind, int | float) and kind is not bool for kind in kinds):
        return pa.array([None if v is None else float(v) for v in given], pa.float64())
    texts = [v if v is None or isinstance(v, str) else json.dumps(v, sort_keys=True) for v in given]
    return pa.array(texts, pa.string())


def read_info(path: Path) -> PartInfo:
    """The footer alone. Raises DamagedPartError; FileNotFoundError."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            return _info(file.schema_arrow.metadata, file.metadata.num_rows)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedPartError(str(error).partition("\n")[0]) from error


def _info(metadata: Mapping[bytes, bytes] | None, num_rows: int) -> PartInfo:
    try:
        found = json.loads((metadata or {})[_META])
        info = PartInfo(**{**found, "extractors": tuple(found["extractors"])})
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedPartError("no linksim footer") from error
    if info.num_rows != num_rows:
        raise DamagedPartError(f"{num_rows} rows where its footer says {info.num_rows}")
    return info


def read(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a part, checksums verified.

    Args:   columns: those to read (all by default); ones that the part does not have are left out.
    Raises: DamagedPartError; FileNotFoundError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            known = file.schema_arrow.names
            wanted = None if columns is None else [c for c in known if c in set(columns)]
            arrow = file.read(columns=wanted, use_threads=False)
            _info(file.schema_arrow.metadata, file.metadata.num_rows)
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DamagedPartError(str(error).partition("\n")[0]) from error
    return arrow.replace_schema_metadata(None)


def check(path: Path) -> PartInfo:
    """Read a part whole and compare it with its digest. Raises DamagedPartError; FileNotFoundError."""
    info = read_info(path)
    if _digest(read(path)) != info.digest or info.cell != path.stem:
        raise DamagedPartError("its rows are not those that were written")
    return info


def concat(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of several; whole and broken numbers of an axis meet as float64, absent columns as null."""
    import pyarrow as pa

    return pa.concat_tables(tables, promote_options="permissive")
