"""The tables that migrations make are those that the fields of records and rows declare."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from ledger_layout import ledger_in_memory

from routewright.engine.record.attempt import Attempt
from routewright.engine.record.field import columns_of
from routewright.engine.record.parts import REQUEST_FIELDS, RecordRow
from routewright.ledger import entries
from routewright.ledger.columns import ATTEMPT_TYPES, DECISION_TYPES, STATE_TYPES, sql_type
from routewright.ledger.rows import DecisionRow, PolicyRow

ROWS = {"attempt_rows": Attempt, "policies": PolicyRow, "decision_rows": DecisionRow}

TYPES: Mapping[str, Mapping[str, str]] = {
    "attempt_rows": ATTEMPT_TYPES,
    "decision_rows": DECISION_TYPES,
    "model_states": STATE_TYPES["model"],
    "memory_states": STATE_TYPES["memory"],
}

STORED_OTHERWISE = {"features": "VARIANT", "digest": "BLOB", "team": "VARCHAR", "user": "VARCHAR"}
"""Columns of decisions that are made of what is inserted."""


@pytest.fixture(scope="module")
def tables() -> dict[str, dict[str, tuple[str, str]]]:
    """Each table's columns with their types and comments."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    with ledger_in_memory() as connection:
        sql = "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal"
        for table, name, kind, comment in connection.execute(sql).fetchall():
            found.setdefault(table, {})[name] = (kind.replace('"', ""), comment)
    return found


@pytest.mark.parametrize("table", ROWS)
def test_columns_have_the_type_and_meaning_of_their_field(
    table: str, tables: dict[str, dict[str, tuple[str, str]]]
) -> None:
    declared = {column.name: (sql_type(column.kind), column.meaning) for column in columns_of(ROWS[table])}
    found = tables[table]
    assert {name: found.get(name) for name in declared} == declared


@pytest.mark.parametrize("table", TYPES)
def test_every_column_is_filled_with_its_type_and_no_other(
    table: str, tables: dict[str, dict[str, tuple[str, str]]]
) -> None:
    types = dict(TYPES[table])
    if table == "decision_rows":
        types |= STORED_OTHERWISE
    assert {name: kind for name, (kind, _) in tables[table].items()} == types


def test_what_is_never_stored_has_no_column_and_is_in_no_entry() -> None:
    assert "message" in Attempt._fields
    assert "message" not in ATTEMPT_TYPES and "message" not in entries.ATTEMPT


def test_every_field_that_differs_from_call_to_call_has_its_column() -> None:
    made = {"id": "decision_id", "values": "features"}
    assert {made.get(name, name) for name in RecordRow._fields} <= DECISION_TYPES.keys()
    assert [one.split()[0] for one in DECISION_TYPES["request"][7:-1].split(", ")][:4] == list(
        REQUEST_FIELDS[:4]
    )


def test_entries_name_every_field_in_an_order_that_stays() -> None:
    """A field is added at the end of these, or older files would be read wrongly."""
    assert entries.ATTEMPT[:20] == ATTEMPT_FIELDS
    assert set(entries.ATTEMPT) == set(ATTEMPT_TYPES) - {"decision_id"}


ATTEMPT_FIELDS = (
    "number",
    "role",
    "model_id",
    "backend_id",
    "model_said",
    "started_at_us",
    "load_us",
    "first_token_us",
    "total_us",
    "status",
    "error_class",
    "finish_reason",
    "streamed",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "reasoning_tokens",
    "tokens_source",
    "cost_nano",
    "currency",
)
