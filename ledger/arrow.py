"""Rows as Arrow tables and data frames; the only module that knows ``pyarrow``, ``pandas`` and ``polars``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from routewright.engine.report import install_command

from .errors import LedgerError
from .json_values import Rows, json_text, unique_names

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow
    from duckdb.sqltypes import DuckDBPyType


_LEAVES = {
    "boolean": "bool_",
    "tinyint": "int8",
    "smallint": "int16",
    "integer": "int32",
    "bigint": "int64",
    "utinyint": "uint8",
    "usmallint": "uint16",
    "uinteger": "uint32",
    "ubigint": "uint64",
    "float": "float32",
    "double": "float64",
    "date": "date32",
    "blob": "binary",
    "null": "null",
}

_Convert = Callable[[Any], Any]


def load_pyarrow() -> Any:
    """The module ``pyarrow``. Raises LedgerError if it is not installed."""
    try:
        import pyarrow.ipc
    except ImportError as error:
        raise LedgerError("the package `pyarrow` is not installed", help=install_command("arrow")) from error
    return pyarrow


def arrow_table(columns: Sequence[str], types: Sequence[str], rows: Rows, timezone: str) -> pyarrow.Table:
    """Rows as an Arrow table; ``types`` are DuckDB's. See ``QueryResult.to_arrow``."""
    pa = load_pyarrow()
    import duckdb

    arrays = []
    for number, kind in enumerate(types):
        type, convert = _arrow(pa, duckdb.sqltype(kind), timezone)
        values = [None if row[number] is None else convert(row[number]) for row in rows]
        try:
            arrays.append(pa.array(values, type))
        except (pa.ArrowException, OverflowError) as error:
            raise LedgerError(
                f"column `{columns[number]}` has a value that Arrow has not: {error}",
                help="cast it to VARCHAR in the statement",
            ) from error
    return pa.table(arrays, names=unique_names(columns))


def pandas_frame(table: pyarrow.Table) -> pandas.DataFrame:
    """A data frame of pandas; see ``QueryResult.to_pandas``."""
    try:
        import pandas
    except ImportError as error:
        raise LedgerError("the package `pandas` is not installed") from error
    return table.to_pandas(types_mapper=pandas.ArrowDtype)


def polars_frame(table: pyarrow.Table) -> polars.DataFrame:
    """A data frame of polars; see ``QueryResult.to_polars``."""
    try:
        import polars
    except ImportError as error:
        raise LedgerError("the package `polars` is not installed") from error
    frame = polars.from_arrow(table)
    assert isinstance(frame, polars.DataFrame)
    return frame


def _arrow(pa: Any, kind: DuckDBPyType, timezone: str) -> tuple[Any, _Convert]:
    """Arrow's type for a type of DuckDB, and what makes its value of the one that DuckDB gives to Python."""
    if (leaf := _LEAVES.get(kind.id)) is not None:
        return getattr(pa, leaf)(), _same
    match kind.id:
        case "decimal":
            [(_, precision), (_, scale)] = kind.children
            return pa.decimal128(precision, scale), _same
        case "hugeint" | "uhugeint":
            return pa.decimal128(38, 0), _same
        case "timestamp" | "timestamp_s" | "timestamp_ms" | "timestamp_ns":
            return pa.timestamp("us"), _same
        case "timestamp with time zone":
            return pa.timestamp("us", timezone), _same
        case "time":
            return pa.time64("us"), _same
        case "interval":
            return pa.duration("us"), _microseconds
        case "variant":
            return pa.string(), json_text
        case "list" | "array":
            item, convert = _arrow(pa, _child(kind, 0), timezone)
            return pa.list_(item), lambda values: [_converted(convert, one) for one in values]
        case "map":
            (key, of_key), (value, of_value) = (
                _arrow(pa, _child(kind, 0), timezone),
                _arrow(pa, _child(kind, 1), timezone),
            )
            return pa.map_(key, value), lambda values: [
                (of_key(one), _converted(of_value, other)) for one, other in values.items()
            ]
        case "struct":
            parts = {
                name: _arrow(pa, _child(kind, number), timezone)
                for number, (name, _) in enumerate(kind.children)
            }
            return pa.struct([(name, type) for name, (type, _) in parts.items()]), lambda values: {
                name: _converted(convert, values[name]) for name, (_, convert) in parts.items()
            }
    return pa.string(), str


def _child(kind: DuckDBPyType, number: int) -> Any:
    return kind.children[number][1]


def _converted(convert: _Convert, value: Any) -> Any:
    return None if value is None else convert(value)


def _same(value: Any) -> Any:
    return value


def _microseconds(value: timedelta) -> int:
    return value // timedelta(microseconds=1)
