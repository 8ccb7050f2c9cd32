"""Asking: one reading statement, limited, with mistakes shown at their place."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import duckdb
import pytest
from support.ledger_rows import attempt, decision, failed
from support.new_ledgers import new_ledger

from routewright.engine.report.problems import render_problem
from routewright.ledger import Ledger, LedgerError, QueryResult
from routewright.ledger.asking import _READING


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    ledger = new_ledger(tmp_path_factory.mktemp("query") / "ledger.duckdb")
    rows = [decision(n)._replace(answered_attempt=2 if n == 1 else 1) for n in range(4)]
    ledger.append(rows, [attempt(0), failed(1), attempt(1, 2)])
    return ledger


def refused(ledger: Ledger, sql: str) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        ledger.query(sql, timeout_s=20)
    return caught.value


def test_a_result_has_columns_types_and_rows(ledger: Ledger) -> None:
    result = ledger.query("SELECT number, model_id AS model FROM attempt_rows ORDER BY started_at_us")
    assert result == QueryResult(
        ("number", "model"), ("INTEGER", "VARCHAR"), ((1, "kimi"), (1, "kimi"), (2, "coder")), False
    )


@pytest.mark.parametrize(("max_rows", "truncated"), [(0, True), (3, True), (4, False), (5, False)])
def test_the_row_limit_says_when_it_cut(ledger: Ledger, max_rows: int, truncated: bool) -> None:
    result = ledger.query("SELECT * FROM decision_records", max_rows=max_rows)
    assert len(result.rows) == min(4, max_rows)
    assert result.truncated is truncated


def test_an_endless_result_is_cut_at_once(ledger: Ledger) -> None:
    result = ledger.query("SELECT * FROM range(1_000_000_000_000)", max_rows=2)
    assert result.rows == ((0,), (1,))
    assert result.truncated


NOT_RUN = [
    "DELETE FROM attempt_rows",
    "DROP TABLE decisions",
    "UPDATE attempt_rows SET cost_nano = 0",
    "UPDATE EXTENSIONS",
    "INSERT INTO policies VALUES ('a', 'b', 'c', 'd', 1)",
    "MERGE INTO decision_records USING decisions AS d ON true WHEN MATCHED THEN DELETE",
    "CREATE TEMP TABLE mine (a INTEGER)",
    "ALTER TABLE decisions ADD COLUMN mine INTEGER",
    "COMMENT ON TABLE decisions IS 'mine'",
    "COPY decisions TO 'out.csv'",
    "COPY (SELECT 1) TO 'out.csv'",
    "COPY FROM DATABASE a TO b",
    "EXPORT DATABASE 'out'",
    "IMPORT DATABASE 'out'",
    "ATTACH 'other.duckdb'",
    "DETACH ledger",
    "USE other",
    "SET enable_external_access = true",
    "SET VARIABLE a = 1",
    "RESET lock_configuration",
    "PRAGMA threads = 1",
    "PRAGMA database_size",
    "CALL pragma_version()",
    "INSTALL httpfs",
    "LOAD httpfs",
    "CHECKPOINT",
    "VACUUM",
    "BEGIN",
    "PREPARE a AS SELECT 1",
    "EXECUTE a",
    "/* a comment */ -- another\n  drop TABLE decisions",
]
NOT_READ = {
    "SELECT * FROM read_csv('/etc/passwd')": "cannot open `/etc/passwd`",
    "SELECT * FROM sniff_csv('/etc/passwd')": "cannot open `/etc/passwd`",
    "SELECT * FROM read_text('/etc/passwd')": "cannot open `/etc/passwd`",
    "SELECT * FROM read_duckdb('other.duckdb')": "cannot open `other.duckdb`",
    "SELECT * FROM glob('/*')": "cannot open `/*`",
    "SELECT * FROM 'https://example.org/a.parquet'": "cannot open `https://example.org/a.parquet`",
    "EXPLAIN ANALYZE DELETE FROM attempt_rows": "nothing was changed",
    "WITH gone AS (DELETE FROM attempt_rows RETURNING *) SELECT * FROM gone": "nothing was changed",
    "SELECT * FROM enable_logging()": "no setting was changed",
}


def test_a_statement_can_read_the_ledger_and_do_nothing_else(ledger: Ledger) -> None:
    before = sorted(path.name for path in ledger.path.parent.iterdir())
    for sql in NOT_RUN:
        [word, *_] = re.sub(r"/\*.*\*/|--.*\n", "", sql).split()
        assert str(refused(ledger, sql)) == (
            f"`{word.upper()}` was not run: a statement can read the ledger and nothing else"
        )
    for sql, message in NOT_READ.items():
        assert str(refused(ledger, sql)) == f"{message}: a statement can read the ledger and nothing else"
    for sql in (
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM duckdb_secrets()",
        "SELECT getenv('HOME')",
        "SELECT 1; DROP TABLE decisions",
    ):
        refused(ledger, sql)
    assert sorted(path.name for path in ledger.path.parent.iterdir()) == before
    assert ledger.query("SELECT count(*) FROM decision_records").rows == ((4,),)


def test_every_kind_of_statement_is_tried() -> None:
    """Fails when DuckDB learns another kind: does it read, or is it among those that are refused?"""
    tried = set()
    with duckdb.connect() as connection:
        for sql in NOT_RUN:
            for statement in connection.extract_statements(sql):
                with suppress(ValueError):  # a kind without a name
                    tried.add(statement.type.name)
    never_from_text = {
        "INVALID",
        "ANALYZE",
        "COPY_DATABASE",
        "CREATE_FUNC",
        "EXTENSION",
        "LOGICAL_PLAN",
        "RELATION",
        "VARIABLE_SET",
    }
    assert tried | _READING | never_from_text == set(duckdb.StatementType.__members__)


@pytest.mark.parametrize(
    ("sql", "message", "help"),
    [
        ("", "there is no statement to run", "try `SELECT * FROM decisions_flat LIMIT 10`"),
        ("-- nothing", "there is no statement to run", "try `SELECT * FROM decisions_flat LIMIT 10`"),
        (
            "SELECT 1; SELECT 2",
            "one statement was expected, and there are 2; none was run",
            "try `SELECT * FROM decisions_flat LIMIT 10`",
        ),
        (
            "DROP TABLE decisions",
            "`DROP` was not run: a statement can read the ledger and nothing else",
            "use SELECT, DESCRIBE, SHOW TABLES or EXPLAIN",
        ),
        (
            "SELECT * FROM decision_records WHERE target = ?",
            "a parameter of the statement has no name",
            "write `$team`, and give a value for `team`",
        ),
        (
            "SELECT * FROM decision_records WHERE target = $model",
            "there is no value for the parameter `$model`",
            'give it one: `--param model=…`, in Python `{"model": …}`',
        ),
    ],
)
def test_what_is_not_one_reading_statement_is_refused(
    ledger: Ledger, sql: str, message: str, help: str | None
) -> None:
    error = refused(ledger, sql)
    assert (str(error), error.help) == (message, help)


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        (
            "SELECT 'é',\n  trget FROM decision_records",
            "sql:2:3: error[sql]: referenced column `trget` not found in FROM clause\n"
            "  |   trget FROM decision_records\n"
            "  |   ^^^^^\n"
            "  = help: candidate bindings: `target`, `trace_id`, `tags`, `reason`, `verdicts`",
        ),
        (
            "SELECT 1,\n'\0'",
            "sql:2:2: error[sql]: the statement has a character with the code 0\n  | '\\x00'\n  |  ^^^^",
        ),
        (
            "SELECT '\udcff'",
            "sql:1:9: error[sql]: the statement has bytes that are no UTF-8\n  | SELECT '\\u{dcff}'\n"
            "  |         ^^^^^^^^",
        ),
        (
            "SELEC 1",
            "sql:1:1: error[sql]: syntax error at or near `SELEC`\n  | SELEC 1\n  | ^^^^^",
        ),
        (
            "SELECT * FROM decisions_fla",
            "sql:1:15: error[sql]: table with name decisions_fla does not exist\n"
            "  | SELECT * FROM decisions_fla\n"
            "  |               ^^^^^^^^^^^^^\n"
            "  = help: did you mean `decisions_flat`?",
        ),
    ],
)
def test_a_mistake_is_shown_at_its_place(ledger: Ledger, sql: str, shown: str) -> None:
    problem = refused(ledger, sql).problem
    assert problem is not None
    assert render_problem(problem) == shown


@pytest.mark.parametrize(
    ("value", "type"),
    [
        ("x'; DROP TABLE decisions; --", "VARCHAR"),
        (5, "INTEGER"),
        (0.5, "DOUBLE"),
        (True, "BOOLEAN"),
        (None, '"NULL"'),
        ([1, 2], "INTEGER[]"),
        (Decimal("1.50"), "DECIMAL(3,2)"),
        (datetime(2026, 1, 2, tzinfo=UTC), "TIMESTAMP WITH TIME ZONE"),
    ],
)
def test_a_value_is_bound_and_never_part_of_the_statement(ledger: Ledger, value: object, type: str) -> None:
    result = ledger.query("SELECT $value, typeof($VALUE)", {"value": value})
    assert result.rows == ((value, type),)


def test_a_text_is_compared_with_numbers_and_times_by_what_it_says(ledger: Ledger) -> None:
    sql = "SELECT count(*) FROM attempt_rows WHERE number = $number AND now() > $since"
    assert ledger.query(sql, {"number": "1", "since": "2020-01-01"}).rows == ((2,),)


def test_values_and_parameters_that_do_not_match_are_named(ledger: Ledger) -> None:
    for given, message, help in [
        ({"a": 1, "C": 2}, "there is no value for the parameter `$b`", None),
        ({"a": 1, "B": 2, "tem": 3}, "the statement has no parameter `$tem`", "it has: `$a`, `$b`"),
    ]:
        with pytest.raises(LedgerError) as caught:
            ledger.query("SELECT $a, $b", given)
        assert str(caught.value) == message
        assert help is None or caught.value.help == help


def test_describing_and_pivoting_are_reading(ledger: Ledger) -> None:
    assert ledger.query("DESCRIBE decision_records").rows[0][0] == "decision_id"
    assert ("decisions_flat",) in ledger.query("SHOW TABLES").rows
    assert ledger.query("PIVOT attempt_rows ON status USING count(*) GROUP BY model_id").columns == (
        "model_id",
        "failed",
        "ok",
    )


def test_a_time_with_zone_needs_no_time_zone_package(ledger: Ledger) -> None:
    script = (
        "import sys; sys.modules['pytz'] = None\n"
        "from routewright.ledger import Ledger\n"
        "ledger = Ledger.open(sys.argv[1])\n"
        "ledger.query('SELECT * FROM decisions_flat'); ledger.tail(2)\n"
        "print(ledger.query('SELECT to_timestamp(1.5)').rows[0][0].isoformat())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(ledger.path)], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1970-01-01T00:00:01.500000+00:00\n", "")


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/Los_Angeles"])
def test_now_is_in_utc_like_the_times_of_the_ledger_wherever_the_machine_stands(
    ledger: Ledger, zone: str
) -> None:
    script = (
        "import sys; from datetime import UTC, datetime; from routewright.ledger import Ledger\n"
        "sql = 'SELECT now()::TIMESTAMP, current_date, make_timestamp(0) < make_timestamptz(1)'\n"
        "[[now, day, before]] = Ledger.open(sys.argv[1]).query(sql).rows\n"
        "utc = datetime.now(UTC).replace(tzinfo=None)\n"
        "print(abs((utc - now).total_seconds()) < 60, day in (now.date(), utc.date()), before)\n"
    )
    command = [sys.executable, "-c", script, str(ledger.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"TZ": zone})
    assert (done.stdout, done.stderr) == ("True True True\n", "")


def test_tail_gives_the_newest_decisions_oldest_first(ledger: Ledger) -> None:
    assert [(row.decided_at.second, row.status, row.attempts) for row in ledger.tail(3)] == [
        (1, "ok", 2),
        (2, None, 0),
        (3, None, 0),
    ]
    [second] = ledger.tail(3)[:1]
    assert (second.target, second.answered_by) == ("kimi", "coder")
    assert (second.known_cost, second.unknown_cost_calls) == ({"USD": Decimal("0.000725")}, 1)
    assert second.latency_ms == pytest.approx(1_000.001)
    assert ledger.tail(0) == ()
    assert len(ledger.tail(100)) == 4


def test_importing_the_ledger_does_not_load_duckdb() -> None:
    script = "import sys, routewright.ledger; print('duckdb' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_query_leaves_no_files_behind(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    ledger.query("SELECT * FROM decision_records")
    assert [path.name for path in tmp_path.iterdir()] == ["ledger.duckdb"]


@pytest.mark.parametrize(("table", "view"), [("attempts", "attempts_flat"), ("Decisions", "decisions_flat")])
def test_plain_names_that_would_mix_all_kinds_of_work_name_the_view_to_ask(
    ledger: Ledger, table: str, view: str
) -> None:
    with pytest.raises(LedgerError, match="does not exist") as caught:
        ledger.query(f"SELECT count(*) FROM {table}")
    assert caught.value.help is not None and caught.value.help.startswith(f"`{view}` holds")


@pytest.mark.parametrize(
    ("sql", "called"),
    [
        ("SELECT avg(decisions) FROM routing_daily", "`avg(decisions)` goes"),
        (
            "select target, MEDIAN( r.Executed ) from all_routing_daily r group by all",
            "`MEDIAN( r.Executed)` goes",
        ),
        ("SELECT avg(known_cost_usd) FROM cost_daily", "`avg(known_cost_usd)` goes"),
        ("SELECT quantile_cont(calls, 0.9) FROM success_rate", "`quantile_cont(calls)` goes"),
        ("SELECT avg(n) FROM (SELECT day, sum(decisions) AS n FROM routing_daily GROUP BY day)", None),
        (
            "SELECT avg(decisions) FROM (SELECT sum(decisions) AS decisions FROM routing_daily GROUP BY day)",
            None,
        ),
        ("SELECT sum(decisions) FROM routing_daily", None),
        ("SELECT avg(latency_ms) FROM model_latency", None),
        ("SELECT avg(known_cost_usd), median(deciding_us) FROM decisions_flat", None),
    ],
)
def test_an_average_over_rows_that_stand_for_many_decisions_is_told(
    ledger: Ledger, sql: str, called: str | None
) -> None:
    notes = ledger.query(sql).notes
    assert len(notes) == (called is not None)
    assert called is None or called in notes[0]
