"""Replays the ledger under a candidate policy, and says what would have gone elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from math import nan
from pathlib import Path
from typing import Final, Literal, TypedDict

from routewright.engine.report import TaskError, escape_json
from routewright.ledger import (
    Judged,
    ReplayReport,
    Selection,
    SelfReport,
    now_in,
    parse_assumption,
    parse_check,
    parse_moment,
)
from routewright.loading import load_policy
from routewright.private_files import whole_file

from .exit_codes import ExitCode
from .opened import ledger_at, print_notices
from .options import ReplayFlags
from .page_markdown import page_markdown
from .page_text import TextOfFile, print_page
from .progress import statement_progress
from .replay_page import replay_page
from .replay_sections import Extent
from .report_page import page_html
from .sql import refuse_output
from .writer import counted, writer

Form = Literal["text", "json", "markdown", "html"]

_BY_NAME: Final[dict[str, Form]] = {
    ".txt": "text",
    ".json": "json",
    ".md": "markdown",
    ".markdown": "markdown",
    ".html": "html",
    ".htm": "html",
}

_EXTENTS: Final = {
    "text": Extent(rows=20, examples=3, matrix=False),
    "markdown": Extent(rows=15, examples=10, matrix=True),
    "html": Extent(rows=1000, examples=30, matrix=True),
}


def replay_and_print(policy: Path | None, how: ReplayFlags) -> ExitCode:
    """Replay under ``policy``, or with ``--self`` every decision under its own; 1 if what was to fail has happened."""
    _refuse_unfit(policy, how)
    for bound in how.fail_on or ():
        parse_check(bound)
    files = {file: _form_of(file, how) for file in how.output or ()}
    selection = _selection(how)
    limits: _Limits = {
        "timeout_s": how.timeout,
        "max_memory_mb": how.max_memory,
        "max_disk_mb": how.max_disk,
    }
    candidate = None if policy is None else load_policy(policy, root=how.root)
    with ledger_at(how.ledger, create=False) as opened:
        with statement_progress("replaying") as progress:
            if how.again:
                again = opened.replay_self(selection, progress=progress, **limits)
                _tell_speed(again)
                return _print_self(again, how)
            report = opened.replay(
                candidate,
                selection,
                assume=how.assume or (),
                each=how.each,
                examples=how.examples,
                consequences=how.consequences,
                progress=progress,
                **limits,
            )
        judged = report.judge(*(how.fail_on or ()))
        for file, form in files.items():
            _write(file, _text(report, judged, form, how), force=how.force)
        if not files:
            _print(report, judged, how)
        print_notices(opened)
    _tell_speed(report)
    for one in judged:
        if one.failed:
            writer.note(f"failed: {one.expression}: {one.text}")
    return ExitCode.CHECK_FAILED if any(one.failed for one in judged) else ExitCode.OK


class _Limits(TypedDict):
    timeout_s: float
    max_memory_mb: int
    max_disk_mb: int


def _tell_speed(report: ReplayReport | SelfReport) -> None:
    if report.rows:
        rate = report.rows / max(report.seconds, 0.001)
        writer.remark(f"{report.rows:,} decisions in {report.seconds:.1f} s, {rate:,.0f} a second")


def _refuse_unfit(policy: Path | None, how: ReplayFlags) -> None:
    """Raise TaskError where nothing, or more than one thing, is to be compared."""
    if how.again and (policy is not None or how.assume):
        other = "a candidate" if policy is not None else "--assume"
        raise TaskError(f"--self compares with what was recorded: it takes no {other.removeprefix('a ')}")
    if how.again and (how.output or how.fail_on or how.format not in (None, "text", "json")):
        raise TaskError(
            "--self has no report, so -o, --fail-on and other forms than text and json do not go with it"
        )
    if not (how.again or policy is not None or how.assume):
        raise TaskError("name a candidate policy, or give --assume or --self")
    if how.each and not how.assume:
        raise TaskError("--each is about what --assume says")
    for text in how.assume or ():
        parse_assumption(text)


def _form_of(file: Path, how: ReplayFlags) -> Form:
    """The form of a file. Raises TaskError, before anything is computed, if it may not be written or has none."""
    refuse_output(file, force=how.force)
    if not file.parent.is_dir():
        raise TaskError(f"there is no folder `{file.parent}`")
    form = _BY_NAME.get(file.suffix.lower()) or how.format
    if form is None:
        raise TaskError(
            f"the name of `{file}` does not say what form it has",
            help=f"name the form with --format, or let it end with {', '.join(_BY_NAME)}",
        )
    return form


def _text(report: ReplayReport, judged: Sequence[Judged], form: Form, how: ReplayFlags) -> str:
    """The report in one of its forms."""
    if form == "json":
        return escape_json(json.dumps(_values(report, judged), indent=2, ensure_ascii=False) + "\n")
    page = replay_page(report, judged, _EXTENTS[form], now_in(how.timezone).tzinfo)
    if form == "markdown":
        return page_markdown(page)
    if form == "html":
        return page_html(page)
    print_page(page, text := TextOfFile())
    for note in report.notes:
        text.text(f"note: {note}")
    return str(text)


def _values(report: ReplayReport, judged: Sequence[Judged]) -> dict[str, object]:
    return report.values() | {"checks": [asdict(one) for one in judged]}


def _print(report: ReplayReport, judged: Sequence[Judged], how: ReplayFlags) -> None:
    if how.format == "json":
        writer.json_value(_values(report, judged))
    elif how.format in (None, "text"):
        print_page(replay_page(report, judged, _EXTENTS["text"], now_in(how.timezone).tzinfo), writer)
        for note in report.notes:
            writer.note(f"note: {note}")
    else:
        writer.lines(_text(report, judged, how.format, how).rstrip("\n"))


def _write(file: Path, text: str, *, force: bool) -> None:
    try:
        with whole_file(file, replace=force) as draft:
            draft.write_text(text, encoding="utf-8")
    except OSError as error:
        raise TaskError(f"cannot write `{file}`: {(error.strerror or str(error)).lower()}") from None
    writer.remark(f"written to {file}")


def _selection(how: ReplayFlags) -> Selection:
    now = now_in(how.timezone)
    try:
        since, until = (
            None if text is None else parse_moment(text, now=now) for text in (how.since, how.until)
        )
    except ValueError as error:
        raise TaskError(f"expected {error}") from None
    return Selection(since, until, how.where, _share(how.sample), how.simulated, how.imported)


def _print_self(report: SelfReport, how: ReplayFlags) -> ExitCode:
    if how.format == "json":
        writer.json_value(asdict(report))
    else:
        writer.text(
            f"{counted(report.rows, 'decision')} made again: {counted(report.different, 'difference')}"
        )
        for one in report.lost:
            writer.text(
                f"not made again: {counted(one.rows, 'decision')}, as {one.why}, such as {one.example}"
            )
        rows = [
            [one.what, one.policy_digest, f"{one.rows:,}", one.why, one.example] for one in report.differences
        ]
        if rows:
            writer.text()
            writer.table(["differs", "policy", "decisions", "why", "such as"], rows)
        for note in report.notes:
            writer.note(f"note: {note}")
    return ExitCode.CHECK_FAILED if report.different else ExitCode.OK


def _share(text: str) -> float:
    """A share as people write it: `5%` or `0.05`."""
    try:
        share = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        share = nan
    if not 0 < share <= 1:
        raise TaskError(f"`{text}` is not a share", help="above 0 and at most all: such as 5% or 0.05")
    return share
