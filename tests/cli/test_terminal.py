"""What a terminal gets that a pipe does not: bold, wrapped trees, stacked tables, a progress bar."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.command_line import HYBRID, POLICY, CommandLine
from support.forked import Forked
from support.llamacpp_servers import needs_llamacpp

from routewright.cli.table import MAX_LINES, column_lines, fitted_widths, stacked_lines
from routewright.engine.report.tree import ReportTree, render_tree, wrapped_tree

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def on_terminal(
    command: CommandLine,
    *arguments: str,
    columns: int,
    environment: Mapping[str, str] | None = None,
    results: Path | None = None,
    code: int = 0,
) -> str:
    """What a terminal of that many columns shows; with ``results`` only standard error goes there."""
    mine, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    settings = command.environment() | {"TERM": "xterm-256color"} | dict(environment or {})
    out = theirs if results is None else os.open(results, os.O_WRONLY | os.O_CREAT)
    started = Forked(arguments, command.folder, settings, streams=(theirs, out, theirs))
    for end in {out, theirs}:
        os.close(end)
    shown = b""
    while True:
        try:
            piece = os.read(mine, 65536)
        except OSError:  # how Linux says that nobody has the other end open any more
            break
        if not piece:
            break
        shown += piece
    os.close(mine)
    assert started.wait()[0] == code
    return shown.decode().replace("\r\n", "\n")


def test_a_tree_stays_inside_its_branches_in_a_narrow_window(tmp_path: Path) -> None:
    shown = on_terminal(
        CommandLine(tmp_path), "decide", HYBRID, "-f", "complex_reasoning=true", "--explain", columns=60
    )
    assert shown.startswith("\x1b[1mchat: routed to kimi-k2-cloud")
    lines = ESCAPES.sub("", shown).splitlines()
    assert [line for line in lines if len(line) > 60 and " " in line.strip("├└│─ ")] == []
    assert {line[:1] for line in lines[2:]} == {"├", "│", "└", " "}


def test_a_table_that_does_not_fit_is_stacked(tmp_path: Path) -> None:
    shown = on_terminal(
        CommandLine(tmp_path), "models", "policy.yaml", "-c", "tools", "--offline", columns=40
    )
    lines = ESCAPES.sub("", shown).splitlines()
    assert lines == [
        "policy.yaml",
        "",
        "small",
        "  backend       ollama",
        "  location      local",
        "  operations    chat",
        "  context       32768",
        "  capabilities  tools",
        "  state         not asked",
    ]


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["models", "policy.yaml", "--offline"], {"NO_COLOR": "1"}),
        (["models", "policy.yaml", "--offline"], {"TERM": "dumb"}),
        (["--plain", "models", "policy.yaml", "--offline"], {}),
    ],
)
def test_without_colours_a_terminal_gets_what_a_pipe_gets(
    tmp_path: Path, arguments: list[str], environment: dict[str, str]
) -> None:
    command = CommandLine(tmp_path)
    assert on_terminal(command, *arguments, columns=40, environment=environment) == command(*arguments).out


def test_who_watches_is_told_who_answered(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    shown = on_terminal(command, "run", "policy.yaml", "hello", "--simulate", columns=200)
    assert "small | rule otherwise | " in shown
    assert f"stored in {command.ledger}\n" in shown


def test_who_watches_is_told_that_a_model_loads(tmp_path: Path) -> None:
    needs_llamacpp()
    command = CommandLine(tmp_path)
    arguments = ("run", "policy.yaml", "hello", "--map", "*=llamacpp:smollm2", "--max-output-tokens", "1")
    shown = on_terminal(command, *arguments, columns=200)
    assert shown.startswith("loading smollm2 for small: this may take some seconds\n")
    assert "loading" not in on_terminal(command, *arguments, "--quiet", columns=200)


def test_a_long_file_shows_progress_to_who_watches_and_to_nobody_else(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("tasks.jsonl", '{"name": "' + "x" * 90 + '"}\n')
    command.write("many.jsonl", ('{"name": "' + "x" * 90 + '"}\n') * 1500 + "{}x\n")
    arguments = ("decide", "policy.yaml", "--format", "jsonl", "--tasks")
    assert on_terminal(command, *arguments, "tasks.jsonl", columns=80, results=tmp_path / "out") == ""
    shown = on_terminal(command, *arguments, "many.jsonl", columns=80, results=tmp_path / "out", code=2)
    assert "deciding" in shown
    assert "error: many.jsonl:1501: the task is not JSON at column 3\n" in ESCAPES.sub("", shown)
    assert (tmp_path / "out").read_text().count("\n") == 1501


# --- the parts ---------------------------------------------------------------------------------------------


def outline() -> ReportTree:
    root = ReportTree("root")
    root.add("first", ["one two three four five six seven"])
    root.add("last")
    return root


def test_a_tree_without_a_window_is_the_plain_tree() -> None:
    assert "\n".join(guides + text for guides, text in wrapped_tree(outline())) == render_tree(outline())


def test_wrapped_lines_stand_below_their_text() -> None:
    lines = [guides + text for guides, text in wrapped_tree(outline(), 34)]
    assert lines == [
        "root",
        "├── first",
        "│   └── one two three four five",
        "│         six seven",
        "└── last",
    ]


def test_columns_of_numbers_stand_to_the_right() -> None:
    rows = [["a", "1"], ["b", "10"], ["c", "null"]]
    assert list(column_lines(["x", "n"], rows)) == ["x     n", "-  ----", "a     1", "b    10", "c  null"]
    assert list(column_lines(["x", "n"], [])) == ["x  n", "-  -"]


def test_a_table_fits_where_no_word_is_broken() -> None:
    header, rows = ["name", "text"], [["abc-def", "four five"]]
    assert fitted_widths(header, rows, 18) == [7, 9]
    assert fitted_widths(header, rows, 17) == [7, 8]
    assert list(column_lines(header, rows, [7, 8])) == [
        "name     text",
        "-------  --------",
        "abc-def  four",
        "         five",
    ]
    assert fitted_widths(header, rows, 12) is None, "`abc-def` would be broken"
    assert list(stacked_lines(header, rows, 12)) == ["abc-def", "  text  four five"]
    long = [["abc-def", "four five six seven eight nine"]]
    assert list(stacked_lines(header, long, 32)) == [
        "abc-def",
        "  text  four five six seven",
        "        eight nine",
    ]


def test_a_table_with_rows_of_many_lines_is_stacked() -> None:
    rows = [["a", "word " * (MAX_LINES + 1)]]
    assert fitted_widths(["x", "y"], rows, 8) is None
    assert fitted_widths(["x", "y"], rows, 40) is not None


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize(
    "arguments",
    [["models", HYBRID, "--offline"], ["decide", HYBRID, "--tasks", "tasks.jsonl"], ["quota", HYBRID]],
)
def test_tables_of_the_shipped_policy_read_well(tmp_path: Path, arguments: list[str], columns: int) -> None:
    command = CommandLine(tmp_path)
    command.write("tasks.jsonl", '{"features": {"privacy_required": true}}\n{"prompt_tokens": 150000}\n')
    lines = ESCAPES.sub("", on_terminal(command, *arguments, columns=columns)).splitlines()
    names = [word for line in command(*arguments).out.splitlines() for word in line.split()]
    broken = [word for line in lines for word in line.split() if word not in names and word.strip("-")]
    assert broken == []
    assert max(map(len, lines)) <= columns


def test_check_marks_what_is_wrong_on_a_terminal(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command.write("broken.yaml", POLICY.replace("use: [large]", "use: [lagre]"))
    shown = on_terminal(command, "check", "broken.yaml", columns=120, code=3)
    assert "\x1b[1;31merror[unknown-model]:\x1b[0m" in shown
    assert re.search("\x1b\\[31m  \\| +\\^+\x1b", shown)
    assert ESCAPES.sub("", shown) == command("check", "broken.yaml").out
    told = on_terminal(command, "decide", "broken.yaml", columns=120, code=3)
    assert "\x1b[1;31merror[unknown-model]:\x1b[0m" in told
