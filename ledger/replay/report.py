"""The report of a replay: what would have gone elsewhere, by which rules, and what could not be decided again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from .groups import Came, Group, rows_of
from .redeciding import REASONS, Reason

MOST_MOVES: Final = 200
"""So many moves are told one by one; the rest is added up."""


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A policy by its name and digest, and of how many replayed rows it was the one."""

    name: str
    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Example:
    """One decision: its id, and how it came out before and would now; the number of ``rows`` that came out alike."""

    decision_id: str
    before: Came
    after: Came | None
    rows: int


@dataclass(frozen=True, slots=True)
class Move:
    """Rows that went to one model and would go to another one. What had or would have no target has its outcome
    there, in parentheses: ``(no_target)``."""

    before: str
    after: str
    rows: int
    examples: tuple[Example, ...]


@dataclass(frozen=True, slots=True)
class RuleHits:
    """How many rows a rule decided, before and now; None is the name where no rule matched."""

    rule: str | None
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class NotDecided:
    """Rows that could not be decided again, for one reason; ``missing`` names what was, with the number of rows."""

    reason: Reason
    rows: int
    missing: tuple[tuple[str, int], ...]
    example: str

    @property
    def text(self) -> str:
        """The reason in words."""
        return REASONS[self.reason]


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a candidate would have made of recorded decisions.

    ``rows`` were replayed and ``decided`` decided again. Of those, ``elsewhere`` have another target, or have one where
    there was none; ``other_plan`` have the same target with other fallbacks or steps. ``dead_ends_before`` and
    ``dead_ends_after`` count those without a target, and ``new_dead_ends`` those that had one.
    """

    candidate: NamedPolicy
    policies: tuple[NamedPolicy, ...]
    rows: int
    decided: int
    elsewhere: int
    other_plan: int
    dead_ends_before: int
    dead_ends_after: int
    new_dead_ends: int
    moves: tuple[Move, ...]
    rules: tuple[RuleHits, ...]
    not_decided: tuple[NotDecided, ...]
    notes: tuple[str, ...]
    seconds: float

    @property
    def elsewhere_share(self) -> float | None:
        """The share of decided rows that go elsewhere; None where none was decided."""
        return self.elsewhere / self.decided if self.decided else None


def place_of(came: Came) -> str:
    """Where a decision leads: the target, or the outcome in parentheses."""
    return came.target if came.target is not None else f"({came.outcome})"


def moves_of(groups: Sequence[Group], examples: int) -> tuple[Move, ...]:
    """The moves between two places, the most frequent first, each with so many examples of the commonest groups."""
    by_places: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        if group.after is not None:
            places = place_of(group.before), place_of(group.after)
            by_places.setdefault(places, []).append(group)
    found = [
        Move(
            before,
            after,
            rows_of(alike),
            tuple(Example(one.example, one.before, one.after, one.rows) for one in alike[:examples]),
        )
        for (before, after), alike in by_places.items()
    ]
    return tuple(sorted(found, key=lambda one: (-one.rows, one.before, one.after)))


def rules_of(groups: Sequence[Group]) -> tuple[RuleHits, ...]:
    """How many decided rows each rule decided, before and now, by the larger change."""
    before, after = Counter[str | None](), Counter[str | None]()
    for group in groups:
        if group.after is not None:
            before[group.before.rule] += group.rows
            after[group.after.rule] += group.rows
    hits = [RuleHits(rule, before[rule], after[rule]) for rule in {*before, *after}]
    return tuple(sorted(hits, key=lambda one: (-abs(one.after - one.before), -one.before, one.rule or "")))


def not_decided_of(groups: Sequence[Group], named: int) -> tuple[NotDecided, ...]:
    """Why rows could not be decided again, each with what was missing most."""
    found = []
    for reason in REASONS:
        alike = [group for group in groups if group.reason == reason]
        if alike:
            missing = Counter[str]()
            for group in alike:
                missing[group.why or ""] += group.rows
            most = tuple((why, rows) for why, rows in missing.most_common(named) if why)
            found.append(NotDecided(reason, rows_of(alike), most, alike[0].example))
    return tuple(sorted(found, key=lambda one: -one.rows))


def report_of(
    groups: Sequence[Group],
    candidate: tuple[str, str],
    names: dict[str, str],
    notes: Sequence[str],
    seconds: float,
    examples: int,
) -> ReplayReport:
    """The report on ``groups``; ``names`` has the recorded policies' names by their digests."""
    decided = [group for group in groups if group.after is not None]
    by_policy = Counter[str]()
    for group in groups:
        by_policy[group.policy_digest or ""] += group.rows
    pairs = [(group, group.before, group.after) for group in decided if group.after is not None]
    return ReplayReport(
        candidate=NamedPolicy(*candidate, rows_of(decided)),
        policies=tuple(
            NamedPolicy(names.get(digest, ""), digest, rows) for digest, rows in by_policy.most_common()
        ),
        rows=rows_of(groups),
        decided=rows_of(decided),
        elsewhere=rows_of(group for group, before, after in pairs if place_of(before) != place_of(after)),
        other_plan=rows_of(
            group
            for group, before, after in pairs
            if place_of(before) == place_of(after)
            and (before.fallbacks, before.parts) != (after.fallbacks, after.parts)
        ),
        dead_ends_before=rows_of(group for group, before, _ in pairs if before.target is None),
        dead_ends_after=rows_of(group for group, _, after in pairs if after.target is None),
        new_dead_ends=rows_of(
            group for group, before, after in pairs if before.target is not None and after.target is None
        ),
        moves=moves_of(decided, examples),
        rules=rules_of(decided),
        not_decided=not_decided_of(groups, 3),
        notes=tuple(notes),
        seconds=seconds,
    )
