"""``ledger sql``: where the statement and its values come from."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from support.command_line import CommandLine
from support.new_ledgers import new_ledger

from routewright.cli.statement import statement_of
from routewright.engine.report import TaskError


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    command = CommandLine(tmp_path_factory.mktemp("sql"))
    command.ledger.parent.mkdir(parents=True)
    new_ledger(command.ledger)
    command.write("one.sql", "-- the first\nSELECT 1 AS one;\n")
    command.write("with-bom.sql", b"\xef\xbb\xbfSELECT 1 AS one")
    command.write("wrong.sql", "SELECT 1,\n       'x' + nothing")
    command.write("latin.sql", b"SELECT 1,\n  'caf\xe9'")
    return command


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [
        (["SELECT 1 AS one"], ""),
        (["SELECT 1 AS one;"], "SELECT 2 AS two"),
        (["-- a comment\nSELECT 1 AS one"], ""),
        (["--a = comment\nSELECT 1 AS one"], ""),
        (["--\nSELECT 1 AS one"], ""),
        (["--", "-- a comment\nSELECT 1 AS one"], ""),
        (["/* a comment */ SELECT 1 AS one -- and one more"], ""),
        (["-f", "one.sql"], "SELECT 2 AS two"),
        (["--file", "with-bom.sql"], ""),
        (["-f", "-"], "SELECT 1 AS one"),
        (["-"], "SELECT 1 AS one;\n\n"),
        ([], "\ufeff-- piped\r\nSELECT 1 AS one\r\n"),
    ],
)
def test_a_statement_is_an_argument_a_file_or_piped_in(
    command: CommandLine, arguments: list[str], stdin: str
) -> None:
    ended = command("ledger", "sql", "--format", "csv", *arguments, stdin=stdin)
    assert (ended.code, ended.out, ended.err) == (0, "one\n1\n", "")


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "error"),
    [
        (
            ["-f", "wrong.sql"],
            "",
            6,
            "wrong.sql:2:14: error[sql]: referenced column `nothing` was not found because the FROM clause is missing\n"
            "  |        'x' + nothing\n  |              ^^^^^^^\n",
        ),
        (
            ["-f", "latin.sql"],
            "",
            6,
            "latin.sql:2:7: error[sql]: the statement has bytes that are no UTF-8\n"
            "  |   'caf\\u{dce9}'\n  |       ^^^^^^^^\n",
        ),
        (
            ["-"],
            "SELECT \udcff",
            6,
            "standard input:1:8: error[sql]: the statement has bytes that are no UTF-8\n"
            "  | SELECT \\u{dcff}\n  |        ^^^^^^^^\n",
        ),
        (
            ["SELECT \udcff"],
            "",
            6,
            "error: the statement has bytes that are no UTF-8\n  | SELECT \\u{dcff}\n  |        ^^^^^^^^\n",
        ),
        (["-f", "none.sql"], "", 2, "error: cannot read `none.sql`: no such file or directory\n"),
        (["-f", "."], "", 2, "error: cannot read `.`: is a directory\n"),
        (
            ["SELECT 1", "-f", "one.sql"],
            "",
            2,
            "error: the statement is given twice: as an argument and by --file\n",
        ),
        (
            [],
            "",
            6,
            "error: there is no statement to run\n  = help: try `SELECT * FROM decisions_flat LIMIT 10`\n",
        ),
        (
            ["SELECT 1", "--formt", "csv"],
            "",
            2,
            "error: no such option: --formt (Possible options: --format)\n  = help: routewright ledger sql --help\n",
        ),
        (
            ["SELECT $a", "--param", "a"],
            "",
            2,
            "error: `a` is no value for a parameter\n"
            "  = help: write NAME=TEXT, or NAME:=JSON for a number, true, false, null or a list\n",
        ),
        (
            ["SELECT $a", "--param", "a:=x"],
            "",
            2,
            "error: the value of `$a` is no JSON: `x`\n  = help: for text, write a=x\n",
        ),
        (
            ["SELECT $a", "--param", "a:=NaN"],
            "",
            2,
            "error: the value of `$a` is no JSON: `NaN`\n  = help: for text, write a=NaN\n",
        ),
        (
            ["SELECT $a", "--param", "a=1", "--param", "A=2"],
            "",
            2,
            "error: the parameter `$A` has two values\n",
        ),
        (
            ["SELECT $a", "--param", "a=1", "--param", "b=2"],
            "",
            6,
            "error: the statement has no parameter `$b`\n  = help: it has: `$a`\n",
        ),
        (
            ["SELECT $a"],
            "",
            6,
            "error: there is no value for the parameter `$a`\n"
            '  = help: give it one: `--param a=…`, in Python `{"a": …}`\n',
        ),
    ],
)
def test_what_cannot_be_asked_is_told_at_its_place(
    command: CommandLine, arguments: list[str], stdin: str, code: int, error: str
) -> None:
    ended = command("ledger", "sql", *arguments, stdin=stdin)
    assert (ended.code, ended.out, ended.err) == (code, "", error)


def test_values_are_text_unless_they_are_given_as_json(command: CommandLine) -> None:
    given = {
        "text": "=5",
        "number": ":=5",
        "share": ":=0.5",
        "yes": ":=true",
        "none": ":=null",
        "list": ':=["x"]',
    }
    sql = "SELECT " + ", ".join(f"typeof(${name}) AS {name}" for name in given)
    params = [word for name, value in given.items() for word in ("--param", f"{name}{value}")]
    ended = command("ledger", "sql", sql, *params, "--format", "csv")
    assert ended.out == f'{",".join(given)}\nVARCHAR,INTEGER,DOUBLE,BOOLEAN,"""NULL""",VARCHAR[]\n'
    ended = command("ledger", "sql", "SELECT $t AS t", "--param", "t=a:=b'; --\n$t", "--format", "json")
    assert ended.out == '[{"t": "a:=b\'; --\\n$t"}]\n'


def test_at_a_terminal_nobody_waits_for_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stdin in (Terminal(), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(TaskError, match="there is no statement") as caught:
            statement_of(None, None)
        assert caught.value.help == "give it as an argument, by --file, or through a pipe"
    with pytest.raises(TaskError, match="standard input is closed"):
        statement_of(None, Path("-"))
