"""The tables that migrations make are those that the fields of records and rows declare."""

from __future__ import annotations

import json

import pytest
from ledger_layout import ledger_in_memory

from routewright.engine.record.attempt import Attempt
from routewright.engine.record.field import columns_of, fields_of
from routewright.engine.record.fields import DecisionRecord
from routewright.ledger.columns import decision_columns, entry_types, record_types, sql_type
from routewright.ledger.rows import DecisionRow, PolicyRow

ROWS = {"attempts": Attempt, "policies": PolicyRow, "decisions": DecisionRow}


@pytest.fixture(scope="module")
def tables() -> dict[str, dict[str, tuple[str, str]]]:
    """Each table's columns with their types and comments."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    with ledger_in_memory() as connection:
        sql = "SELECT table_name, column_name, data_type, comment FROM duckdb_columns() WHERE NOT internal"
        for table, name, kind, comment in connection.execute(sql).fetchall():
            found.setdefault(table, {})[name] = (kind, comment)
    return found


@pytest.mark.parametrize("table", ROWS)
def test_columns_have_the_type_and_meaning_of_their_field(
    table: str, tables: dict[str, dict[str, tuple[str, str]]]
) -> None:
    declared = {column.name: (sql_type(column.kind), column.meaning) for column in columns_of(ROWS[table])}
    found = tables[table]
    assert {name: found.get(name) for name in declared} == declared
    if table != "decisions":
        assert found.keys() - declared.keys() == ({"decision_id"} if table == "attempts" else set())


def test_every_column_of_decisions_is_filled_and_no_other(
    tables: dict[str, dict[str, tuple[str, str]]],
) -> None:
    filled = [part.rpartition(" AS ")[2] for part in decision_columns().split(",\n    ")]
    names = [name for name in filled if name in tables["decisions"]]
    assert sorted(names) == sorted(tables["decisions"])


def test_columns_filled_from_the_record_have_the_type_of_their_field(
    tables: dict[str, dict[str, tuple[str, str]]],
) -> None:
    for field in fields_of(DecisionRecord):
        if "" in field.columns:
            kind = sql_type(field.kind) if record_types()[field.name] != "JSON" else "VARIANT"
            # The struct of candidates names the gate otherwise than the record.
            kind = kind.replace("gate VARCHAR", "failed_gate VARCHAR")
            assert tables["decisions"][field.columns[""]][0].replace('"', "") == kind, field.name


def test_what_is_never_stored_has_no_column_and_no_type() -> None:
    assert "message" in Attempt._fields
    assert "message" not in json.dumps(entry_types())
