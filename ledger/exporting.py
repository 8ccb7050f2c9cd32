"""Writes what a statement gives into a file, row by row, so that its memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

from .arrow import load_pyarrow
from .asking import execute, newest_at, notes_of, one_statement, placed
from .json_values import Rows, unique_names
from .limits import Limits
from .output import TextForm, text_pieces
from .portable import portable
from .results import Written

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection, DuckDBPyRelation


BinaryForm = Literal["parquet", "arrow"]
FileForm = TextForm | BinaryForm

FORMS: Final[tuple[FileForm, ...]] = (*get_args(TextForm), *get_args(BinaryForm))
BINARY_FORMS: Final[tuple[BinaryForm, ...]] = get_args(BinaryForm)

_SUFFIXES: Final = {"ndjson": "jsonl", "feather": "arrow"} | {form: form for form in FORMS}

_BATCH: Final = 200
_ARROW_BATCH: Final = 2_048
_ROW_GROUP: Final = 122_880
_WIDE_ROW_GROUP: Final = 8_192
"""Rows that are held until they are written together: fewer where one may have 20 KB, as a decision has."""

_NESTED: Final = frozenset({"array", "list", "map", "struct", "union", "variant"})


def form_of(path: Path) -> FileForm | None:
    """The form that a file's name tells: ``.csv``, ``.json``, ``.jsonl``, ``.ndjson``, ``.parquet``, ``.arrow`` …"""
    return _SUFFIXES.get(path.suffix[1:].lower())  # type: ignore[return-value]  # it has forms alone


def write_rows(
    connection: DuckDBPyConnection,
    sql: str,
    parameters: Mapping[str, object],
    limits: Limits,
    *,
    form: FileForm,
    file: Path,
) -> Written:
    """Write at most ``max_rows`` rows of what ``sql`` gives to ``file``, which is not there yet."""
    with placed(sql, limits):
        statement = one_statement(connection, sql, parameters)
        values = dict(parameters) or None
        if form not in BINARY_FORMS:
            written = _write_text(connection, statement, values, limits.max_rows, form, file)
        else:
            relation = _relation(connection, statement, values)
    if form in BINARY_FORMS:
        with placed(None, limits):  # it is a part of another statement now, and places are those in that
            written = _write_relation(connection, relation, limits.max_rows, form, file)
    notes = notes_of(connection, sql)
    return replace(written, newest_at=newest_at(connection), notes=notes)


def _write_text(
    connection: DuckDBPyConnection,
    statement: Any,
    values: dict[str, object] | None,
    most: int | None,
    form: FileForm,
    file: Path,
) -> Written:
    executed = execute(connection, statement, values, interval_text=True)
    columns = [str(column[0]) for column in connection.description or []]
    batches = _Batches(executed, most)
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as opened:
        opened.writelines(text_pieces(form, columns, batches))  # type: ignore[arg-type]  # no binary form
    return Written(batches.rows, batches.truncated)


class _Batches:
    """The rows of a statement in batches, and how many of them there were."""

    def __init__(self, executed: Any, most: int | None) -> None:
        self._executed, self._most = executed, most
        self.rows, self.truncated = 0, False

    def __iter__(self) -> Iterator[Rows]:
        while rows := self._executed.fetchmany(_BATCH):
            left = len(rows) if self._most is None else self._most - self.rows
            self.rows += min(left, len(rows))
            yield rows[:left]
            if left < len(rows):
                self.truncated = True
                return


def _relation(
    connection: DuckDBPyConnection, statement: Any, values: dict[str, object] | None
) -> DuckDBPyRelation:
    import duckdb

    try:
        relation = connection.sql(statement, params=values)
    except duckdb.Error:
        connection.execute(statement, values)  # fails too, and says where
        raise
    assert relation is not None
    return relation


def _write_relation(
    connection: DuckDBPyConnection, relation: DuckDBPyRelation, most: int | None, form: FileForm, file: Path
) -> Written:
    known = portable(relation, unique_names(relation.columns))
    if most is not None:
        known = known.limit(most)
    rows = _write_parquet(connection, known, file) if form == "parquet" else _write_arrow(known, file)
    more = most is not None and rows == most and bool(relation.limit(1, offset=most).fetchall())
    return Written(rows, more)


def _write_parquet(connection: DuckDBPyConnection, relation: DuckDBPyRelation, file: Path) -> int:
    wide = any(kind.id in _NESTED for kind in relation.types)
    group = _WIDE_ROW_GROUP if wide else _ROW_GROUP
    relation.write_parquet(str(file), compression="zstd", row_group_size=group)
    counted = connection.execute(
        "SELECT num_rows FROM system.main.parquet_file_metadata($file)", {"file": str(file)}
    )
    [[rows]] = counted.fetchall()
    return int(rows)


def _write_arrow(relation: DuckDBPyRelation, file: Path) -> int:
    pa = load_pyarrow()
    reader, rows = relation.to_arrow_reader(_ARROW_BATCH), 0
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
            rows += batch.num_rows
    return rows
