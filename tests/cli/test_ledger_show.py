"""``ledger show``: one decision with its attempts, and its explanation made again from the texts in the ledger."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.command_line import POLICY, CommandLine
from support.ledger_rows import attempt, decision, decision_id, policy
from support.new_ledgers import new_ledger

from routewright.cli.show import explained
from routewright.engine.explain import explain
from routewright.ledger import Ledger
from routewright.loading import recorded_policy


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A ledger with a run that fell back, one under a canary, and one of a policy with a catalog of its own."""
    command = CommandLine(tmp_path_factory.mktemp("show"))
    told = ("--simulate", "--format", "json", "--seed", "1")
    runs = [
        command(
            "run",
            "policy.yaml",
            "hello",
            *told,
            "--fail",
            "small=overloaded",
            "--tag",
            "team=a",
            "--trace",
            "t",
        )
    ]
    command.write("next.yaml", POLICY.replace("name: first", "name: next"))
    rollout = "rollout: { candidate: next.yaml, mode: canary, percent: 50% }\n"
    command.write("canary.yaml", POLICY.replace("name: first", "name: control") + rollout)
    runs += [command("run", "canary.yaml", "hello", *told[:3], "--seed", str(seed)) for seed in (2, 3)]
    catalog = POLICY[POLICY.index("  routewright: 1\n  backends") : POLICY.index("features:")].replace(
        "\n  ", "\n"
    )
    command.write("catalog.yaml", catalog.removeprefix("  "))
    apart = POLICY.replace(
        POLICY[POLICY.index("catalog:") : POLICY.index("features:")], "catalog: catalog.yaml\n"
    )
    command.write("apart.yaml", apart)
    runs.append(command("run", "apart.yaml", "hello", "-f", "private=true", *told))
    assert [run.code for run in runs] == [0] * 4, runs[-1].err
    return command


def ids(command: CommandLine) -> list[str]:
    with Ledger.open(command.ledger) as ledger:
        return [
            row[0]
            for row in ledger.query("SELECT decision_id::VARCHAR FROM decision_records ORDER BY 1").rows
        ]


def test_every_recorded_decision_is_explained_again(command: CommandLine) -> None:
    """Under each arm of a rollout, and with a catalog inside the policy or beside it."""
    with Ledger.open(command.ledger) as ledger:
        found = [ledger.find(one) for one in ids(command)]
    assert {one.record.arm and one.record.arm.arm for one in found} == {None, "control", "candidate"}
    for one in found:
        explanation = explain(recorded_policy(one), one.record)
        assert explanation.record.canonical().decode() == one.text


def test_a_decision_is_shown_by_the_beginning_of_its_id(command: CommandLine) -> None:
    first = ids(command)[0]
    ended = command("ledger", "show", first[:18])
    assert (ended.code, ended.err) == (0, "")
    assert f"decision  {first}\n" in ended.out
    assert "trace     t\ntags      team=a\n" in ended.out
    calls = [line.split("  ") for line in ended.out.splitlines() if "simulated" in line]
    assert [[cell.strip() for cell in row if cell.strip()][1:4] for row in calls] == [
        ["answer", "small", "ollama"],
        ["fallback", "large", "ollama"],
    ]
    assert "failed: overloaded, simulated" in ended.out and "ok, simulated, the answer" in ended.out
    assert "├── rule otherwise: true" in ended.out and "what would have led elsewhere" in ended.out


def test_what_was_found_out_later_is_shown_as_it_is_now(command: CommandLine) -> None:
    second = ids(command)[1]
    for found in ("score=0.5", "score=0.8", "verdict=good"):
        assert command("ledger", "outcome", second, found).code == 0
    shown = command("ledger", "show", second).out
    rows = [line.split()[:2] for line in shown.splitlines() if line.startswith(("score", "verdict"))]
    assert rows == [["score", "0.8"], ["verdict", "good"]]
    told = json.loads(command("ledger", "show", second, "--format", "json").out)["outcomes"]
    assert [(one["metric"], one["value"], one["label"]) for one in told] == [
        ("score", 0.8, None),
        ("verdict", None, "good"),
    ]


def test_without_an_id_the_newest_is_shown(command: CommandLine, tmp_path: Path) -> None:
    assert command("ledger", "show").out == command("ledger", "show", ids(command)[-1]).out
    empty = command("ledger", "show", "--ledger", str(new_ledger(tmp_path / "empty.duckdb").path))
    assert (empty.code, empty.err.splitlines()[0]) == (2, "error: the ledger has no decision yet")


def test_json_has_record_attempts_and_explanation(command: CommandLine) -> None:
    first = ids(command)[0]
    told = json.loads(command("ledger", "show", first.upper(), "--format", "json").out)
    assert (told["decision_id"], told["record"]["target"], told["record"]["id"]) == (first, "small", first)
    assert [one["status"] for one in told["attempts"]] == ["failed", "ok"]
    assert (told["tags"], told["trace_id"], told["answered_attempt"]) == ({"team": "a"}, "t", 2)
    assert told["explanation"]["rules"][0]["name"] == "hard"
    assert told["explanation_missing"] is None


@pytest.mark.parametrize(
    ("beginning", "message"),
    [
        ("ffff", "error: no decision has an id that begins with `ffff`"),
        ("12", "error: `12` is not the id of a decision, nor the beginning of one"),
        ("' OR 1=1", "error: `' OR 1=1` is not the id of a decision, nor the beginning of one"),
        ("", "error: `` is not the id of a decision, nor the beginning of one"),
    ],
)
def test_an_id_that_is_none_is_refused(command: CommandLine, beginning: str, message: str) -> None:
    ended = command("ledger", "show", beginning)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(message)


def test_a_beginning_that_several_have_names_them(command: CommandLine) -> None:
    [*known] = ids(command)
    ended = command("ledger", "show", known[0][:4])
    assert ended.code == 2
    assert ended.err.count("`01") == 1 + 4 and ", `" in ended.err


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"policy_text": None}, "the ledger has no text of the policy sha256:"),
        ({"policy_text": "rules: ["}, "this version cannot compile the policy that decided: "),
        ({"policy_text": POLICY.replace("use: [small]", "use: [large]")}, "engines "),
    ],
    ids=["missing", "not compiled", "another"],
)
def test_a_policy_that_cannot_explain_says_why_and_the_record_is_shown(
    command: CommandLine, changes: dict[str, Any], why: str
) -> None:
    with Ledger.open(command.ledger) as ledger:
        found = replace(ledger.find(ids(command)[0]), **changes)
    told = explained(found)
    assert told.record == found.record and told.explanation is None
    assert told.missing is not None and told.missing.startswith(why)


def test_a_record_that_cannot_be_read_is_shown_as_it_is(tmp_path: Path) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    ledger.append([decision(1)], [attempt(1)], [policy()])
    ended = CommandLine(tmp_path)("ledger", "show", decision_id(1), "--ledger", str(ledger.path))
    assert ended.code == 0
    assert f'"id":"{decision_id(1)}"' in ended.out
    assert "not explained: not a decision record" in ended.out
    assert "ok, the answer" in ended.out
