"""Picks examples of what a replay changes, and explains each under both policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from routewright.engine.explain import as_recorded, brief_tree, explain
from routewright.engine.policy import CompiledPolicy
from routewright.engine.record import read_record
from routewright.engine.report import RecordError, ReportTree

from ..restoring import record_text
from .each import Again
from .groups import Came, Group

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MOST_EXPLAINED: Final = 30
"""So many examples of a report are explained, those of the changes that come first; the others have their ids."""

RecordedPolicies = Callable[[str, str], CompiledPolicy]
"""The policy that was recorded under its digest and its catalog's; raises RecordError where there is none."""


@dataclass(frozen=True, slots=True)
class Example:
    """One decision of ``rows`` that came out alike: its id, and how it came out before and would now.

    ``recorded`` and ``candidate`` explain it under both policies, cut to what differs; ``routewright ledger show ID``
    has all of the first. Both are None where the report has examples enough, and where ``missing`` says why.
    """

    decision_id: str
    before: Came
    after: Came | None
    rows: int
    recorded: ReportTree | None = None
    candidate: ReportTree | None = None
    missing: str | None = None


class Examples:
    """Gives examples of groups, up to ``each`` at a time, and explains the first of all."""

    def __init__(
        self, connection: DuckDBPyConnection, policies: RecordedPolicies, again: Again, each: int
    ) -> None:
        self._connection, self._policies, self._again, self._each = connection, policies, again, each
        self._left = MOST_EXPLAINED

    def of(self, groups: Sequence[Group]) -> tuple[Example, ...]:
        """An example of each of the first groups."""
        return tuple(map(self._example, groups[: self._each]))

    def _example(self, group: Group) -> Example:
        told: tuple[ReportTree | None, ReportTree | None, str | None] = (None, None, None)
        if self._left > 0:
            self._left -= 1
            try:
                told = (*self._told(group), None)
            except RecordError as error:
                told = (None, None, str(error))
        return Example(group.example, group.before, group.after, group.rows, *told)

    def _told(self, group: Group) -> tuple[ReportTree, ReportTree | None]:
        text = record_text(self._connection, group.example)
        if text is None:
            raise RecordError("it was imported, and has no record that could be explained")
        record = read_record(text)
        policy = as_recorded(self._policies(record.policy.digest, record.catalog.digest), record)
        recorded, decision = explain(policy, record, search=False), self._again(record).decision
        # A report is handed on, to a review for instance, and nothing is ever erased from it.
        both = (policy, policy if decision is None else decision.policy)
        hidden = {feature.name for one in both for feature in one.features if feature.sensitive}
        rule_after = None if group.after is None else group.after.rule
        before = brief_tree(recorded, rule_after, hidden=hidden)
        if decision is None:
            return before, None
        candidate = explain(decision.policy, decision, search=False)
        return before, brief_tree(candidate, group.before.rule, hidden=hidden)
