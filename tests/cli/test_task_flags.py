"""The flags of ``decide`` and ``run``: one meaning for flags and JSON, and for both commands."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from support.command_line import POLICY, CommandLine
from typer.main import get_command

from routewright.cli import app
from routewright.cli.options import TaskFlags
from routewright.cli.task_flags import asked_by_flags
from routewright.engine.policy import CompiledPolicy
from routewright.loading import load_policy
from routewright.tasks import WrittenTask, asked_by, parse_task

BOTH: dict[str, tuple[Any, dict[str, Any]]] = {
    "operation": ("embed", {"operation": "embed"}),
    "features": ({"private": True, "x": [1, 2]}, {"feature": ["private=true", "x=[1, 2]"]}),
    "pin": ("small", {"pin": "small"}),
    "prompt_tokens": (7, {"prompt_tokens": 7}),
    "max_output_tokens": (8, {"max_output_tokens": 8}),
    "metadata": ({"team": "a=b"}, {"metadata": ["team=a=b"]}),
    "session": ("s", {"session": "s"}),
    "system": ("Be brief.", {"system": "Be brief."}),
    "documents": (["one", "two"], {"document": ["one", "two"]}),
    "temperature": (0.5, {"temperature": 0.5}),
    "tags": ({"run": "1"}, {"tag": ["run=1"]}),
    "trace": ("4bf92f35", {"trace": "4bf92f35"}),
}
"""By key of a written task: its value, and the flags that say the same."""

JSON_ALONE = {"name", "draw", "messages", "images", "tools", "json_schema"}
"""A file has many tasks, with names and draws; the counts are those of requests that are not there."""

OPERATION = {"documents": "rerank"}


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> CompiledPolicy:
    path: Path = tmp_path_factory.mktemp("policy") / "policy.yaml"
    path.write_text(POLICY, encoding="utf-8")
    return load_policy(path)


def test_every_key_of_a_written_task_has_a_flag_or_a_reason_to_have_none() -> None:
    assert BOTH.keys() | JSON_ALONE | {"prompt"} == WrittenTask.model_fields.keys()
    flags = {name for _, given in BOTH.values() for name in given} | {"image", "json_schema"}
    assert flags == {one.name for one in fields(TaskFlags)}


@pytest.mark.parametrize("prompt", [None, "hello"])
@pytest.mark.parametrize("key", BOTH)
def test_a_flag_means_what_its_key_means_in_json(
    policy: CompiledPolicy, key: str, prompt: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    value, given = BOTH[key]
    written = {key: value, **({"prompt": prompt} if prompt else {})}
    if key in OPERATION:
        written["operation"] = given["operation"] = OPERATION[key]
    by_flags = asked_by_flags(TaskFlags(**given), prompt, policy)
    assert by_flags == asked_by(parse_task(json.dumps(written)))
    assert by_flags != asked_by_flags(TaskFlags(), None, policy) or (
        key in ("system", "temperature") and not prompt
    )


def test_decide_takes_every_flag_of_a_task_that_run_takes() -> None:
    commands: Any = get_command(app)
    taken = {
        name: {one.name: (one.opts, one.help) for one in commands.commands[name].params}
        for name in ("decide", "run")
    }
    for one in fields(TaskFlags):
        assert taken["decide"][one.name] == taken["run"][one.name]


@pytest.mark.parametrize(
    "flags",
    [
        ["-f", "complex_reasoning=true"],
        ["-f", "private=true", "--pin", "large"],
        ["--max-output-tokens", "32000"],
        ["--prompt-tokens", "40000"],
        ["--session", "s", "--metadata", "team=a", "--system", "Be brief."],
    ],
)
def test_decide_shows_what_run_decides(tmp_path: Path, flags: list[str]) -> None:
    command = CommandLine(tmp_path)
    seeded = [*flags, "--seed", "1"]
    shown = json.loads(
        command("decide", "policy.yaml", "hello", "--live", "--format", "json", *seeded, stdin="text").out
    )
    command("run", "policy.yaml", "hello", "--simulate", *seeded, stdin="text")
    ran = json.loads(command("ledger", "show", "--format", "json").out)["record"]
    for record in (shown, ran):
        del record["id"], record["at_us"]
    assert shown == ran
    assert shown["request"]["prompt_tokens"] > 2


def test_a_line_with_a_prompt_knows_its_length(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    lines = '{"prompt": "hello"}\n{"prompt": " "}\n'
    ended = command("decide", "policy.yaml", "--tasks", "-", "--format", "jsonl", stdin=lines)
    assert json.loads(ended.out.splitlines()[0])["request"]["prompt_tokens"] > 0
    assert ended.err.startswith("error: -:2: the prompt is empty\n")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_and_options(tmp_path: Path, shell: str) -> None:
    command = CommandLine(tmp_path)

    def completed(*words: str) -> str:
        settings = {
            "_ROUTEWRIGHT_COMPLETE": f"complete_{shell}",
            "COMP_WORDS": " ".join(words),
            "COMP_CWORD": str(len(words) - 1),
            "_TYPER_COMPLETE_ARGS": " ".join(words),
            "_TYPER_COMPLETE_FISH_ACTION": "get-args",
        }
        out: str = command.process(environment=settings).out
        return out

    assert "decide" in completed("routewright", "dec")
    assert "--max-output-tokens" in completed("routewright", "decide", "--max")
