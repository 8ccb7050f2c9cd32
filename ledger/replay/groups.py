"""Recorded tasks and what a candidate makes of them, those that came out alike counted together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from routewright.engine.decision import Decision

from .redeciding import Reason, Redecided

UNKNOWN: Final = "unknown"
"""The outcome of an imported request of which the source does not say where it went."""


class Came(NamedTuple):
    """How a decision came out. Fallbacks and parts of the plan are ids of models, in order."""

    rule: str | None
    outcome: str | None
    target: str | None
    fallbacks: tuple[str, ...] = ()
    parts: tuple[str, ...] = ()
    """Steps and members beside the answer with what the rule says of them, as ``parts_of`` writes them."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows with the same recorded and the same new decision.

    ``after`` is None where there is no new decision, and ``reason`` then says why. ``example`` is the id of one of
    them, ``decision`` what the candidate decided of it.
    """

    policy_digest: str | None
    before: Came
    after: Came | None
    rows: int
    example: str
    reason: Reason | None = None
    why: str | None = None
    decision: Decision | None = None


class Beside(NamedTuple):
    """An ensemble, with the ids of its models."""

    members: Sequence[str]
    combine: str
    quorum: int
    judge: str | None
    override: str | None
    label: str | None


def parts_of(
    steps: Iterable[tuple[str, str, bool, Mapping[str, object]]], ensemble: Beside | None
) -> tuple[str, ...]:
    """What is done beside the answer, such as `verify by glm-4.5 (on_reject escalate)`, with all that changes its end.

    A step is its role, the id of its model, whether it is required, and its options.
    """
    parts = []
    for role, model, required, options in steps:
        said = [f"{key} {value}" for key, value in sorted(options.items()) if value is not None] + [
            "required"
        ] * required
        parts.append(f"{role} by {model}" + (f" ({', '.join(said)})" if said else ""))
    if ensemble is not None:
        parts += [f"member {model}" for model in ensemble.members]
        ends = ensemble._asdict()
        parts += [f"{key} {ends[key]}" for key in Beside._fields[1:] if ends[key] is not None]
    return tuple(parts)


def came_of(decision: Decision) -> Came:
    """How a decision came out."""
    plan, models = decision.plan, decision.policy.catalog.models
    rule = None if decision.rule is None else decision.policy.rules[decision.rule].name
    if plan is None:
        return Came(rule, decision.outcome, None)
    steps = [(step.role, models[step.model].id, step.required, step.options) for step in plan.steps]
    ensemble = None
    if (own := plan.ensemble) is not None:
        judge, override = (None if at is None else models[at].id for at in (own.judge, own.override))
        members = tuple(models[at].id for at in own.members)
        ensemble = Beside(members, own.combine, own.quorum, judge, override, own.label)
    fallbacks = tuple(models[at].id for at in plan.fallbacks)
    return Came(rule, decision.outcome, models[plan.target].id, fallbacks, parts_of(steps, ensemble))


class Grouped:
    """Adds up rows that came out alike."""

    def __init__(self) -> None:
        self._groups: dict[tuple[object, ...], Group] = {}

    def add(self, policy_digest: str | None, before: Came, after: Redecided, rows: int, example: str) -> None:
        """Count ``rows`` that were decided as ``before`` under a policy and now come out as ``after``."""
        came = None if after.decision is None else came_of(after.decision)
        key = (policy_digest, before, came, after.reason, after.why)
        known = self._groups.get(key)
        if known is not None:
            rows, example = rows + known.rows, min(example, known.example)
        decision = after.decision if known is None or example != known.example else known.decision
        self._groups[key] = Group(
            policy_digest, before, came, rows, example, after.reason, after.why, decision
        )

    def groups(self) -> list[Group]:
        """The groups, the largest first."""
        return sorted(self._groups.values(), key=lambda one: (-one.rows, one.example))


def rows_of(groups: Iterable[Group]) -> int:
    """How many rows they have together."""
    return sum(group.rows for group in groups)
