"""Rows in, batched inserts out: each batch is one JSON parameter that DuckDB takes apart into columns.

Measured, ``executemany`` is fifty times slower. Nothing here decides what is already in the ledger, opens a
file or ends a transaction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from .errors import LedgerError
from .rows import AttemptRow, CandidateRow, DecisionRow, PolicyRow

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

__all__ = ["insert_attempts", "insert_decisions", "insert_policies", "record_digest", "select_ids"]

_BATCH_ROWS: Final = 2_000

_CANDIDATE_TYPE: Final[Mapping[str, str]] = {
    "model": "VARCHAR",
    "origin": "VARCHAR",
    "eligible": "BOOLEAN",
    "failed_gate": "VARCHAR",
    "detail": "VARCHAR",
    "probability": "DOUBLE",
    "estimated_cost_nano": "BIGINT",
    "estimated_latency_ms": "DOUBLE",
}

_POLICY_TYPES: Final[Mapping[str, Any]] = {
    "digest": "VARCHAR",
    "kind": "VARCHAR",
    "name": "VARCHAR",
    "text": "VARCHAR",
    "first_seen_us": "BIGINT",
}

_DECISION_TYPES: Final[Mapping[str, Any]] = {
    "decision_id": "UUID",
    "at_us": "BIGINT",
    "operation": "VARCHAR",
    "outcome": "VARCHAR",
    "mode": "VARCHAR",
    "policy_name": "VARCHAR",
    "policy_digest": "VARCHAR",
    "catalog_digest": "VARCHAR",
    "engine_version": "VARCHAR",
    "matched_rule": "VARCHAR",
    "reason": "VARCHAR",
    "target": "VARCHAR",
    "features": "JSON",
    "feature_sources": "MAP(VARCHAR, VARCHAR)",
    "verdicts": "MAP(VARCHAR, BOOLEAN)",
    "candidates": [_CANDIDATE_TYPE],
    "plan": "JSON",
    "state": "JSON",
    "tags": "MAP(VARCHAR, VARCHAR)",
    "session_id": "VARCHAR",
    "trace_id": "VARCHAR",
    "record": "VARCHAR",
    "record_digest": "VARCHAR",
    "deciding_ns": "BIGINT",
}

_ATTEMPT_TYPES: Final[Mapping[str, Any]] = {
    "decision_id": "UUID",
    "number": "INTEGER",
    "role": "VARCHAR",
    "model_id": "VARCHAR",
    "backend_id": "VARCHAR",
    "model_said": "VARCHAR",
    "started_at_us": "BIGINT",
    "load_us": "BIGINT",
    "first_token_us": "BIGINT",
    "total_us": "BIGINT",
    "status": "VARCHAR",
    "error_class": "VARCHAR",
    "finish_reason": "VARCHAR",
    "streamed": "BOOLEAN",
    "input_tokens": "BIGINT",
    "cached_input_tokens": "BIGINT",
    "cache_write_tokens": "BIGINT",
    "output_tokens": "BIGINT",
    "reasoning_tokens": "BIGINT",
    "tokens_source": "VARCHAR",
    "cost_nano": "BIGINT",
    "currency": "VARCHAR",
    "cost_source": "VARCHAR",
    "price_since": "VARCHAR",
    "cached_answer": "BOOLEAN",
    "simulated": "BOOLEAN",
    "reason": "VARCHAR",
    "saved_nano": "BIGINT",
}


def record_digest(record: str) -> str:
    """``sha256:`` and the SHA-256 of the text in UTF-8."""
    return "sha256:" + hashlib.sha256(record.encode()).hexdigest()


def insert_policies(connection: DuckDBPyConnection, rows: Iterable[PolicyRow]) -> None:
    """Insert all rows, in order."""
    _insert(connection, "policies", _POLICY_TYPES, [_values(row, PolicyRow) for row in rows])


def insert_decisions(connection: DuckDBPyConnection, rows: Iterable[DecisionRow]) -> None:
    """Insert all rows, in order; the digest of each record is made here."""
    values = []
    for row in rows:
        value = _values(row, DecisionRow)
        value["candidates"] = [_values(candidate, CandidateRow) for candidate in row.candidates]
        value["record_digest"] = record_digest(row.record)
        values.append(value)
    _insert(connection, "decisions", _DECISION_TYPES, values)


def insert_attempts(connection: DuckDBPyConnection, rows: Iterable[AttemptRow]) -> None:
    """Insert all rows, in order."""
    _insert(connection, "attempts", _ATTEMPT_TYPES, [_values(row, AttemptRow) for row in rows])


def select_ids(
    connection: DuckDBPyConnection, columns: str, table: str, ids: Sequence[str]
) -> list[tuple[Any, ...]]:
    """``columns`` of the rows of ``table`` whose decision id is one of ``ids`` (canonical UUIDs)."""
    if not ids:
        return []
    # The bounds skip most of a large table: ids are sorted by time, and so are the rows.
    return connection.execute(
        f"""
        SELECT {columns} FROM {table}
        WHERE decision_id BETWEEN ?::UUID AND ?::UUID
          AND decision_id IN (SELECT unnest(from_json(?, '["UUID"]')))
        """,
        [min(ids), max(ids), json.dumps(list(ids))],
    ).fetchall()


def _values(row: object, kind: type) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _field_names(kind)}


@cache
def _field_names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in fields(kind))


def _insert(
    connection: DuckDBPyConnection, table: str, types: Mapping[str, Any], rows: list[dict[str, Any]]
) -> None:
    # JSON is what DuckDB can read a nested parameter from; VARIANT it can only be cast to.
    columns = ", ".join(f"r.{name}::VARIANT" if types[name] == "JSON" else f"r.{name}" for name in types)
    structure = json.dumps([dict(types)])
    statement = (
        f"INSERT INTO {table} ({', '.join(types)}) "
        f"SELECT {columns} FROM (SELECT unnest(from_json(?, '{structure}')) AS r)"
    )
    for batch in _batches(rows):
        connection.execute(statement, [_json(batch, table)])


def _batches(rows: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    for start in range(0, len(rows), _BATCH_ROWS):
        yield rows[start : start + _BATCH_ROWS]


def _json(batch: list[dict[str, Any]], table: str) -> str:
    try:
        return json.dumps(batch, allow_nan=False, ensure_ascii=False, separators=(",", ":"), default=_plain)
    except (TypeError, ValueError, UnicodeError) as error:
        raise LedgerError(f"`{table}` cannot store a value: {error}; nothing was written") from error


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a value of type `{type(value).__name__}` is not what JSON can hold")
