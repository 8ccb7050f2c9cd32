"""What `ledger import`, `ledger imports` and `ledger outcome` print, and their exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.command_line import CommandLine
from support.ledger_rows import attempt, decision, decision_id

from routewright.ledger import Ledger

CALLS: list[dict[str, Any]] = [
    {"id": "a", "model": "small", "cost": "0.00000000049", "currency": "USD", "outcomes": {"score": 1}},
    {"id": "b", "model": "small", "status": "fine"},
    {"id": "c", "model": "big", "status": "ok"},
]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    monkeypatch.chdir(tmp_path)
    command = CommandLine(tmp_path)
    command.write("calls.jsonl", "".join(f"{json.dumps(call)}\n" for call in CALLS))
    return command


def test_an_import_says_what_came_in_and_names_what_did_not(command: CommandLine) -> None:
    dry = command("ledger", "import", "calls", "calls.jsonl", "--dry-run")
    bad = (
        "calls.jsonl:2: `status` is `fine`, and one of ok, failed, partial, skipped, cached, lost was expected; "
        "left out\n"
    )
    assert (dry.code, dry.err) == (1, bad)
    assert dry.out == (
        "calls.jsonl: 3 rows would be read as import `calls`\n"
        "  2 calls and 1 outcome in it\n"
        "  rounded to nano-units, half to even: 1 cost\n"
        "  unknown: time of all, total_ms of all, status of 1, input_tokens of all, output_tokens of all, cost of 1,"
        " currency of 1\n"
    )
    assert not command.ledger.exists()
    done = command("ledger", "import", "calls", "calls.jsonl", "--name", "mine")
    assert (done.code, done.err) == (1, bad)
    assert done.out.startswith(
        "calls.jsonl: 3 rows read as import `mine`\n  new: 2 requests, 2 calls, 1 outcome\n  there already: 0 calls\n"
    )
    changed = command.write("changed.jsonl", json.dumps({**CALLS[2], "status": "failed"}))
    again = command("ledger", "import", "calls", changed, "--name", "mine", "--format", "json")
    assert again.code == 1
    assert again.err == "changed.jsonl:1: it was imported before with other values, and was left as it was\n"
    [report] = json.loads(again.out)
    assert (report["calls"], report["new_calls"], report["changed"], report["known"]["status"]) == (
        1,
        0,
        1,
        1,
    )


def test_imports_are_listed_and_removed(command: CommandLine) -> None:
    files = [command.write(f"{model}.jsonl", json.dumps({"id": "a", "model": model})) for model in ("x", "y")]
    assert command("ledger", "import", "calls", *files).code == 0
    listed = command("ledger", "imports")
    assert [line.split()[:7] for line in listed.out.splitlines()[2:]] == [
        ["calls", "calls", "2", "1", "2", "0", "0"]
    ]
    [one] = json.loads(command("ledger", "imports", "--format", "json").out)
    assert (one["name"], one["calls"], one["complete"]) == ("calls", 2, True)
    removed = command("ledger", "import", "--remove", "calls")
    assert (removed.code, removed.out) == (0, "calls: 1 request and 2 calls removed\n")
    again = command("ledger", "import", "--remove", "calls")
    assert (again.code, again.err) == (
        2,
        "error: there is no import `calls`\n  = help: `routewright ledger imports` lists them\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("calls",), 2, "a source and a file are needed, or --remove"),
        (("calls", "calls.jsonl", "--remove", "x"), 2, "--remove stands alone"),
        (("nobody", "calls.jsonl"), 2, "'nobody' is not one of"),
        (("calls", "nothing.jsonl"), 2, "`nothing.jsonl` cannot be read: no such file or directory"),
        (("table", "calls.jsonl"), 2, "needs a mapping, which says which column is what"),
        (("table", "calls.jsonl", "--map", "map.yaml"), 3, "map.yaml:2:11"),
    ],
)
def test_what_cannot_be_imported_is_told(
    arguments: tuple[str, ...], code: int, message: str, command: CommandLine
) -> None:
    command.write("map.yaml", "routewright: 1\ncalls: [ {modle: model} ]\n")
    ended = command("ledger", "import", *arguments)
    assert ended.code == code
    assert message in ended.err


def test_outcomes_are_recorded_by_hand_and_from_a_file(command: CommandLine) -> None:
    with Ledger.open(command.ledger) as ledger:
        ledger.append([decision(1)], [attempt(1)])
    by_hand = command(
        "ledger", "outcome", decision_id(1), "score=0.5", "right=true", "grade=b", 'version="2"'
    )
    assert (by_hand.code, by_hand.out) == (0, "4 outcomes recorded\n")
    command.write("more.csv", f"decision_id,score,right\n{decision_id(1)},0.75,true\n")
    more = command("ledger", "outcome", "--file", "more.csv")
    assert more.out == "1 outcome recorded, 1 of them in place of another; 1 there already\n"
    with Ledger.open(command.ledger) as ledger:
        [(scores, labels)] = ledger.query("SELECT scores, labels FROM outcomes_flat").rows
    assert (scores, labels) == ({"right": 1.0, "score": 0.75}, {"grade": "b", "version": "2"})
    beginning = command("ledger", "outcome", decision_id(1)[:18], "helpful=false")
    assert (beginning.code, beginning.out) == (0, "1 outcome recorded\n")
    assert command("ledger", "outcome", "0000", "helpful=false").code == 2
    command.write("bad.csv", f"decision_id,score\n{decision_id(1)},1\n{decision_id(2)},1\n")
    bad = command("ledger", "outcome", "--file", "bad.csv")
    assert (bad.code, bad.err.split("\n")[0]) == (
        2,
        f"error: line 3: there is no decision `{decision_id(2)}`; no outcome was recorded",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "a decision's id with METRIC=VALUE is needed, or --file"),
        ((decision_id(1),), "a decision's id with METRIC=VALUE is needed, or --file"),
        ((decision_id(1), "score"), "`score` is not METRIC=VALUE"),
        ((decision_id(1), "score="), "`score=` is not METRIC=VALUE"),
        ((decision_id(1), 'score="a"b"'), '`"a"b"` is not a quoted text'),
        ((decision_id(1), "score=NaN"), "`score=NaN`: a finite number was expected"),
        ((decision_id(1), "score=-inf"), "`score=-inf`: a finite number was expected"),
        (("--file", "x.csv", "--attempt", "1"), "a --file says in each row which attempt or model it is of"),
    ],
)
def test_wrong_arguments_of_outcomes_are_told(
    arguments: tuple[str, ...], message: str, command: CommandLine
) -> None:
    ended = command("ledger", "outcome", *arguments)
    assert ended.code == 2
    assert message in ended.err
