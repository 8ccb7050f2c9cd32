"""Tells which names could have changed a decision had they had values, and so what cannot be told without those."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from ..condition import CheckedExpr, specialise
from ..decision import SESSION, Decision, Task, parameters_of
from ..policy import CompiledPolicy
from ..record import FEATURES, IGNORED, METADATA


def open_names(decision: Decision, lost: Set[str]) -> Mapping[str, str]:
    """Which of the features ``lost`` could have changed the decision, each with what reads it, as in ``rule `hard` ``.

    They are unknown in ``decision``. A condition does not read what makes no difference once all others have their
    values.
    """
    policy = decision.policy
    found: dict[str, str] = {}
    parameters = parameters_of(policy, decision.values, decision.state)
    values = dict(zip(policy.parameters, parameters, strict=True))

    def add(names: Set[str], reader: str) -> None:
        for name in sorted(names & lost):
            found.setdefault(name, reader)

    def read_by(condition: CheckedExpr) -> Set[str]:
        if condition.names.isdisjoint(lost):
            return frozenset()
        return specialise(condition, {name: values[name] for name in condition.names - lost}).names

    for rule in policy.rules[: len(policy.rules) if decision.rule is None else decision.rule + 1]:
        add(read_by(rule.when), f"rule `{rule.name}`")
    constraints = (f"constraint `{one.name}`" for one in policy.constraints)
    for condition in policy.conditions[len(policy.rules) :]:
        add(read_by(condition), next(constraints, "a reserve"))
    for constraint in policy.constraints:
        if constraint.by_model is None:
            add(constraint.require.names, f"constraint `{constraint.name}`")
    add({feature.name for feature in policy.features if feature.needs}, "a gate")
    rule_made = None if decision.rule is None else policy.rules[decision.rule]
    if rule_made is not None and rule_made.split is not None and rule_made.split.key_name is not None:
        add({rule_made.split.key_name}, f"the split of rule `{rule_made.name}`")
    return found


def lost_features(policy: CompiledPolicy, task: Task, erased: Set[str]) -> frozenset[str]:
    """The features of ``policy`` whose values were erased, given the places of erased values."""
    if not erased:
        return frozenset()
    return frozenset(
        one.name
        for one in policy.features
        if not erased.isdisjoint((FEATURES + one.name, IGNORED + one.name))
        or (
            one.derived is not None
            and one.derived.fact == "metadata"
            and one.name not in task.features
            and f"{METADATA}{one.derived.key}" in erased
        )
    )


def what_reads(decision: Decision, lost: Set[str]) -> Mapping[str, str]:
    """As ``open_names``, with those too that gates go by."""
    policy = decision.policy
    stated = {policy.features[slot].name for slot, _ in policy.stated}
    return {**dict.fromkeys(stated & lost, "a gate"), **open_names(decision, lost)}


def what_needs(decision: Decision, lost: Set[str], erased: Set[str]) -> tuple[str, str] | None:
    """A value that was erased and could have changed the decision, and what reads it, in words; None if none could.

    ``lost`` are the features whose values were erased, and unknown in ``decision``.
    """
    if not erased:
        return None
    for name, reader in sorted(what_reads(decision, lost).items()):
        return f"feature `{name}`", reader
    if decision.policy.is_sticky and METADATA + SESSION in erased:
        return "the session", "what keeps conversations on their models"
    return None


def without_lost(
    values: dict[str, Any], policy: CompiledPolicy, lost: Set[str], erased: Set[str]
) -> dict[str, Any]:
    """The plain values of a record without what says what was erased, and without verdicts that only that tells."""
    kept = dict(values)
    for name in ("erased", "salts"):
        kept.pop(name, None)
    kept["features"] = {name: one for name, one in values["features"].items() if name not in lost}
    kept["ignored"] = {
        name: value for name, value in values["ignored"].items() if IGNORED + name not in erased
    }
    tells = [not rule.when.names & lost for rule in policy.rules]
    of_rules = "verdicts" if "verdicts" in values else "rules"  # of version 1 a rule has its verdict
    kept[of_rules] = [one for one, told in zip(values[of_rules], tells, strict=True) if told]
    metadata = (values.get("request") or {}).get("metadata") or {}
    if metadata:
        left = {name: text for name, text in metadata.items() if METADATA + name not in erased}
        kept["request"] = {**values["request"], "metadata": left}
    return kept
