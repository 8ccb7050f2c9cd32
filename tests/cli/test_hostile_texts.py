"""Texts that want to drive a terminal, a build or a spreadsheet, through every command and form of output."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
from support.command_line import CommandLine, Ended
from support.sizes import THOROUGH
from test_other_commands import command_paths
from test_terminal import on_terminal
from typer.main import get_command

from routewright.cli import app
from routewright.cli.writer import Writer
from routewright.engine.report.escapes import is_shown
from routewright.ledger import BINARY_FORMS

HOSTILE = (
    "=cmd\x1b]0;title\x07\x1b[2J\x9b31m\x7f \u202egnp\u2066\u200e \u200bzero\u2060\ufeff\u3164 "
    "\U000e0041\U000e0042 \u2028\u2029\x85\r\n::error::pwn\n ##[error]pwn @org/team <b>|"
)
"""Controls, signs of direction, without width, tags, ends of lines, commands of builds, a formula, a mention."""

POLICY: Mapping[str, Any] = {
    "routewright": 1,
    "name": "texts",
    "description": "TEXT",
    "catalog": {
        "routewright": 1,
        "name": "catalog",
        "description": "TEXT",
        "backends": {
            "ollama": {"kind": "ollama", "host": "http://127.0.0.1:9", "description": "TEXT"},
            "spare": {"kind": "ollama", "disabled": True, "disabled_reason": "TEXT"},
        },
        "models": {
            "small": {
                "backend": "ollama",
                "tag": "small:1b",
                "aliases": ["tiny"],
                "source": "TEXT",
                "description": "TEXT",
                "quantization": "TEXT",
                "context_length": 4096,
                "capabilities": ["tools"],
                "recommended_for": ["chat"],
            },
            "large": {"backend": "ollama", "tag": "large:1b"},
            "gone": {"backend": "ollama", "tag": "gone:1b", "disabled": True, "disabled_reason": "TEXT"},
        },
    },
    "features": {
        "team": {"type": "string", "from": "request.metadata.team", "description": "TEXT", "unit": "TEXT"},
        "kind": {"type": "string", "enum": ["TEXT", "other"], "default": "TEXT", "description": "TEXT"},
        "private": {"type": "boolean", "default": False, "sensitive": True},
        "tokens": {"type": "integer", "from": "request.prompt_tokens"},
    },
    "constraints": [
        {
            "name": "private_stays",
            "description": "TEXT",
            "when": "private",
            "require": "model.id == 'small'",
            "reason": "TEXT",
        }
    ],
    "rules": [
        {"name": "off", "when": "private", "use": ["small"], "reason": "TEXT", "disabled": True},
        {"name": "texts", "when": "kind == 'TEXT' && tokens > 90", "use": ["large"], "fallback": "rest"},
        {
            "name": "drawn",
            "when": "tokens > 80",
            "use": ["small", "large"],
            "choose": "split",
            "split": {"weights": {"small": 1, "large": 1}, "key": "team", "salt": "TEXT"},
            "reason": "TEXT",
        },
        {
            "name": "voted",
            "when": "tokens > 70",
            "ensemble": {"members": ["small", "large"], "combine": "vote", "label": "(TEXT)"},
            "reason": "TEXT",
        },
        {
            "name": "otherwise",
            "description": "TEXT",
            "use": ["gone", "small"],
            "fallback": ["large"],
            "steps": [{"verify": {"with": "large"}}],
            "reason": "TEXT",
        },
    ],
    "chains": {"rest": ["small"]},
    "controls": [
        {"name": "daily", "for_each": "team", "max_requests": 5, "per": "day", "timezone": "UTC", "description": "TEXT"}
    ],
    "assertions": [{"name": "never_gone", "never": "model.id == 'gone'", "description": "TEXT"}],
}  # fmt: skip

RUN = ["run", "policy.yaml", f"prompt {HOSTILE}", "--simulate", "-v", "--unenforced"]
HOSTILE_CALLS: Mapping[tuple[str, ...], Sequence[Sequence[str]]] = {
    ("decide",): [
        ["policy.yaml", "-f", f"kind={HOSTILE}"],
        ["policy.yaml", "-f", f"team={HOSTILE}", "-f", "private=true", "--explain"],
        ["policy.yaml", "-f", f"team={HOSTILE}", "--prompt-tokens", "85", "--explain"],
        ["policy.yaml", "-f", f"team={HOSTILE}", "--prompt-tokens", "75", "--explain"],
        ["policy.yaml", "--lenient", "-f", f"{HOSTILE}={HOSTILE}", "--explain"],
        ["policy.yaml", "-f", f"{HOSTILE}={HOSTILE}"],
        ["policy.yaml", "-f", HOSTILE],
        ["policy.yaml", "-f", f"tokens={HOSTILE}"],
        ["policy.yaml", "--pin", HOSTILE],
        ["policy.yaml", "--at", HOSTILE],
        ["policy.yaml", "--task", HOSTILE],
        ["policy.yaml", "--tasks", "tasks.jsonl"],
        ["policy.yaml", "--tasks", "tasks.jsonl", "--explain"],
        ["policy.yaml", "--state", "state.json"],
        ["policy.yaml", "--state", "bad.json"],
    ],
    ("run",): [
        [*RUN[1:], "-f", f"team={HOSTILE}", "--session", HOSTILE],
        [*RUN[1:], "-f", f"team={HOSTILE}", "--fail", "small=unauthorized", "--fail", "large=overloaded"],
        [*RUN[1:], "--prompt-tokens", "75"],
        [*RUN[1:], "--operation", "rerank", "--document", HOSTILE],
        [*RUN[1:], "--fail", HOSTILE],
        [*RUN[1:], "--fail", f"small={HOSTILE}"],
        [*RUN[1:], "--map", HOSTILE],
        [*RUN[1:], "--ledger", f"data/{HOSTILE.replace('/', '')}"],
        ["policy.yaml", "hello"],
    ],
    ("ledger", "ask"): [
        [],
        ["latency", "--simulated", "--param", "by=team"],
        ["fell-back", "--simulated"],
        [HOSTILE],
        ["cost", "--param", HOSTILE],
        ["cost", "--param", f"by={HOSTILE}"],
        ["cost", "--policy", HOSTILE],
    ],
    ("ledger", "import"): [
        ["calls", "calls.jsonl", "--name", HOSTILE],
        ["calls", HOSTILE],
        ["table", "tasks.jsonl", "--map", "policy.yaml"],
        ["--remove", HOSTILE],
    ],
    ("ledger", "imports"): [[]],
    ("ledger", "outcome"): [[HOSTILE, "a=1"], ["--file", HOSTILE], ["--file", "tasks.jsonl"]],
    ("ledger", "export"): [
        ["-o", "-", "--view", "all_decisions_flat"],
        ["-o", "-", "--view", HOSTILE],
        ["-o", "-", "--view", "cost_daily", "--since", HOSTILE],
    ],
    ("rollout",): [["policy.yaml"], [HOSTILE], ["policy.yaml", "--reset"]],
    ("replay",): [
        ["policy.yaml", "--simulated"],
        ["next.yaml", "--simulated", "--fail-on", "changed>0"],
        ["next.yaml", "--simulated", "--where", f"team = '{HOSTILE}'"],
        ["next.yaml", "--simulated", "--where", HOSTILE],
        ["next.yaml", "--fail-on", HOSTILE],
        ["next.yaml", "--since", HOSTILE],
        ["next.yaml", "--sample", HOSTILE],
        ["next.yaml", "-o", HOSTILE],
        [HOSTILE],
        ["--self", "--simulated"],
    ],
    ("ledger", "stats"): [["--simulated"], ["--simulated", "--by", "team"], ["--since", HOSTILE]],
    ("ledger", "report"): [
        ["-o", "out.html", "--simulated", "--force", "--title", HOSTILE],
        ["-o", HOSTILE],
        ["-o", "none.html", "--since", HOSTILE],
    ],
    ("ledger", "show"): [["0"], ["01"], [HOSTILE], [HOSTILE, "--ledger", HOSTILE]],
    ("ledger", "checkpoint"): [["-o", "c.checkpoint"], ["--origin", HOSTILE], ["-o", HOSTILE]],
    ("ledger", "verify"): [[], ["-c", HOSTILE], ["-k", HOSTILE], ["--receipt", HOSTILE], ["--since", HOSTILE]],
    ("ledger", "witness"): [[HOSTILE, "-k", HOSTILE], ["policy.yaml", "-k", HOSTILE]],
    ("ledger", "prove"): [["01", "-o", HOSTILE], [HOSTILE, "-o", "p.tlog-proof"]],
    ("ledger", "erase"): [
        ["--feature", HOSTILE, "--where", HOSTILE],
        ["--decision", HOSTILE],
        ["--feature", HOSTILE, "--user", HOSTILE, "--reason", HOSTILE, "--yes"],
    ],
    ("ledger", "prune"): [["--before", HOSTILE], ["--keep", "1", "--reason", HOSTILE]],
    ("ledger", "snapshot"): [["s.duckdb"], ["policy.yaml"], [HOSTILE], [HOSTILE.replace("/", "")]],
    ("eval",): [
        [f"team == '{HOSTILE}'"],
        ["team", "-f", f"team={HOSTILE}"],
        ["team + 'x' == kind", "-f", f"team={HOSTILE}", "--policy", "policy.yaml"],
        [HOSTILE],
        [f"has({HOSTILE})"],
        ["nme", "-f", f"{HOSTILE}=1"],
    ],
    ("check",): [["policy.yaml"], ["tests.yaml"], [HOSTILE], [HOSTILE.replace("/", "")]],
    ("models",): [["policy.yaml"], ["policy.yaml", "-c", HOSTILE], [HOSTILE]],
    ("health",): [["policy.yaml"], ["policy.yaml", "--close-breaker", HOSTILE], ["policy.yaml", "--map", HOSTILE]],
    ("quota",): [["policy.yaml", "--state", "state.sqlite"], ["policy.yaml", "--state", HOSTILE]],
    ("schema",): [["policy"], [HOSTILE]],
    ("ledger", "sql"): [
        ["SELECT * FROM all_decisions_flat"],
        ["SELECT * FROM all_attempts_flat"],
        ["SELECT * FROM decision_records"],
        [f"SELECT '{HOSTILE}' AS \"{HOSTILE}\""],
        [f"SELECT [{{'key': '{HOSTILE}'}}] AS nested, -5 AS number"],
        [f"SELECT {HOSTILE}"],
        ["SELECT 1", "--ledger", HOSTILE],
    ],
    ("ledger", "tail"): [[], ["--ledger", HOSTILE]],
    ("demo",): [["--simulate", "--ledger", f"data/{HOSTILE.replace('/', '')}"]],
}  # fmt: skip


def quoted(value: object) -> str:
    """A value as YAML writes it in one line, its texts in double quotes."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{quoted(k)}: {quoted(v)}" for k, v in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(quoted, value)) + "]"
    if not isinstance(value, str):
        return json.dumps(value)
    return '"' + "".join(c if c.isalnum() or c in " _-" else f"\\U{ord(c):08x}" for c in value) + '"'


def leaves(tree: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The places of all texts and keys; that of a key ends with ``KEY``."""
    items = tree.items() if isinstance(tree, Mapping) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in items:
        if isinstance(key, str):
            yield (*path, key, "KEY")
        yield from leaves(child, (*path, key))
    if isinstance(tree, str):
        yield path


def replaced(tree: Any, path: tuple[str | int, ...], text: str) -> Any:
    """``tree`` with another text at a place."""
    if path == ():
        return text
    here, *rest = path
    if isinstance(tree, list):
        return [replaced(c, tuple(rest), text) if at == here else c for at, c in enumerate(tree)]
    if rest == ["KEY"]:
        return {text if key == here else key: child for key, child in tree.items()}
    return {key: replaced(child, tuple(rest), text) if key == here else child for key, child in tree.items()}


def with_texts(tree: Any) -> Any:
    """``tree`` with the hostile text wherever it says TEXT."""
    if isinstance(tree, Mapping):
        return {key: with_texts(child) for key, child in tree.items()}
    if isinstance(tree, list):
        return list(map(with_texts, tree))
    # In a condition it stands inside a literal, in a label inside a pattern.
    if isinstance(tree, str) and "TEXT" in tree and tree != "TEXT":
        return tree.replace(
            "TEXT", re.sub(r"[^\w ]|\s", "", HOSTILE) if "(" in tree else condition_text(HOSTILE)
        )
    return HOSTILE if tree == "TEXT" else tree


def condition_text(text: str) -> str:
    return "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in text)


def forms_of(path: tuple[str, ...]) -> list[str | None]:
    """The values of a command's ``--format`` that are text."""
    command: Any = get_command(app)
    for name in path:
        command = command.commands[name]
    found = [param.type_descriptor.annotation for param in command.params if param.name == "format"]
    return [form for form in get_args(found[0]) if form not in BINARY_FORMS] if found else [None]


def check_written(ended: Ended, form: str | None, call: Sequence[str]) -> None:
    """What was written drives nobody who reads it in the form that it has."""
    for text in (ended.out, ended.err):
        strange = {char for char in text if char not in "\n" and not is_shown(char)}
        # A cell of CSV keeps its tabs and lines, as it is quoted.
        assert strange <= ({"\t"} if form == "csv" else set()), (call, strange)
    assert not re.search(r"^\s*::|##\w*\[", ended.err, re.MULTILINE), call
    if not ended.out:
        return
    match form:
        case "json":
            json.loads(ended.out)
        case "jsonl":
            for line in ended.out.splitlines():
                json.loads(line)
        case "csv":
            for row in csv.reader(io.StringIO(ended.out, newline="")):
                assert [cell for cell in row if cell[:1] in ("=", "+", "@", "\t", "\r")] == [], call
        case _:
            assert not re.search(r"^\s*::|##\w*\[", ended.out, re.MULTILINE), call
            if form == "markdown":
                assert not re.search(r"@\w|[^\\]<(?!!-- -->)b", ended.out), call


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A folder with a policy all of whose free texts are hostile, tasks, a state and a ledger that are too."""
    command = CommandLine(tmp_path_factory.mktemp("texts"))
    command.write("policy.yaml", quoted(with_texts(POLICY)))
    command.write(HOSTILE.replace("/", ""), "routewright: 1\n")
    rules = [*POLICY["rules"][:-1], POLICY["rules"][-1] | {"use": ["large"]}]
    command.write("next.yaml", quoted(with_texts({**POLICY, "rules": rules})))
    case = {"name": HOSTILE, "features": {"team": HOSTILE}, "expect": {"target": "small"}}
    command.write("tests.yaml", quoted({"routewright": 1, "policy": "policy.yaml", "cases": [case]}))
    tasks = [
        {"name": HOSTILE, "features": {"team": HOSTILE}},
        {"name": HOSTILE, "features": {HOSTILE: HOSTILE}},
        {"name": HOSTILE, "features": {"kind": HOSTILE}, "metadata": {HOSTILE: HOSTILE}},
        {"name": HOSTILE, "pin": HOSTILE},
        {HOSTILE: HOSTILE},
    ]
    command.write("tasks.jsonl", "".join(json.dumps(task) + "\n" for task in tasks) + HOSTILE)
    calls = [
        {"id": HOSTILE, "model": HOSTILE, "tags": {HOSTILE: HOSTILE}, "outcomes": {HOSTILE: HOSTILE}},
        {"id": "1", "status": HOSTILE},
        {"id": "2", "outcomes": {HOSTILE: [HOSTILE]}},
        {"id": HOSTILE, "model": HOSTILE, "error_class": HOSTILE},
    ]
    command.write("calls.jsonl", "".join(json.dumps(call) + "\n" for call in calls) + HOSTILE)
    command.write("state.json", json.dumps({"models": {"small": {"health": "unhealthy"}}}))
    command.write("bad.json", json.dumps({"models": {HOSTILE: {"health": HOSTILE}}}))
    for more in ([], ["--fail", "small=unauthorized"]):
        ended = command(*RUN, "-f", f"team={HOSTILE}", "--session", HOSTILE, *more, "--state", "state.sqlite")
        assert ended.code == 0, ended.err
    return command


@pytest.fixture(autouse=True)
def build(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that obeys its log: elsewhere an answer keeps lines that begin with two colons."""
    monkeypatch.setenv("TF_BUILD", "True")


def test_every_command_is_tried() -> None:
    ends = {path for path in command_paths() if path not in ((), ("ledger",))}
    assert set(HOSTILE_CALLS) == ends


@pytest.mark.parametrize("path", HOSTILE_CALLS, ids=" ".join)
def test_no_command_passes_a_hostile_text_on(hostile: CommandLine, path: tuple[str, ...]) -> None:
    for arguments in HOSTILE_CALLS[path]:
        for form in forms_of(path):
            call = [*path, *arguments, *([] if form is None else ["--format", form])]
            ended = hostile(*call)
            check_written(ended, form, call)
            if not ended.out and not THOROUGH:
                break  # what is refused is refused in the same words, whatever the form
    for option in ("--format", f"--{HOSTILE}"):
        call = [*path, *HOSTILE_CALLS[path][0], option, HOSTILE]
        check_written(hostile(*call), None, call)


def test_a_decision_of_hostile_texts_is_shown_harmlessly(hostile: CommandLine) -> None:
    ids = hostile("ledger", "sql", "SELECT decision_id FROM decision_records", "--format", "csv").out.split()[
        1:
    ]
    assert len(ids) >= 2
    for id in ids:
        for form in ("text", "json"):
            call = ["ledger", "show", id, "--format", form]
            ended = hostile(*call)
            assert ended.code == 0
            check_written(ended, form, call)


def test_json_says_exactly_what_was_given(hostile: CommandLine) -> None:
    call = ("decide", "policy.yaml", "-f", f"team={HOSTILE}", "--format")
    for form in ("json", "jsonl"):
        record = json.loads(hostile(*call, form).out)
        assert (record["features"]["team"]["value"], record["reason"]) == (HOSTILE, HOSTILE)
    [row, *_] = json.loads(
        hostile("ledger", "sql", "SELECT session_id FROM decision_records", "--format", "json").out
    )
    assert row == {"session_id": HOSTILE}


@pytest.mark.parametrize("place", list(leaves(POLICY)), ids=lambda place: ".".join(map(str, place)))
def test_a_text_at_any_place_of_a_policy_is_harmless(tmp_path: Path, place: tuple[str | int, ...]) -> None:
    command = CommandLine(tmp_path)
    command.write("policy.yaml", quoted(replaced(POLICY, place, HOSTILE)))
    for call in (["check", "policy.yaml"], ["decide", "policy.yaml", "--explain"]):
        ended = command(*call)
        check_written(ended, None, call)
        if ended.code == 3:
            return  # the policy cannot say it, and what was reported is all that there is


# --- answers -----------------------------------------------------------------------------------------------


def test_an_answer_has_lines_and_tabs_and_drives_nothing(
    hostile: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "routewright.backends.simulated.backend._answer_words", lambda *_: ["one\n\ttwo ", HOSTILE]
    )
    ended = hostile("run", "policy.yaml", "hello", "--simulate", "--unenforced")
    assert ended.code == 0 and ended.out.startswith("one\n\ttwo =cmd\\x1b]0;title\\x07\\x1b[2J\\x9b31m\\x7f ")
    assert {char for char in ended.out if not is_shown(char)} == {"\n", "\t"}


@pytest.mark.parametrize("size", [1, 3, 1_000])
def test_an_answer_in_a_build_gives_it_no_commands(
    size: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = "::error::pwn\nfine\n  ::add-mask::x\na::b ##[error]c\n::end"
    pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
    for build, shown in (
        (False, answer),
        (True, "\\x3a:error::pwn\nfine\n  \\x3a:add-mask::x\na::b \\x23#[error]c\n\\x3a:end"),
    ):
        for name in ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"):
            monkeypatch.delenv(name, raising=False)
        if build:
            monkeypatch.setenv("GITHUB_ACTIONS", "true")
        writer = Writer()
        for piece in pieces:
            writer.piece(piece)
        writer.end_answer()
        assert capsys.readouterr().out == shown + "\n"


@pytest.mark.parametrize("build", [False, True])
def test_rows_of_csv_are_no_commands_of_a_build(
    build: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("GITHUB_ACTIONS", "TF_BUILD", "TEAMCITY_VERSION"):
        monkeypatch.delenv(name, raising=False)
    if build:
        monkeypatch.setenv("TF_BUILD", "True")
    rows = 'model_said,b\r\n::error::x,"a\n::set-env::y ##vso[z]"\r\n'
    Writer().csv(rows)
    shown = 'model_said,b\r\n\\x3a:error::x,"a\n\\x3a:set-env::y \\x23#vso[z]"\r\n' if build else rows
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("columns", [50, 300])
@pytest.mark.parametrize(
    "arguments",
    [
        ["decide", "policy.yaml", "--explain"],
        ["decide", "policy.yaml", "--tasks", "tasks.jsonl"],
        ["decide", "policy.yaml", "--format", "json"],
        ["models", "policy.yaml"],
        ["ledger", "tail"],
    ],
    ids=" ".join,
)
def test_a_terminal_gets_our_own_styles_alone(
    hostile: CommandLine, arguments: list[str], columns: int
) -> None:
    code = 2 if "--tasks" in arguments else 0
    shown = on_terminal(hostile, *arguments, columns=columns, code=code)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert {char for char in plain if char != "\n" and not is_shown(char)} == set()
    assert not re.search(r"^\s*::", plain, re.MULTILINE)
