"""Tells an explanation in a few lines, beside that of another decision of the same task."""

from __future__ import annotations

from collections.abc import Set
from itertools import islice
from typing import Final

from ..report import ReportTree
from .arm_text import session_line
from .report_tree import add_matched, chosen_text, expectations, failed_text, root_of
from .shapes import Explained

MOST_EXCLUDED: Final = 5
"""So many models that were passed over are named."""


def brief_tree(
    explanation: Explained, other_rule: str | None = None, *, hidden: Set[str] = frozenset()
) -> ReportTree:
    """The matched rule with its values, the models passed over before the target, the choice and the plan.

    ``other_rule`` is the rule that decided the same task under another policy: the tree says what became of it here.
    Of features that are ``hidden`` it says no value.
    """
    record = explanation.decided
    root = root_of(record)
    matched = next((rule for rule in explanation.rules if rule.place == "matched"), None)
    if matched is not None:
        add_matched(root, matched, record, hidden)
    if other_rule is not None and (matched is None or matched.name != other_rule):
        root.add(_other_text(explanation, other_rule))
    _add_passed_over(root, explanation)
    if record.choice is not None and record.choice.key in hidden:
        root.add(f"chosen: {record.choice.how} by {record.choice.key}")
    elif record.choice is not None and record.choice.how not in ("first", "pin", "session"):
        root.add(f"chosen: {chosen_text(record, record.choice, expectations(record))}")
    if (session := session_line(record)) is not None:
        root.add(session)
    if (plan := record.plan) is not None:
        if plan.ensemble is not None:
            root.add(f"ensemble: {', '.join(plan.ensemble.members)}")
        if plan.steps:
            root.add(f"steps: {', '.join(f'{step.role} with {step.model}' for step in plan.steps)}")
        if plan.fallbacks:
            root.add(f"then, if it fails: {', '.join(plan.fallbacks)}")
    return root


def _other_text(explanation: Explained, name: str) -> str:
    rule = next((rule for rule in explanation.rules if rule.name == name), None)
    if rule is None:
        return f"this policy has no rule {name}"
    if rule.place == "after":
        return f"rule {name} comes later" + (" and would match too" if rule.verdict else "")
    return f"rule {name} does not match: {failed_text(rule).removeprefix(f'{name}: ')}"


def _add_passed_over(root: ReportTree, explanation: Explained) -> None:
    """The models that come before the target and were not eligible; all of them where there is no target."""
    passed = []
    for candidate in explanation.candidates:
        if candidate.role == "target":
            break
        if candidate.failures:
            passed.append(candidate)
    if not passed:
        return
    node = root.add("not eligible")
    for candidate in islice(passed, MOST_EXCLUDED):
        why = "; ".join(f"{one.gate}: {one.detail}" for one in candidate.failures)
        node.add(f"{candidate.model} ({candidate.origin}): {why}")
    if len(passed) > MOST_EXCLUDED:
        node.add(f"and {len(passed) - MOST_EXCLUDED} more")
