"""``replay``: what a changed policy would have made of recorded work, as text, Markdown, JSON and HTML."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import POLICY, CommandLine
from support.replay_ledgers import replay_ledger
from syrupy.assertion import SnapshotAssertion

CANDIDATE = (
    POLICY.replace("context_length > 30000", "context_length > 8000")
    .replace(
        "require: model.location == 'local'",
        "require: model.location == 'local' && !has(model.context_length)",
    )
    .replace("use: [small], fallback: [large], reason: small work", "use: [small], reason: small work")
)
"""Long prompts go to the large model, what is private to none, and short ones have no fallback any more."""


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    command = CommandLine(tmp_path_factory.mktemp("replay"))
    command.ledger.parent.mkdir(parents=True)
    replay_ledger(command.ledger, POLICY)
    command.write("next.yaml", CANDIDATE)
    return command


def test_the_report_says_what_goes_elsewhere_and_why(
    command: CommandLine, snapshot: SnapshotAssertion
) -> None:
    ended = command("replay", "next.yaml", "--fail-on", "changed>60%")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == snapshot


def test_a_comment_has_the_same_in_markdown(command: CommandLine, snapshot: SnapshotAssertion) -> None:
    ended = command("replay", "next.yaml", "--format", "markdown")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == snapshot


def test_a_policy_that_decides_alike_changes_nothing(command: CommandLine) -> None:
    ended = command("replay", "policy.yaml")
    assert "nothing changes: all 40 decisions keep the rule, target, fallbacks and steps\n" in ended.out
    assert len(ended.out.splitlines()) == 6


@pytest.mark.parametrize(
    ("bound", "fails"),
    [
        ("changed>50%", None),
        ("changed>49.9%", "20 of 40 go elsewhere (50 %)"),
        ("changed >= 20", "20 of 40 go elsewhere (50 %)"),
        ("changed>20", None),
        ("no_target>0", "10 of 40 had a target and have none (25 %)"),
        ("other_plan<=10", "10 of 40 keep the target with another plan (25 %)"),
        ("not_decided>0", None),
    ],
)
def test_a_bound_decides_the_exit_status(command: CommandLine, bound: str, fails: str | None) -> None:
    ended = command("replay", "next.yaml", "--fail-on", bound, "--format", "json")
    [check] = json.loads(ended.out)["checks"]
    assert (ended.code, check["failed"]) == ((1, True) if fails else (0, False))
    assert ended.err == (f"failed: {bound}: {fails}\n" if fails else "")


def test_what_cannot_be_judged_fails(command: CommandLine) -> None:
    ended = command("replay", "next.yaml", "--since", "2030-01-01", "--fail-on", "changed>5%")
    assert ended.code == 1
    assert "failed: changed>5%: cannot be judged: no decision was selected\n" in ended.err


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        ("chnaged>5%", "`chnaged` is nothing to fail on\n  = help: did you mean `changed`? "),
        ("changed=5%", "`changed=5%` is nothing to fail on\n  = help: such as `changed>5%`, "),
    ],
)
def test_a_wrong_bound_is_told_before_anything_is_read(
    command: CommandLine, bound: str, message: str
) -> None:
    ended = command("replay", "nowhere.yaml", "--ledger", "nowhere.duckdb", "--fail-on", bound)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")


def test_one_replay_writes_several_files(command: CommandLine) -> None:
    files = ("c.md", "c.html", "c.json", "c.txt")
    options = [word for name in files for word in ("-o", name)]
    assert command("replay", "next.yaml", *options).code == 0
    texts = {name: (command.folder / name).read_text(encoding="utf-8") for name in files}
    assert texts["c.md"].startswith("### Replay under first\n")
    assert texts["c.html"].startswith("<!DOCTYPE html>")
    assert json.loads(texts["c.json"])["elsewhere"] == 20
    assert texts["c.txt"] == command("replay", "next.yaml").out
    again = command("replay", "next.yaml", "-o", "c.md")
    assert (again.code, again.err.splitlines()[0]) == (2, "error: `c.md` is there already")
    unnamed = command("replay", "next.yaml", "-o", "comment")
    assert unnamed.err.startswith("error: the name of `comment` does not say what form it has\n")
    assert not Path(command.folder, "comment").exists()
