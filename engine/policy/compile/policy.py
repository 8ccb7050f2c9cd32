"""Compiles a policy and its catalog: resolves names, checks types, compiles conditions.

All problems of a policy and its catalog are raised together, sorted by place. Reads no files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...condition import Declaration, Sizes, compile_function
from ...report import PolicyError, limit_problems, sort_problems
from ..compiled import (
    CompiledAssertion,
    CompiledCatalog,
    CompiledFeature,
    CompiledPolicy,
    CompiledRollout,
    CompiledRule,
)
from ..digest import digest_of_policy
from ..reading.read import Source
from ..shapes.catalog import Catalog
from ..shapes.policy import Assertion, Policy
from ..source.document import Path
from .budget import Evaluated, check_candidates, check_load, most_gated, sizes_allowed, sizes_by_name
from .catalog import are_models_known, compile_catalog
from .constraints import CheckedConstraint, check_constraints, compile_constraints
from .controls import CompiledControls, compile_controls
from .features import GATING_FACTS, compile_features
from .model_facts import CANDIDATE_STATE, STATE_SCOPE, model_scope
from .report import Report
from .rollout import UnfitCandidate, compile_rollout
from .rules import RuleCompiler
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
    parts = _check_parts(policy.shape, compiled_catalog, candidate, report)
    candidates = candidate.problems if isinstance(candidate, UnfitCandidate) else ()
    problems = sort_problems([*limit_problems(report.problems), *limit_problems(others), *candidates])
    if problems or compiled_catalog is None:
        raise PolicyError(problems)
    sizes = _check_work(policy.shape, parts, compiled_catalog, report)
    if report.problems:
        raise PolicyError(sort_problems(limit_problems(report.problems)))
    compiled = _compiled(policy, compiled_catalog, parts, sizes)
    return replace(compiled, digest=digest_of_policy(compiled))


@dataclass(frozen=True, slots=True)
class _Parts:
    """The parts of a policy, each checked by itself; ``disabled`` are rules, chain entries and controls."""

    features: tuple[CompiledFeature, ...]
    scope: Mapping[str, Declaration]
    rules: tuple[CompiledRule, ...]
    controls: CompiledControls
    constraints: Sequence[CheckedConstraint]
    assertions: tuple[CompiledAssertion, ...]
    rollout: CompiledRollout | None
    disabled: tuple[str, ...]


def _check_parts(
    shape: Policy,
    catalog: CompiledCatalog | None,
    candidate: CompiledPolicy | UnfitCandidate | None,
    report: Report,
) -> _Parts:
    features = compile_features(shape.features, catalog, report)
    scope: dict[str, Declaration] = {feature.name: feature.declaration for feature in features}
    scope.update(STATE_SCOPE)
    # Without a catalog its facts have their types all the same.
    candidate_scope = {**scope, **CANDIDATE_STATE, **(catalog.scope if catalog else model_scope(()))}
    _check_unique(shape, report)
    rules = RuleCompiler(shape, catalog, features, scope, report)
    compiled_rules = rules.compile()
    controls = compile_controls(shape.controls, catalog, features, scope, report)
    parts = _Parts(
        features,
        scope,
        compiled_rules,
        controls,
        check_constraints(shape.constraints, scope, candidate_scope, report),
        tuple(_check_assertions(shape.assertions, candidate_scope, report)),
        compile_rollout(shape.rollout, features, catalog, candidate, report),
        (*rules.disabled, *controls.disabled),
    )
    check_variables(report)
    return parts


def _compiled(
    policy: Source[Policy], catalog: CompiledCatalog, parts: _Parts, sizes: Sizes
) -> CompiledPolicy:
    """The policy of parts without problems; its digest is still to be made."""
    features, rules, controls = parts.features, parts.rules, parts.controls
    parameters = (*(feature.name for feature in features), *STATE_SCOPE)
    constraints = compile_constraints(parts.constraints, parameters, catalog)
    evaluated = (*(one.when for one in rules), *(one.when for one in constraints), *controls.conditions)
    required = [constraint.require for constraint in constraints]
    defaulted = [slot for slot, feature in enumerate(features) if feature.default is not None]
    not_erased = tuple(_not_erased(features))
    return CompiledPolicy(
        name=policy.shape.name,
        digest="",
        text=policy.document.text,
        source=policy.document.source,
        catalog=catalog,
        features=features,
        sizes=sizes,
        slots={feature.name: slot for slot, feature in enumerate(features)},
        defaulted=tuple(defaulted),
        stated=tuple(_stated(features)),
        rules=rules,
        constraints=constraints,
        assertions=parts.assertions,
        quotas=controls.quotas,
        limits=controls.limits,
        parameters=parameters,
        conditions=evaluated,
        evaluate=compile_function(evaluated, parameters, known={features[slot].name for slot in defaulted}),
        disabled=tuple(sorted((*parts.disabled, *_disabled(policy.shape, catalog)))),
        unenforced=(*_unproven(policy.shape), *not_erased),
        unenforced_everywhere=not_erased,
        uses_state=any(name.startswith("state.") for expr in (*evaluated, *required) for name in expr.names),
        splits=any(rule.choose == "split" for rule in rules),
        is_sticky=any(rule.sticky for rule in rules),
        scope=parts.scope,
        rollout=parts.rollout,
        shape=policy.shape,
    )


def _stated(features: Sequence[CompiledFeature]) -> Iterator[tuple[int, str]]:
    """The features that speak for a fact of the request which gates go by."""
    for slot, feature in enumerate(features):
        if feature.derived is not None and feature.derived.fact in GATING_FACTS:
            yield slot, feature.derived.fact


def _unproven(shape: Policy) -> Iterator[str]:
    for number, assertion in enumerate(shape.assertions):
        yield f"assertion {assertion.name or number + 1}: not proven over all tasks"


def _not_erased(features: Sequence[CompiledFeature]) -> Iterator[str]:
    """Sensitive features whose values a record has a second time, as a fact of the request or of the time."""
    for feature in features:
        derived = feature.derived
        if feature.sensitive and derived is not None and derived.fact != "metadata":
            fact = f"{'time' if derived.fact in ('hour', 'weekday') else 'request'}.{derived.fact}"
            yield f"feature {feature.name}: sensitive, but `{fact}` stays in the record and cannot be erased"


def _disabled(shape: Policy, catalog: CompiledCatalog) -> Iterator[str]:
    yield from (f"constraint {one.name}" for one in shape.constraints if one.disabled)
    yield from (f"model {model.id}" for model in catalog.models if model.shape.disabled)
    yield from (f"backend {id}" for id, backend in catalog.backends.items() if backend.disabled)


def _catalog(
    policy: Source[Policy], catalog: Source[Catalog] | None, report: Report
) -> tuple[CompiledCatalog | None, Iterable[Any]]:
    """The compiled catalog, and the problems of its own file.

    A policy checked against half a catalog would report models as unknown that the author did declare.
    """
    inline = policy.shape.catalog
    if isinstance(inline, Catalog):
        here = report.at("catalog")
        compiled = compile_catalog(inline, here)
        return (compiled if are_models_known(here) else None), ()
    if catalog is None:
        if not report.lost("catalog"):
            report.at("catalog").add("missing-catalog", f"the catalog `{inline}` could not be read")
        return None, ()
    own = Report(catalog.document, catalog.problems)
    compiled = compile_catalog(catalog.shape, own)
    check_variables(own)
    return (compiled if are_models_known(own) else None), own.problems


def _check_unique(shape: Policy, report: Report) -> None:
    for section in ("rules", "constraints", "controls", "assertions"):
        seen: set[str] = set()
        for number, item in enumerate(getattr(shape, section)):
            here = report.at(section, number)
            if item.name is None or here.lost("name"):
                continue
            if item.name in seen:
                message = f"another of the {section} is called `{item.name}`"
                here.at("name").add("duplicate-name", message)
            seen.add(item.name)


def _check_work(shape: Policy, parts: _Parts, catalog: CompiledCatalog, report: Report) -> Sizes:
    """The sizes of values that the policy accepts. Reports too much work in loading or deciding."""
    rules, controls = parts.rules, parts.controls
    paths: list[Path] = [("rules", number) for number, rule in enumerate(shape.rules) if not rule.disabled]
    check_candidates(rules, paths, report)
    gated = most_gated(rules)
    decided = [
        Evaluated(rule.when, 1, (*path, "when"), f"rule `{rule.name}`")
        for rule, path in zip(rules, paths, strict=True)
    ]
    loaded = []
    numbers = [number for number, constraint in enumerate(shape.constraints) if not constraint.disabled]
    for number, (constraint, when, require) in zip(numbers, parts.constraints, strict=True):
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
    known = sizes_by_name(parts.features, catalog)
    check_load(loaded, known, report)
    return sizes_allowed(decided, parts.features, known, report)


_ASSERTED: tuple[Literal["never", "always"], ...] = ("never", "always")


def _check_assertions(
    assertions: Sequence[Assertion],
    scope: Mapping[str, Declaration],
    report: Report,
) -> list[CompiledAssertion]:
    checked = []
    for number, assertion in enumerate(assertions):
        here = report.at("assertions", number)
        given = [kind for kind in _ASSERTED if getattr(assertion, kind) is not None]
        if len(given) != 1:
            if given or not here.lost(*_ASSERTED):
                here.add("missing-key", "an assertion is either `never` or `always` with a condition")
            continue
        expr = here.at(given[0]).condition(getattr(assertion, given[0]), scope)
        if expr is not None:
            checked.append(CompiledAssertion(given[0], assertion.name, expr, assertion.reason))
    return checked
