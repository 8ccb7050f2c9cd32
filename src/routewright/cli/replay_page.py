"""Says what a replay found, as a page: the result first, then what goes elsewhere, by which rules, and why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, tzinfo
from typing import Final

from routewright.ledger import Judged, ReplayReport

from .page import Page
from .replay_consequences import headlines, means
from .replay_sections import Extent, replay_sections, share_text

_MOST_POLICIES: Final = 5


def replay_page(report: ReplayReport, judged: Sequence[Judged], extent: Extent, zone: tzinfo | None) -> Page:
    """The report as a page; ``judged`` is what was to fail."""
    return Page(
        _title(report),
        list(_facts(report, zone)),
        report.notes,
        replay_sections(report, judged, extent),
        list(_summary(report)),
    )


def _summary(report: ReplayReport) -> Iterator[str]:
    """The result in a line for each thing that differs."""
    if not report.rows:
        yield "no decision was selected"
        return
    if not report.decided:
        yield f"none of {_decisions(report.rows)} could be decided again"
        return
    of = report.compared
    if report.unknown_before:
        unknown = _decisions(report.unknown_before)
        yield f"the log does not say where {unknown} went: there is nothing to compare with"
    if not of:
        yield from means(report)
        return
    changed = report.elsewhere + report.other_plan + report.other_rule
    if not changed:
        yield (
            f"nothing changes: {'all ' if of > 1 else ''}{_decisions(of)} {'keep' if of > 1 else 'keeps'} the rule, "
            "target, fallbacks and steps"
        )
    else:
        yield f"{report.elsewhere:,} of {_decisions(of)} would go elsewhere ({share_text(report.elsewhere, of)})"
        if report.new_dead_ends:
            yield f"{report.new_dead_ends:,} of them would have no target any more"
        if report.other_plan:
            yield (
                f"{report.other_plan:,} {'keeps' if report.other_plan == 1 else 'keep'} the target with other "
                "fallbacks or steps "
                f"({share_text(report.other_plan, of)})"
            )
        if report.other_rule:
            yield (
                f"{report.other_rule:,} {'is' if report.other_rule == 1 else 'are'} decided by another rule, with the "
                "same target, fallbacks and steps"
            )
        yield from headlines(report)
    if undecided := report.rows - report.decided:
        yield f"{_decisions(undecided)} could not be decided again ({share_text(undecided, report.rows)})"


def _facts(report: ReplayReport, zone: tzinfo | None) -> Iterator[str]:
    if report.candidate is not None:
        yield f"candidate: {report.candidate.name} {report.candidate.digest}"
    for assumption in report.assumed:
        yield f"assumed: {assumption}"
    for one in report.policies[:_MOST_POLICIES]:
        name = f"{one.name} {one.digest}".rstrip()  # what was imported has no digest
        yield f"recorded under: {name}, {_decisions(one.rows)}"
    if (more := len(report.policies) - _MOST_POLICIES) > 0:
        yield f"and under {more} more polic{'y' if more == 1 else 'ies'}"
    if report.first_at is not None and report.last_at is not None:
        yield f"decided between {_time(report.first_at, zone)} and {_time(report.last_at, zone)}"
    selection = report.selection
    if selection.where is not None:
        yield f"only where {selection.where}"
    if selection.sample < 1:
        yield f"a sample of {selection.sample * 100:.4g} % of them"
    if selection.import_name is not None and not report.policies:
        yield f"of the import {selection.import_name}"
    if selection.simulated:
        yield "simulated work: no model was asked"


def _title(report: ReplayReport) -> str:
    if report.candidate is None:
        return "Replay of each decision under its own policy"
    return f"Replay under {report.candidate.name}"


def _decisions(rows: int) -> str:
    return f"{rows:,} decision{'' if rows == 1 else 's'}"


def _time(moment: datetime, zone: tzinfo | None) -> str:
    return f"{moment.astimezone(zone):%Y-%m-%d %H:%M:%S} {zone}"
