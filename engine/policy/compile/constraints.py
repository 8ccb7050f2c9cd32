"""Compiles constraints; those that only the catalog decides are evaluated here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from ...condition import CheckedExpr, Declaration, compile_function
from ..compiled import CompiledCatalog, CompiledConstraint, Verdict
from ..shapes.policy import Constraint
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
        here = report.at("constraints", number)
        when = here.at("when").condition(constraint.when, scope)
        require = here.at("require").condition(constraint.require, candidate_scope)
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
    compiled = []
    for constraint, when, require in checked:
        is_closed = require.names <= catalog.scope.keys()
        model_names = tuple(sorted(name for name in require.names if name in catalog.scope))
        if not is_closed:
            model_names = (*CANDIDATE_STATE, *model_names)
        compiled.append(
            CompiledConstraint(
                name=constraint.name,
                reason=constraint.reason,
                when=when,
                require=require,
                by_model=next(by_model) if is_closed else None,
                function=None if is_closed else compile_function([require], (*parameters, *model_names)),
                model_names=model_names,
            )
        )
    return tuple(compiled)
