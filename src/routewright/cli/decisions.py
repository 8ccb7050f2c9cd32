"""Prints decisions in the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from routewright.engine.canonical import canonical_bytes
from routewright.engine.decision import Decision
from routewright.engine.explain import (
    difference,
    explain,
    explanation_tree,
    explanation_values,
    outcome_text,
    plan_tree,
    record_tree,
)
from routewright.engine.record import record_of, record_values
from routewright.engine.report import ReportTree, render_markdown
from routewright.gateway import DecisionResult

from .writer import writer

_LISTED_NAMES = 3

Format = Literal["tree", "table", "json", "jsonl", "markdown"]


class DecisionPrinter:
    """Writes decisions in one form, each as it comes; a table at the end, and what its plans ask for in vain below.

    With ``many``, JSON is an array; else it is the one record.
    """

    def __init__(self, format: Format, *, explained: bool, many: bool) -> None:
        self._format = format
        self._explained = explained
        self._many = many
        self._rows: list[list[str]] = []
        self._count = 0
        self._unenforced: dict[str, None] = {}

    def write(self, name: str, decided: DecisionResult) -> None:
        """Write one decision, or keep it for the table. ``name`` says which task it is of.

        A shadow is a record of its own in JSON, after that of the decision it is beside; else a line of it.
        """
        decision, shadow = decided.decision, decided.shadow
        if self._format in ("json", "jsonl") and shadow is not None:
            self._many = True
            self.write(name, replace(decided, shadow=None))
            self.write(name, shadow)
            return
        self._count += 1
        match self._format:
            case "table":
                self._rows.append([name, *_cells(decision), *_arm_cells(decided)])
                if decision.plan is not None:
                    self._unenforced |= dict.fromkeys(decision.plan.unenforced)
            case "jsonl":
                writer.json(canonical_bytes(self._values(decision)).decode() + "\n")
            case "json":
                text = json.dumps(self._values(decision), indent=2, ensure_ascii=False)
                if self._many:
                    text = ("[\n" if self._count == 1 else ",\n") + text
                writer.json(text if self._many else text + "\n")
            case "markdown" | "tree":
                if self._count > 1:
                    writer.text()
                tree = self._tree(decision)
                if name:
                    tree.label = f"{name}: {tree.label}"
                _add_shadow(tree, decided)
                if self._format == "tree":
                    writer.tree(tree)
                else:
                    writer.lines(render_markdown(tree))

    def finish(self) -> None:
        """Write what was held back."""
        if self._format == "table":
            header = ["task", "target", "rule", "fallbacks", "excluded", "reason", "arm", "candidate"]
            # What says something of no task is left out; who asked for one task knows which it is.
            kept = [
                index
                for index, name in enumerate(header)
                if name in ("target", "rule") or any(row[index] for row in self._rows)
            ]
            rows = [[row[index] for index in kept] for row in self._rows]
            writer.table([header[index] for index in kept], rows)
            if self._unenforced:
                writer.text()
                writer.text("in the policy, not supported yet")
                for part in self._unenforced:
                    writer.text(f"  {part}")
        elif self._format == "json" and self._many:
            writer.json("\n]\n" if self._count else "[]\n")

    def _values(self, decision: Decision) -> Any:
        if self._explained:
            return explanation_values(explain(decision.policy, decision))
        return record_values(decision)

    def _tree(self, decision: Decision) -> ReportTree:
        if self._explained:
            return explanation_tree(explain(decision.policy, decision))
        return record_tree(record_of(decision))


def _arm_cells(decided: DecisionResult) -> list[str]:
    """The arm that decides, and where the candidate would go; also that it would call others besides."""
    arm, shadow = decided.decision.arm, decided.shadow
    if arm is None:
        return ["", ""]
    if decided.shadow_error is not None:
        return [arm.name, "cannot decide it"]
    if shadow is None:
        return [arm.name, ""]
    other = shadow.decision
    far = difference(record_of(decided.decision), record_of(other))
    return [arm.name, f"{other.target or other.outcome}{', by another plan' if far == 'plan' else ''}"]


def _add_shadow(tree: ReportTree, decided: DecisionResult) -> None:
    """Where the candidate would have gone, and what it would have called where that differs, below the line that says
    who it is."""
    if decided.shadow_error is not None:
        tree.children[0].add(f"it cannot decide this task: {decided.shadow_error}")
    elif decided.shadow is not None:
        other = record_of(decided.shadow.decision)
        far = difference(record_of(decided.decision), other)
        words = {"none": "the same", "plan": "the same model by another plan", "target": "it differs"}[far]
        node = tree.children[0].add(f"{words}: {outcome_text(other)}")
        plan = None if far == "none" else plan_tree(other)
        node.children += [] if plan is None else plan.children


def _cells(decision: Decision) -> list[str]:
    models = decision.policy.catalog.models
    plan, pinned = decision.plan, decision.task.pin is not None
    # Under a pin the rule that holds did not decide.
    rule = None if decision.rule is None or pinned else decision.policy.rules[decision.rule]
    return [
        decision.target or decision.outcome,
        rule.name if rule else "",
        few([models[index].id for index in plan.fallbacks]) if plan else "",
        few([models[c.model].id for c in decision.candidates if c.failure is not None]),
        "pinned" if pinned else (rule.reason or "") if rule else "",
    ]


def few(names: Sequence[str]) -> str:
    """The first names of a list, and how many more there are, so that a row of a table stays readable."""
    more = len(names) - _LISTED_NAMES
    listed = ", ".join(names[:_LISTED_NAMES] if more > 1 else names)
    return f"{listed} and {more} more" if more > 1 else listed
