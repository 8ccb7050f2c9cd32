"""Formats problems for people: ``file:line:column``, the source line, a caret, a help.

Knows nothing about where problems come from; reads no files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .escapes import escape_char, escape_line, is_shown

MAX_PROBLEMS = 200
"""How many problems of one file are kept: a generated file can have one in every line."""

MAX_SHOWN_PROBLEMS = 100
"""How many problems are printed before the rest is only counted."""

_MAX_SOURCE_LINE = 160


@dataclass(frozen=True, slots=True)
class Span:
    """A range of characters: ``text[start:end]``.

    ``part`` says which text: ``()`` is the condition's own text; in a structured condition it is the path to
    the leaf, such as ``("any", 0)``.
    """

    start: int
    end: int
    part: tuple[str | int, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: what is wrong, what may help, and where.

    ``span`` counts characters inside the condition's text. ``path`` is the place inside a file's tree, such
    as ``("rules", 2, "when")``. ``source``, ``line`` and ``column`` (both 1-based), ``source_line`` and
    ``width`` are filled in once the file is known.
    """

    code: str
    message: str
    help: str | None = None
    span: Span | None = None
    path: tuple[str | int, ...] = ()
    source: str | None = None
    line: int | None = None
    column: int | None = None
    source_line: str | None = None
    width: int = 1


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """The problems by file, then by place, then by code; those without a place first; each once."""
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda p: (p.source or "", p.line or 0, p.column or 0, p.code, p.message))


def limit_problems(problems: Iterable[Problem]) -> list[Problem]:
    """The problems of one file sorted; of very many the first ones, and one that says so in place of the rest."""
    ordered = sort_problems(problems)
    if len(ordered) < MAX_PROBLEMS:
        return ordered
    kept = ordered[: MAX_PROBLEMS - 1]
    last = ordered[MAX_PROBLEMS - 1]
    message = f"from here on problems are not reported: there are more than {MAX_PROBLEMS - 1}"
    end = Problem(
        "too-many-problems",
        message,
        source=last.source,
        line=last.line,
        column=last.column,
        source_line=last.source_line,
    )
    return [*kept, end]


def render_problem(problem: Problem, *, kind: Literal["error", "note"] = "error") -> str:
    """One problem as a few lines, without a trailing newline; a ``note`` does not prevent use of the file."""
    place = problem.source or ""
    if problem.line is not None:
        place += f":{problem.line}:{problem.column}"
    elif problem.path:
        place += (": " if place else "") + _path_text(problem.path)
    head = f"{place}: " if place else ""
    lines = [escape_line(f"{head}{kind}[{problem.code}]: {problem.message}")]
    if problem.source_line is not None and problem.column is not None:
        text, column = _window(problem.source_line, problem.column)
        marked = text[column - 1 : column - 1 + problem.width]
        blank, mark = _cells(text[: column - 1]), max(1, _cells(marked))
        lines += [f"  | {escape_line(text)}".rstrip(), f"  | {' ' * blank}{'^' * mark}"]
    if problem.help:
        lines.append(escape_line(f"  = help: {problem.help}"))
    return "\n".join(lines)


def render_problems(problems: Sequence[Problem]) -> str:
    """All problems, one after another; past ``MAX_SHOWN_PROBLEMS`` they are only counted."""
    shown = [render_problem(problem) for problem in problems[:MAX_SHOWN_PROBLEMS]]
    if len(problems) > MAX_SHOWN_PROBLEMS:
        more = len(problems) - MAX_SHOWN_PROBLEMS
        shown.append(f"{more} more {'problem is' if more == 1 else 'problems are'} not shown")
    return "\n".join(shown)


def _path_text(path: tuple[str | int, ...]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
    return text


def _window(line: str, column: int) -> tuple[str, int]:
    """The part of a long line around ``column``, and the column inside it. A tab counts as one blank."""
    start = 0
    if len(line) > _MAX_SOURCE_LINE:
        start = max(0, min(column - _MAX_SOURCE_LINE // 2, len(line) - _MAX_SOURCE_LINE))
    return line[start : start + _MAX_SOURCE_LINE].replace("\t", " "), column - start


def _cells(text: str) -> int:
    """How many cells of a terminal the text takes as it is shown: East Asian letters take two, marks none."""
    if text.isascii() and text.isprintable():
        return len(text)
    cells = 0
    for char in text:
        if not is_shown(char):
            cells += len(escape_char(char))
        elif not unicodedata.combining(char):
            cells += 2 if unicodedata.east_asian_width(char) in "WF" else 1
    return cells
