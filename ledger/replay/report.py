"""The report of a replay: what would have gone elsewhere, by which rules, and what could not be decided again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import datetime
from typing import Any, Literal

from ..json_values import json_value
from .checks import CHANGED, Judged, parse_check
from .consequences import Consequences
from .examples import Example, Examples
from .groups import UNKNOWN, Came, Group, rows_of
from .redeciding import HELP, REASONS, Reason
from .selecting import Selection


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A policy by its name and digest, and of how many replayed rows it was the one."""

    name: str
    digest: str
    rows: int


@dataclass(frozen=True, slots=True)
class Move:
    """Rows that went to one model and would go to another one. What had or would have no target has its outcome
    there, in parentheses: ``(no_target)``."""

    before: str
    after: str
    rows: int
    examples: tuple[Example, ...]

    @property
    def is_dead_end(self) -> bool:
        """Whether there was a target, and would be none."""
        return not self.before.startswith("(") and self.after.startswith("(")

    @property
    def is_change(self) -> bool:
        """Whether they go elsewhere. Of what no log says where it went, nobody knows."""
        return self.before not in (self.after, f"({UNKNOWN})")


@dataclass(frozen=True, slots=True)
class PlanChange:
    """Rows that keep their target with other fallbacks or steps: models by id, and ``verify by glm-4.5``, in order."""

    target: str
    fallbacks_before: tuple[str, ...]
    fallbacks_after: tuple[str, ...]
    steps_before: tuple[str, ...]
    steps_after: tuple[str, ...]
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

    @property
    def help(self) -> str:
        """What can be done about it."""
        return HELP[self.reason]


@dataclass(frozen=True, slots=True)
class Alone:
    """What comes of one assumption by itself, or of none, which is None: how many rows were decided again, and of them
    how many go elsewhere, and how many have no target that had one."""

    assumption: str | None
    decided: int
    elsewhere: int
    new_dead_ends: int


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a candidate would have made of recorded decisions.

    ``rows`` were selected, made from ``first_at`` to ``last_at``, and ``decided`` decided again. ``unknown_before`` are
    those of an import that does not say where they went: they are compared with nothing. Of the others, ``elsewhere``
    have another target, or have one where there was none; ``other_plan`` have the same target with other fallbacks or
    steps, and ``other_rule`` the same of all that by another rule. ``dead_ends_before`` and ``dead_ends_after`` count
    those without a target, and ``new_dead_ends`` those that had one. ``differences`` are what the candidate does to
    promises of the recorded policy with the most rows, and to the models behind names. ``consequences`` has no metrics
    where they were not asked for.

    ``candidate`` has the digest that it has under what is ``assumed``, and is None where each row was decided by its
    own policy. ``alone`` counts, if that was asked for, what comes of each assumption by itself, after what comes of
    none.
    """

    candidate: NamedPolicy | None
    assumed: tuple[str, ...]
    alone: tuple[Alone, ...]
    policies: tuple[NamedPolicy, ...]
    selection: Selection
    first_at: datetime | None
    last_at: datetime | None
    rows: int
    decided: int
    unknown_before: int
    elsewhere: int
    other_plan: int
    other_rule: int
    dead_ends_before: int
    dead_ends_after: int
    new_dead_ends: int
    moves: tuple[Move, ...]
    plan_changes: tuple[PlanChange, ...]
    rules: tuple[RuleHits, ...]
    not_decided: tuple[NotDecided, ...]
    differences: tuple[str, ...]
    consequences: Consequences
    notes: tuple[str, ...]
    seconds: float

    @property
    def elsewhere_share(self) -> float | None:
        """The share of compared rows that go elsewhere; None where none was compared."""
        return self.elsewhere / self.compared if self.compared else None

    @property
    def compared(self) -> int:
        """How many decided rows are compared with what was recorded: all but those of which the log does not say."""
        return self.decided - self.unknown_before

    def judge(self, *expressions: str) -> tuple[Judged, ...]:
        """Judge each expression that is to fail, such as ``changed>5%``. Raises TaskError where one says nothing."""
        counts = {
            "changed": (self.elsewhere, self.compared),
            "other_plan": (self.other_plan, self.compared),
            "no_target": (self.new_dead_ends, self.compared),
            "not_decided": (self.rows - self.decided, self.rows),
        }
        why = "no decision was selected" if not self.rows else "no decision could be decided again"
        why_not = "nothing of the kind was measured, or consequences were left out" if self.decided else why
        if self.decided:
            why = "the log does not say where any of them went"
        kinds = {kind: [one for one in self.consequences.metrics if one.kind == kind] for kind in CHANGED}
        return tuple(
            check.judge_change(kinds[check.name], why_not)
            if check.name in kinds
            else check.judge(*counts[check.name], why)
            for check in map(parse_check, expressions)
        )

    def values(self) -> dict[str, Any]:
        """The report as JSON has it, properties too; times are in UTC, and what is unknown is None."""
        values: dict[str, Any] = _plain(self)
        return values


def _plain(value: Any) -> Any:
    if hasattr(value, "_fields"):
        return {name: _plain(getattr(value, name)) for name in value._fields}
    if is_dataclass(value):
        told = [name for name, one in vars(type(value)).items() if isinstance(one, property)]
        return {name: _plain(getattr(value, name)) for name in (*(one.name for one in fields(value)), *told)}
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else json_value(value)


def place_of(came: Came) -> str:
    """Where a decision leads: the target, or the outcome in parentheses."""
    return came.target if came.target is not None else f"({came.outcome})"


def _moves(groups: Iterable[Group], examples: Examples) -> tuple[Move, ...]:
    """The moves between two places, the most frequent first."""
    by_places: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        if group.after is not None:
            by_places.setdefault((place_of(group.before), place_of(group.after)), []).append(group)
    bare = [Move(*places, rows_of(alike), ()) for places, alike in by_places.items()]
    # New dead ends come first where examples are explained.
    told = {
        (move.before, move.after): examples.of(by_places[move.before, move.after])
        for move in sorted(bare, key=lambda one: (not one.is_dead_end, *_order(one)))
        if move.before != move.after
    }
    return tuple(
        replace(move, examples=told.get((move.before, move.after), ())) for move in sorted(bare, key=_order)
    )


def _order(move: Move) -> tuple[int, str, str]:
    return -move.rows, move.before, move.after


def _plan_changes(groups: Iterable[Group], examples: Examples) -> tuple[PlanChange, ...]:
    """What differs of the plans of those that keep their target, the most frequent first."""
    by_plans: dict[tuple[Came, Came], list[Group]] = {}
    for group in groups:
        if group.after is not None and _how(group) == "plan":
            # Whatever the rules are: the key has what counts here.
            plans = group.before._replace(rule=None), group.after._replace(rule=None)
            by_plans.setdefault(plans, []).append(group)
    found = sorted(by_plans.items(), key=lambda one: (-rows_of(one[1]), str(one[0])))
    return tuple(
        PlanChange(
            place_of(before),
            before.fallbacks,
            after.fallbacks,
            before.parts,
            after.parts,
            rows_of(alike),
            examples.of(alike),
        )
        for (before, after), alike in found
    )


def _rules(groups: Sequence[Group]) -> tuple[RuleHits, ...]:
    """How many decided rows each rule decided, before and now, by the larger change."""
    before, after = Counter[str | None](), Counter[str | None]()
    for group in groups:
        if group.after is not None:
            before[group.before.rule] += group.rows
            after[group.after.rule] += group.rows
    hits = [RuleHits(rule, before[rule], after[rule]) for rule in {*before, *after}]
    return tuple(sorted(hits, key=lambda one: (-abs(one.after - one.before), -one.before, one.rule or "")))


def _not_decided(groups: Sequence[Group], named: int) -> tuple[NotDecided, ...]:
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


def _alone(assumption: str | None, groups: Sequence[Group]) -> Alone:
    decided = [group for group in groups if group.after is not None]
    return Alone(
        assumption,
        rows_of(decided),
        rows_of(group for group in decided if _how(group) == "elsewhere"),
        rows_of(group for group in decided if _is_new_dead_end(group)),
    )


def _is_new_dead_end(group: Group) -> bool:
    return group.before.target is not None and group.after is not None and group.after.target is None


def _how(group: Group) -> Literal["elsewhere", "plan", "rule", "same"] | None:
    """What differs most of a group between then and now; None where it was not decided again, and where nothing says
    where it went."""
    before, after = group.before, group.after
    if after is None or before.outcome == UNKNOWN:
        return None
    if place_of(before) != place_of(after):
        return "elsewhere"
    if (before.fallbacks, before.parts) != (after.fallbacks, after.parts):
        return "plan"
    return "same" if before.rule == after.rule else "rule"


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a report is made of beside its groups."""

    candidate: tuple[str, str] | None
    assumed: Sequence[str]
    alone: Sequence[tuple[str | None, Sequence[Group]]]
    names: Mapping[str, str]
    selection: Selection
    period: tuple[datetime | None, datetime | None]
    differences: tuple[str, ...]
    notes: Sequence[str]
    examples: Examples
    consequences: Consequences


def report_of(groups: Sequence[Group], of: Replayed, began_s: float) -> ReplayReport:
    """The report on ``groups``, the largest first; ``began_s`` is when the replay began, by the monotonic clock."""
    decided = [group for group in groups if group.after is not None]
    by_policy, by_how = Counter[str](), Counter[str | None]()
    for group in groups:
        by_policy[group.policy_digest or ""] += group.rows
        by_how[_how(group)] += group.rows
    ended = [
        (group, group.before.target, None if group.after is None else group.after.target) for group in decided
    ]
    return ReplayReport(
        candidate=None if of.candidate is None else NamedPolicy(*of.candidate, rows_of(decided)),
        assumed=tuple(of.assumed),
        alone=tuple(_alone(assumption, found) for assumption, found in of.alone),
        policies=tuple(
            NamedPolicy(of.names.get(digest, ""), digest, rows) for digest, rows in by_policy.most_common()
        ),
        selection=of.selection,
        first_at=of.period[0],
        last_at=of.period[1],
        rows=rows_of(groups),
        decided=rows_of(decided),
        unknown_before=rows_of(group for group in decided if group.before.outcome == UNKNOWN),
        elsewhere=by_how["elsewhere"],
        other_plan=by_how["plan"],
        other_rule=by_how["rule"],
        dead_ends_before=rows_of(
            group for group, before, _ in ended if before is None and group.before.outcome != UNKNOWN
        ),
        dead_ends_after=rows_of(group for group, _, after in ended if after is None),
        new_dead_ends=rows_of(filter(_is_new_dead_end, groups)),
        moves=_moves(decided, of.examples),
        plan_changes=_plan_changes(decided, of.examples),
        rules=_rules(decided),
        not_decided=_not_decided(groups, 3),
        differences=of.differences,
        consequences=of.consequences,
        notes=tuple(of.notes),
        seconds=time.monotonic() - began_s,
    )
