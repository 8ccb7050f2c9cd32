"""Compiles constraints; those that only the catalog decides are evaluated here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from ...condition import CheckedExpr, Declaration, compile_function
from ..compiled import CompiledCatalog, CompiledConstraint, Verdict
from ..shapes import Constraint
from ..source import Path
from .model_facts import CANDIDATE_STATE
from .report import Report

CheckedConstraint = tuple[Constraint, CheckedExpr, CheckedExpr]


def check_constraints(
    constraints: Sequence[Constraint],
    scope: Mapping[str, Declaration],
    candidate_scope: Mapping[str, Declaration],
    report: Report,
) -> list[CheckedConstraint]:
    checked = []
    for number, constraint in enumerate(constraints):
        path: Path = ("constraints", number)
        when = report.condition(constraint.when, (*path, "when"), scope)
        require = report.condition(constraint.require, (*path, "require"), candidate_scope)
        if when is not None and require is not None and not constraint.disabled:
            checked.append((constraint, when, require))
    return checked


def compile_constraints(
    checked: Sequence[CheckedConstraint], parameters: Sequence[str], catalog: CompiledCatalog
) -> tuple[CompiledConstraint, ...]:
    """Constraints that depend only on the catalog are evaluated here, all together for each model."""
    facts = tuple(catalog.scope)
    closed = [require for _, _, require in checked if require.names <= catalog.scope.keys()]
    evaluate = compile_function(closed, facts)
    rows = [evaluate([model.facts.get(name) for name in facts]) for model in catalog.models] if closed else []
    by_model = iter(cast(Iterable[tuple[Verdict, ...]], zip(*rows, strict=True)))
    return tuple(
        _compile_constraint(
            constraint,
            when,
            require,
            next(by_model) if require.names <= catalog.scope.keys() else None,
            parameters,
            catalog,
        )
        for constraint, when, require in checked
    )


def _compile_constraint(
    constraint: Constraint,
    when: CheckedExpr,
    require: CheckedExpr,
    by_model: tuple[Verdict, ...] | None,
    parameters: Sequence[str],
    catalog: CompiledCatalog,
) -> CompiledConstraint:
    model_names = tuple(sorted(name for name in require.names if name in catalog.scope))
    function = None
    if by_model is None:
        model_names = (*CANDIDATE_STATE, *model_names)
        function = compile_function([require], (*parameters, *model_names))
    return CompiledConstraint(
        name=constraint.name,
        reason=constraint.reason,
        when=when,
        require=require,
        by_model=by_model,
        function=function,
        model_names=model_names,
    )
