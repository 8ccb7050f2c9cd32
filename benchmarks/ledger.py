"""Measures a ledger of many decisions: what they take in the file, appending, filling the tables, making records again
and asking the views.

    python benchmarks/ledger.py [DECISIONS] [--more TIMES] [--check]

Decisions are of the shipped policy, one call each, with features that vary and with latencies that change before every
decision, as in use. 16 calls are under way at a time. ``--more`` then multiplies the rows in SQL and asks the views
again. ``--check`` makes every record again and compares its bytes and its digest, which is worked out from these bytes
alone, with those that the engine's encoder gave. Times are processor time; prints only.
"""

from __future__ import annotations

import argparse
import hashlib
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from asking import NATURAL
from filling import BEGIN_US, fill

from routewright.engine.record.digest import digest_of_values
from routewright.engine.record.reading import read_json
from routewright.ledger.connection import open_for_reading
from routewright.ledger.restoring import all_records


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Measure a ledger of many decisions.")
    parser.add_argument("decisions", nargs="?", type=int, default=100_000)
    parser.add_argument("--more", type=int, default=1, help="multiply the rows so many times")
    parser.add_argument("--check", action="store_true", help="make every record again")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.duckdb"
        encoded = fill(path, given.decisions, keep=given.check)
        _sizes(path, given.decisions)
        if given.check:
            _check(path, encoded)
        _ask(path, given.decisions)
        if given.more > 1:
            _multiply(path, given.more)
            _ask(path, given.decisions * given.more)


def _sizes(path: Path, decisions: int) -> None:
    """What the file takes, and what of it each table does when it is alone in one."""
    print(f"  the file {path.stat().st_size / decisions:7.1f} bytes a decision with its attempt")
    with TemporaryDirectory() as folder, duckdb.connect() as connection:
        connection.execute(f"ATTACH '{path}' AS whole (READ_ONLY)")
        for table in ("decision_rows", "attempt_rows", "model_states", "parts"):
            alone = Path(folder) / f"{table}.duckdb"
            connection.execute(f"ATTACH '{alone}' AS alone (STORAGE_VERSION 'v1.5.0')")
            connection.execute(f"CREATE TABLE alone.{table} AS FROM whole.{table}")
            connection.execute("DETACH alone")
            print(f"  {table:15} {alone.stat().st_size / decisions:7.1f} bytes a decision")


def _check(path: Path, encoded: dict[str, bytes]) -> None:
    """Make every record again, and its digest from its text alone."""
    spent, began, checked = dict.fromkeys(("make", "compare", "read", "digest"), 0.0), time.process_time(), 0

    def spend(name: str) -> None:
        nonlocal began
        spent[name] += (now := time.process_time()) - began
        began = now

    with open_for_reading(path, lock_timeout_s=10, own_statement=True) as connection:
        for id, digest, text in all_records(connection):
            spend("make")
            assert hashlib.sha256(text.encode()).digest() == encoded[id], id
            spend("compare")
            values = read_json(text)
            spend("read")
            assert digest_of_values(values) == f"sha256:{digest}", id
            spend("digest")
            checked += 1
    assert checked == len(encoded)
    print(f"  {checked:,} records made again: all bytes and all digests are right")
    for name, seconds in spent.items():
        print(f"    {name:8} {seconds / checked * 1e6:7.1f} µs each")


def _ask(path: Path, decisions: int) -> None:
    print(f"{decisions:,} decisions")
    with open_for_reading(path, lock_timeout_s=10) as connection:
        for name, statement in NATURAL.items():
            began, used = time.perf_counter(), time.process_time()
            rows = len(connection.execute(statement).fetchall())
            took, used = time.perf_counter() - began, time.process_time() - used
            print(f"  {name:22} {took:7.3f} s, processor {used:7.3f} s, {rows} rows")


def _multiply(path: Path, times: int) -> None:
    """The same rows again, later and with ids of their own."""
    with duckdb.connect(str(path)) as connection:
        [(span,)] = connection.execute(
            "SELECT max(at_us) - min(at_us) + 1000000 FROM decision_rows"
        ).fetchall()
        for number in range(1, times):
            later = f"{span * number}"
            # The first 48 bits of an id are its time in milliseconds.
            digits = "replace(decision_id::VARCHAR, '-', '')"
            ms = f"('0x' || substr({digits}, 1, 12))::BIGINT + {later} // 1000"
            id = f"(printf('%012x', {ms}) || substr({digits}, 13))::UUID AS decision_id"
            for table, column in (("decision_rows", "at_us"), ("attempt_rows", "started_at_us")):
                replaced = f"{id}, {column} + {later} AS {column}"
                if table == "decision_rows":
                    replaced += f", writer || '{number}' AS writer"
                first = f"{column} < {BEGIN_US} + {span}"
                connection.execute(
                    f"INSERT INTO {table} SELECT * REPLACE ({replaced}) FROM {table} WHERE {first}"
                )
        connection.execute("CHECKPOINT")


if __name__ == "__main__":
    main()
