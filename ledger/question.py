"""Saved questions: a statement with a title, parameters and a chart, in a YAML file.

The values of parameters are bound to the statement, and never become a part of its text. Reads no files but the shipped
questions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from functools import cache
from pathlib import Path
from typing import Final, Literal, TypeVar
from zoneinfo import ZoneInfo

from pydantic import Field

from routewright.engine.policy import (
    FeatureName,
    FormatVersion,
    Shape,
    Source,
    Text,
    parse_duration_ms,
    place_problem,
    read_shape,
)
from routewright.engine.report import PolicyError, Problem, suggest

from .asking import one_statement, placed
from .connection import open_in_memory
from .errors import LedgerError, QuestionError
from .limits import Limits
from .views import simulated_select, view_names

QUESTION_SUFFIX: Final = ".yaml"
SHIPPED_FOLDER: Final = Path(__file__).parent / "questions"

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,49}")
"""The name of a question: that of its file, without the suffix."""

Value = str | int | float | bool | datetime
Unit = Literal["ms", "percent", "money", "count"]

_NAMED: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_NOT_CODE: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)
_WITH: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*WITH(?:\s+RECURSIVE)?\b", re.IGNORECASE | re.DOTALL)
_BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)

N = TypeVar("N", int, float)


class Parameter(Shape):
    """A value that is asked for by name: ``$name`` in the statement."""

    type: Literal["text", "integer", "number", "boolean", "time"] = "text"
    one_of: list[Text] | None = None
    default: bool | int | float | str | None = None
    help: Text

    def value(self, text: str, *, now: datetime) -> Value:
        """The value in ``text``. Raises ValueError with what was expected instead."""
        if self.one_of is not None and text not in self.one_of:
            raise ValueError(f"one of {', '.join(self.one_of)}")
        match self.type:
            case "text":
                return text
            case "time":
                return parse_moment(text, now=now)
            case "boolean":
                if text not in ("true", "false"):
                    raise ValueError("true or false")
                return text == "true"
            case "integer":
                return _number(text, int, "a whole number")
            case "number":
                return _number(text, float, "a number")


class Chart(Shape):
    """One bar for each row, as long as the number in the column ``value`` and named by one column or more, ``label``.

    A ``line`` has a point for each row, with one line for each text in the column ``series``. A ``value`` that ends in
    ``*`` is any column that begins so, such as ``known_cost_*``: each that has a number gets a chart.
    """

    kind: Literal["bars", "line"] = "bars"
    value: Text
    label: Text | list[Text]
    series: Text | None = None

    @property
    def labels(self) -> Sequence[str]:
        """The columns whose texts together name a row."""
        return [self.label] if isinstance(self.label, str) else self.label

    def columns(self, columns: Sequence[str]) -> tuple[str, ...]:
        """Those of ``columns`` that are shown."""
        if not self.value.endswith("*"):
            return tuple(one for one in columns if one == self.value)
        return tuple(one for one in columns if one.startswith(self.value[:-1]))


class QuestionFile(Shape):
    """A file with a question. ``tells`` says what the answer means, ``empty`` what it means that there are no rows."""

    routewright: FormatVersion
    question: Text
    tells: Text
    parameters: dict[FeatureName, Parameter] = Field(default_factory=dict)
    units: dict[Text, Unit] = Field(default_factory=dict)
    chart: Chart | None = None
    empty: Text | None = None
    sql: Text


@dataclass(frozen=True, slots=True)
class Question:
    """A question that can be asked, the file it is from, and the line and column where its statement begins there."""

    name: str
    shape: QuestionFile
    source: str
    sql_at: tuple[int, int]

    @property
    def sql(self) -> str:
        """The statement."""
        return self.shape.sql

    def values(self, given: Mapping[str, str], *, now: datetime) -> dict[str, Value]:
        """The value of each parameter: the one that is ``given``, else its default.

        ``now`` is the time from which durations count back, and whose zone says when a day begins. Raises
        QuestionError for a name that the question does not have, a value that does not fit, and a value that is
        missing.
        """
        parameters = self.shape.parameters
        for name in given:
            if name not in parameters:
                help = suggest(name, parameters, label="it takes") if parameters else "it takes none"
                raise QuestionError(f"the question `{self.name}` has no parameter `{name}`", help=help)
        values = {}
        for name, parameter in parameters.items():
            if name not in given and parameter.default is None:
                raise QuestionError(
                    f"the question `{self.name}` needs `{name}`: {parameter.help}",
                    help=f"--param {name}=VALUE",
                )
            text = given.get(name, _written(parameter.default))
            try:
                values[name] = parameter.value(text, now=now)
            except ValueError as error:
                raise QuestionError(f"`{name}` is `{text}`: expected {error}", help=parameter.help) from None
        return values

    def placed(self, error: LedgerError, *, lines_before: int = 0) -> LedgerError:
        """An error of the statement with its place in the question's file.

        ``lines_before`` are lines that stood before the statement when it was asked.
        """
        problem = error.problem
        if problem is None or problem.line is None or problem.column is None:
            return error
        line, column = self.sql_at
        at = replace(
            problem,
            source=self.source,
            line=problem.line - lines_before + line - 1,
            column=problem.column + column - 1,
        )
        return LedgerError(str(error), help=error.help, problem=at)


def read_question(text: str, name: str, source: str) -> Question:
    """The question in ``text``, whose file is reported as ``source``. Raises PolicyError with all its problems."""
    read = read_shape(text, source, QuestionFile)
    problems = [*read.problems, *_problems(read, name)]
    if problems:
        raise PolicyError(problems)
    return Question(name, read.shape, source, _begin_of_sql(read))


def check_statement(question: Question) -> None:
    """Raise LedgerError, with the place in the question's file, for what is no statement that reads.

    Whether there are the tables and columns that it names, only a ledger can say.
    """
    try:
        with open_in_memory() as connection, placed(question.sql, Limits()):
            one_statement(connection, question.sql, dict.fromkeys(question.shape.parameters))
    except LedgerError as error:
        raise question.placed(error) from error


@cache
def shipped_questions() -> Mapping[str, Question]:
    """The questions that come with Routewright, by name."""
    files = sorted(SHIPPED_FOLDER.glob(f"*{QUESTION_SUFFIX}"))
    return {
        path.stem: read_question(path.read_text(encoding="utf-8"), path.stem, str(path)) for path in files
    }


def parse_moment(text: str, *, now: datetime) -> datetime:
    """A time that is written as ``7d`` (so long before ``now``), ``today``, ``yesterday``, ``all`` or in ISO 8601.

    Days begin in the zone of ``now``, which is also that of a time without one. Raises ValueError.
    """
    wanted = "a time such as `7d`, `24h`, `today`, `2026-01-31` or `all`"
    zone = now.tzinfo or UTC
    if text == "all":
        return _BEGINNING
    if text in ("today", "yesterday"):
        day = now.date() - timedelta(days=text == "yesterday")
        return datetime.combine(day, time.min, zone)
    if text[:1].isdigit() and text[-1:].isalpha() and "T" not in text:
        try:
            return max(now - timedelta(milliseconds=parse_duration_ms(text)), _BEGINNING)
        except OverflowError:
            return _BEGINNING
        except ValueError:
            raise ValueError(wanted) from None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(wanted) from None
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def about_simulated(sql: str) -> str:
    """The statement about what was simulated, in place of what was real: one line stands before it.

    Each view that it names is what ``all_`` and its name holds of simulated work.
    """
    words = set(re.findall(r"\w+", sql))
    replaced = ", ".join(f"{name} AS ({simulated_select(name)})" for name in view_names() if name in words)
    if not replaced:
        return f"\n{sql}"
    begin = _WITH.match(sql)
    if begin is None:
        return f"WITH {replaced}\n{sql}"
    before = sql[: begin.end()]
    indent = " " * len(before.rpartition("\n")[2])  # what stood behind the keyword keeps its column
    return f"{before} {replaced},\n{indent}{sql[begin.end() :]}"


def now_in(zone: str) -> datetime:
    """The time now in a zone of the platform's database. Raises QuestionError for one that it does not have."""
    try:
        return datetime.now(ZoneInfo(zone))
    except (OSError, ValueError, KeyError):
        raise QuestionError(f"`{zone}` is not a time zone", help="such as UTC or Europe/Berlin") from None


def named_in(sql: str) -> set[str]:
    """The names of the parameters in a statement."""
    return set(_NAMED.findall(_NOT_CODE.sub(" ", sql)))


def _problems(read: Source[QuestionFile], name: str) -> list[Problem]:
    """What is wrong with a question beyond its shape."""
    shape, document = read.shape, read.document
    found = []
    if NAME.fullmatch(name) is None:
        help = "such as `slow-calls.yaml`: small letters, digits and `-`"
        found.append(
            Problem("question-name", f"`{name}` is no name for a question", help, source=document.source)
        )

    def at(message: str, *path: str, help: str | None = None, key: bool = False) -> None:
        problem = Problem("bad-question", message, help, path=path)
        found.append(place_problem(problem, document, at_key=key))

    for parameter, declared in shape.parameters.items():
        if declared.one_of is not None and declared.type != "text":
            at(
                f"`{parameter}` is one of some texts, and of type `{declared.type}`",
                "parameters",
                parameter,
                "type",
            )
        elif declared.default is not None:
            try:
                declared.value(_written(declared.default), now=_BEGINNING)
            except ValueError as error:
                at(f"the default of `{parameter}` is not {error}", "parameters", parameter, "default")
    used = named_in(shape.sql)
    for parameter in shape.parameters.keys() - used:
        at(f"the statement has no `${parameter}`", "parameters", parameter, key=True)
    for parameter in used - shape.parameters.keys():
        start = document.text.find(f"${parameter}", document.root.children["sql"].start)
        problem = Problem("bad-question", f"`${parameter}` is not declared", "declare it in `parameters`")
        found.append(document.place(problem, start, start + len(parameter) + 1))
    node = document.root.children["sql"]
    if node.style != "|" and "\n" in document.text[node.start : node.end].strip():
        at("a statement of several lines is written below `sql: |`", "sql")
    return found


def _begin_of_sql(read: Source[QuestionFile]) -> tuple[int, int]:
    """The line and the column of the file at which the statement begins."""
    document = read.document
    node = document.root.children["sql"]
    line = document.written.line_of(node.start)
    if node.style != "|":
        return line, 1 + node.start - (document.text.rfind("\n", 0, node.start) + 1) + (
            node.style is not None
        )
    first = next(one for one in document.text[node.start :].split("\n")[1:] if one.strip())
    return line + 1, 1 + len(first) - len(first.lstrip(" "))


def _written(value: bool | int | float | str | None) -> str:
    """A default as it is written on a command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _number(text: str, kind: type[N], wanted: str) -> N:
    try:
        return kind(text)
    except ValueError:
        raise ValueError(wanted) from None
