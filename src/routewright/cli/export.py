"""Writes tables and views of the ledger into files."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from routewright.engine.report import TaskError, suggest
from routewright.ledger import FileForm, Ledger, form_of, now_in, parse_moment
from routewright.private_files import make_private_folder

from .opened import ledger_at, print_notices
from .options import ExportFlags
from .sql import export, form_by_name, refuse_output
from .writer import writer

_STDOUT: Final = Path("-")
_BY_DEFAULT: Final = ("decision_records", "attempt_rows")

_DECIDED: Final = """\
"decision_id"::UUID IN (
    SELECT d."decision_id" FROM (
        SELECT "decision_id", "at_us" FROM "decision_records"
        UNION ALL SELECT "decision_id", "at_us" FROM "imported_decisions"
    ) AS d
    WHERE {}
)"""

_TIMES: Final = {
    "decided_at": "(({0} >= $since) AND ({0} < $until))".format('"decided_at"'),
    "at_us": "(({0} >= $since) AND ({0} < $until))".format('make_timestamptz("at_us")'),
    "decision_id": _DECIDED.format(
        '((make_timestamptz(d."at_us") >= $since) AND (make_timestamptz(d."at_us") < $until))'
    ),
    "day": '(("day" >= $since::DATE) AND ("day" <= ($until - INTERVAL 1 MICROSECOND)::DATE))',
}
"""By column, which rows are of a time; the first column that a view has counts. Attempts go with their decisions."""


def export_views(how: ExportFlags) -> None:
    """Write the views that are named, else decisions and attempts: one into a file, several into a folder."""
    if how.output is None:
        raise TaskError(
            "it is not said where to", help="name a file or a folder with -o; - is standard output"
        )
    if how.log:
        _export_log(how, how.output)
        return
    names = list(dict.fromkeys(how.view or _BY_DEFAULT))
    files = _files(names, how.output, how.format)
    for _, file, _ in files:
        refuse_output(file, force=how.force)
    period = _period(how)
    with ledger_at(how.ledger, create=False) as opened:
        statements = [(_statement(opened, name, period), file, form) for name, file, form in files]
        if files[0][1] is not None and files[0][1].parent == how.output:
            make_private_folder(how.output)
        for sql, file, form in statements:
            export(opened, sql, period, form, how, file)


def _export_log(how: ExportFlags, output: Path) -> None:
    """Write the log and what it is made of."""
    if how.view or how.since or how.until or how.format not in (None, "jsonl") or output == _STDOUT:
        raise TaskError(
            "--log writes the whole log into one file of JSON lines",
            help="leave out --view, --since, --until and --format, and name a file with -o",
        )
    refuse_output(output, force=how.force)
    with ledger_at(how.ledger, create=False) as opened:
        leaves = opened.export_log(output, overwrite=how.force, timeout_s=how.timeout)
    writer.remark(f"{leaves:,} {'leaf' if leaves == 1 else 'leaves'} written to {output}")
    print_notices(opened)


def _files(
    names: list[str], output: Path, format: FileForm | None
) -> list[tuple[str, Path | None, FileForm]]:
    """Each view with its file, None for standard output, and the form of it."""
    if output == _STDOUT:
        if len(names) > 1:
            raise TaskError("only one view goes to standard output", help="name it with --view")
        return [(names[0], None, format or "csv")]
    if len(names) == 1 and not output.is_dir() and (form := format or form_of(output)) is not None:
        return [(names[0], output, form)]
    if len(names) == 1 and format is None and output.suffix and not output.is_dir():
        return [(names[0], output, form_by_name(output))]  # which says that it tells none
    if form_of(output) is not None and not output.is_dir():
        raise TaskError(
            f"{' and '.join(f'`{name}`' for name in names)} do not go into one file",
            help="name a folder with -o, or one view with --view",
        )
    form = format or "parquet"
    return [(name, output / f"{name}.{form}", form) for name in names]


def _period(how: ExportFlags) -> Mapping[str, datetime]:
    """The values of ``$since`` and ``$until``; none if all times are asked for."""
    if how.since is None and how.until is None:
        return {}
    now = now_in(how.timezone)
    period = {}
    for name, text in (("since", how.since or "all"), ("until", how.until or "9999-01-01")):
        try:
            period[name] = parse_moment(text, now=now)
        except ValueError as error:
            raise TaskError(f"--{name} `{text}` is not {error}") from None
    if period["since"] >= period["until"]:
        raise TaskError("--since is not before --until")
    return period


def _statement(opened: Ledger, name: str, period: Mapping[str, datetime]) -> str:
    """What selects the rows of a view in the period. Raises TaskError if there is no such view, or it has no times."""
    known = [str(row[0]) for row in opened.query("SHOW TABLES", max_rows=None).rows]
    found = next((one for one in known if one.lower() == name.lower()), None)
    if found is None:
        raise TaskError(f"the ledger has no view `{name}`", help=suggest(name, known, label="there"))
    view = '"' + found.replace('"', '""') + '"'
    if not period:
        return f"SELECT * FROM main.{view}"
    columns = opened.query(f"SELECT * FROM main.{view} LIMIT 0").columns
    condition = next((text for column, text in _TIMES.items() if column in columns), None)
    if condition is None:
        raise TaskError(
            f"`{found}` does not say of which time its rows are", help="leave out --since and --until"
        )
    return f"SELECT * FROM main.{view} WHERE {condition}"
