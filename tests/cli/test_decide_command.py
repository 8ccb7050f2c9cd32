"""``decide``: one task or many, every form, every kind of mistake; and the same bytes again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.command_line import HYBRID, CommandLine
from syrupy.assertion import SnapshotAssertion

from routewright.cli.task_lines import MAX_LINE_BYTES

FIXED = ("--at", "2026-01-31T12:00:00Z", "--seed", "1")

TASKS = """\
{"name": "hard", "features": {"complex_reasoning": true}}

{"name": "private", "features": {"complex_reasoning": true, "private": true}}
{"pin": "large"}
{"prompt_tokens": 150000}
{"features": {"private": true}, "pin": "large"}
"""


@pytest.mark.parametrize("format", ["tree", "table", "markdown"])
def test_decisions_read_well_in_every_form(tmp_path: Path, snapshot: SnapshotAssertion, format: str) -> None:
    command = CommandLine(tmp_path)
    command.write("tasks.jsonl", TASKS)
    ended = command("decide", "policy.yaml", "--tasks", "tasks.jsonl", "--format", format, *FIXED)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == snapshot


@pytest.mark.parametrize("explained", [(), ("--explain",)], ids=["records", "explained"])
def test_many_decisions_are_one_json_array_or_a_line_each(tmp_path: Path, explained: tuple[str, ...]) -> None:
    command = CommandLine(tmp_path)
    command.write("tasks.jsonl", TASKS)
    arguments = ("decide", "policy.yaml", "--tasks", "tasks.jsonl", *FIXED, *explained)
    array = json.loads(command(*arguments, "--format", "json").out)
    lines = command(*arguments, "--format", "jsonl").out.splitlines()
    assert len(lines) == 5
    assert [json.loads(line) for line in lines] == array


def test_the_same_time_and_seed_give_the_same_bytes_in_any_process(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("tasks.jsonl", TASKS)
    arguments = ("decide", "policy.yaml", "--tasks", "tasks.jsonl", "--format", "jsonl", "--explain", *FIXED)
    first = command(*arguments)
    assert first.code == 0
    for seed in ("0", "4711"):
        assert command.process(*arguments, environment={"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo"}) == first


def test_another_seed_gives_other_ids_and_the_same_decisions(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)

    def record(seed: str) -> dict[str, object]:
        ended = command("decide", "policy.yaml", "--format", "json", "--at", "2026-01-31", "--seed", seed)
        values: dict[str, object] = json.loads(ended.out)
        return values

    first, second = record("1"), record("2")
    assert first.pop("id") != second.pop("id")
    assert first == second


def test_a_bad_line_is_told_and_the_others_are_decided(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    lines = [
        b'\xef\xbb\xbf{"name": "first, after a byte order mark"}',
        b"{bad",
        b'{"name": "\xff"}',
        b'{"name": "' + b"x" * MAX_LINE_BYTES + b'"}',
        b'{"features": {"privat": true}}',
        b'{"featurs": {}}',
        b'{"features": {"private": true, "private": false}}',
        b"[]",
        b'{"pin": "medium"}',
        b'{"name": "last, without a line end"}',
    ]
    command.write("tasks.jsonl", b"\n".join(lines))
    ended = command("decide", "policy.yaml", "--tasks", "tasks.jsonl")
    assert ended.code == 2
    decided = [line.split("  ")[0] for line in ended.out.splitlines()[2:]]
    assert decided == ["first, after a byte order mark", "last, without a line end"]
    assert ended.err == (
        "error: tasks.jsonl:2: the task is not JSON at column 2\n"
        '  = help: one JSON object such as {"features": {"complexity": 0.9}}\n'
        "error: tasks.jsonl:3: the line is not UTF-8 text\n"
        "error: tasks.jsonl:4: the line is longer than 1024 KiB\n"
        "error: tasks.jsonl:5: unknown feature `privat`\n"
        "  = help: did you mean `private`? declared: complex_reasoning, context_length, private\n"
        "error: tasks.jsonl:6: unknown key `featurs`\n"
        "  = help: did you mean `features`? known: documents, draw, features, images, json_schema (13 more)\n"
        "error: tasks.jsonl:7: the task has the key `private` twice\n"
        "error: tasks.jsonl:8: the task is not a JSON object\n"
        '  = help: one JSON object such as {"features": {"complexity": 0.9}}\n'
        "error: tasks.jsonl:9: the pin `medium` names no model\n"
        "  = help: in the catalog: large, small\n"
        "8 of 10 tasks could not be decided\n"
    )


def test_a_table_says_once_below_what_its_plans_ask_for_in_vain(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    policy = (tmp_path / "policy.yaml").read_text()
    sensitive = policy.replace("private: { type: boolean,", "private: { type: boolean, sensitive: true,")
    command.write("policy.yaml", sensitive)
    ended = command("decide", "policy.yaml", "--tasks", "-", stdin='{}\n{"name": "b"}\n')
    assert ended.out.endswith(
        "\n\nin the policy, not supported yet\n"
        "  feature private: sensitive values are stored like any other, and cannot be erased\n"
    )
    assert ended.out.count("sensitive") == 1
    nowhere = command("decide", "policy.yaml", "--tasks", "-", stdin='{"operation": "embed"}\n')
    assert "not supported" not in nowhere.out, "only what concerns plans"


def test_tasks_come_from_standard_input_too(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("decide", "policy.yaml", "--tasks", "-", stdin='{"name": "one"}\n')
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines()[2].split()[:3] == ["one", "small", "otherwise"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--task", "{}", "--tasks", "x"], "--task and --tasks cannot be combined"),
        (["--tasks", "x", "--prompt-tokens", "3"], "--tasks and --prompt-tokens cannot be combined"),
        (["--task", "{}", "-f", "a=1", "--pin", "b"], "--task and --feature and --pin cannot be combined"),
        (
            ["--task", '{"pin": 3, "promt": "x"}'],
            "`pin` takes text, not `3` (put it in quotes); unknown key `promt` (did you mean `prompt`? known: ",
        ),
        (["hello", "--task", "{}"], "--task and PROMPT cannot be combined"),
        (["--live", "--assume", "state.json"], "--live and --assume cannot be combined"),
        (["--live", "--at", "2026-01-31"], "--live and --at cannot be combined"),
        (["--state", "state.sqlite"], "--state needs --live\n  = help: what is to be assumed"),
        (["--explain", "--format", "table"], "--explain cannot be written as a table"),
        (["--tasks", "none.jsonl"], "cannot read `none.jsonl`: no such file or directory"),
        (["--tasks", "."], "cannot read `.`: is a directory"),
        (["--assume", "none.json"], "none.json: cannot read the file: no such file or directory"),
        (["--assume", "state.json"], "state.json: the state names an unknown model `medium`"),
        (["-f", "private"], "`private` does not give a feature a value\n  = help: write private=value"),
        (
            ["-f", "private=yes"],
            "feature `private`: expected true or false, got `yes`\n  = help: write private=true",
        ),
        (["-f", "context_length=NaN"], "feature `context_length`: expected a whole number, got `NaN`"),
        (["-f", "private=true", "-f", "private=false"], "feature `private` is given twice"),
        (["--pin", "medium"], "the pin `medium` names no model"),
        (["--at", "yesterday"], "`yesterday` is not a time"),
        (["--at", "1969-12-31"], "`1969-12-31` is before 1970"),
        (["--format", "xml"], "invalid value for '--format': 'xml' is not one of "),
        (["--explian"], "no such option: --explian"),
        ([".", "."], "got unexpected extra argument"),
    ],
)
def test_mistakes_end_with_2_and_a_message(tmp_path: Path, arguments: list[str], message: str) -> None:
    command = CommandLine(tmp_path)
    command.write("state.json", '{"models": {"medium": {"health": "healthy"}}}')
    ended = command("decide", "policy.yaml", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")


def test_what_is_known_of_models_is_read_from_a_file(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("state.json", '{"models": {"small": {"health": "unhealthy"}}}')
    ended = command("decide", "policy.yaml", "--assume", "state.json", "--format", "json")
    assert json.loads(ended.out)["target"] == "large"


def test_undeclared_features_are_kept_as_ignored_when_told(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("decide", "policy.yaml", "--lenient", "-f", "mood=good", "--format", "json")
    assert json.loads(ended.out)["ignored"] == {"mood": "good"}


def test_control_characters_do_not_reach_a_terminal(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("decide", "policy.yaml", "--lenient", "-f", "mood=\x1b[31mred")
    assert "\x1b" not in ended.out


def test_the_seeds_own_question_is_answered(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("decide", HYBRID, "-f", "complex_reasoning=true", "--explain")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("chat: routed to kimi-k2-cloud by rule mixture_of_experts_tasks\n")
    assert "complex_reasoning = true (given)" in ended.out
