"""Prints decisions in the form that was asked for."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from routewright.engine.report import ReportTree, RoutewrightError, render_markdown
from routewright.gateway import DecisionResult

from .decision_fields import Path, csv_line, picked, text_of, value_at
from .writer import writer

_LISTED_NAMES = 3

_HELD_ROWS = 1000
"""So many rows say how wide the columns of a table are; later ones are printed as they come."""

_HEADER = ["task", "target", "rule", "fallbacks", "excluded", "reason", "arm", "candidate"]

Format = Literal["tree", "table", "json", "jsonl", "csv", "markdown"]


@dataclass(frozen=True, slots=True)
class TaskPlace:
    """Which task a decision is of: its name, or nothing, and its line where there are many."""

    name: str
    line: int | None = None

    @property
    def label(self) -> str:
        """Its name, else its line."""
        return self.name or ("" if self.line is None else str(self.line))


class DecisionPrinter:
    """Writes decisions in one form, each as it comes; below a table, what its plans ask for in vain.

    With ``many``, JSON is an array; else it is the one record. With ``fields``, only these parts of a record are
    written.
    """

    def __init__(
        self, format: Format, *, explained: bool, many: bool, fields: Sequence[Path] | None = None
    ) -> None:
        self.format = format
        self._explained = explained
        self._many = many
        self._fields = fields
        self._rows: list[list[str]] = []
        self._add_row: Callable[[Sequence[str]], None] | None = None
        self._count = self._failed = 0
        self._unenforced: dict[str, None] = {}

    def write(self, task: TaskPlace, decided: DecisionResult) -> None:
        """Write one decision, or keep it for the table.

        A shadow is a record of its own in JSON and CSV, after that of the decision it is beside; else a line of it.
        """
        decision, shadow = decided.decision, decided.shadow
        as_records = self._fields is not None or self.format in ("json", "jsonl")
        if as_records and shadow is not None:
            self._many = True
            self.write(task, replace(decided, shadow=None))
            self.write(task, shadow)
            return
        self._count += 1
        if as_records:
            self._write_values(_of_task(task) | self._values(decision))
        elif self.format == "table":
            self._row([task.label, *_cells(decision), *_arm_cells(decided)])
        else:
            self._write_tree(task, decided)
        if self.format == "table" and decision.plan is not None:
            self._unenforced |= dict.fromkeys(decision.plan.unenforced)

    def fail(self, task: TaskPlace, error: RoutewrightError) -> None:
        """Write why a task cannot be decided, in forms for programs; elsewhere a message says so."""
        self._failed += 1
        if self.format in ("json", "jsonl", "csv"):
            self._count += 1
            why = {"error": {"message": str(error), "help": getattr(error, "help", None)}}
            self._write_values(_of_task(task) | why)

    def finish(self) -> None:
        """Write what was held back."""
        if self.format == "table" and (self._count or not self._failed):
            if self._add_row is None:
                self._begin_table()
            if self._unenforced:
                writer.text()
                writer.text("in the policy, not supported yet")
                for part in self._unenforced:
                    writer.text(f"  {part}")
        elif self.format == "json" and self._many:
            writer.json("\n]\n" if self._count else "[]\n")

    def _write_values(self, values: dict[str, Any]) -> None:
        if self._fields is not None:
            paths = self._paths
            if self.format == "table":
                self._row([text_of(value_at(values, path)) for path in paths])
                return
            if self.format == "csv":
                header = csv_line([".".join(path) for path in paths]) if self._count == 1 else ""
                writer.csv(header + csv_line([value_at(values, path) for path in paths]))
                return
            # A line that has no decision says so, whatever is asked of decisions.
            values = picked(values, paths) | ({"error": values["error"]} if "error" in values else {})
        if self.format == "jsonl":
            task = {"task": values.pop("task")} if "task" in values else {}
            text = canonical_bytes(values).decode() if self._fields is None else _on_a_line(values)
            writer.json((f"{_on_a_line(task)[:-1]},{text[1:]}" if task else text) + "\n")
            return
        text = json.dumps(values, indent=2, ensure_ascii=False)
        if self._many:
            text = ("[\n" if self._count == 1 else ",\n") + text
        writer.json(text if self._many else text + "\n")

    @property
    def _paths(self) -> Sequence[Path]:
        """The parts that are asked for, without those that no decision of this form has."""
        without = [
            *([] if self._many else ["task"]),
            *(["error"] if self.format == "table" or not self._many else []),
        ]
        return [path for path in self._fields or () if path[0] not in without]

    def _row(self, cells: list[str]) -> None:
        if self._add_row is not None:
            self._add_row(cells)
            return
        self._rows.append(cells)
        if len(self._rows) == _HELD_ROWS:
            self._begin_table()

    def _begin_table(self) -> None:
        if self._fields is not None:
            self._add_row = writer.begin_table([".".join(path) for path in self._paths], self._rows)
            return
        # What says something of no task is left out; who asked for one task knows which it is.
        kept = [
            index
            for index, name in enumerate(_HEADER)
            if name in ("target", "rule") or any(row[index] for row in self._rows)
        ]
        rows = [[row[index] for index in kept] for row in self._rows]
        add = writer.begin_table([_HEADER[index] for index in kept], rows)
        self._add_row = lambda row: add([row[index] for index in kept])

    def _write_tree(self, task: TaskPlace, decided: DecisionResult) -> None:
        if self._count > 1:
            writer.text()
        tree = self._tree(decided.decision)
        if task.label:
            tree.label = f"{task.label}: {tree.label}"
        _add_shadow(tree, decided)
        if self.format == "tree":
            writer.tree(tree)
        else:
            writer.lines(render_markdown(tree))

    def _values(self, decision: Decision) -> dict[str, Any]:
        if self._explained:
            return explanation_values(explain(decision.policy, decision))
        values: dict[str, Any] = record_values(decision)
        return values

    def _tree(self, decision: Decision) -> ReportTree:
        if self._explained:
            return explanation_tree(explain(decision.policy, decision))
        return record_tree(record_of(decision))


def _of_task(task: TaskPlace) -> dict[str, Any]:
    """Which of many tasks a decision is of, as values."""
    return {} if task.line is None else {"task": {"line": task.line, "name": task.name or None}}


def _on_a_line(values: object) -> str:
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


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
