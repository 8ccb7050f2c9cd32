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
import resource
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

import duckdb
from asking import NATURAL
from recording import ATTEMPT, INTENT
from workload import Workload, shipped

from routewright.engine.canonical import canonical_bytes
from routewright.engine.decision.deciding import decide
from routewright.engine.decision.task import ModelState, State
from routewright.engine.record.digest import digest_of_values
from routewright.engine.record.reading import read_json
from routewright.engine.record.record import record_values
from routewright.gateway.deciding import uuid7
from routewright.gateway.recorder import Pending, Recorder
from routewright.gateway.results import DecisionResult
from routewright.ledger import Ledger
from routewright.ledger.connection import open_for_reading
from routewright.ledger.restoring import all_records

BEGIN_US = 1_767_225_600_000_000
EVERY_US = 250_000
AT_ONCE = 16
FILE = 50_000
"""Calls in one file of the spool: as many as come in half a minute to a busy gateway, or so."""


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description="Measure a ledger of many decisions.")
    parser.add_argument("decisions", nargs="?", type=int, default=100_000)
    parser.add_argument("--more", type=int, default=1, help="multiply the rows so many times")
    parser.add_argument("--check", action="store_true", help="make every record again")
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.duckdb"
        encoded = _fill(path, given.decisions, keep=given.check)
        _sizes(path, given.decisions)
        if given.check:
            _check(path, encoded)
        _ask(path, given.decisions)
        if given.more > 1:
            _multiply(path, given.more)
            _ask(path, given.decisions * given.more)


def _fill(path: Path, decisions: int, *, keep: bool) -> dict[str, bytes]:
    """Record so many decisions, and load them into the tables file by file.

    With ``keep``, gives the SHA-256 of the record of each as the engine encodes it, by id.
    """
    workload, ledger, encoded = shipped(), Ledger.open(path), dict[str, bytes]()
    spent = {"decide": 0.0, "append": 0.0, "ingest": 0.0}

    def timed(name: str, work: Callable[[], object]) -> object:
        began = time.process_time()
        result = work()
        spent[name] += time.process_time() - began
        return result

    made = _decided(workload, timed)
    if keep:
        made = _encoded(made, encoded)
    for start in range(0, decisions, FILE):
        recorder = Recorder(ledger)
        _record(recorder, islice(made, min(FILE, decisions - start)), workload, timed)
        writer = recorder._writer
        assert writer is not None
        timed("ingest", writer.close)
    most = (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024) / 1024
    )
    print(f"{decisions:,} decisions; memory at most {most:.2f} GiB")
    for name, seconds in spent.items():
        print(f"  {name:8} {seconds / decisions * 1e6:7.1f} µs a decision")
    return encoded


def _encoded(made: Iterator[DecisionResult], encoded: dict[str, bytes]) -> Iterator[DecisionResult]:
    for one in made:
        record = canonical_bytes(record_values(one.decision))
        encoded[one.decision.id] = hashlib.sha256(record).digest()
        yield one


def _decided(workload: Workload, timed: Callable[..., object]) -> Iterator[DecisionResult]:
    random = Random(1)
    ids = [model.id for model in workload.policy.catalog.models]
    models = {id: ModelState(latency_ms=round(random.uniform(50, 5_000), 3)) for id in ids}
    tasks = cycle(random.sample(workload.tasks, len(workload.tasks)))
    at_us = BEGIN_US
    while True:
        at_us += EVERY_US
        models = {
            **models,
            random.choice(ids[:8]): ModelState(latency_ms=round(random.uniform(50, 5_000), 3)),
        }
        state, task = State(at_us, models=models), next(tasks)
        id = uuid7(at_us, random)
        decision = timed("decide", lambda s=state, t=task, i=id: decide(workload.policy, t, s, decision_id=i))
        yield DecisionResult(decision, 8_000 + random.randrange(4_000))  # type: ignore[arg-type]


def _record(
    recorder: Recorder, made: Iterator[DecisionResult], workload: Workload, timed: Callable[..., object]
) -> None:
    random, under_way = Random(2), deque[Pending]()

    def end(one: Pending) -> None:
        tokens = random.randrange(20, 4_000), random.randrange(5, 900)
        one.attempts = [
            ATTEMPT._replace(
                started_at_us=one.decided.decision.state.at_us + random.randrange(2_000),
                total_us=random.randrange(80_000, 9_000_000),
                input_tokens=tokens[0],
                output_tokens=tokens[1],
                cost_nano=tokens[0] * 600 + tokens[1] * 2_500,
                simulated=False,
            )
        ]
        one.answered_attempt, one.ended = 1, True
        timed("append", lambda: recorder._write([one]))
        assert one.error is None

    for decided in made:
        one = Pending(workload.policy, decided, {"team": random.choice(("search", "ads", "mail"))})
        one.intents = [INTENT._replace(started_at_us=decided.decision.state.at_us, simulated=False)]
        timed("append", lambda one=one: recorder._write([one]))
        under_way.append(one)
        if len(under_way) >= AT_ONCE:
            end(under_way.popleft())
    for one in under_way:
        end(one)


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
