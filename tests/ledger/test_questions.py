"""Saved questions: how a file is read, what is wrong with it, and the values that it is asked with."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from routewright.engine.report import PolicyError, Problem
from routewright.ledger import LedgerError, QuestionError, now_in, read_question
from routewright.ledger.moments import parse_moment

FILE = """\
routewright: 1
question: Who asked?
tells: Decisions of a team.
parameters:
  since: { type: time, default: 7d, help: from when }
  team: { help: whose }
  most: { type: integer, default: 5, least: 1, help: how many }
  by: { one_of: [rule, model], default: rule, help: in which rows }
sql: |
  SELECT $by, $team
  FROM decisions_flat  -- not a $parameter, nor is this: '
  WHERE decided_at >= $since AND 'a $text' <> ''
  LIMIT $most
"""
NOW = datetime(2026, 3, 29, 12, 30, tzinfo=ZoneInfo("Europe/Berlin"))
"""Noon of the day on which clocks went forward."""


def test_each_parameter_has_the_value_that_is_given_or_its_default() -> None:
    question = read_question(FILE, "who", "who.yaml")
    assert question.values({"team": "a'; DROP TABLE x"}, now=NOW) == {
        "since": datetime(2026, 3, 22, 12, 30, tzinfo=ZoneInfo("Europe/Berlin")),
        "team": "a'; DROP TABLE x",
        "most": 5,
        "by": "rule",
    }
    given = {"team": "t", "most": "7", "by": "model", "since": "2026-01-31"}
    assert question.values(given, now=NOW)["since"] == datetime(2026, 1, 31, tzinfo=NOW.tzinfo)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "the question `who` needs `team`: whose"),
        ({"team": "t", "tema": "t"}, "the question `who` has no parameter `tema`"),
        ({"team": "t", "most": "many"}, "`most` is `many`: expected a whole number"),
        ({"team": "t", "most": "0"}, "`most` is `0`: expected a whole number from 1 on"),
        (
            {"team": "t", "most": "9" * 20},
            "`most` is `99999999999999999999`: expected a whole number, at most 9,2",
        ),
        ({"team": "t", "by": "user"}, "`by` is `user`: expected one of rule, model"),
        ({"team": "t", "since": "7 moons"}, "`since` is `7 moons`: expected a time such as"),
    ],
)
def test_a_value_that_does_not_fit_is_named(given: dict[str, str], message: str) -> None:
    with pytest.raises(QuestionError) as raised:
        read_question(FILE, "who", "who.yaml").values(given, now=NOW)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today", datetime(2026, 3, 28, 23, tzinfo=UTC)),
        ("yesterday", datetime(2026, 3, 27, 23, tzinfo=UTC)),
        ("1.5h", datetime(2026, 3, 29, 9, tzinfo=UTC)),
        ("all", datetime(1970, 1, 1, tzinfo=UTC)),
        ("99999999d", datetime(1970, 1, 1, tzinfo=UTC)),
        ("2026-03-29", datetime(2026, 3, 28, 23, tzinfo=UTC)),
        ("2026-03-29T12:00", datetime(2026, 3, 29, 10, tzinfo=UTC)),
        ("2026-03-29T12:00Z", datetime(2026, 3, 29, 12, tzinfo=UTC)),
    ],
)
def test_a_time_is_meant_in_the_zone_of_the_question(text: str, expected: datetime) -> None:
    assert parse_moment(text, now=NOW).astimezone(UTC) == expected


@pytest.mark.parametrize(
    ("now", "text", "ago"),
    [
        (datetime(2026, 3, 29, 3, 30, tzinfo=NOW.tzinfo), "1h", timedelta(hours=1)),
        (datetime(2026, 3, 29, 3, 30, tzinfo=NOW.tzinfo), "24h", timedelta(hours=24)),
        (datetime(2026, 3, 29, 3, 30, tzinfo=NOW.tzinfo), "1d", timedelta(hours=23)),
        (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=NOW.tzinfo), "60m", timedelta(hours=1)),
        (datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=NOW.tzinfo), "1d", timedelta(hours=25)),
    ],
)
def test_hours_are_as_long_as_ever_where_clocks_change(now: datetime, text: str, ago: timedelta) -> None:
    assert now.astimezone(UTC) - parse_moment(text, now=now).astimezone(UTC) == ago


def test_a_zone_that_is_none_is_refused() -> None:
    for zone in ("Europe/Berlyn", "../etc/passwd", ""):
        with pytest.raises(QuestionError, match="is not a time zone"):
            now_in(zone)


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (("question: Who asked?\n", ""), "1:1", "the file needs the key `question`"),
        (("tells:", "tels:"), "3:1", "unknown key `tels`"),
        (("default: 7d", "default: 7x"), "5:33", "the default of `since` is not a time such as"),
        (
            ("type: integer", "type: int"),
            "7:17",
            "`type` takes `text`, `integer`, `number`, `boolean` or `time`",
        ),
        (("$team", "$tema"), "6:3", "the statement has no `$team`"),
        (("$team", "$tema"), "10:15", "`$tema` is not declared"),
        (("sql: |", "sql: >"), "9:6", "a statement of several lines is written below `sql: |`"),
        (("[rule, model]", "[rule, model], type: number"), "8:38", "`by` is one of some texts, and of type"),
        (("sql:", "chart: { value: x }\nsql:"), "9:1", "`chart` needs the key `label`"),
    ],
)
def test_a_mistake_in_a_file_is_shown_with_its_line(
    change: tuple[str, str], place: str, message: str
) -> None:
    with pytest.raises(PolicyError) as raised:
        read_question(FILE.replace(*change), "who", "who.yaml")
    found = {f"{p.line}:{p.column}": p.message for p in raised.value.problems}
    assert found.get(place, "").startswith(message), found


def test_a_file_with_another_name_is_no_question() -> None:
    with pytest.raises(PolicyError, match="`Who asked` is no name for a question"):
        read_question(FILE, "Who asked", "Who asked.yaml")


def test_a_mistake_in_the_statement_has_its_place_in_the_file() -> None:
    sql = read_question(FILE, "who", "who.yaml").sql
    error = LedgerError(
        "no such table", problem=Problem("sql", "no such table", source="sql", line=2, column=6)
    )
    assert sql.splitlines()[1][5:].startswith("decisions_flat")
    problem = read_question(FILE, "who", "who.yaml").placed(error).problem
    assert problem is not None and problem.source == "who.yaml"
    assert (problem.line, problem.column) == (11, 8)
    assert FILE.splitlines()[10][7:].startswith("decisions_flat")
