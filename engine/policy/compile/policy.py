"""Compiles a policy and its catalog: resolves names, checks types, compiles conditions.

All problems of a policy and its catalog are raised together, sorted by place. Reads no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

from ...condition import CheckedExpr, Declaration, Sizes, compile_function
from ...report import PolicyError, limit_problems, sort_problems
from ..compiled import (
    CompiledAssertion,
    CompiledCatalog,
    CompiledConstraint,
    CompiledFeature,
    CompiledPolicy,
    CompiledRule,
    Verdict,
)
from ..digest import digest_of_policy
from ..reading import Source
from ..shapes import Assertion, Catalog, Constraint, Policy
from ..source import Path
from .budget import Evaluated, check_candidates, check_load, most_gated, sizes_allowed, sizes_by_name
from .catalog import are_models_known, compile_catalog
from .controls import CompiledControls, compile_controls
from .features import GATING_FACTS, compile_features
from .model_facts import CANDIDATE_STATE, STATE_SCOPE, model_scope
from .report import Report
from .rollout import UnfitCandidate, compile_rollout
from .rules import RuleCompiler
from .unenforced import unenforced_everywhere, unenforced_parts
from .variables import check_variables


def compile_policy(
    policy: Source[Policy],
    catalog: Source[Catalog] | None = None,
    *,
    candidate: CompiledPolicy | UnfitCandidate | None = None,
) -> CompiledPolicy:
    """Return ``policy`` compiled against ``catalog``, or against the catalog that it holds itself.

    ``candidate`` is the policy that its rollout names, or why that cannot be one; without it no arm of the
    rollout can be picked. Raises PolicyError with every problem of all files. Without any catalog (its file
    could not be read, say) all that does not need one is checked all the same, and the error says that the
    catalog is missing.
    """
    report = Report(policy.document, policy.problems)
    compiled_catalog, others = _catalog(policy, catalog, report)
    shape = policy.shape
    features = compile_features(shape.features, compiled_catalog, report)
    scope: dict[str, Declaration] = {feature.name: feature.declaration for feature in features}
    scope.update(STATE_SCOPE)
    # Without a catalog its facts have their types all the same.
    model_names = dict(compiled_catalog.scope if compiled_catalog else model_scope(()))
    _check_unique(shape, report)
    rules = RuleCompiler(shape, compiled_catalog, features, scope, report)
    compiled_rules = rules.compile()
    controls = compile_controls(shape.controls, compiled_catalog, features, scope, report)
    candidate_scope = {**scope, **CANDIDATE_STATE, **model_names}
    checked_constraints = _check_constraints(shape.constraints, scope, candidate_scope, report)
    assertions = _check_assertions(shape.assertions, candidate_scope, report)
    rollout = compile_rollout(shape.rollout, features, candidate, report)
    check_variables(report)
    candidates = candidate.problems if isinstance(candidate, UnfitCandidate) else ()
    problems = sort_problems([*limit_problems(report.problems), *limit_problems(others), *candidates])
    if problems or compiled_catalog is None:
        raise PolicyError(problems)
    sizes = _check_work(
        shape, compiled_rules, checked_constraints, controls, features, compiled_catalog, report
    )
    if report.problems:
        raise PolicyError(sort_problems(limit_problems(report.problems)))
    parameters = (*(feature.name for feature in features), *STATE_SCOPE)
    constraints = _compile_constraints(checked_constraints, parameters, compiled_catalog)
    evaluated = [rule.when for rule in compiled_rules]
    evaluated += [constraint.when for constraint in constraints]
    evaluated += controls.conditions
    disabled = [*rules.disabled, *controls.disabled]
    disabled += [f"constraint {c.name}" for c in shape.constraints if c.disabled]
    disabled += [f"model {model.id}" for model in compiled_catalog.models if model.shape.disabled]
    disabled += [f"backend {id}" for id, backend in compiled_catalog.backends.items() if backend.disabled]
    compiled = CompiledPolicy(
        name=shape.name,
        digest="",
        text=policy.document.text,
        source=policy.document.source,
        catalog=compiled_catalog,
        features=features,
        sizes=sizes,
        slots={feature.name: slot for slot, feature in enumerate(features)},
        defaulted=tuple(slot for slot, feature in enumerate(features) if feature.default is not None),
        stated=tuple(
            (slot, feature.derived.fact)
            for slot, feature in enumerate(features)
            if feature.derived is not None and feature.derived.fact in GATING_FACTS
        ),
        rules=compiled_rules,
        constraints=constraints,
        assertions=tuple(assertions),
        quotas=controls.quotas,
        limits=controls.limits,
        parameters=parameters,
        conditions=tuple(evaluated),
        evaluate=compile_function(
            evaluated, parameters, known={f.name for f in features if f.default is not None}
        ),
        disabled=tuple(sorted(disabled)),
        unenforced=unenforced_parts(shape),
        unenforced_everywhere=unenforced_everywhere(shape),
        uses_state=any(
            name.startswith("state.")
            for expr in (*evaluated, *(constraint.require for constraint in constraints))
            for name in expr.names
        ),
        splits=any(rule.choose == "split" for rule in compiled_rules),
        is_sticky=any(rule.sticky for rule in compiled_rules),
        scope=scope,
        rollout=rollout,
        shape=shape,
    )
    return replace(compiled, digest=digest_of_policy(compiled))


def _catalog(
    policy: Source[Policy], catalog: Source[Catalog] | None, report: Report
) -> tuple[CompiledCatalog | None, Iterable[Any]]:
    """The compiled catalog, and the problems of its own file.

    A policy checked against half a catalog would report models as unknown that the author did declare.
    """
    inline = policy.shape.catalog
    if isinstance(inline, Catalog):
        compiled = compile_catalog(inline, report, ("catalog",))
        return (compiled if are_models_known(report, ("catalog",)) else None), ()
    if catalog is None:
        if not report.lost(("catalog",)):
            report.add("missing-catalog", f"the catalog `{inline}` could not be read", ("catalog",))
        return None, ()
    own = Report(catalog.document, catalog.problems)
    compiled = compile_catalog(catalog.shape, own)
    check_variables(own)
    return (compiled if are_models_known(own, ()) else None), own.problems


def _check_unique(shape: Policy, report: Report) -> None:
    groups: tuple[tuple[str, Sequence[Any]], ...] = (
        ("rules", shape.rules),
        ("constraints", shape.constraints),
        ("controls", shape.controls),
        ("assertions", shape.assertions),
    )
    for section, items in groups:
        seen: set[str] = set()
        for number, item in enumerate(items):
            if item.name is None or report.lost((section, number, "name")):
                continue
            if item.name in seen:
                message = f"another of the {section} is called `{item.name}`"
                report.add("duplicate-name", message, (section, number, "name"))
            seen.add(item.name)


Checked = tuple[Constraint, CheckedExpr, CheckedExpr]


def _check_constraints(
    constraints: Sequence[Constraint],
    scope: Mapping[str, Declaration],
    candidate_scope: Mapping[str, Declaration],
    report: Report,
) -> list[Checked]:
    checked = []
    for number, constraint in enumerate(constraints):
        path: Path = ("constraints", number)
        when = report.condition(constraint.when, (*path, "when"), scope)
        require = report.condition(constraint.require, (*path, "require"), candidate_scope)
        if when is not None and require is not None and not constraint.disabled:
            checked.append((constraint, when, require))
    return checked


def _check_work(
    shape: Policy,
    rules: Sequence[CompiledRule],
    constraints: Sequence[Checked],
    controls: CompiledControls,
    features: Sequence[CompiledFeature],
    catalog: CompiledCatalog,
    report: Report,
) -> Sizes:
    """The sizes of values that the policy accepts. Reports too much work in loading or deciding."""
    paths: list[Path] = [("rules", number) for number, rule in enumerate(shape.rules) if not rule.disabled]
    check_candidates(rules, paths, report)
    gated = most_gated(rules)
    decided = [
        Evaluated(rule.when, 1, (*path, "when"), f"rule `{rule.name}`")
        for rule, path in zip(rules, paths, strict=True)
    ]
    loaded = []
    numbers = [number for number, constraint in enumerate(shape.constraints) if not constraint.disabled]
    for number, (constraint, when, require) in zip(numbers, constraints, strict=True):
        path: Path = ("constraints", number)
        name = f"constraint `{constraint.name}`"
        decided.append(Evaluated(when, 1, (*path, "when"), name))
        if require.names <= catalog.scope.keys():
            loaded.append(Evaluated(require, len(catalog.models), (*path, "require"), name))
        else:
            decided.append(Evaluated(require, gated, (*path, "require"), name))
    for number, condition in zip(controls.reserved, controls.conditions, strict=True):
        name = f"control `{shape.controls[number].name}`"
        decided.append(Evaluated(condition, 1, ("controls", number, "for"), name))
    known = sizes_by_name(features, catalog)
    check_load(loaded, known, report)
    return sizes_allowed(decided, features, known, report)


def _compile_constraints(
    checked: Sequence[Checked], parameters: Sequence[str], catalog: CompiledCatalog
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


_ASSERTED: tuple[Literal["never", "always"], ...] = ("never", "always")


def _check_assertions(
    assertions: Sequence[Assertion],
    scope: Mapping[str, Declaration],
    report: Report,
) -> list[CompiledAssertion]:
    checked = []
    for number, assertion in enumerate(assertions):
        path: Path = ("assertions", number)
        given = [kind for kind in _ASSERTED if getattr(assertion, kind) is not None]
        if len(given) != 1:
            if given or not (report.lost((*path, "never")) or report.lost((*path, "always"))):
                report.add("missing-key", "an assertion is either `never` or `always` with a condition", path)
            continue
        expr = report.condition(getattr(assertion, given[0]), (*path, given[0]), scope)
        if expr is not None:
            checked.append(CompiledAssertion(given[0], assertion.name, expr, assertion.reason))
    return checked
