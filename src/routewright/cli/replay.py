"""Replays the ledger under a candidate policy, and prints what would have gone elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

from routewright.engine.report import TaskError
from routewright.ledger import (
    Move,
    ReplayReport,
    Selection,
    SelfReport,
    now_in,
    parse_moment,
)
from routewright.loading import load_policy

from .exit_codes import ExitCode
from .opened import ledger_at, print_notices
from .options import ReplayFlags
from .progress import statement_progress
from .writer import counted, writer

_MOST_ROWS = 20


def replay_and_print(policy: Path | None, how: ReplayFlags) -> ExitCode:
    """Replay under ``policy``, or with ``--self`` every decision under its own; 1 if what was to fail has happened."""
    if how.again == (policy is not None):
        raise TaskError("name a candidate policy, or give --self")
    selection = _selection(how)
    candidate = None if policy is None else load_policy(policy)
    with ledger_at(how.ledger, create=False) as opened:
        with statement_progress() as progress:
            if candidate is None:
                return _print_self(opened.replay_self(selection, progress=progress), how)
            report = opened.replay(candidate, selection, examples=how.examples, progress=progress)
        if how.format == "json":
            writer.json_value(asdict(report))
        else:
            _print(report)
        print_notices(opened)
    return ExitCode.OK


def _selection(how: ReplayFlags) -> Selection:
    now = now_in(how.timezone)
    try:
        since, until = (
            None if text is None else parse_moment(text, now=now) for text in (how.since, how.until)
        )
    except ValueError as error:
        raise TaskError(f"expected {error}") from None
    return Selection(since, until, how.where, _share(how.sample), how.simulated)


def _print_self(report: SelfReport, how: ReplayFlags) -> ExitCode:
    if how.format == "json":
        writer.json_value(asdict(report))
    else:
        writer.text(
            f"{counted(report.rows, 'decision')} made again: {counted(report.different, 'difference')}"
        )
        rows = [
            [one.what, one.policy_digest, f"{one.rows:,}", one.why, one.example] for one in report.differences
        ]
        if rows:
            writer.text()
            writer.table(["differs", "policy", "decisions", "why", "such as"], rows)
    return ExitCode.CHECK_FAILED if report.different else ExitCode.OK


def _share(text: str) -> float:
    """A share as people write it: `5%` or `0.05`."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        raise TaskError(f"`{text}` is not a share", help="such as 5% or 0.05") from None


def _print(report: ReplayReport) -> None:
    """The report as text: the sum first, then what goes where, by which rules, and what could not be decided."""
    for line in _summary(report):
        writer.text(line)
    changed = [move for move in report.moves if move.before != move.after]
    for title, header, rows in (
        (
            "what goes elsewhere",
            ["from", "to", "decisions", "share", "such as"],
            list(_move_rows(report, changed)),
        ),
        ("rules", ["rule", "before", "now", "change"], list(_rule_rows(report))),
        ("not decided again", ["why", "decisions", "missing", "such as"], list(_missing_rows(report))),
    ):
        if rows:
            writer.text()
            writer.text(title)
            writer.table(header, rows)
    for note in report.notes:
        writer.note(note)


def _summary(report: ReplayReport) -> Iterator[str]:
    yield f"{report.candidate.name} {report.candidate.digest}"
    yield f"{counted(report.rows, 'recorded decision')}, {report.decided:,} decided again"
    if report.decided:
        share = f"{report.elsewhere / report.decided:.1%}"
        yield f"{report.elsewhere:,} go elsewhere ({share}), {report.other_plan:,} keep their target with another plan"
        yield (
            f"{report.dead_ends_after:,} have no target ({report.dead_ends_before:,} before), "
            f"{report.new_dead_ends:,} of them had one"
        )


def _move_rows(report: ReplayReport, moves: Sequence[Move]) -> Iterator[list[str]]:
    for move in moves[:_MOST_ROWS]:
        such = move.examples[0].decision_id if move.examples else ""
        yield [move.before, move.after, f"{move.rows:,}", f"{move.rows / report.decided:.1%}", such]
    rest = moves[_MOST_ROWS:]
    if rest:
        rows = sum(move.rows for move in rest)
        yield [f"{len(rest)} more", "", f"{rows:,}", f"{rows / report.decided:.1%}", ""]


def _rule_rows(report: ReplayReport) -> Iterator[list[str]]:
    for hits in report.rules[:_MOST_ROWS]:
        change = hits.after - hits.before
        yield [
            hits.rule or "(no rule)",
            f"{hits.before:,}",
            f"{hits.after:,}",
            f"{change:+,}" if change else "",
        ]


def _missing_rows(report: ReplayReport) -> Iterator[list[str]]:
    for one in report.not_decided:
        missing = ", ".join(f"{name} ({rows:,})" for name, rows in one.missing)
        yield [one.text, f"{one.rows:,}", missing, one.example]
