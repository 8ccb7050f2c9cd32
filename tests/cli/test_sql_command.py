"""``ledger sql``: where the statement and its values come from."""

from __future__ import annotations

import io
import re
import sys
import time
from pathlib import Path

import duckdb
import pytest
from support.command_line import CommandLine
from support.ledger_rows import decision
from support.new_ledgers import new_ledger

from routewright.cli.options import AskFlags, OutputFlags, SqlFlags, StatementFlags
from routewright.cli.progress import stage_progress
from routewright.cli.sql import ask, export, tell_about
from routewright.cli.statement import statement_of
from routewright.engine.report import TaskError
from routewright.ledger import Ledger


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


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
    command: CommandLine, monkeypatch: pytest.MonkeyPatch, arguments: list[str], stdin: str
) -> None:
    found: list[str] = []

    def asked(argument: str | None, where: StatementFlags, how: SqlFlags) -> None:
        assert how.format == "csv"
        found.append(statement_of(argument, where.file).sql)

    monkeypatch.setattr("routewright.cli.sql.ask_and_print", asked)
    assert command("ledger", "sql", "--format", "csv", *arguments, stdin=stdin).err == ""
    [sql] = found
    assert duckdb.execute(sql).fetchall() == [(1,)]


def test_a_statement_that_is_piped_in_is_answered(command: CommandLine) -> None:
    ended = command("ledger", "sql", "--format", "csv", stdin="-- one\nSELECT 1 AS one;\n")
    assert (ended.code, ended.out, ended.err) == (0, "one\n1\n", "")


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "error"),
    [
        (
            ["-f", "wrong.sql"],
            "",
            2,
            "wrong.sql:2:14: error[sql]: referenced column `nothing` was not found because the FROM clause is missing\n"
            "  |        'x' + nothing\n  |              ^^^^^^^\n",
        ),
        (
            ["-f", "latin.sql"],
            "",
            2,
            "latin.sql:2:7: error[sql]: the statement has bytes that are no UTF-8\n"
            "  |   'caf\\u{dce9}'\n  |       ^^^^^^^^\n",
        ),
        (
            ["-"],
            "SELECT \udcff",
            2,
            "standard input:1:8: error[sql]: the statement has bytes that are no UTF-8\n"
            "  | SELECT \\u{dcff}\n  |        ^^^^^^^^\n",
        ),
        (
            ["SELECT \udcff"],
            "",
            2,
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
            2,
            "error: there is no statement to run\n  = help: try `SELECT * FROM decisions_flat LIMIT 10`\n",
        ),
        (
            ["SELECT 1", "--formt", "csv"],
            "",
            2,
            "error: no such option: --formt (Possible options: --force, --format)\n"
            "  = help: routewright ledger sql --help\n",
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
            2,
            "error: the statement has no parameter `$b`\n  = help: it has: `$a`\n",
        ),
        (
            ["SELECT $a"],
            "",
            2,
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


@pytest.mark.parametrize(
    ("name", "words", "text"),
    [
        ("rows.csv", [], "a,b\n1,x\n"),
        ("rows.ndjson", [], '{"a": 1, "b": "x"}\n'),
        ("rows.txt", ["--format", "table"], "a  b\n-  -\n1  x\n"),
        ("rows", ["--format", "csv"], "a,b\n1,x\n"),
    ],
)
def test_a_file_has_the_form_that_its_name_or_the_option_says(
    command: CommandLine, name: str, words: list[str], text: str
) -> None:
    file = command.folder / name
    sql = ("ledger", "sql", "SELECT 1 AS a, 'x' AS b", "-o", name, *words)
    ended = command(*sql)
    assert (ended.code, ended.out, ended.err, file.read_text()) == (0, "", "", text)


def test_a_file_is_replaced_only_when_that_is_said(command: CommandLine) -> None:
    command.write("mine.csv", "mine")
    words = ("ledger", "sql", "SELECT 1 AS a", "-o", "mine.csv")
    ended = command(*words)
    assert (ended.code, ended.err) == (
        2,
        "error: `mine.csv` is there already\n  = help: name another file, or replace it with --force\n",
    )
    assert command(*words, "--force").code == 0
    assert (command.folder / "mine.csv").read_text() == "a\n1\n"


@pytest.mark.parametrize(("form", "magic"), [("parquet", "PAR1"), ("arrow", "ARROW1")])
def test_binary_forms_go_to_files_and_pipes(command: CommandLine, form: str, magic: str) -> None:
    words = ("ledger", "sql", "SELECT 1 AS a", "--format", form)
    assert command(*words).out.startswith(magic)
    assert command(*words, "-o", f"x.{form}").code == 0
    assert (command.folder / f"x.{form}").read_bytes().startswith(magic.encode())


def test_binary_forms_do_not_go_to_a_terminal(command: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Terminal())
    with pytest.raises(TaskError, match="parquet is not for a terminal"):
        export(Ledger.open(command.ledger), "SELECT 1", {}, "parquet", OutputFlags(), None)


def test_all_rows_go_to_a_file_and_the_first_ones_to_a_terminal(command: CommandLine) -> None:
    sql = ("ledger", "sql", "SELECT range AS n FROM range(10001)")
    cut = command(*sql, "--format", "csv")
    assert (cut.out.count("\n"), cut.err) == (
        10_001,
        "stopped after row 10000: there are more, see --max-rows\n",
    )
    assert command(*sql, "-o", "many.csv").err == ""
    assert (command.folder / "many.csv").read_text().count("\n") == 10_002
    cut = command(*sql, "-o", "few.csv", "--max-rows", "5")
    assert cut.err == "stopped after row 5: there are more, see --max-rows\n"
    assert (command.folder / "few.csv").read_text() == "n\n0\n1\n2\n3\n4\n"


def test_a_file_that_cannot_be_written_is_an_error_of_the_output(command: CommandLine) -> None:
    ended = command("ledger", "sql", "SELECT 1", "-o", "none/x.csv")
    assert (ended.code, ended.err) == (
        74,
        "error: `none/x.csv` cannot be written: no such file or directory\n",
    )
    ended = command("ledger", "sql", "SELECT 1", "-o", "x.xlsx")
    assert (ended.code, ended.err) == (
        2,
        "error: the name of `x.xlsx` does not say what form it has\n  = help: name the form with --format\n",
    )


def test_a_day_begins_where_the_zone_says(command: CommandLine) -> None:
    sql = "SELECT TIMESTAMPTZ '2026-06-30 22:30:00+00' AS t, t::DATE AS day, date_trunc('day', t) AS begins"
    ended = command("ledger", "sql", sql, "--timezone", "Europe/Berlin", "--format", "csv")
    assert ended.out == "t,day,begins\n2026-07-01 00:30:00+02:00,2026-07-01,2026-07-01 00:00:00+02:00\n"
    ended = command("ledger", "sql", sql, "--format", "csv")
    assert ended.out == "t,day,begins\n2026-06-30 22:30:00+00:00,2026-06-30,2026-06-30 00:00:00+00:00\n"
    ended = command("ledger", "sql", sql, "--timezone", "Mars/Olympus' OR")
    assert (ended.code, ended.err) == (
        2,
        "error: there is no time zone `Mars/Olympus' OR`\n  = help: give one as in `Europe/Berlin` or `UTC`\n",
    )


def test_whoever_watches_sees_how_far_a_statement_is(
    command: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("routewright.cli.progress._PATIENCE_S", 0.0)
    monkeypatch.setattr("routewright.cli.progress._EVERY_S", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    ledger = Ledger.open(command.ledger)
    rows = "SELECT count(*) FROM range(50_000) a, range($n) b WHERE a.range % 7 < b.range"
    answer = ask(ledger, rows, {"n": 1_000}, AskFlags())
    assert answer.rows[0][0] > 0
    lines = shown.getvalue().split("\r")
    assert all(line.endswith("\x1b[K") for line in lines[1:])
    assert lines[-1] == "\x1b[K"
    assert any(re.match(r"asking: (\d+% done, )?\d+ s \(Ctrl-C stops it\)", line) for line in lines)


def test_whoever_watches_long_work_sees_its_stage_and_the_line_goes_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("routewright.cli.progress._PATIENCE_S", 0.0)
    monkeypatch.setattr("routewright.cli.progress._EVERY_S", 0.01)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    with stage_progress() as tell:
        for stage in ("signing", "writing"):
            tell(stage)
            while re.search(rf"\r{stage}: \d+ s\x1b\[K", shown.getvalue()) is None:
                time.sleep(0.01)
    assert shown.getvalue().endswith("\r\x1b[K")
    drawn = len(shown.getvalue())
    time.sleep(0.03)
    assert len(shown.getvalue()) == drawn


def test_an_answer_says_how_fresh_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = new_ledger(tmp_path / "ledger.duckdb")
    assert ledger.query("SELECT 1").newest_at is None
    ledger.append([decision(0), decision(1)])
    result = ledger.query("SELECT max(at_us) FROM decision_records")
    assert result.newest_at is not None
    assert result.newest_at.timestamp() * 1e6 == pytest.approx(result.rows[0][0])
    assert ledger.export("SELECT 1", tmp_path / "x.csv").newest_at == result.newest_at
    monkeypatch.setattr(sys, "stderr", shown := Terminal())
    tell_about(ledger, result, AskFlags())
    assert shown.getvalue() == f"newest decision in the ledger: {result.newest_at:%Y-%m-%d %H:%M:%S} UTC\n"


def test_at_a_terminal_nobody_waits_for_a_statement(monkeypatch: pytest.MonkeyPatch) -> None:
    for stdin in (Terminal(), None):
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(TaskError, match="there is no statement") as caught:
            statement_of(None, None)
        assert caught.value.help == "give it as an argument, by --file, or through a pipe"
    with pytest.raises(TaskError, match="standard input is closed"):
        statement_of(None, Path("-"))
