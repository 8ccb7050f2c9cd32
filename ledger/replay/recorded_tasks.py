"""Reads recorded tasks back from their rows, to be decided again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from routewright.engine.decision import (
    RequestFacts,
    Task,
)
from routewright.engine.record import REQUEST_FIELDS

from .parts import PolicyPart

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


def ids_of(connection: DuckDBPyConnection, part: PolicyPart, rows: Sequence[int]) -> dict[int, str]:
    if not rows:
        return {}
    result = connection.execute(
        f"""
        SELECT d.rowid, d.decision_id::VARCHAR
        FROM {part.table} AS d JOIN (SELECT unnest(?::BIGINT[]) AS row) AS e ON (d.rowid = e.row)
        """,
        [rows],
    )
    return dict(result.fetchall())


def tasks(
    connection: DuckDBPyConnection, part: PolicyPart, rows: Sequence[int]
) -> Iterator[tuple[int, str, Task, int, dict[str, Any]]]:
    """The tasks of rows, with their ids and what beside models was known of the state."""
    result = connection.execute(
        f"""
        SELECT d.rowid, d.decision_id::VARCHAR, d.at_us, d.operation, d.pin, d.draw, d.request, d.sources,
            d.features::JSON::VARCHAR, d.ignored, d.load, d.quota_used, d.session_model
        FROM {part.table} AS d JOIN (SELECT unnest(?::BIGINT[]) AS row) AS e ON (d.rowid = e.row)
        """,
        [rows],
    )
    for (
        row,
        id,
        at_us,
        operation,
        pin,
        draw,
        request,
        sources,
        text,
        ignored,
        load,
        used,
        session_model,
    ) in result.fetchall():
        values = json.loads(text, parse_int=number, parse_float=number) if text is not None else {}
        given = [name for name, letter in zip(part.features, sources, strict=True) if letter == "g"]
        features = {name: as_value(values.get(name)) for name in (*given, *(ignored or ()))}
        facts = (
            RequestFacts()
            if request is None
            else RequestFacts(**{name: request[name] for name in REQUEST_FIELDS})
        )
        quota_used = {
            name: one for name, one in zip(part.quotas, used or (), strict=False) if one is not None
        }
        state = {"load": load, "quota_used": quota_used, "session_model": session_model}
        yield row, id, Task(features, operation, facts, pin, draw), at_us, state


def number(text: str) -> int | float:
    """A number as a record has it: DuckDB may write one that is whole with a fraction, and records have 1 for 1.0."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def as_value(value: Any) -> Any:
    """A value as tasks have it: arrays are tuples."""
    return tuple(map(as_value, value)) if isinstance(value, list) else value
