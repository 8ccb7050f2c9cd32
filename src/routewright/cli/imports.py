"""Imports the logs of others, and lists and removes what was imported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Literal

import typer

from routewright.engine.report import escape_line, iso_time
from routewright.ledger import ImportReport, Ledger, check_import

from .exit_codes import ExitCode
from .opened import ledger_at, print_notices
from .progress import progress_line
from .writer import writer

_TOLD: Final = ("time", "model", "status", "total_ms", "input_tokens", "output_tokens", "cost", "currency")
"""Fields that many questions need: it is told how many calls do not say them."""


def import_files(
    path: Path | None,
    source: str,
    files: Sequence[Path],
    name: str | None,
    mapping: Path | None,
    *,
    dry_run: bool,
    format: Literal["text", "json"],
) -> None:
    """Import the files one after another and print what came of each; exit with status 1 if rows are missing."""
    reports = []
    opened = None if dry_run else ledger_at(path, create=True)
    for file in files:
        report = _import(opened, source, file, name, mapping)
        reports.append(report)
        if format == "text":
            _print(report)
        _print_missing(file, report)
    if format == "json":
        writer.json_value([_as_json(report) for report in reports])
    if opened is not None:
        print_notices(opened)
    if any(report.bad or report.changed for report in reports):
        raise typer.Exit(ExitCode.CHECK_FAILED)


def remove_import(path: Path | None, name: str, format: Literal["text", "json"]) -> None:
    """Remove an import and say what it had."""
    with ledger_at(path, create=False) as opened:
        decisions, calls = opened.remove_import(name)
    if format == "json":
        writer.json_value({"name": name, "decisions": decisions, "calls": calls})
    else:
        writer.text(escape_line(f"{name}: {_n(decisions, 'request')} and {_n(calls, 'call')} removed"))
    print_notices(opened)


def print_imports(path: Path | None, format: Literal["table", "json"]) -> None:
    """Print the imports, the one that was read last at the end."""
    with ledger_at(path, create=False) as opened:
        found = opened.imports()
    if format == "json":
        writer.json_value([one._asdict() for one in found])
    else:
        header = ["import", "source", "files", "requests", "calls", "outcomes", "bad rows", "last read (UTC)"]
        rows = [
            [
                one.name,
                ", ".join(one.sources) + ("" if one.complete else " (not to the end)"),
                *(
                    f"{number:,}"
                    for number in (one.files, one.decisions, one.calls, one.outcomes, one.bad_rows)
                ),
                iso_time(one.last_at_us),
            ]
            for one in found
        ]
        writer.table(header, rows)
        if not rows:
            writer.remark("nothing was imported")
    print_notices(opened)


def _import(
    opened: Ledger | None, source: str, file: Path, name: str | None, mapping: Path | None
) -> ImportReport:
    with progress_line() as line:

        def show(done: int, size: int, rows: int) -> None:
            if line is not None:
                share = f"{done / size:.0%} of {file.name}, " if 0 < done <= size else ""
                line.show(escape_line(f"importing: {share}{rows:,} rows, {line.elapsed_s:.0f} s"))

        progress = None if line is None else show
        if opened is None:
            return check_import(source, file, name=name, mapping=mapping, progress=progress)
        return opened.import_file(source, file, name=name, mapping=mapping, progress=progress)


def _print(report: ImportReport) -> None:
    kind = "would be read as" if report.dry_run else "read as"
    writer.text(escape_line(f"{report.file}: {_n(report.rows, 'row')} {kind} import `{report.name}`"))
    if report.dry_run:
        writer.text(f"  {_n(report.calls, 'call')} and {_n(report.outcomes, 'outcome')} in it")
    else:
        new = f"{_n(report.new_decisions, 'request')}, {_n(report.new_calls, 'call')}, "
        writer.text(f"  new: {new}{_n(report.new_outcomes, 'outcome')}")
        writer.text(f"  there already: {_n(report.calls - report.new_calls, 'call')}")
    if report.passed_over:
        writer.text(f"  passed over, as no calls of a model: {report.passed_over:,}")
    if report.empty:
        writer.text(f"  without anything to say: {_n(report.empty, 'row')}")
    if report.costs_rounded:
        writer.text(f"  rounded to nano-units, half to even: {_n(report.costs_rounded, 'cost')}")
    if report.calls and (unknown := list(_unknown(report))):
        writer.text(f"  unknown: {', '.join(unknown)}")


def _unknown(report: ImportReport) -> Iterator[str]:
    """Fields that many questions need and some calls do not say, each with their number."""
    for name, known in report.known_fields().items():
        if name in _TOLD and known < report.calls:
            yield f"{name} of {'all' if not known else f'{report.calls - known:,}'}"


def _n(number: int, one: str) -> str:
    return f"{number:,} {one}{'' if number == 1 else 's'}"


def _print_missing(file: Path, report: ImportReport) -> None:
    for row in report.bad_rows:
        writer.note(escape_line(f"{file}:{row.place}: {row.why}; left out"))
    if report.bad > len(report.bad_rows):
        writer.note(f"and {_n(report.bad - len(report.bad_rows), 'more row')} could not be read")
    for place in report.changed_rows:
        writer.note(
            escape_line(f"{file}:{place}: it was imported before with other values, and was left as it was")
        )
    if report.changed > len(report.changed_rows):
        writer.note(f"and {_n(report.changed - len(report.changed_rows), 'more row')} with other values")


def _as_json(report: ImportReport) -> dict[str, Any]:
    values = asdict(report)
    values["bad_rows"] = [row._asdict() for row in report.bad_rows]
    return {**values, "known": report.known_fields()}
