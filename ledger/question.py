"""Saved questions: a statement with a title, parameters and a chart.

The values of parameters are bound to the statement, and never become a part of its text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final, Literal, TypeVar

from pydantic import Field

from routewright.engine.policy import FeatureName, FormatVersion, Shape, Text
from routewright.engine.report import suggest

from .errors import LedgerError, QuestionError
from .moments import parse_moment
from .views import simulated_select, view_names

Value = str | int | float | bool | datetime
Unit = Literal["ms", "percent", "points", "money", "count", "number"]

_WITH: Final = re.compile(r"(?:\s|--[^\n]*\n|/\*.*?\*/)*WITH(?:\s+RECURSIVE)?\b", re.IGNORECASE | re.DOTALL)

N = TypeVar("N", int, float)

_MOST: Final = 2**63 - 1
"""The largest whole number that DuckDB takes where a number of rows is wanted."""


class Parameter(Shape):
    """A value that is asked for by name: ``$name`` in the statement. A number is ``least`` or more."""

    type: Literal["text", "integer", "number", "boolean", "time"] = "text"
    one_of: list[Text] | None = None
    default: bool | int | float | str | None = None
    least: int | float | None = None
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
                return _number(text, int, "a whole number", self.least)
            case "number":
                return _number(text, float, "a number", self.least)


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
            text = given.get(name, written(parameter.default))
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
        return type(error)(str(error), help=error.help, problem=at)


def about_simulated(sql: str, views: Collection[str] | None = None) -> str:
    """The statement about what was simulated, in place of what was real: one line stands before it.

    Each view that it names is what ``all_`` and its name holds of simulated work. ``views`` are the plain names of all
    views, those of policies too, where a ledger is at hand. Raises QuestionError for a view that is named with its
    schema, since that is always what is real.
    """
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    named = [name for name in (view_names() if views is None else views) if name in words]
    for name in named:
        if re.search(rf'\bmain"?\s*\.\s*"?{name}\b', sql, re.IGNORECASE):
            raise QuestionError(f"`main.{name}` has no simulated work", help=f"write `{name}` alone")
    replaced = ", ".join(f"{name} AS ({simulated_select(name)})" for name in named)
    if not replaced:
        return f"\n{sql}"
    begin = _WITH.match(sql)
    if begin is None:
        return f"WITH {replaced}\n{sql}"
    before = sql[: begin.end()]
    indent = " " * len(before.rpartition("\n")[2])  # what stood behind the keyword keeps its column
    return f"{before} {replaced},\n{indent}{sql[begin.end() :]}"


def _number(text: str, kind: type[N], wanted: str, least: float | None) -> N:
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(wanted) from None
    if least is not None and value < least:
        raise ValueError(f"{wanted} from {least:g} on")
    if not math.isfinite(value) or (kind is int and abs(value) > _MOST):
        raise ValueError(f"{wanted}, at most {_MOST:,}" if kind is int else wanted)
    return value


def written(value: object) -> str:
    """The value of a parameter as it is written on a command line; a time to the minute."""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%dT%H:%M}"
    return str(value).lower() if isinstance(value, bool) else str(value)
