"""``ledger ask``: which questions there are, one's own beside the shipped ones, and how answers are shown."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from support.command_line import CommandLine

from routewright.cli import charts
from routewright.cli import shown as shown_module
from routewright.cli.charts import bars, sparkline
from routewright.ledger import about_simulated, shipped_questions

OWN = """\
routewright: 1
question: Who asked?
tells: Decisions of a team.
parameters:
  team: { help: whose }
sql: |
  SELECT count(*) AS decisions
  FROM decision_records
  WHERE tags['team'] = $team
"""


def test_the_shipped_questions_are_listed_with_their_parameters(tmp_path: Path) -> None:
    ended = CommandLine(tmp_path)("ledger", "ask")
    assert (ended.code, ended.err) == (0, "")
    listed = {line.split("  ")[0]: line for line in ended.out.splitlines()[2:]}
    assert listed.keys() == shipped_questions().keys()
    assert "What was slow?" in listed["slow"] and listed["slow"].endswith("since=24h, most=10")


def test_own_questions_stand_beside_the_shipped_ones_and_before_them(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    for folder in ("questions", "desk/questions", "shared"):
        (tmp_path / folder).mkdir(parents=True)
    command.write("questions/who.yaml", OWN)
    command.write("desk/questions/who.yaml", OWN.replace("Who asked?", "Who asked at the desk?"))
    command.write("shared/cost.yaml", OWN.replace("Who asked?", "What do we pay?"))
    command.configure(f'[questions]\nfolders = ["{tmp_path}/shared", "~/none"]\n')
    here = command("ledger", "ask").out
    assert "who  " in here and "Who asked?" in here and str(tmp_path / "shared") in here
    assert "What do we pay?" in here and "What does work cost?" not in here
    assert "at the desk" in command("ledger", "ask", "--policy", "desk/policy.yaml").out
    assert (
        "at the desk" in command("ledger", "ask", environment={"ROUTEWRIGHT_POLICY": "desk/policy.yaml"}).out
    )
    told = command("ledger", "ask", "who", "--sql")
    assert (told.code, told.err) == (
        2,
        "error: the question `who` needs `team`: whose\n  = help: --param team=VALUE\n",
    )
    told = command("ledger", "ask", "who", "--sql", "--param", "team=a")
    assert (told.code, told.out) == (0, "".join(OWN.split("sql: |\n")[1].replace("\n  ", "\n")[2:]))
    command("run", "policy.yaml", "hello", "--simulate", "--tag", "team=a'b")
    asked = command("ledger", "ask", "who", "--param", "team=a'b", "--format", "csv")
    assert (asked.code, asked.out) == (0, "decisions\n1\n")


def test_a_bad_file_is_named_with_its_line_and_hides_no_other(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    (tmp_path / "questions").mkdir()
    command.write("questions/who.yaml", OWN.replace("$team", "$tema"))
    ended = command("ledger", "ask")
    assert ended.code == 3
    assert "latency" in ended.out
    assert "questions/who.yaml:9:24: error[bad-question]: `$tema` is not declared\n" in ended.err
    assert command("ledger", "ask", "cost", "--sql").code == 0
    assert command("ledger", "ask", "who", "--sql").code == 3
    checked = command("check", "questions")
    assert (checked.code, "questions/who.yaml:9:24: error" in checked.out) == (3, True)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT $team FROM a WHERE", "questions/who.yaml:6:26: error[sql]: syntax error at or near `WHERE`"),
        ("DELETE FROM a WHERE b = $team", "questions/who.yaml: error[bad-statement]: `DELETE` was not run"),
        ("SELECT $team; SELECT 2", "questions/who.yaml: error[bad-statement]: one statement was expected"),
    ],
)
def test_check_says_whether_it_is_a_statement_that_reads(tmp_path: Path, sql: str, told: str) -> None:
    command = CommandLine(tmp_path)
    (tmp_path / "questions").mkdir()
    command.write("questions/who.yaml", f"{OWN.split('sql: |')[0]}sql: {sql}\n")
    ended = command("check", "questions/who.yaml")
    assert (ended.code, ended.err) == (3, "")
    assert ended.out.startswith(told), ended.out


def test_a_mistake_in_a_statement_is_shown_in_the_file(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command("run", "policy.yaml", "hello", "--simulate")
    (tmp_path / "questions").mkdir()
    command.write("questions/who.yaml", OWN.replace("decision_records\n", "decsion_records\n"))
    ended = command("ledger", "ask", "who", "--param", "team=a")
    assert ended.code == 2
    assert "questions/who.yaml:8:8\n" in ended.err or "questions/who.yaml:8:8:" in ended.err, ended.err


@pytest.mark.parametrize(
    ("key", "value"),
    [("units", "{ m: count }"), ("chart", "{ value: m, label: n }"), ("chart", "{ value: n, label: m }")],
)
def test_a_column_that_the_statement_does_not_give_is_a_mistake(tmp_path: Path, key: str, value: str) -> None:
    command = CommandLine(tmp_path)
    command("run", "policy.yaml", "hello", "--simulate")
    (tmp_path / "questions").mkdir()
    written = f"{OWN.split('parameters:')[0]}units: {{ n: count }}\nsql: SELECT 1 AS n\n"
    command.write("questions/who.yaml", written)
    assert command("ledger", "ask", "who").code == 0
    written = written.replace("units: { n: count }", f"{key}: {value}")
    command.write("questions/who.yaml", written)
    ended = command("ledger", "ask", "who")
    assert (ended.code, ended.err) == (
        2,
        f"error: `{key}` of `who` names the column `m`, which the statement does not give\n"
        f"  = help: change `{key}` in questions/who.yaml\n",
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lateny"], "error: there is no question `lateny`\n  = help: did you mean `latency`?"),
        (["cost", "--param", "by=moon"], "error: `by` is `moon`: expected one of team, model"),
        (["cost", "since"], "error: a parameter: `since` is not NAME=VALUE"),
        (["cost", "by=model", "--param", "by=day"], "error: a parameter gives `by` twice"),
        (["--param", "a=b"], "error: --param needs the name of a question"),
        (["../policy"], "error: there is no question `../policy`"),
    ],
)
def test_what_cannot_be_asked_is_said(tmp_path: Path, arguments: list[str], message: str) -> None:
    ended = CommandLine(tmp_path)("ledger", "ask", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(message)


def test_simulated_work_is_counted_where_it_is_asked_for(tmp_path: Path) -> None:
    command = CommandLine(tmp_path)
    command("run", "policy.yaml", "hello", "--simulate", "--tag", "team=a", "--fail", "small=overloaded")
    real = command("ledger", "ask", "cost")
    assert (real.code, real.out) == (0, "")
    assert real.err == (
        "No call was made in this time.\n1 simulated decision is not counted: ask with --simulated\n"
    )
    assert command("ledger", "ask", "cost", "--format", "csv").err == real.err.partition("\n")[2]
    simulated = command("ledger", "ask", "cost", "--simulated")
    assert [line.split() for line in simulated.out.splitlines()[2:]] == [["a", "2", "1", "1", "0"]]
    assert command("ledger", "ask", "cost", "--format", "json").out == "[]\n"
    (tmp_path / "questions").mkdir()
    for view, of_real, of_simulated in (
        ("decisions_first", 0, 1),
        ("Attempts_First", 0, 2),
        ("DECISIONS_FLAT", 0, 1),
        ("all_decisions_first", 1, 1),
    ):
        statement = f"SELECT count(*) AS n FROM {view}"
        command.write("questions/who.yaml", f"{OWN.split('parameters:')[0]}sql: {statement}\n")
        for flags, expected in (((), of_real), (("--simulated",), of_simulated)):
            assert command("ledger", "ask", "who", "--format", "csv", *flags).out == f"n\n{expected}\n", view
    command.write("questions/who.yaml", f"{OWN.split('parameters:')[0]}sql: FROM main.decisions_first\n")
    assert (
        "`main.decisions_first` has no simulated work" in command("ledger", "ask", "who", "--simulated").err
    )


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT 1", "\nSELECT 1"),
        ("SELECT * FROM routing_daily", "WITH routing_daily AS (…)\nSELECT * FROM routing_daily"),
        ("FROM all_routing_daily", "\nFROM all_routing_daily"),
        ("FROM Routing_Daily", "WITH routing_daily AS (…)\nFROM Routing_Daily"),
        (
            "-- a\n  with x AS (FROM routing_daily)",
            "-- a\n  with routing_daily AS (…),\n       x AS (FROM routing_daily)",
        ),
    ],
)
def test_a_statement_about_simulated_work_is_a_line_longer(sql: str, expected: str) -> None:
    made = about_simulated(sql)
    assert re.sub(r"\(SELECT .*? WHERE simulated\w*\)", "(…)", made) == expected
    assert made.count("\n") == sql.count("\n") + 1


def test_examples_in_docstrings_hold() -> None:
    for module in (charts, shown_module):
        assert doctest.testmod(module).failed == 0


def test_bars_and_lines_are_as_long_and_high_as_their_numbers() -> None:
    assert bars([8, 4, 1, 0, None, -1], width=4) == ["████", "██", "▌", "", "", ""]
    assert bars([8, 4, 0.01], width=4, ascii=True) == ["####", "##", "#"]
    assert bars([0.0, None]) == ["", ""]
    assert sparkline([0, 1, 2, 4, None, 8]) == "▁▁▂▄ █"
    assert sparkline([0, None, 8], ascii=True) == "_ #"


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("SELECT * FROM routing_daily", "all_routing_daily"),
        ("SELECT count(*) AS n FROM Decisions_Flat", "all_decisions_flat"),
        ("SELECT sum(1) FROM decisions_first", "all_decisions_first"),
        ("SELECT count(*) FROM all_decisions_flat", None),
        ("SELECT * FROM all_decisions_flat WHERE team = 'b'", None),
        ("SELECT 0", None),
    ],
)
def test_a_view_of_real_work_that_is_empty_names_the_one_of_simulated_work(
    only_simulated: CommandLine, sql: str, named: str | None
) -> None:
    ended = only_simulated("ledger", "sql", sql)
    told = f"the ledger has only simulated work: ask `{named}`, which holds it too\n"
    assert (ended.code, ended.err) == (0, told if named else "")


@pytest.fixture(scope="module")
def only_simulated(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    command = CommandLine(tmp_path_factory.mktemp("simulated"))
    assert command("run", "policy.yaml", "hello", "--simulate", "--quiet").code == 0
    return command
