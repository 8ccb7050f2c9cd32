"""Says in SQL (DuckDB's) what tells tasks apart under a policy: tasks alike in all of it get the same plan.

It is to recorded tasks what the key of a remembered plan is to one (see ``PlanMemory``), with the open values closed:
of a price, a length, a latency or a draw it is what they come to. Conditions are columns here, made by the target
``sql``; so are the facts of a request, as ``request_facts`` leaves them. What a state comes to is a number that whoever
has the states gives to each (``span``).

INVARIANT: every expression is an integer or NULL, and no text of a policy is in it but as a literal.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from ...policy import CompiledModel, CompiledPolicy, CompiledRule
from .choosing import order_parts, split_parts
from .keys import RULE, KeyPart, condition_column, feature_column, require_column
from .lengths import length_parts
from .spending import cost_parts, quota_parts


def rule_sql(policy: CompiledPolicy, conditions: Sequence[str]) -> str:
    """The expression for ``RULE``, where ``conditions`` are those of the rules.

    A condition is computed for the rows alone that no rule before it has matched.
    """
    cases = []
    for rule, condition in zip(policy.rules, conditions, strict=True):
        code = 2 * rule.index + 1
        match rule.on_unknown:
            case "skip":
                cases.append(f"WHEN {condition} THEN {code}")
            case "match":
                cases.append(f"WHEN coalesce({condition}, true) THEN {code}")
            case "fail":
                either = f"(CASE WHEN {condition} THEN {code} ELSE {code + 1} END)"
                cases.append(f"WHEN coalesce({condition}, true) THEN {either}")
    return f"(CASE {' '.join(cases)} ELSE 0 END)" if cases else "0"


def compared_models(policy: CompiledPolicy, pins: Collection[str] = ()) -> Iterator[tuple[int, int]]:
    """Constraints that compare a model with features or with the state, each with each model that a plan may have."""
    for position, constraint in enumerate(policy.constraints):
        if constraint.by_model is None:
            yield from ((position, model) for model in sorted(models_in_plans(policy, pins)))


def models_in_plans(policy: CompiledPolicy, pins: Collection[str] = ()) -> set[int]:
    """The models that rules may put into a plan, and those that pins name."""
    found = {model for rule in policy.rules for model in models_of_rule(rule)}
    pinned = (policy.catalog.find(pin) for pin in pins)
    return found | {model.index for model in pinned if model is not None}


def plan_models(policy: CompiledPolicy, pins: Collection[str] = ()) -> list[CompiledModel]:
    """The same, as models in the catalog's order."""
    return [policy.catalog.models[at] for at in sorted(models_in_plans(policy, pins))]


def models_of_rule(rule: CompiledRule) -> set[int]:
    """The models that a rule may put into a plan."""
    found: set[int] = {candidate.model for candidate in rule.candidates}
    found.update(step.model for step in rule.steps)
    if rule.ensemble is not None:
        found.update(rule.ensemble.members)
        found.update(at for at in (rule.ensemble.judge, rule.ensemble.override) if at is not None)
    return found


def key_parts(policy: CompiledPolicy, pins: Collection[str] = ()) -> list[KeyPart]:
    """Everything that tells tasks apart but ``span``, where their pins are among ``pins``.

    Columns: those of ``request_columns`` and ``length_columns``, ``rule``, ``pin``, ``session`` and ``session_model``
    (NULL where there is none), and of the request ``prompt_tokens``, ``max_output_tokens``, ``images``, ``tools``,
    ``json_schema``.
    """
    models = plan_models(policy, pins)
    return [
        KeyPart("rule", RULE, 2 * len(policy.rules) + 1),
        KeyPart("operation", "op", 3),
        *([KeyPart("pin", "pin", None)] if pins else []),
        *_constraints(policy, pins),
        *_needs(policy),
        *length_parts(models),
        *cost_parts(policy, models),
        *quota_parts(policy, models),
        *order_parts(policy),
        *_sessions(policy),
        *split_parts(policy),
    ]


def _verdict(column: str) -> str:
    return f"(CASE WHEN {column} THEN 1 WHEN {column} IS NULL THEN 2 ELSE 0 END)"


def _constraints(policy: CompiledPolicy, pins: Collection[str]) -> Iterator[KeyPart]:
    first = len(policy.rules)
    for position in range(len(policy.constraints)):
        yield KeyPart(f"when_{position}", _verdict(condition_column(first + position)), 3)
    for position, model in compared_models(policy, pins):
        yield KeyPart(f"require_{position}_{model}", _verdict(require_column(position, model)), 3)


def _needs(policy: CompiledPolicy) -> Iterator[KeyPart]:
    for slot, feature in enumerate(policy.features):
        if feature.needs:
            column = feature_column(slot)
            yield KeyPart(f"needs_{slot}", _verdict(column), 3)
    for fact in ("images", "tools"):
        yield KeyPart(fact, f"(coalesce({fact}, 0) > 0)::INTEGER", 2)
    yield KeyPart("json_schema", "coalesce(json_schema, false)::INTEGER", 2)


def _sessions(policy: CompiledPolicy) -> Iterator[KeyPart]:
    if policy.is_sticky:
        yield KeyPart("session", "(session IS NOT NULL)::INTEGER", 2)
        yield KeyPart("session_model", "(CASE WHEN session IS NOT NULL THEN session_model END)", None)
