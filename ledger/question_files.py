"""Reads the files of saved questions, with all that is wrong with each. Opens no files but the shipped ones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from routewright.engine.policy import Source, place_problem, read_shape
from routewright.engine.report import PolicyError, Problem

from .asking import one_statement, placed
from .connection import open_in_memory
from .errors import LedgerError
from .limits import Limits
from .moments import BEGINNING
from .question import Question, QuestionFile, written

QUESTION_SUFFIX: Final = ".yaml"
SHIPPED_FOLDER: Final = Path(__file__).parent / "questions"

NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,49}")
"""The name of a question: that of its file, without the suffix."""

_NAMED: Final = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
_NOT_CODE: Final = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/", re.DOTALL)


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
                declared.value(written(declared.default), now=BEGINNING)
            except ValueError as error:
                at(f"the default of `{parameter}` is not {error}", "parameters", parameter, "default")
    used = named_in(shape.sql) - document.node_at(("parameters",)).lost
    for parameter in sorted(shape.parameters.keys() - used):
        at(f"the statement has no `${parameter}`", "parameters", parameter, key=True)
    for parameter in sorted(used - shape.parameters.keys()):
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
