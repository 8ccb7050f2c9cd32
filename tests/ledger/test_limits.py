"""What a statement may take: it is stopped at each limit, and the error names it."""

from __future__ import annotations

import logging
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.new_ledgers import new_ledger
from support.sizes import THOROUGH

from routewright.ledger import Ledger, LedgerError, left_running
from routewright.ledger.stoppable import resident_bytes

TOO_LONG = "took longer than 0.15 s"
TOO_MUCH_MEMORY = "needed more than 60 MB of memory"
TOO_MUCH_DISK = "needed more than 2 MB of disk beside 60 MB of memory"

STATEMENTS = [
    ("SELECT count(*) FROM range(300_000) a, range(300_000) b WHERE a.range % 7 < b.range", TOO_LONG),
    ("SELECT a.range FROM range(900_000) a, range(900_000) b WHERE a.range * b.range = -1", TOO_LONG),
    ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT max(n) FROM r", TOO_LONG),
    ("SELECT levenshtein(repeat('a', 100_000), repeat('b', 100_000))", TOO_LONG),
    ("SELECT string_agg(repeat('x', 1_000)) FROM range(1_000_000)", TOO_MUCH_MEMORY),
    ("SELECT list(range) FROM range(1_000_000_000)", TOO_MUCH_MEMORY),
    (
        "WITH RECURSIVE r(n) AS (SELECT repeat('x', 1_000) UNION ALL SELECT n || n FROM r) SELECT count(n) FROM r",
        TOO_MUCH_MEMORY,
    ),
    ("SELECT count(*) FROM (SELECT DISTINCT hash(range) FROM range(1_000_000_000))", TOO_MUCH_DISK),
    ("SELECT hash(range) FROM range(1_000_000_000) ORDER BY 1 OFFSET 5", TOO_MUCH_DISK),
]

ONE_VALUE = [
    ("SELECT length(repeat('x', 200_000_000))", TOO_MUCH_MEMORY),
    *(
        [
            ("SELECT length(repeat('x', 4_000_000_000))", TOO_MUCH_MEMORY),
            ("SELECT list_sum(range(1_000_000_000))", TOO_MUCH_MEMORY),
            ("SELECT json_array(range(100_000_000))", TOO_MUCH_MEMORY),
            ("SELECT list_aggregate(range(100_000_000), 'string_agg')", TOO_MUCH_MEMORY),
        ]
        if THOROUGH
        else []
    ),
]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    return new_ledger(tmp_path_factory.mktemp("limits") / "ledger.duckdb")


def test_a_limit_beyond_what_duckdb_counts_is_none(ledger: Ledger, tmp_path: Path) -> None:
    huge: dict[str, Any] = {"max_rows": 10**20, "max_memory_mb": 10**14, "max_disk_mb": 10**14}
    assert ledger.query("SELECT range FROM range(3)", **huge).rows == ((0,), (1,), (2,))
    for file in ("rows.csv", "rows.parquet"):
        assert ledger.export("SELECT range FROM range(3)", tmp_path / file, **huge).rows == 3


def stopped(ledger: Ledger, sql: str, **limits: Any) -> LedgerError:
    with pytest.raises(LedgerError) as caught:
        ledger.query(sql, **({"timeout_s": 0.15, "max_memory_mb": 60, "max_disk_mb": 2} | limits))
    return caught.value


@pytest.mark.parametrize(("sql", "what"), STATEMENTS)
def test_a_statement_is_stopped_at_each_limit(ledger: Ledger, sql: str, what: str) -> None:
    limits = {} if what == TOO_LONG else {"timeout_s": 60}
    start, before = time.monotonic(), resident_bytes()
    error = stopped(ledger, sql, **limits)
    assert str(error) == f"the statement {what} and was stopped"
    assert "WHERE" in str(error.help) and "`--" in str(error.help)
    assert time.monotonic() - start < 10
    assert resident_bytes() - before < 100e6
    assert [path.name for path in ledger.path.parent.iterdir()] == ["ledger.duckdb"]


@pytest.mark.parametrize(("sql", "what"), ONE_VALUE)
def test_nobody_waits_for_a_value_that_duckdb_does_not_stop_making(
    ledger: Ledger, sql: str, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "routewright.ledger"):
        error = stopped(ledger, sql, timeout_s=60)
    assert str(error) == f"the statement {what} and was stopped"
    assert time.monotonic() - start < 5
    assert left_running()
    assert "DuckDB does not stop" in caplog.text
    # Whoever comes next waits until DuckDB lets go of the file, and is served.
    assert Ledger.open(ledger.path, lock_timeout_s=120).query("SELECT 1").rows == ((1,),)
    assert not left_running()


def test_ctrl_c_is_raised_where_a_statement_is_waited_for(ledger: Ledger) -> None:
    # A test run in the background may have been started deaf to it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.1, signal.raise_signal, (signal.SIGINT,)).start()
        start = time.monotonic()
        with pytest.raises(KeyboardInterrupt):
            ledger.query(STATEMENTS[0][0], timeout_s=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - start < 10
    assert ledger.query("SELECT 1").rows == ((1,),)


def test_with_no_disk_nothing_is_written(ledger: Ledger) -> None:
    error = stopped(
        ledger, "SELECT hash(range) FROM range(1e9::BIGINT) ORDER BY 1 OFFSET 5", timeout_s=60, max_disk_mb=0
    )
    assert str(error) == "the statement needed more than 0 MB of disk beside 60 MB of memory and was stopped"


def test_whoever_follows_the_progress_can_stop_the_statement(ledger: Ledger) -> None:
    seen: list[float | None] = []

    def follow(share: float | None) -> None:
        seen.append(share)
        if len(seen) == 3:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        ledger.query(STATEMENTS[0][0], progress=follow)
    assert len(seen) == 3
    assert all(share is None or 0 <= share < 1 for share in seen)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"max_rows": -1}, "`-1` rows cannot be asked for"),
        ({"timeout_s": 0}, "a statement cannot run for `0` s"),
        ({"timeout_s": float("nan")}, "a statement cannot run for `nan` s"),
        ({"max_memory_mb": 49}, "no statement runs in `49` MB of memory"),
        ({"max_disk_mb": -1}, "a statement cannot have `-1` MB of disk"),
    ],
)
def test_limits_under_which_nothing_can_run_are_refused(
    ledger: Ledger, limits: dict[str, Any], message: str
) -> None:
    assert str(stopped(ledger, "SELECT 1", **limits)) == message


def test_no_row_limit_gives_all_rows(ledger: Ledger) -> None:
    result = ledger.query("SELECT * FROM range(20_000)", max_rows=None)
    assert (len(result.rows), result.truncated) == (20_000, False)
