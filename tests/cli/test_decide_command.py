"""``decide``: one task or many, every form, every kind of mistake; and the same bytes again."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from support.command_line import HYBRID, CommandLine
from syrupy.assertion import SnapshotAssertion

from routewright.cli.task_lines import MAX_LINE_BYTES
from routewright.engine.record import read_record

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


def test_a_line_of_json_says_which_task_it_is_of_and_what_is_wrong_with_one(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    lines = (
        '{"name": "hard", "features": {"complex_reasoning": true}}\n\n{"name": "b", "pin": "x"}\n{bad\n{}\n'
    )
    arguments = ("decide", "policy.yaml", "--tasks", "-", *FIXED, "--format")
    ended = command(*arguments, "jsonl", stdin=lines)
    assert ended.code == 2
    told = [json.loads(line) for line in ended.out.splitlines()]
    assert [one.pop("task") for one in told] == [
        {"line": 1, "name": "hard"},
        {"line": 3, "name": "b"},
        {"line": 4, "name": None},
        {"line": 5, "name": None},
    ]
    assert told[1:3] == [
        {"error": {"message": "the pin `x` names no model", "help": "in the catalog: large, small"}},
        {
            "error": {
                "message": "the task is not JSON at column 2",
                "help": 'one JSON object such as {"features": {"complexity": 0.9}}',
            }
        },
    ]
    alone = command("decide", "policy.yaml", "--task", lines.splitlines()[0], *FIXED, "--format", "jsonl")
    assert json.loads(alone.out) == told[0]
    assert read_record(alone.out).target == "large"
    array = json.loads(command(*arguments, "json", stdin=lines).out)
    assert [one.get("error") for one in array] == [one.get("error") for one in told]


def test_fields_and_the_short_form_are_parts_of_the_record(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("tasks.jsonl", TASKS + '{"name": "=1", "pin": "x"}\n')
    arguments = ("decide", "policy.yaml", "--tasks", "tasks.jsonl", *FIXED)
    whole = command(*arguments, "--format", "jsonl").out.splitlines()
    fields = "task.name,target,plan.fallbacks,features.private.value"
    some = command(*arguments, "--format", "jsonl", "--fields", fields).out.splitlines()
    for line, part in zip(map(json.loads, whole), map(json.loads, some), strict=True):
        task = {"task": {"name": line["task"]["name"]}}
        if "error" in line:
            assert part == {**task, "error": line["error"]}
            continue
        plan, private = line["plan"], line["features"]["private"]["value"]
        assert part == {
            **task,
            "target": line["target"],
            "plan": None if plan is None else {"fallbacks": plan["fallbacks"]},
            "features": {"private": {"value": private}},
        }
    table = command(*arguments, "--fields", fields).out.splitlines()
    assert table[0].split() == fields.split(",")
    assert table[2].split() == ["hard", "large", "small", "false"]
    rows = list(csv.DictReader(io.StringIO(command(*arguments, "--format", "csv").out)))
    assert rows == list(csv.DictReader(io.StringIO(command(*arguments, "--format", "csv", "--short").out)))
    assert [(row["task.line"], row["target"]) for row in rows[:2]] == [("1", "large"), ("3", "small")]
    assert (rows[-1]["task.name"], rows[-1]["error.message"]) == ("'=1", "the pin `x` names no model")
    single = command("decide", "policy.yaml", "--short", "--format", "json", *FIXED)
    assert json.loads(single.out).keys() == {"outcome", "target", "rule", "reason", "plan"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("targt", "--fields: a decision has no `targt`\n  = help: did you mean `target`?"),
        ("policy.nam", "--fields: a decision has no `policy.nam`\n  = help: did you mean `name`?"),
        ("target.x", "--fields: nothing is below `target`"),
        (
            "candidates.model",
            "--fields: `candidates.model` leads into a list\n  = help: ask for `candidates`",
        ),
        ("rule,rule", "--fields names `rule` twice"),
        ("", "--fields: a decision has no ``"),
    ],
)
def test_a_field_that_no_decision_has_is_named(tmp_path: Path, fields: str, message: str) -> None:
    ended = CommandLine(tmp_path)("decide", "policy.yaml", "--fields", fields)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {message}")


def test_a_table_of_very_many_tasks_is_written_as_it_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = CommandLine(tmp_path)
    tasks = '{"name": "one"}\n{"name": "two", "features": {"complex_reasoning": true}}\n' * 3
    arguments = ("decide", "policy.yaml", "--tasks", "-")
    whole = command(*arguments, stdin=tasks)
    monkeypatch.setattr("routewright.cli.decisions._HELD_ROWS", 2)
    assert command(*arguments, stdin=tasks) == whole


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
        "  = help: did you mean `features`? known: documents, draw, features, images, json_schema (14 more)\n"
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
    sensitive = policy.replace(
        "features:\n",
        "features:\n  hour: { type: integer, from: time.hour, timezone: UTC, sensitive: true }\n",
    )
    command.write("policy.yaml", sensitive)
    ended = command("decide", "policy.yaml", "--tasks", "-", stdin='{}\n{"name": "b"}\n')
    assert ended.out.endswith(
        "\n\nin the policy, not supported yet\n"
        "  feature hour: sensitive, but `time.hour` stays in the record and cannot be erased\n"
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
