"""Asks the ledger in SQL, and prints the rows or writes them into a file."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Literal

from routewright.engine.report import TaskError
from routewright.ledger import (
    BINARY_FORMS,
    FileForm,
    Ledger,
    LedgerError,
    QueryResult,
    Written,
    form_of,
    plain_names,
    to_csv,
    to_json,
    to_jsonl,
    to_table,
)
from routewright.private_files import whole_file

from .opened import ledger_at, print_notices
from .options import AskFlags, LimitFlags, OutputFlags, SqlFlags, StatementFlags
from .progress import statement_progress
from .statement import statement_of, values_of
from .table import column_lines
from .writer import counted, writer

AnyForm = FileForm | Literal["table"]
"""The form of an answer, in a file or not."""


def ask_and_print(argument: str | None, where: StatementFlags, how: SqlFlags) -> None:
    """Run one statement and print its rows, or write them into the file that is named."""
    form = asked_form(how)
    statement, values = statement_of(argument, where.file), values_of(where.param or [])
    with ledger_at(how.ledger, create=False) as opened, _reported_under(statement.source):
        found = answer_in_form(opened, statement.sql, values, form, how)
        if found is not None and not any(value for row in found.rows for value in row):
            _tell_simulated(opened, statement.sql)


def _tell_simulated(opened: Ledger, sql: str) -> None:
    """Where views of real work are asked and have none: that the ledger has simulated work, if it has nothing else."""
    named = sorted(set(plain_views(opened)) & set(re.findall(r"\w+", sql.lower())))
    if named and not opened.query("SELECT 1 FROM decisions_flat LIMIT 1").rows and count_simulated(opened):
        writer.note(f"the ledger has only simulated work: ask `all_{named[0]}`, which holds it too")


def plain_views(opened: Ledger) -> tuple[str, ...]:
    """The names of the views of real work, those of policies too."""
    return plain_names([str(name) for (name,) in opened.query("SHOW TABLES", max_rows=None).rows])


def count_simulated(opened: Ledger) -> int:
    """How many simulated decisions the ledger has, which no view counts unless it is asked for them."""
    [[count]] = opened.query("SELECT count(*) FROM all_decisions_flat WHERE simulated").rows
    return int(count)


def asked_form(how: SqlFlags) -> AnyForm:
    """The form of the answer. Raises TaskError, before anything is computed, if its file may not be written."""
    refuse_output(how.output, force=how.force)
    return how.format or ("table" if how.output is None else form_by_name(how.output))


def count_imported(opened: Ledger) -> int:
    """How many requests were imported, which no view of real work counts."""
    [[count]] = opened.query("SELECT count(*) FROM imported_decisions").rows
    return int(count)


def answer_in_form(
    opened: Ledger,
    sql: str,
    values: Mapping[str, object],
    form: AnyForm,
    how: SqlFlags,
    *,
    show: Callable[[QueryResult], None] | None = None,
) -> QueryResult | None:
    """Print what a statement gives, or write it into the file that is named; ``show`` prints it for people.

    Returns what was printed, None where DuckDB has written it.
    """
    if form == "parquet" or form == "arrow" or (form != "table" and how.output is not None):
        export(opened, sql, values, form, how, how.output, how.max_rows)
        return None
    asked = _asked(how)
    result = ask(opened, sql, values, asked)
    if how.output is not None:
        _write_table(result, how.output, force=how.force)
    elif form == "table" and show is not None:
        show(result)
    else:
        print_answer(opened, result, replace(asked, format=form))
        return result
    tell_about(opened, result, asked)
    return result


def _asked(how: SqlFlags) -> AskFlags:
    limits = {one.name: getattr(how, one.name) for one in fields(LimitFlags)}
    return AskFlags(**limits, max_rows=how.max_rows or AskFlags.max_rows)


def ask(opened: Ledger, sql: str, values: Mapping[str, object], how: AskFlags) -> QueryResult:
    """What a statement gives within the limits of a command."""
    with statement_progress() as progress:
        return opened.query(
            sql,
            values,
            timezone=how.timezone,
            interval_text=True,
            max_rows=how.max_rows,
            timeout_s=how.timeout,
            max_memory_mb=how.max_memory,
            max_disk_mb=how.max_disk,
            progress=progress,
        )


def print_answer(opened: Ledger, result: QueryResult, how: AskFlags) -> None:
    """Print the rows in the form of a command, and what is to be known of them."""
    print_rows_as(result, how.format)
    tell_about(opened, result, how)


def print_rows_as(result: QueryResult, form: Literal["table", "csv", "json", "jsonl"]) -> None:
    """Print the rows in a form that is text."""
    match form:
        case "json":
            writer.json(to_json(result))
        case "jsonl":
            writer.json(to_jsonl(result))
        case "csv":
            writer.csv(to_csv(result))
        case "table":
            header, rows = to_table(result)
            writer.table(header, rows)
            if not rows:
                writer.remark("no rows")


def tell_about(opened: Ledger, result: QueryResult, how: AskFlags) -> None:
    """Say what is to be known of an answer: how fresh it is, what is missing from it, and what waits."""
    _tell(opened, result, how.max_rows)


def _tell(opened: Ledger, result: QueryResult | Written, max_rows: int | None) -> None:
    if result.newest_at is not None:
        writer.remark(f"newest decision in the ledger: {result.newest_at:%Y-%m-%d %H:%M:%S} UTC")
    print_notices(opened)
    for note in result.notes:
        writer.note(note)
    if result.truncated:
        writer.note(f"stopped after row {max_rows}: there are more, see --max-rows")


def print_rows(opened: Ledger, statement: str) -> None:
    """Run one statement and print its rows as a table."""
    print_answer(opened, opened.query(statement), AskFlags())


def refuse_output(file: Path | None, *, force: bool) -> None:
    """Raise TaskError, before anything is computed, if the file may not be written."""
    if file is not None and file.exists() and not force:
        raise TaskError(f"`{file}` is there already", help="name another file, or replace it with --force")


def form_by_name(file: Path) -> FileForm:
    """The form that a file's name tells. Raises TaskError if it tells none."""
    if (form := form_of(file)) is None:
        raise TaskError(
            f"the name of `{file}` does not say what form it has", help="name the form with --format"
        )
    return form


def export(
    opened: Ledger,
    sql: str,
    values: Mapping[str, object],
    form: FileForm,
    how: OutputFlags,
    file: Path | None,
    max_rows: int | None = None,
) -> None:
    """Write what a statement gives into a file, and say so; without one, to standard output."""
    if file is not None:
        written = _write(opened, sql, values, form, how, file, max_rows)
        writer.remark(f"{counted(written.rows, 'row')} written to {file}")
    elif form in BINARY_FORMS and sys.stdout.isatty():
        raise TaskError(f"{form} is not for a terminal", help="name a file with -o, or pipe it somewhere")
    else:
        # It is written elsewhere first, so that the ledger is not held open for whoever reads slowly.
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / "rows"
            written = _write(opened, sql, values, form, how, whole, max_rows)
            with whole.open("rb") as rows:
                writer.bytes(rows)
    _tell(opened, written, max_rows)


def _write(
    opened: Ledger,
    sql: str,
    values: Mapping[str, object],
    form: FileForm,
    how: OutputFlags,
    file: Path,
    max_rows: int | None,
) -> Written:
    with statement_progress() as progress:
        return opened.export(
            sql,
            file,
            values,
            form=form,
            overwrite=how.force,
            timezone=how.timezone,
            max_rows=max_rows,
            timeout_s=how.timeout,
            max_memory_mb=how.max_memory,
            max_disk_mb=how.max_disk,
            progress=progress,
        )


@contextmanager
def _reported_under(source: str) -> Iterator[None]:
    """Mistakes are reported under the name of where the statement is."""
    try:
        yield
    except LedgerError as error:
        if error.problem is not None:
            error.problem = replace(error.problem, source=source)
        raise


def _write_table(result: QueryResult, file: Path, *, force: bool) -> None:
    header, rows = to_table(result)
    with whole_file(file, replace=force) as draft:
        draft.write_text("".join(f"{line}\n" for line in column_lines(header, rows)), encoding="utf-8")
    writer.remark(f"{counted(len(rows), 'row')} written to {file}")
