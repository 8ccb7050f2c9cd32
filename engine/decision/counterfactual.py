"""A decision in, the smallest changes of its features that would have led elsewhere out.

The search is exact over one feature, then over two: booleans, the members of enums, and for numbers and text
the values that conditions compare them with, on and beside each threshold. Between thresholds no condition
over one feature changes, so nothing is missed there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations, product

from ..condition import BOOLEAN, INTEGER, NUMBER, STRING, thresholds
from ..errors import FeatureError, TaskError
from ..policy.compiled import CompiledFeature, CompiledPolicy
from .decide import decide
from .decision import Decision

__all__ = ["MAX_TRIALS", "Change", "smallest_changes"]

MAX_TRIALS = 20_000
"""Decisions tried before the search stops and says so."""

_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Change:
    """New values for one or two features, with the old ones (None: unknown), and where they would lead."""

    features: Mapping[str, tuple[object, object]]
    outcome: str
    rule: str | None
    target: str | None


def smallest_changes(decision: Decision) -> tuple[tuple[Change, ...], bool]:
    """Return changes of one feature that lead to another target or outcome, else changes of two.

    One change for each place they lead to, at most twelve: those that lead to a model first, then in the order
    of the policy's features; and whether the search saw everything.
    """
    policy = decision.policy
    options = _options(policy, decision)
    names = list(options)
    trials = 0
    for size in (1, 2):
        found: dict[tuple[str, str | None, str | None], Change] = {}
        for chosen in combinations(names, size):
            for values in product(*(options[name] for name in chosen)):
                trials += 1
                if trials > MAX_TRIALS:
                    return _shown(found.values()), False
                change = _try(decision, dict(zip(chosen, values, strict=True)))
                if change is not None:
                    found.setdefault((change.outcome, change.rule, change.target), change)
        if found:
            return _shown(found.values()), True
    return (), True


def _shown(changes: Iterable[Change]) -> tuple[Change, ...]:
    return tuple(sorted(changes, key=lambda change: change.target is None))[:_SHOWN]


def _try(decision: Decision, changed: Mapping[str, object]) -> Change | None:
    task = replace(decision.task, features={**decision.task.features, **changed})
    try:
        other = decide(decision.policy, task, decision.state, decision_id=decision.id)
    except (FeatureError, TaskError):
        # Outside the feature's limits, or a split that would need a draw: not a change one could make.
        return None
    if (other.outcome, other.target) == (decision.outcome, decision.target):
        return None
    slots = decision.policy.slots
    before = {name: (decision.values[slots[name]], value) for name, value in changed.items()}
    return Change(before, other.outcome, other.matched, other.target)


def _options(policy: CompiledPolicy, decision: Decision) -> dict[str, list[object]]:
    """For each feature, the other values worth trying."""
    known = policy.cache.get("thresholds")
    if known is None:
        known = policy.cache["thresholds"] = _thresholds(policy)
    options: dict[str, list[object]] = {}
    for slot, feature in enumerate(policy.features):
        current = decision.values[slot]
        values = [v for v in _candidates(feature, known.get(feature.name, set())) if v != current]
        if values:
            options[feature.name] = values
    return options


def _thresholds(policy: CompiledPolicy) -> dict[str, set[object]]:
    """The literals that each feature is compared with, in any condition that bears on routing."""
    found: dict[str, set[object]] = {}
    conditions = [rule.when for rule in policy.rules]
    for constraint in policy.constraints:
        conditions += [constraint.when, constraint.require]
    for condition in conditions:
        for name, values in thresholds(condition).items():
            found.setdefault(name, set()).update(values)
    for feature in policy.features:
        if feature.derived is not None and feature.derived.fact == "prompt_tokens":
            windows = {model.context_length for model in policy.catalog.models if model.context_length}
            found.setdefault(feature.name, set()).update(windows)
    return found


def _candidates(feature: CompiledFeature, limits: set[object]) -> list[object]:
    declaration = feature.declaration
    if declaration.enum is not None:
        return list(declaration.enum)
    if declaration.type == BOOLEAN:
        return [True, False]
    if declaration.type == STRING:
        return list[object](sorted(str(limit) for limit in limits))
    if declaration.type in (INTEGER, NUMBER):
        whole = declaration.type == INTEGER
        numbers = sorted({number for limit in limits for number in _beside(limit, whole=whole)})
        low = -math.inf if feature.minimum is None else feature.minimum
        high = math.inf if feature.maximum is None else feature.maximum
        return [number for number in numbers if low <= number <= high]
    return []


def _beside(limit: object, *, whole: bool) -> Iterator[int | float]:
    """A threshold and its neighbours: of integers the next ones, of numbers the closest there are."""
    if not isinstance(limit, (int, float)):
        return
    if whole:
        yield from (math.floor(limit), math.ceil(limit), math.floor(limit) - 1, math.ceil(limit) + 1)
    else:
        yield from (
            float(limit),
            math.nextafter(float(limit), -math.inf),
            math.nextafter(float(limit), math.inf),
        )
