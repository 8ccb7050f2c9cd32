"""Finds the counterfactual candidates of a decision: for each feature that bears on it, other values worth trying.

Where a feature is only compared with fixed values, those values and one from each gap between them stand for
all there are: no condition tells two values of a gap apart. Where it is used otherwise (``a + b > 10``,
``name.startsWith('x')``, one feature against another, arrays), the values tried are a choice among many, and
the search says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Final, cast

from ..condition import (
    BOOLEAN,
    COMPARISONS,
    UNKNOWN,
    Apply,
    CheckedExpr,
    Constant,
    Elements,
    Feature,
    Has,
    ListType,
    Sizes,
    Typed,
    atoms,
    render_expr,
    specialise,
    walk_typed,
    work_of,
)
from ..decision import NOTHING_KNOWN, Decision, candidate_fact, closing_lengths, parameters_of
from ..policy import MAX_SEARCH_WORK, CompiledFeature, largest, most_gated, sizes_by_name
from .gap_values import other_arrays, other_numbers, other_texts
from .search_work import works_of

_RECORD: Final = 2_000
"""Steps of deciding apart from conditions: binding, the plan, the decision."""
_GATES: Final = 200
"""Steps of the gates for one model."""
_SPECIALISING: Final = 250
"""Steps of folding a condition for one step of evaluating it."""


@dataclass(slots=True)
class Options:
    """``values`` holds the other values of each feature that bears on the decision, None for leaving it out.

    ``uncovered`` gives the reason for each feature whose values represent only themselves. ``work`` is the most steps
    that deciding with any of the values takes.
    """

    values: dict[str, list[object]]
    uncovered: dict[str, str]
    work: int


@dataclass(slots=True)
class _Uses:
    """How the conditions use the features: what each is compared with, and where it is more than that."""

    compared: dict[str, set[object]] = field(default_factory=dict)
    uncovered: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, values: Iterable[object] = (), more: str | None = None) -> None:
        self.compared.setdefault(name, set()).update(values)
        if more is not None:
            self.uncovered.setdefault(name, more)


def options_of(decision: Decision, lost: Set[str] = frozenset()) -> Options:
    """The values to try instead of those that were decided with, in the order of the policy's features.

    There are none for the features ``lost``, whose values were erased: another value may be the one that it was.
    """
    policy = decision.policy
    uses = _Uses()
    for condition in _conditions(decision, uses):
        for atom in atoms(condition):
            _look(atom, decision, uses)
    _look_at_gates(decision, uses)
    values = {}
    for slot, feature in enumerate(policy.features):
        if feature.name in uses.compared.keys() - lost:
            others = _others(feature, decision.values[slot], uses.compared[feature.name])
            if decision.sources[slot] == "given" and feature.default is None:
                others.append(None)
            values[feature.name] = others
    read = lost & uses.compared.keys()
    # In the policy's order: the order of names in a condition's set of them is not the same in every process.
    uncovered = {
        feature.name: "its value was erased" if feature.name in read else uses.uncovered[feature.name]
        for feature in policy.features
        if feature.name in read or (feature.name in uses.uncovered and not _is_finite(feature))
    }
    return Options(values, uncovered, _work_of_one(decision, values, read))


def _work_of_one(decision: Decision, values: Mapping[str, Sequence[object]], lost: Set[str]) -> int:
    """The most steps that one decision takes with its own or any of ``values``, and seeing what reads ``lost``."""
    policy = decision.policy
    works = works_of(
        policy,
        {
            feature.name: largest((value, *values.get(feature.name, ())))
            for feature, value in zip(policy.features, decision.values, strict=True)
        },
    )
    named = zip(policy.conditions, works.conditions, strict=True)
    folded = _SPECIALISING * sum(work for condition, work in named if not condition.names.isdisjoint(lost))
    return folded + sum(works.conditions) + most_gated(policy.rules) * (works.gates + _GATES) + _RECORD


def _conditions(decision: Decision, uses: _Uses) -> Iterator[CheckedExpr]:
    """Every condition that bears on deciding, as one over features alone: state and models are what they are."""
    policy, state = decision.policy, decision.state
    parameters = zip(policy.parameters, parameters_of(policy, decision.values, state), strict=True)
    known = {name: value for name, value in parameters if name not in policy.slots}
    for condition in policy.conditions:
        yield condition if known.keys().isdisjoint(condition.names) else specialise(condition, known)
    sizes = sizes_by_name(policy.features, policy.catalog)
    room = MAX_SEARCH_WORK
    for constraint in policy.constraints:
        if constraint.by_model is not None:
            continue
        # Features stay unknown while a condition is folded, so that a loop over one folds its body once.
        steps = work_of(constraint.require.expr, Sizes(1, 1), sizes)
        room -= _SPECIALISING * len(policy.catalog.models) * steps
        if room < 0:
            for name in constraint.require.names & policy.slots.keys():
                why = f"constraint {constraint.name} is too much work to examine for every model"
                uses.note(name, (), why)
            continue
        # By id: what is found first must not depend on the order of the catalog.
        for model in sorted(policy.catalog.models, key=lambda model: model.id):
            observed = state.models.get(model.id, NOTHING_KNOWN)
            facts = {name: candidate_fact(name, model, observed) for name in constraint.model_names}
            yield specialise(constraint.require, {**known, **facts})


def _look(atom: CheckedExpr, decision: Decision, uses: _Uses) -> None:
    """Note what one part without `&& || ! ?:` makes of its features."""
    expr = atom.expr
    if isinstance(expr, Feature | Has):
        uses.note(next(iter(atom.names)))
        return
    if isinstance(expr, Apply) and expr.operation in COMPARISONS:
        left, right = map(_unwidened, expr.operands)
        for one, other in ((left, right), (right, left)):
            fixed = _fixed(other)
            if isinstance(one, Feature) and not isinstance(one.type, ListType) and fixed is not None:
                uses.note(one.name, fixed)
                return
    text = render_expr(atom.source)
    literals = {value for node in walk_typed(expr) for value in _fixed(node) or ()}
    policy = decision.policy
    currents = {decision.values[policy.slots[name]] for name in atom.names if name in policy.slots} - {None}
    for name in atom.names:
        values = literals | {value for value in currents if not isinstance(value, tuple)}
        uses.note(name, values, f"`{text}` is more than a comparison with fixed values")


def _look_at_gates(decision: Decision, uses: _Uses) -> None:
    """Note what bears on deciding besides conditions: needs, facts of the request, keys, prices."""
    policy = decision.policy
    for feature in policy.features:
        if feature.needs:
            uses.note(feature.name)
    request = decision.task.request
    closing = closing_lengths(policy, request.max_output_tokens)
    # A stated length only counts from the request's own length on.
    closing += [] if request.prompt_tokens is None else [request.prompt_tokens - 1]
    by_price = any(rule.choose == "cheapest" for rule in policy.rules)
    for slot, fact in policy.stated:
        name = policy.features[slot].name
        if fact == "prompt_tokens":
            uses.note(
                name, closing, "`choose: cheapest` goes by the length of the prompt" if by_price else None
            )
        else:
            uses.note(name, [0])
    for rule in policy.rules:
        if rule.split is not None and rule.split.key is not None:
            uses.note(policy.features[rule.split.key].name, (), f"rule {rule.name} splits by it")


def _is_finite(feature: CompiledFeature) -> bool:
    declaration = feature.declaration
    if isinstance(declaration.type, ListType):
        return False
    return declaration.type == BOOLEAN or declaration.enum is not None


def _others(feature: CompiledFeature, current: object, compared: set[object]) -> list[object]:
    """The values of a feature that are worth trying, without the current one, nearest first."""
    declaration = feature.declaration
    found: Iterable[object]
    if isinstance(declaration.type, ListType):
        found = other_arrays(cast("tuple[object, ...] | None", current), compared)
    elif declaration.enum is not None:
        found = declaration.enum
    elif declaration.type == BOOLEAN:
        found = (True, False)
    elif str(declaration.type) == "string":
        found = other_texts(cast("str | None", current), {v for v in compared if isinstance(v, str)})
    else:
        numbers = {v for v in compared if isinstance(v, int | float) and not isinstance(v, bool)}
        found = other_numbers(cast("float | None", current), numbers, feature)
    others = [value for value in found if value != current]
    if isinstance(current, int | float) and not isinstance(current, bool):
        # The nearest first, since that is the smallest change.
        others.sort(key=lambda value: abs(cast(float, value) - current))
    return others


def _unwidened(node: Typed) -> Typed:
    return node.operands[0] if isinstance(node, Apply) and node.operation == "widen" else node


def _fixed(node: Typed) -> list[object] | None:
    """The scalar values of a constant, or None for what is not constant. An unknown constant has none."""
    match node:
        case Constant(value) if value is UNKNOWN:
            return []
        case Constant(value):
            return list(value) if isinstance(value, tuple) else [value]
        case Elements(items):
            inner = [_fixed(item) for item in items]
            return None if None in inner else [value for one in inner for value in one or ()]
        case Apply("widen", (operand,)):
            return _fixed(operand)
    return None
