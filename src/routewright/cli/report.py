"""Writes answers of the ledger as one page of HTML: the metrics, the shipped questions and the user's own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from routewright.engine.report import PolicyError, TaskError
from routewright.ledger import Ledger, LedgerError, Question, QuestionError, now_in, shipped_questions
from routewright.loading import all_questions
from routewright.private_files import whole_file

from .ask import answer, folders_of, simulated_text
from .opened import ledger_at, print_notices
from .options import AskFlags, QuestionFlags
from .page import Page, Section
from .report_page import page_html
from .shown import shown
from .sql import count_simulated, refuse_output
from .writer import counted, writer

_ASKED: Final[Sequence[tuple[str, Mapping[str, str]]]] = (
    ("daily", {}),
    ("routing", {}),
    ("latency", {"by": "model"}),
    ("slow", {}),
    ("success", {"by": "model"}),
    ("errors", {}),
    ("fallbacks", {"by": "rule"}),
    ("fell-back", {}),
    ("cost", {"by": "team"}),
    ("cost", {"by": "model"}),
    ("cost", {"by": "day"}),
    ("outcomes", {}),
    ("private", {}),
    ("quotas", {}),
    ("policy-change", {}),
    ("unused-rules", {}),
    ("unknown-features", {}),
)
"""The shipped questions on the page, with parameters beside the period; what is called at this moment is not on it."""


def write_report(
    out: Path,
    path: Path | None,
    since: str,
    title: str | None,
    which: QuestionFlags,
    *,
    timezone: str,
    force: bool,
) -> None:
    """Write the page to a file, which appears whole or not at all. Raises TaskError if it is there already."""
    refuse_output(out, force=force)
    if not out.parent.is_dir():
        raise TaskError(f"there is no folder `{out.parent}`")
    now = now_in(timezone)
    with ledger_at(path, create=False) as opened:
        newest_at = opened.query("SELECT 1").newest_at
        sections = list(_sections(opened, since, which, now))
        hidden = 0 if which.simulated else count_simulated(opened)
        notices = [*opened.notices(), *([simulated_text(hidden)] if hidden else [])]
    begin = shipped_questions()["daily"].values({"since": since}, now=now)["since"]
    assert isinstance(begin, datetime)
    work = "Simulated" if which.simulated else "Real"
    period = f"{begin:%Y-%m-%d %H:%M} to {now:%Y-%m-%d %H:%M} {timezone}"
    newest = "none" if newest_at is None else f"{newest_at.astimezone(now.tzinfo):%Y-%m-%d %H:%M:%S}"
    facts = [
        f"{work} work from {period}",
        f"From the ledger {opened.path}; its newest decision: {newest}",
    ]
    page = Page(title or "What was routed", facts, notices, sections)
    try:
        with whole_file(out, replace=force) as draft:
            draft.write_text(page_html(page), encoding="utf-8")
    except OSError as error:
        raise TaskError(f"cannot write `{out}`: {(error.strerror or str(error)).lower()}") from None
    print_notices(opened)
    if failed := [one.name for one in sections if one.failed]:
        writer.note(
            f"{counted(len(failed), 'question')} could not be asked, as the page says: {', '.join(failed)}"
        )
    writer.remark(f"written to {out}")


def _sections(opened: Ledger, since: str, which: QuestionFlags, now: datetime) -> Iterator[Section]:
    for name, given in _ASKED:
        yield _section(opened, shipped_questions()[name], {"since": since, **given}, which, now)
    for one in all_questions(folders_of(which.policy)):
        if isinstance(one, PolicyError):
            file = one.problems[0].source or "a question"
            why = f"not asked: {one.problems[0].message}"
            yield Section(Path(file).stem, Path(file).stem, "", None, why, failed=True)
        elif shipped_questions().get(one.name) is not one:
            yield _section(opened, one, {"since": since}, which, now)


def _section(
    opened: Ledger, question: Question, given: Mapping[str, str], which: QuestionFlags, now: datetime
) -> Section:
    """A question with those of the given parameters that it has; a part of the page says why it could not be asked."""
    taken = {name: text for name, text in given.items() if name in question.shape.parameters}
    title = question.shape.question
    key = question.name
    if "by" in taken:
        title, key = f"{title.rstrip('?')}, by {taken['by']}?", f"{key}-{taken['by']}"
    try:
        values = question.values(taken, now=now)
        result = answer(
            opened, question, values, AskFlags(timezone=str(now.tzinfo)), simulated=which.simulated
        )
        seen = shown(question, result, values) if result.rows else None
    except (LedgerError, QuestionError) as error:
        return Section(key, title, question.shape.tells, None, f"not asked: {error}", failed=True)
    note = None if result.rows else question.shape.empty or "Nothing."
    return Section(key, title, question.shape.tells, seen, note)
