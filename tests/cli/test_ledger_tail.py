"""``ledger tail``: the newest decisions with their ids, those that fit, and those that come."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.ledger_rows import (
    START_US,
    attempt,
    begun,
    decision,
    decision_id,
    ended,
    failed,
    policy,
)
from support.new_ledgers import new_ledger

from routewright.ledger import Ledger, TailFilter
from routewright.ledger.connection import open_for_reading
from routewright.ledger.tailing import Tail, newest


@pytest.fixture(scope="module")
def ledger(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    """An answer, one by a fallback, a failure, a dead end, and work of another team under another policy."""
    ledger = new_ledger(tmp_path_factory.mktemp("tail") / "ledger.duckdb")
    other: dict[str, Any] = {"policy": {"name": "next", "digest": "sha256:next"}}
    ledger.append(
        [
            decision(0),
            decision(1, answered=2),
            decision(2, answered=None),
            decision(3, outcome="no_target", target=None, answered=None),
            decision(4, **other)._replace(tags={"team": "legal"}, trace_id=None),
        ],
        [attempt(0), failed(1), attempt(1, 2), failed(2), attempt(4, simulated=True)],
        [policy()],
    )
    return ledger


KNOWN = {
    "model": ["coder", "kimi"],
    "policy": ["hybrid", "next"],
    "team": ["legal", "search"],
    "status": ["failed", "no_target", "ok"],
    "rule": ["mixture_of_experts", "otherwise"],
}
"""The names that its decisions have."""


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({}, [0, 1, 2, 3, 4]),
        ({"model": "coder"}, [1]),
        ({"model": "kimi", "status": "ok"}, [0, 1, 4]),
        ({"status": "failed"}, [2]),
        ({"status": "no_target"}, [3]),
        ({"status": "routed"}, []),
        ({"team": "legal"}, [4]),
        ({"team": "search", "rule": "otherwise"}, [1, 3]),
        ({"policy": "next"}, [4]),
        ({"simulated": True}, [4]),
        ({"simulated": False, "team": "search", "status": "ok"}, [0, 1]),
        ({"since": datetime.fromtimestamp(START_US / 1e6 + 3, UTC)}, [3, 4]),
    ],
    ids=str,
)
def test_only_what_fits_is_shown(ledger: Ledger, where: dict[str, Any], expected: list[int]) -> None:
    with open_for_reading(ledger.path, lock_timeout_s=10, own_statement=True) as connection:
        found = newest(connection, 10, TailFilter(**where))
        assert [row.decision_id for row in found] == [decision_id(one) for one in expected]
        assert newest(connection, 1, TailFilter(**where)) == found[-1:]
        assert newest(connection, 10**20, TailFilter(**where)) == found


def test_a_filter_is_a_value_and_no_sql(ledger: Ledger) -> None:
    with open_for_reading(ledger.path, lock_timeout_s=10, own_statement=True) as connection:
        for text in ("' OR true --", "$model", "kimi' --"):
            assert newest(connection, 9, TailFilter(model=text, team=text, status=text)) == []


def test_what_comes_late_is_seen_once(tmp_path: Path) -> None:
    """Decisions end in another order than they were made in."""
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    writer = ledger.writer()
    tail, seen = Tail(2, TailFilter()), list[str]()

    def look() -> list[str]:
        ledger.ingest()
        with open_for_reading(ledger.path, lock_timeout_s=10, own_statement=True) as connection:
            found = tail.look(connection)
        seen.extend(row.decision_id for row in found.rows)
        return [one.decision_id for one in found.in_flight]

    def add(*entries: object) -> None:
        assert writer.add_all([[one] for one in entries]) == [None] * len(entries)  # type: ignore[list-item]

    try:
        add(begun(1), begun(2), begun(3), ended(2, attempt(2)))
        assert look() == [decision_id(1), decision_id(3)]
        assert look() == [decision_id(1), decision_id(3)]
        add(ended(3, attempt(3)), begun(4), ended(4, attempt(4)))
        assert look() == [decision_id(1)]
        add(ended(1, attempt(1)))
        assert look() == []
        assert seen == [decision_id(one) for one in (2, 3, 4, 1)]
        look()
        assert len(seen) == 4
    finally:
        writer.close()


def test_ids_and_those_under_way_are_shown(ledger: Ledger, tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    at = ("--ledger", str(ledger.path))
    shown = command("ledger", "tail", "-n", "1", *at)
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines()[0].startswith("decision  ") and decision_id(4) in shown.out
    assert command("ledger", "show", decision_id(4)[:30], *at).code == 0
    [row] = json.loads(command("ledger", "tail", "--team", "legal", "--format", "json", *at).out)
    assert (row["decision_id"], row["team"], row["trace_id"]) == (decision_id(4), "legal", None)
    nothing = command("ledger", "tail", "--team", "legal", "--model", "coder", *at)
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "no decision fits\n")
    for what, known in KNOWN.items():
        unknown = command("ledger", "tail", f"--{what}", f"{known[0]}x", *at)
        said = f"no decision has the {what} `{known[0]}x`: did you mean `{known[0]}`? there are: {', '.join(known)}"
        assert (unknown.code, unknown.err) == (0, f"no decision fits\n{said}\n")
    bad = command("ledger", "tail", "--since", "moon", *at)
    assert (bad.code, bad.err[:24]) == (2, "error: --since is `moon`")
    writer = ledger.writer()
    assert writer.add_all([[begun(9)]]) == [None]
    try:
        under_way = command("ledger", "tail", *at).out.splitlines()[-1]
        assert under_way.split() == [decision_id(9), "2026-01-01", "00:00:00", "kimi", "in", "flight"]
        [*_, last] = json.loads(command("ledger", "tail", "--format", "json", *at).out)
        assert (last["decision_id"], last["status"], last["called"]) == (
            decision_id(9),
            "in flight",
            ["kimi"],
        )
    finally:
        writer.close()


@pytest.fixture
def followed(tmp_path: Path) -> Iterator[tuple[CommandLine, subprocess.Popen[bytes]]]:
    """A process that follows a ledger in which one task was run."""
    command = CommandLine(tmp_path)
    assert command("run", "policy.yaml", "hello", "--simulate").code == 0
    started = command.start("ledger", "tail", "--follow", "--format", "json")
    try:
        yield command, started
    finally:
        started.kill()
        started.communicate()


def test_what_another_process_writes_is_followed_until_ctrl_c(
    followed: tuple[CommandLine, subprocess.Popen[bytes]],
) -> None:
    command, started = followed
    assert started.stdout is not None
    first = json.loads(started.stdout.readline())
    for trace in ("1", "2"):
        assert command("run", "policy.yaml", "hello", "--simulate", "--trace", trace).code == 0
    came = [json.loads(started.stdout.readline()) for _ in range(2)]
    assert [one["trace_id"] for one in (first, *came)] == [None, "1", "2"]
    began = time.monotonic()
    started.send_signal(signal.SIGINT)
    out, err = started.communicate()
    assert (started.returncode, out, err) == (130, b"", b"stopped\n")
    assert time.monotonic() - began < 5
