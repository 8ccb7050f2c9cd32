"""Asks saved questions, and lists them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import typer

from routewright.engine.report import PolicyError, Problem, TaskError, render_problems
from routewright.ledger import (
    Ledger,
    LedgerError,
    QueryResult,
    Question,
    about_simulated,
    now_in,
    written,
)
from routewright.loading import all_questions, find_question, user_question_folders
from routewright.tasks import texts_from_flags

from .charts import BAR_WIDTH, BLOCKS, bars, sparkline
from .exit_codes import ExitCode
from .invocation import command_line
from .opened import VARIABLE, ledger_at
from .options import AskFlags, QuestionFlags, SqlFlags
from .shown import Drawn, Shown, highest, short_id, shown
from .sql import (
    answer_in_form,
    ask,
    asked_form,
    count_imported,
    count_simulated,
    plain_views,
    print_rows_as,
)
from .writer import writer

_NARROWEST_BAR = 4

OWN_FOLDER = "questions"
"""The folder of a user's questions, beside the policy or in the working directory."""


def ask_saved(
    name: str | None, param: Sequence[str], show_sql: bool, which: QuestionFlags, how: SqlFlags
) -> None:
    """Ask the question of that name and print its answer; without a name, list all questions."""
    folders = folders_of(which.policy)
    if name is None:
        if param or show_sql:
            raise TaskError(f"{'--param' if param else '--sql'} needs the name of a question")
        _list(folders, how)
        return
    form = asked_form(how)
    question = find_question(name, folders)
    values = question.values(texts_from_flags(param, "a parameter"), now=now_in(how.timezone))
    if show_sql:
        writer.lines(question.sql.rstrip("\n"))
        return

    def show(result: QueryResult) -> None:
        writer.remark(f"{question.shape.question} {question.shape.tells}")
        if result.rows:
            print_shown(shown(question, result, values))
        else:
            writer.note(question.shape.empty or "no rows")
            if values and not which.simulated:
                tell_imported(count_imported(opened))
        if values:
            writer.remark(
                f"asked with {', '.join(f'{one}={written(value)}' for one, value in values.items())}"
            )

    with ledger_at(how.ledger, create=False) as opened, _asked(opened, question, which.simulated) as sql:
        answer_in_form(opened, sql, values, form, how, show=show)
        if values and not which.simulated:
            tell_simulated(count_simulated(opened))


@contextmanager
def _asked(opened: Ledger, question: Question, simulated: bool) -> Iterator[str]:
    """The statement to run; what is wrong with it is reported with its place in the question's file."""
    try:
        yield about_simulated(question.sql, plain_views(opened)) if simulated else question.sql
    except LedgerError as error:
        raise question.placed(error, lines_before=int(simulated)) from error


def folders_of(policy: Path | None) -> tuple[Path, ...]:
    """Where the user's own questions are: beside the policy that is named, else beside that of the environment, else in
    the working directory; then the folders of the configuration."""
    if policy is not None:
        beside = policy.parent
    else:
        beside = Path(given).parent if (given := os.environ.get(VARIABLE)) else Path()
    return (beside / OWN_FOLDER, *user_question_folders())


def answer(
    opened: Ledger,
    question: Question,
    values: Mapping[str, object],
    how: AskFlags,
    *,
    simulated: bool = False,
) -> QueryResult:
    """What a question gives. Raises LedgerError, with the place in the question's file where its statement is wrong."""
    with _asked(opened, question, simulated) as sql:
        return ask(opened, sql, values, how)


def tell_simulated(count: int) -> None:
    """Say that there are decisions which were not counted."""
    if count:
        writer.note(simulated_text(count))


def tell_imported(count: int) -> None:
    """Say that there are imported requests, which were not counted."""
    if count:
        these = "1 imported request is" if count == 1 else f"{count:,} imported requests are"
        writer.note(
            f"{these} not counted: {command_line('ledger', 'ask', 'imported-models')} asks about them"
        )


def simulated_text(count: int) -> str:
    """What is said of decisions that were not counted."""
    these = "1 simulated decision is" if count == 1 else f"{count:,} simulated decisions are"
    return f"{these} not counted: ask with --simulated"


def print_shown(one: Shown) -> None:
    """Print an answer as a table.

    On a terminal ids are cut to what ``ledger show`` needs, and the chart is drawn: as bars beside the rows, if there
    is room for them, or as a line below.
    """
    if not writer.on_terminal:
        writer.table(one.header, one.rows)
        return
    ascii = not writer.says(BLOCKS)
    header, rows = one.header, [[short_id(cell) for cell in row] for row in one.rows]
    lines = []
    for chart in one.charts:
        if chart.kind == "line":
            lines += [_line(chart, name, ascii=ascii) for name in chart.points]
            continue
        width = min(BAR_WIDTH, writer.room_beside(header, rows))
        if width >= _NARROWEST_BAR:
            drawn = bars([point.number for point in chart.all_points], width=width, ascii=ascii)
            header, rows = [*header, ""], [[*row, bar] for row, bar in zip(rows, drawn, strict=True)]
    writer.table(header, rows)
    for line in lines:
        writer.text()
        writer.text(line)


def _line(chart: Drawn, name: str, *, ascii: bool) -> str:
    points = chart.points[name]
    drawn = sparkline([point.number for point in points], ascii=ascii)
    named = f"{chart.title}{f' of {name}' if name else ''}"
    most = highest(points)
    return f"{named}  {points[0].label} {drawn} {points[-1].label}{f'  at most {most.text}' if most else ''}"


def _list(folders: Sequence[Path], how: SqlFlags) -> None:
    rows: list[tuple[str, str, str, str]] = []
    bad: list[Problem] = []
    for one in all_questions(folders):
        if isinstance(one, PolicyError):
            bad += one.problems
        else:
            own = Path(one.source).parent
            parameters = ", ".join(
                name if of.default is None else f"{name}={written(of.default)}"
                for name, of in one.shape.parameters.items()
            )
            rows.append((one.name, one.shape.question, parameters, str(own) if own in folders else ""))
    kept = 4 if any(row[3] for row in rows) else 3
    header = ("name", "question", "parameters", "from")[:kept]
    match how.format:
        case None | "table":
            writer.table(header, [row[:kept] for row in rows])
        case "csv" | "json" | "jsonl":
            listed = QueryResult(header, ("VARCHAR",) * kept, tuple(row[:kept] for row in rows), False)
            print_rows_as(listed, how.format)
        case _:
            raise TaskError(f"the list of questions is not written as {how.format}")
    if bad:
        writer.problems(render_problems(bad), note=True)
        raise typer.Exit(ExitCode.INVALID_POLICY)
