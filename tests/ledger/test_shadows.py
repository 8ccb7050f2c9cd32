"""What stands in a ledger file cannot act for the ledger's own SQL, and where it tries to it is named and refused."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import duckdb
import pytest
from support.ledger_rows import NEXT, arm, attempt, begun, broken, decision, decision_id, ended, policy
from support.new_ledgers import new_ledger

from routewright.ledger import Ledger, LedgerError, Outcome, opening
from routewright.ledger.connection import open_for_creation, open_for_reading, open_for_writing
from routewright.ledger.errors import ShadowedError
from routewright.ledger.migrate import migrations
from routewright.ledger.results import TailRow
from routewright.ledger.shadows import FUNCTIONS, TABLE_FUNCTIONS, TABLES, TYPES, refuse_shadows
from routewright.ledger.views import Holding
from routewright.ledger.views import views as all_views

Found = tuple[dict[str, tuple[tuple[Any, ...], ...]], tuple[TailRow, ...]]

BODIES = ", ".join(f"({', '.join('abcde'[:size])}) AS 'stand-in'" for size in range(5))
"""A macro for every number of arguments that a function of ours is called with."""


def write(ledger: Ledger) -> None:
    """Rows in every table and something in every view."""
    ledger.append([decision(1)], [attempt(1), attempt(1, 2)], [policy()])
    writer = ledger.writer()
    writer.add(decision(2), [attempt(2)], [policy()])
    writer.add(broken(decision(3, reason="not the one of its digest")))
    writer.add(decision(4, arm=arm("control", "exploit", 1.0)), [attempt(4)])
    shadow = decision(5, mode="shadow", shadow_of=4, arm=arm("candidate", "shadow", 0.0), **NEXT)
    writer.add(shadow)
    writer.add_all([[begun(6, 1, 2)], [begun(7)]])
    ledger.ingest()
    writer.add_all([[ended(6, attempt(6))]])
    writer.close()
    writer.add_all([[ended(7, attempt(7))]])
    writer.close()
    ledger.record_outcomes([Outcome(decision_id(1), "score", value, at_us=1) for value in (0.5, "good", 0.6)])
    calls = ledger.path.with_name("calls.jsonl")
    calls.write_text(
        '{"id": "1", "model": "a", "features": {"x": 1}, "cost": 1, "currency": "USD", "outcomes": {"y": 1}}'
    )
    ledger.import_file("calls", calls)
    ledger.import_file("calls", calls, name="other")
    ledger.remove_import("other")
    assert len(ledger.imports()) == 1


def read(ledger: Ledger) -> Found:
    """Every table and view of the ledger, and what `tail` shows; without what differs from run to run."""
    tables = {
        name for one in migrations() for name in re.findall(r"^CREATE TABLE (\w+)", one.sql, re.MULTILINE)
    } - {
        "writers",
        "rejected",
        "declarations",
        "views_made",
        "outcomes",
        "imports",
        "attempts",
        "decisions",
        "log_leaves",
        "log_origin",
    }
    views = {view.name for view in all_views(Holding())} | tables | {"attempt_rows"}
    shown, found = ledger.tail(9), {}
    # As `query` opens the file, but once.
    with open_for_reading(ledger.path, lock_timeout_s=5) as connection:
        for name in sorted(views):
            result = connection.execute(f"SELECT * FROM {name} ORDER BY ALL")
            columns = [column[0] for column in result.description]
            rows = (
                tuple(one for column, one in zip(columns, row, strict=True) if column != "writer")
                for row in result.fetchall()
            )
            found[name] = tuple(sorted(rows, key=repr))
    return found, shown


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return new_ledger(tmp_path / "ledger.duckdb")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Found:
    ledger = new_ledger(tmp_path_factory.mktemp("clean") / "ledger.duckdb")
    write(ledger)
    return read(ledger)


def execute(path: Path, *statements: str) -> None:
    """What another client does to the file."""
    with duckdb.connect(str(path)) as client:
        client.begin()  # one commit: thousands take seconds
        for statement in statements:
            client.execute(statement)
        client.commit()


def built_in_functions(kind: str = "") -> set[str]:
    sql = "SELECT function_name FROM duckdb_functions() WHERE internal AND function_type LIKE ?"
    with duckdb.connect() as client:
        rows = client.execute(sql, [f"{kind}%"]).fetchall()
    return {name.lower() for (name,) in rows}


def test_every_function_in_the_sql_of_the_ledger_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: set[str] = set()
    connect = opening._connect

    class Listening:
        def __init__(self, inner: Any) -> None:
            self._inner = inner

        def execute(self, statement: str, *arguments: Any) -> Any:
            seen.add(statement)
            return self._inner.execute(statement, *arguments)

        def __getattr__(self, name: str) -> Any:
            return getattr(self._inner, name)

    monkeypatch.setattr(opening, "_connect", lambda *arguments: Listening(connect(*arguments)))
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    write(ledger)
    ledger.tail(9)
    with duckdb.connect() as client:
        used = {name for statement in seen for name in functions_in(client, statement)}
    assert {"max_by", "sum", "duckdb_tables"} <= used, "the test has heard the statements"
    assert used - FUNCTIONS == set()
    assert FUNCTIONS <= built_in_functions()
    assert FUNCTIONS & built_in_functions("table") == TABLE_FUNCTIONS


def functions_in(client: duckdb.DuckDBPyConnection, statements: str) -> Iterator[str]:
    """The functions in the parts that DuckDB can describe: every SELECT, and what RETURNING selects."""

    def names(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if "function_name" in value:
                yield value["function_name"]
            for inner in value.values():
                yield from names(inner)
        elif isinstance(value, list):
            for inner in value:
                yield from names(inner)

    for statement in client.extract_statements(statements):
        query = re.sub(r"^ *--.*\n", "", statement.query, flags=re.MULTILINE)
        changed, *returned = re.split(r"\bRETURNING\b", query)
        begins = re.search(r"\b(SELECT|WITH)\b", changed)
        selects = [changed[begins.start() :]] if begins else []
        for select in selects + [f"SELECT {columns}" for columns in returned]:
            row = client.execute("SELECT json_serialize_sql(?)", [select]).fetchone()
            assert row is not None
            described = json.loads(row[0])
            assert not described["error"], query
            yield from names(described)


def test_a_name_is_ours_in_whatever_letters(ledger: Ledger) -> None:
    execute(ledger.path, "CREATE MACRO Sha256(x) AS 'stand-in'")
    with (
        open_for_writing(ledger.path, lock_timeout_s=1) as connection,
        pytest.raises(ShadowedError, match='DROP MACRO main."Sha256"'),
    ):
        refuse_shadows(connection)


@pytest.mark.parametrize("statement", [f'CREATE MACRO "{name}"() AS 1' for name in sorted(FUNCTIONS)[::9]])
def test_a_single_macro_is_found(ledger: Ledger, statement: str) -> None:
    execute(ledger.path, statement)
    with pytest.raises(ShadowedError) as caught:
        ledger.append([decision(1)])
    assert len(caught.value.statements) == 1


@pytest.mark.parametrize("name", sorted(TABLE_FUNCTIONS)[::4])
def test_a_single_table_macro_is_found(ledger: Ledger, name: str) -> None:
    execute(ledger.path, f'CREATE MACRO "{name}"() AS TABLE SELECT 1')
    with pytest.raises(ShadowedError, match=f'DROP MACRO TABLE main."{name}"'):
        ledger.append([decision(1)])


def test_looking_for_macros_leaves_the_file_as_it_is(ledger: Ledger) -> None:
    before = ledger.path.read_bytes()
    with open_for_writing(ledger.path, lock_timeout_s=5) as opened:
        refuse_shadows(opened)
        assert not ledger.path.with_name("ledger.duckdb.wal").exists()
    assert ledger.path.read_bytes() == before


def test_macros_with_any_other_name_of_a_built_in_function_change_nothing(
    ledger: Ledger, expected: Found
) -> None:
    others = sorted(built_in_functions() - FUNCTIONS)
    execute(ledger.path, *(f'CREATE MACRO "{name}"{BODIES}' for name in others))
    write(ledger)
    assert read(ledger) == expected
    assert all("`rejected`" in notice for notice in ledger.notices())
    [[kept]] = ledger.query(
        "SELECT count(DISTINCT function_name) FROM duckdb_functions() WHERE NOT internal"
    ).rows
    assert kept == len(others), "a user's macros are left alone"


def shadows(canary: Path) -> dict[str, str]:
    """What may stand in for a name of ours, by the statement that drops it."""
    found = {}
    for name in FUNCTIONS:
        read = f"(SELECT content FROM read_text('{canary}'))"
        bodies = ", ".join(f"({', '.join('abcde'[:size])}) AS {read}" for size in range(5))
        found[f'DROP MACRO main."{name}"'] = f'CREATE MACRO "{name}"{bodies}'
        found[f'DROP MACRO TABLE main."{name}"'] = (
            f"CREATE MACRO \"{name}\"() AS TABLE SELECT content FROM read_text('{canary}')"
        )
    for name in TYPES:
        found[f'DROP TYPE main."{name}"'] = f"CREATE TYPE \"{name}\" AS ENUM ('stand-in')"
    return found


def test_whatever_stands_in_for_a_name_of_ours_is_refused_and_named(ledger: Ledger, tmp_path: Path) -> None:
    canary = tmp_path / "canary.txt"
    canary.write_text("canary")
    made = shadows(canary)
    execute(ledger.path, *made.values())
    with pytest.raises(ShadowedError) as caught:
        ledger.append([decision(1)])
    assert set(caught.value.statements) == set(made)
    execute(ledger.path, *caught.value.statements)
    ledger.append([decision(1)])


def test_nothing_in_the_file_gets_into_a_row_even_where_it_is_not_refused(
    ledger: Ledger,
    tmp_path: Path,
    expected: Found,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    canary = tmp_path / "canary.txt"
    canary.write_text("canary")
    made = shadows(canary)
    execute(ledger.path, *made.values(), "CREATE SCHEMA system", "CREATE SCHEMA pg")
    for module in ("store", "ingest", "changing"):
        monkeypatch.setattr(f"routewright.ledger.{module}.refuse_shadows", lambda _: None)
    for module in ("store", "ingest", "importing.importer"):
        # DuckDB looks a view's names up in the file first, so views are made of what was not refused alone.
        monkeypatch.setattr(f"routewright.ledger.{module}.make_views", lambda _: None)
    write(ledger)
    assert ledger.tail(9) == expected[1], "what we read ourselves is right too"
    assert Ledger.open(ledger.path).tail(9) == expected[1]
    execute(ledger.path, *made)
    assert read(ledger) == expected


def test_a_view_of_ours_that_somebody_replaced_does_not_change_what_tail_shows(
    ledger: Ledger, expected: Found
) -> None:
    write(ledger)
    execute(ledger.path, "CREATE OR REPLACE VIEW decisions_flat AS SELECT 1 AS nothing")
    assert ledger.tail(9) == expected[1]


def test_an_old_ledger_with_shadows_is_opened_and_stays_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "ledger.duckdb"
    first = migrations()[0]
    with open_for_creation(path) as client:
        columns = "version INTEGER, name VARCHAR, digest VARCHAR, applied_at_us BIGINT"
        client.execute(f"CREATE TABLE migrations ({columns})")
        client.execute(first.sql)
        client.execute("INSERT INTO migrations VALUES (1, 'initial', ?, 0)", [first.digest])
        client.execute("CREATE MACRO sum(x) AS 1")
    writer = Ledger.open(path).writer()
    writer.add(decision(1))
    writer.close()
    assert len(Ledger.open(path).notices()) == 1
    execute(path, 'DROP MACRO main."sum"')
    assert len(Ledger.open(path).tail(5)) == 1


def test_the_tables_of_the_ledger_are_known(ledger: Ledger) -> None:
    rows = ledger.query("SELECT table_name FROM duckdb_tables() WHERE NOT internal").rows
    assert {name for (name,) in rows} == TABLES


@pytest.mark.parametrize("name", sorted(TABLES - {"migrations"}))
def test_a_view_in_the_place_of_a_table_is_refused(ledger: Ledger, name: str) -> None:
    execute(
        ledger.path,
        f"ALTER TABLE {name} RENAME TO mine",
        f"CREATE VIEW {name} AS SELECT * FROM mine",
    )
    with pytest.raises(ShadowedError, match=re.escape(f'DROP VIEW main."{name}"')):
        ledger.append([decision(1)])
    execute(ledger.path, f'DROP VIEW main."{name}"', f"ALTER TABLE mine RENAME TO {name}")
    ledger.append([decision(1)])


def test_shadows_stop_ingestion_only(ledger: Ledger, caplog: pytest.LogCaptureFixture) -> None:
    execute(ledger.path, "CREATE MACRO sha256(x) AS 'stand-in'")
    opened = Ledger.open(ledger.path)
    writer = opened.writer()
    writer.prepare()
    writer.add(decision(1), [attempt(1)])
    with caplog.at_level(logging.WARNING):
        writer.close()
    assert 'DROP MACRO main."sha256"' in caplog.text
    [notice] = opened.notices()
    assert 'until they are dropped: `DROP MACRO main."sha256"`' in notice
    result = opened.query("SELECT count(*) FROM decision_records")
    assert result.rows == ((0,),)
    assert result.stale is not None and 'DROP MACRO main."sha256"' in result.stale
    execute(ledger.path, 'DROP MACRO main."sha256"')
    assert len(opened.tail(5)) == 1
    assert opened.notices() == ()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('{file}')",
        "COPY (SELECT 1) TO '{file}'",
        "ATTACH '{file}' AS other",
        "SET enable_external_access = true",
        "SET memory_limit = '1GB'",
        "INSTALL httpfs",
        "LOAD httpfs",
    ],
)
@pytest.mark.parametrize("opened", [open_for_writing, open_for_creation, open_for_reading])
def test_no_connection_reaches_anything_but_the_ledger(
    tmp_path: Path, opened: Callable[..., AbstractContextManager[Any]], statement: str
) -> None:
    canary = tmp_path / "canary.txt"
    canary.write_text("canary")
    path = tmp_path / "ledger.duckdb"
    if opened is not open_for_creation:
        new_ledger(path)
    arguments = {} if opened is open_for_creation else {"lock_timeout_s": 5}
    with (
        pytest.raises(LedgerError, match="disabled|locked|not been (loaded|installed)|cannot|no setting"),
        opened(path, **arguments) as connection,
    ):
        connection.execute(statement.format(file=canary))
    assert canary.read_text() == "canary"


@pytest.mark.parametrize("name", ["c.duckdb", "we\"ird, na'me.duckdb", "system.duckdb", "temp.duckdb"])
def test_a_ledger_of_any_name_is_written_with_built_in_names_first(tmp_path: Path, name: str) -> None:
    ledger = Ledger.open(tmp_path / name)
    execute(ledger.path, "CREATE MACRO mine(x) AS 1")
    write(ledger)
    assert len(ledger.tail(9)) == 6
    with open_for_writing(ledger.path, lock_timeout_s=5) as opened:
        refuse_shadows(opened)
        opened.execute("CREATE TEMP TABLE t AS SELECT 1 AS a")
