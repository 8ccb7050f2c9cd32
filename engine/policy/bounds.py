"""Notes on what a policy refuses, or does not compute, of long values: bounds below the engine's own."""

from __future__ import annotations

from collections.abc import Iterator

from ..condition import LARGEST, Bounded, CheckedExpr, Sizes, always_within, render_expr, walk_typed
from ..report import Problem
from .compile.budget import sizes_by_name
from .compiled import CompiledPolicy
from .reading import place_problem
from .source import Path, parse_yaml


def limit_notes(policy: CompiledPolicy) -> list[Problem]:
    """A note on each part of a condition that long values cut short, and one on values that are refused."""
    found = list(_notes(policy))
    if not found:
        return []
    document = parse_yaml(policy.text, policy.source)
    return [place_problem(note, document) for note in found]


def _notes(policy: CompiledPolicy) -> Iterator[Problem]:
    if policy.sizes < LARGEST:
        message = (
            f"features with {_more_than(policy.sizes)} are refused, as the conditions could take too long"
        )
        yield Problem("bounded-values", message, path=("features",))
    known = sizes_by_name(policy.features, policy.catalog)
    for condition, path in _conditions(policy):
        for node in walk_typed(condition.expr):
            if isinstance(node, Bounded) and (sizes := always_within(node, known)) < policy.sizes:
                message = f"`{render_expr(node.source)}` is unknown where it may take more than {node.limit:,} steps"
                help = f"it never does unless a value has {_more_than(sizes)}" if sizes >= (0, 0) else None
                yield Problem("bounded-condition", message, help, path=path)


def _more_than(sizes: Sizes) -> str:
    return f"more than {sizes.elements:,} elements or {sizes.characters:,} characters"


def _conditions(policy: CompiledPolicy) -> Iterator[tuple[CheckedExpr, Path]]:
    rules = [number for number, rule in enumerate(policy.shape.rules) if not rule.disabled]
    for number, rule in zip(rules, policy.rules, strict=True):
        yield rule.when, ("rules", number, "when")
    constraints = [number for number, one in enumerate(policy.shape.constraints) if not one.disabled]
    for number, constraint in zip(constraints, policy.constraints, strict=True):
        yield constraint.when, ("constraints", number, "when")
        yield constraint.require, ("constraints", number, "require")
