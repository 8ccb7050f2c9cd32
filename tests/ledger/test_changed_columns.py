"""Verifying finds a change of any column of what was recorded, and says of parts what happened to them."""

from __future__ import annotations

import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import duckdb
import pytest
from support.ledger_rows import attempt, decision, decision_id
from support.new_ledgers import new_ledger

from routewright.ledger import Ledger
from routewright.ledger.comparing import compare

OLDER: Final = Path(__file__).parent / "older" / "older.duckdb.gz"

OTHER: Final[Mapping[str, str]] = {
    "VARCHAR": "coalesce({0}, '') || 'x'",
    "BIGINT": "coalesce({0}, 0) + 1",
    "INTEGER": "coalesce({0}, 0) + 1",
    "DOUBLE": "coalesce({0}, 0) + 0.25",
    "BOOLEAN": "NOT coalesce({0}, false)",
    "UUID": "uuid()",
    "BLOB": "unhex(repeat('ab', 32))",
    "VARCHAR[]": "['x']",
    "BIGINT[]": "[77]",
    "MAP(VARCHAR, VARCHAR)": "MAP {{'x': 'y'}}",
    "MAP(VARCHAR, BOOLEAN)": "MAP {{'x': true}}",
    "VARIANT": "json_merge_patch({0}::JSON, '{{\"task_type\": true}}')::VARIANT",
}
"""By type, SQL for another value than a column has. Of the features it is one that has its default."""


def unfound(connection: duckdb.DuckDBPyConnection, table: str, ids: Sequence[str]) -> list[str]:
    """The columns of a table of which a change is not found. Each is changed in the rows of one of the decisions."""
    sql = "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ?"
    columns = connection.execute(sql, [table]).fetchall()
    connection.execute(f"CREATE TEMP TABLE before AS FROM {table}")
    missed = []
    while columns:
        changed = list(zip(columns, ids, strict=False))
        columns = columns[len(changed) :]
        for (name, type), id in changed:
            some = "[]" if type.endswith("]") else "{{tools: 3}}"
            other = OTHER.get(type, f"'{some}'::VARCHAR::{type}").format(f'"{name}"')
            connection.execute(f'UPDATE {table} SET "{name}" = {other} WHERE decision_id = ?::UUID', [id])
        found = " ".join(fault.what for fault in compare(connection))
        missed += [name for (name, _), id in changed if id not in found]
        connection.execute(f"DELETE FROM {table}")
        connection.execute(f"INSERT INTO {table} FROM before")
    return missed


@pytest.mark.parametrize("table", ["decision_rows", "attempt_rows"])
def test_a_change_of_any_column_is_found(tmp_path: Path, table: str) -> None:
    ids = range(40)
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    ledger.append([decision(one) for one in ids], [attempt(one) for one in ids])
    with duckdb.connect(str(ledger.path)) as connection:
        assert unfound(connection, table, [decision_id(one) for one in ids]) == []
        assert list(compare(connection)) == []


def test_a_change_of_any_column_of_version_1_is_found(tmp_path: Path) -> None:
    path = tmp_path / "older.duckdb"
    path.write_bytes(gzip.decompress(OLDER.read_bytes()))
    Ledger.open(path)
    with duckdb.connect(str(path)) as connection:
        ids = connection.execute("SELECT decision_id::VARCHAR FROM decisions_1").fetchall()
        assert unfound(connection, "decisions_1", [id for (id,) in ids]) == []
        assert list(compare(connection)) == []


EXCHANGED: Final = {
    "value = q.value": (
        "the plan `A`, a part of records, does not have its digest: it has the value of the plan `B`",
        "the plan `B`, a part of records, does not have its digest: it has the value of the plan `A`",
    ),
    "value = q.value, digest = q.digest": (
        "the plan `B`, a part of records, has the number of another part, 2",
        "the plan `A`, a part of records, has the number of another part, 3",
    ),
}


@pytest.mark.parametrize("exchange", EXCHANGED)
def test_parts_that_were_exchanged_are_named(tmp_path: Path, exchange: str) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    ledger.append([decision(1), decision(2)])
    with duckdb.connect(str(ledger.path)) as connection:
        [(first,), (second,)] = connection.execute(
            "SELECT digest FROM parts WHERE kind = 'plan' ORDER BY part"
        ).fetchall()
        connection.execute(
            f"UPDATE parts AS p SET {exchange} FROM parts AS q WHERE (p.part IN (2, 3)) AND (q.part = 5 - p.part)"
        )
        found = [fault.what.replace(first, "A").replace(second, "B") for fault in compare(connection)]
    assert sorted(EXCHANGED[exchange]) == sorted(one for one in found if one.startswith("the plan"))
    assert [number for number in (1, 2) if decision_id(number) in " ".join(found)] == [1, 2]


def test_a_record_that_cannot_be_made_again_hides_no_other(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    ledger.append([decision(one) for one in range(4)])
    with duckdb.connect(str(ledger.path)) as connection:
        changes = {0: "plan_part = 9", 1: "sources = 'g'", 2: "verdicts = 'x'", 3: "at_us = 1"}
        for number, changed in changes.items():
            connection.execute(
                f"UPDATE decision_rows SET {changed} WHERE decision_id = ?", [decision_id(number)]
            )
        found = [fault.what for fault in compare(connection)]
    said = [next(one for one in found if decision_id(number) in one) for number in changes]
    assert "cannot be made again" in said[0]
    assert said[0].endswith(": part 9 of a record is missing from the ledger")
    assert ["cannot be made again" in one for one in said] == [True, True, True, False]
