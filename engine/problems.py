"""Problems in, text for people out: ``file:line:column``, the source line, a caret, a help.

Knows nothing of where problems come from; reads no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .errors import Problem

__all__ = ["MAX_SHOWN_PROBLEMS", "render_problem", "render_problems", "sort_problems"]

MAX_SHOWN_PROBLEMS = 100
"""How many problems are printed before the rest is only counted."""

_MAX_SOURCE_LINE = 160


def sort_problems(problems: Iterable[Problem]) -> list[Problem]:
    """The problems by file, then by place, then by code; those without a place first; each once."""
    unique = dict.fromkeys(problems)
    return sorted(unique, key=lambda p: (p.source or "", p.line or 0, p.column or 0, p.code, p.message))


def render_problem(problem: Problem) -> str:
    """One problem as a few lines, without a trailing newline."""
    place = problem.source or ""
    if problem.line is not None:
        place += f":{problem.line}:{problem.column}"
    elif problem.path:
        place += (": " if place else "") + _path_text(problem.path)
    head = f"{place}: " if place else ""
    lines = [f"{head}error[{problem.code}]: {problem.message}"]
    if problem.source_line is not None and problem.column is not None:
        text, column = _window(problem.source_line, problem.column)
        width = max(1, min(problem.width, len(text) - column + 2))
        lines += [f"  | {text}", f"  | {' ' * (column - 1)}{'^' * width}"]
    if problem.help:
        lines.append(f"  = help: {problem.help}")
    return "\n".join(lines)


def render_problems(problems: Sequence[Problem]) -> str:
    """All problems, one after another; past ``MAX_SHOWN_PROBLEMS`` they are only counted."""
    shown = [render_problem(problem) for problem in problems[:MAX_SHOWN_PROBLEMS]]
    if len(problems) > MAX_SHOWN_PROBLEMS:
        shown.append(f"{len(problems) - MAX_SHOWN_PROBLEMS} more problems are not shown")
    return "\n".join(shown)


def _path_text(path: tuple[str | int, ...]) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else (f".{step}" if text else step)
    return text


def _window(line: str, column: int) -> tuple[str, int]:
    """The part of a long line around ``column``, and the column inside it. Tabs count as one blank."""
    line = line.replace("\t", " ")
    if len(line) <= _MAX_SOURCE_LINE:
        return line, column
    start = max(0, column - _MAX_SOURCE_LINE // 2)
    return line[start : start + _MAX_SOURCE_LINE], column - start
