"""Every row that is recorded has its leaf in the log, in the order in which rows come, whoever writes them."""

from __future__ import annotations

import gzip
import re
from pathlib import Path
from typing import Any

import duckdb
import pytest
from ledger_layout import ledger_in_memory
from support.ledger_rows import attempt, begun, decision, decision_id, ended, failed, policy
from support.new_ledgers import new_ledger

from routewright.engine.record.parts import RecordRow
from routewright.ledger import Ledger, Outcome
from routewright.ledger.comparing import compare
from routewright.ledger.connection import open_for_reading
from routewright.ledger.proof.entering import enter, enter_older
from routewright.ledger.proof.logged import ATTEMPTS, LOGGED
from routewright.ledger.shadows import TABLES

OLDER = Path(__file__).parent / "older" / "older.duckdb.gz"

LEAVES = "SELECT leaf, kind, id::VARCHAR, number FROM log_leaves ORDER BY leaf"


def faults(ledger: Ledger) -> list[str]:
    with open_for_reading(ledger.path, lock_timeout_s=30, own_statement=True) as connection:
        return [what for _, what in compare(connection)]


def leaves(ledger: Ledger) -> list[tuple[Any, ...]]:
    return list(ledger.query(LEAVES).rows)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rows of every kind: at once, by a writer, with ends that come late, and outcomes, one of which is corrected."""
    ledger = new_ledger(tmp_path_factory.mktemp("log") / "ledger.duckdb", lock_timeout_s=30)
    ledger.append([decision(9)], [attempt(9), attempt(9, 2)], [policy()])
    writer = ledger.writer()
    writer.add(decision(2), [attempt(2, cost_nano=2**60)], [policy()])
    assert writer.add_all([[begun(3, 1, 2)], [begun(4)]]) == [None, None]
    writer.close()
    ledger.ingest()
    late = ended(3, attempt(3), attempt(3, 2), answered=2), ended(4, failed(4), answered=None)
    assert writer.add_all([[one] for one in late]) == [None, None]
    writer.close()
    ledger.ingest()
    ledger.record_outcomes([Outcome(decision_id(9), "score", 0.5), Outcome(decision_id(2), "kind", "good")])
    ledger.record_outcomes([Outcome(decision_id(9), "score", 1)])
    return ledger.path


@pytest.fixture
def ledger(recorded: Path, tmp_path: Path) -> Ledger:
    path = tmp_path / "ledger.duckdb"
    path.write_bytes(recorded.read_bytes())
    return Ledger.open(path)


NO_LEAVES = {
    *("model_states", "memory_states"),  # records' digests cover what a decision knew of them
    *("in_flight", "rejected", "writers"),  # what is no row yet, or can be none
    *("imports", "imported_attempts", "imported_decisions", "imported_outcomes"),  # can be removed again
    *("declarations", "migrations", "views_made", "log_leaves", "log_origin"),  # record nothing
}


def test_every_table_that_records_has_leaves_and_every_column_of_it_is_covered() -> None:
    assert {one.table for one in LOGGED} | NO_LEAVES == TABLES
    with ledger_in_memory() as connection:
        sql = "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal"
        columns = connection.execute(sql).fetchall()
    covered = {
        "decision_rows": {*RecordRow._fields, "features", "digest", "policy_part", "plan_part", "arm_part"}
    }
    covered["decision_rows"] |= {"team", "user"}  # made of tags and features
    covered["parts"] = {"part", "value"}  # a number that others refer to, and what the digest is of
    for one in LOGGED:
        if one.table != "decisions_1":  # all of it is in the record's text
            given = {column for table, column in columns if table == one.table}
            assert given - covered.get(one.table, set()) <= set(one.values), one.table


def test_rows_are_in_the_log_as_they_came(ledger: Ledger) -> None:
    found = leaves(ledger)
    assert [leaf for leaf, *_ in found] == list(range(len(found)))
    named = [(kind, number_of(id), number) for _, kind, id, number in found if kind in (1, 2)]
    assert named == [
        (1, 9, 0), (2, 9, 1), (2, 9, 2),
        (1, 2, 0), (2, 2, 1),
        (1, 3, 0), (1, 4, 0), (2, 3, 1), (2, 3, 2), (2, 4, 1),
        (2, 3, 1), (2, 3, 2), (1, 3, 0), (2, 4, 1),
    ]  # fmt: skip
    assert [kind for _, kind, *_ in found if kind not in (1, 2)] == [4, 5, 5, 5, 3, 3, 3]
    assert faults(ledger) == []


TAMPERED = [
    ("UPDATE attempt_rows SET cost_nano = 1 WHERE number = 2 AND decision_id = '{9}'",
     ["attempt 2 of decision `{9}` has changed since it was recorded"]),
    ("UPDATE decision_rows SET tags = MAP {{'team': 'b'}} WHERE decision_id = '{2}'",
     ["decision `{2}` has changed since it was recorded",
      "the column `team` of decision `{2}` is not what its tags and features say"]),
    ("UPDATE decision_rows SET answered_attempt = 1 WHERE decision_id = '{3}'",
     ["decision `{3}` has changed since it was recorded"]),
    ("DELETE FROM decision_rows WHERE decision_id = '{2}'", ["decision `{2}` is missing"]),
    ("DELETE FROM attempt_rows WHERE decision_id = '{9}' AND number = 1", ["attempt 1 of decision `{9}` is missing"]),
    ("INSERT INTO attempt_rows SELECT * REPLACE (5 AS number) FROM attempt_rows WHERE decision_id = '{2}'",
     ["attempt 5 of decision `{2}` is not in the log: something else has written it into the ledger"]),
    ("INSERT INTO attempt_rows SELECT * FROM attempt_rows WHERE decision_id = '{2}'",
     ["attempt 1 of decision `{2}` is there 2 times"]),
    ("UPDATE policies SET text = 'rules: []'", ["the policy `hybrid` has changed since it was recorded"]),
    ("UPDATE outcomes SET label = 'bad' WHERE label = 'good'", ["outcome `O` has changed since it was recorded"]),
    ("UPDATE decision_rows SET at_us = 1 WHERE decision_id = '{9}'",
     ["the record of decision `{9}` does not have its digest: its row, one of its parts, or what was known of a model "
      "or backend has changed"]),
    ("UPDATE parts SET value = (SELECT value FROM parts AS p WHERE (p.kind = 'plan') AND (p.part <> parts.part)) "
     "WHERE kind = 'plan'",
     ["the plan `P`, a part of records, does not have its digest: it has the value of the plan `P`"] * 2
     + [f"the record of decision `{{{n}}}` does not have its digest: its row, one of its parts, or what was known of a "
        "model or backend has changed" for n in (2, 3, 4, 9)]),
    ("UPDATE decision_rows SET plan_part = (SELECT max(part) FROM parts WHERE (kind = 'plan') "
     "AND (part <> decision_rows.plan_part)) WHERE decision_id = '{9}'",
     ["the record of decision `{9}` does not have its digest: its row, one of its parts, or what was known of a model "
      "or backend has changed"]),
]  # fmt: skip


@pytest.mark.parametrize(("statement", "found"), TAMPERED, ids=range(len(TAMPERED)))
def test_what_another_client_changes_is_named(ledger: Ledger, statement: str, found: list[str]) -> None:
    ids = [decision_id(number) for number in range(10)]
    with duckdb.connect(str(ledger.path)) as client:
        client.execute(statement.format(*ids))
    named = [re.sub("plan `sha256:[0-9a-f]+`", "plan `P`", one) for one in faults(ledger)]
    assert sorted(re.sub("outcome `[0-9a-f-]+`", "outcome `O`", one) for one in named) == sorted(
        one.format(*ids) for one in found
    )


def test_a_row_that_is_entered_again_as_another_is_named(ledger: Ledger) -> None:
    """Whoever writes the log too cannot let a later leaf stand for an earlier one."""
    with duckdb.connect(str(ledger.path)) as client:
        client.execute("UPDATE attempt_rows SET cost_nano = 1 WHERE decision_id = ?::UUID", [decision_id(2)])
        row = client.execute(f"SELECT {ATTEMPTS.selected} FROM attempt_rows WHERE cost_nano = 1").fetchone()
        assert row is not None
        enter(client, ATTEMPTS, [row])
    assert faults(ledger) == [
        f"attempt 1 of decision `{decision_id(2)}` was entered into the log again, as another"
    ]


def test_what_an_earlier_version_recorded_enters_the_log(tmp_path: Path) -> None:
    path = tmp_path / "older.duckdb"
    path.write_bytes(gzip.decompress(OLDER.read_bytes()))
    ledger = Ledger.open(path)
    found = leaves(ledger)
    assert [leaf for leaf, *_ in found] == list(range(len(found)))
    kinds = [kind for _, kind, *_ in found]
    assert kinds == sorted(kinds, key=[4, 5, 1, 2, 3].index)
    ids = [id for _, kind, id, _ in found if kind == 1]
    assert ids == sorted(ids) and len(ids) == ledger.query("SELECT count(*) FROM decisions_1").rows[0][0] > 0
    assert faults(ledger) == []


def test_rows_by_parts_enter_the_log_writer_by_writer(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.ledger.proof.entering._AT_ONCE", 2)
    with duckdb.connect(str(ledger.path)) as client:
        client.execute("DELETE FROM log_leaves")
        enter_older(client)
    found = [(kind, number_of(id), number) for _, kind, id, number in leaves(ledger) if kind in (1, 2)]
    assert found == [
        (1, 2, 0), (1, 3, 0), (2, 2, 1), (2, 3, 1), (2, 3, 2),
        (1, 4, 0), (2, 4, 1),
        (1, 9, 0), (2, 9, 1), (2, 9, 2),
    ]  # fmt: skip
    assert faults(ledger) == []


def number_of(id: str) -> int:
    return next(number for number in range(10) if decision_id(number) == id)
