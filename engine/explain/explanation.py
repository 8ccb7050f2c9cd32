"""Explains why a decision came out as it did: values, failing parts, gates, runner-up, smallest changes.

An explanation is recomputed: a record and the policy of its digest are enough. Nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, Literal

from ..condition import UNKNOWN, CheckedExpr, failing_parts, render_expr, trace
from ..decision import (
    Decision,
    GateContext,
    GateFailure,
    context_of,
    failures,
    gate_steps,
    make_plan,
    parameters_of,
    required_failures,
    step_failures,
    steps_of,
    verdicts_of,
)
from ..policy import MAX_SEARCH_WORK, CompiledPolicy, CompiledRule, largest
from ..record import (
    DecisionRecord,
    DecisionRecord1,
    Record,
    no_decision,
    record_of,
)
from ..report import render_tree
from .counterfactual import NOT_SEARCHED, drawn_from, search_changes
from .recomputing import check_same, made_again, recomputed
from .report_tree import explanation_tree, outcome_text
from .search_work import works_of
from .shapes import (
    CandidateExplanation,
    ExcludedEntry,
    Explained,
    FailedGate,
    PartValue,
    Place,
    RuleExplanation,
    RunnerUp,
    StepExplanation,
)

_TRACING: Final = 100
"""Steps of tracing a condition for one step of evaluating it."""


class Explanation(Explained):
    """Why a decision came out as it did; ``print`` shows it as a tree."""

    __slots__ = ()

    def __str__(self) -> str:
        return render_tree(explanation_tree(self))

    def __repr__(self) -> str:
        return f"<Explanation of {self.record.id}: {outcome_text(self.decided)}>"


def explain(policy: CompiledPolicy, decided: Decision | Record, *, search: bool = True) -> Explanation:
    """Return why ``decided`` came out as it did; without ``search``, not what would have led elsewhere.

    Raises RecordError for what is neither, or was made under another policy or catalog. For texts that a ledger keeps
    under the record's digests, use ``as_recorded`` first.
    """
    if isinstance(decided, Decision):
        check_same(policy, decided.policy.digest, decided.policy.catalog.digest)
        decision, policy, lost = decided, decided.policy, frozenset[str]()
    elif not isinstance(decided, DecisionRecord | DecisionRecord1):
        raise no_decision(decided, "a Decision or a DecisionRecord")
    else:
        decision, lost = recomputed(policy, decided)
    erased = decided.erased if isinstance(decided, DecisionRecord | DecisionRecord1) else None
    found = search_changes(decision, lost) if search else NOT_SEARCHED
    rule = None if decision.rule is None else policy.rules[decision.rule]
    context = _context(decision, rule)
    return Explanation(
        record=record_of(decision) if isinstance(decided, Decision) else _told(decision, decided),
        decided=record_of(decision).model_copy(update={"erased": erased}),
        rules=_rules(decision, lost),
        candidates=_candidates(decision, context),
        steps=_steps(decision, context),
        runner_up=_runner_up(decision),
        changes=found.changes,
        searched=not found.not_covered,
        not_covered=found.not_covered,
        excluded=tuple(ExcludedEntry(*one) for one in (() if rule is None else rule.excluded)),
        disabled=policy.disabled,
    )


def _told(decision: Decision, record: Record) -> Record:
    """The record that is explained: as it was recorded where something was erased of it."""
    return record if record.erased else made_again(decision, record)


def values_by_name(decision: Decision) -> Mapping[str, object]:
    """The value of every name that the policy's conditions may use; UNKNOWN where there is none."""
    policy = decision.policy
    values = parameters_of(policy, decision.values, decision.state)
    named = zip(policy.parameters, values, strict=True)
    return {name: UNKNOWN if value is None else value for name, value in named}


def _rules(decision: Decision, lost: Set[str]) -> tuple[RuleExplanation, ...]:
    values = values_by_name(decision)
    matched = len(decision.verdicts) if decision.rule is None else decision.rule
    sizes = {feature.name: largest((values[feature.name],)) for feature in decision.policy.features}
    works = works_of(decision.policy, sizes).conditions
    explained = []
    room = MAX_SEARCH_WORK
    for rule, verdict, work in zip(decision.policy.rules, decision.verdicts, works, strict=False):
        place: Place = "before" if rule.index < matched else "matched" if rule.index == matched else "after"
        room -= _TRACING * work
        is_lost = not rule.when.names.isdisjoint(lost)
        explained.append(
            RuleExplanation(
                name=rule.name,
                place=place,
                verdict=verdict,
                condition=render_expr(rule.when.source),
                parts=() if is_lost or room < 0 else _parts(rule.when, verdict, values),
                note=_note(rule, verdict, place, is_lost=is_lost, shown=room >= 0),
            )
        )
    return tuple(explained)


def _parts(
    condition: CheckedExpr, verdict: bool | None, values: Mapping[str, object]
) -> tuple[PartValue, ...]:
    if verdict is True:
        traced = {p.text: p.value for p in trace(condition, values).parts if p.text in condition.names}
        # Inside `exists` and `all` a name has no single trace; its own value is told all the same.
        traced.update({name: values[name] for name in sorted(condition.names - traced.keys())})
        return tuple(PartValue(name, value) for name, value in traced.items())
    return tuple(PartValue(part.text, part.value, part.reason) for part in failing_parts(condition, values))


def _note(
    rule: CompiledRule, verdict: bool | None, place: Place, *, is_lost: bool, shown: bool
) -> str | None:
    said = []
    if verdict is None:
        follows = {"matched": f"on_unknown: {rule.on_unknown}", "before": "skipped"}
        said = ["unknown", *filter(None, [follows.get(place)])]
    if is_lost:
        said.append("as recorded: a value that it reads was erased")
    elif not shown:
        said.append("its parts are not shown: too much work")
    return "; ".join(said) or None


def _candidates(decision: Decision, context: GateContext) -> tuple[CandidateExplanation, ...]:
    policy, plan = decision.policy, decision.plan
    blocked = required_failures(gate_steps(context)[1], policy)
    explained = []
    for candidate in decision.candidates:
        model = policy.catalog.models[candidate.model]
        role: Literal["target", "fallback", "excluded"] = "fallback"
        if candidate.failure is not None:
            role = "excluded"
        elif plan is not None and plan.target == candidate.model:
            role = "target"
        # A model may be eligible although its breaker is open: its mark says so, and no gate kept it out.
        found = [] if candidate.failure is None else [*failures(model, context), *blocked]
        explained.append(
            CandidateExplanation(model.id, candidate.origin, role, _failed(found, decision), candidate.marks)
        )
    return tuple(explained)


def _steps(decision: Decision, context: GateContext) -> tuple[StepExplanation, ...]:
    models = decision.policy.catalog.models
    return tuple(
        StepExplanation(step.role, models[step.model].id, _failed(step_failures(step, context), decision))
        for step in (steps_of(context) if decision.candidates else ())
    )


def _failed(found: Iterable[GateFailure], decision: Decision) -> tuple[FailedGate, ...]:
    return tuple(FailedGate(one.gate, one.explained(decision), one.facts(decision)) for one in found)


def _context(decision: Decision, rule: CompiledRule | None) -> GateContext:
    """What the gates knew, or would have known of the candidates of another rule."""
    policy, task, state = decision.policy, decision.task, decision.state
    parameters = parameters_of(policy, decision.values, state)
    verdicts = verdicts_of(policy, parameters)
    return context_of(policy, rule, task, decision.request, state, parameters, verdicts)


def _runner_up(decision: Decision) -> RunnerUp | None:
    """What would be decided if the rule that matched did not exist."""
    policy = decision.policy
    if decision.rule is None or decision.task.pin is not None:
        return None
    for rule in policy.rules[decision.rule + 1 :]:
        verdict = decision.verdicts[rule.index]
        if verdict is None and rule.on_unknown == "fail":
            return RunnerUp(rule.name, "undecided", None)
        if verdict is True or (verdict is None and rule.on_unknown == "match"):
            drawn = decision.task.draw is None
            task = replace(decision.task, draw=0.0) if drawn else decision.task
            context = _context(replace(decision, task=task), rule)
            outcome, verdicts, choice, plan = make_plan(context)
            models = drawn_from(choice, verdicts, policy) if drawn else ()
            target = None if plan is None or models else policy.catalog.models[plan.target].id
            return RunnerUp(rule.name, outcome, target, models)
    return None


_NAMES = {"old": "from", "new": "to"}
"""Keys of the JSON that cannot be names of fields in Python."""


def explanation_values(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON has it, field by field; unknown values are null."""
    values: dict[str, Any] = _plain(explanation)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, DecisionRecord | DecisionRecord1):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value) if one.name != "decided"}
    if hasattr(value, "_asdict"):
        return {_NAMES.get(name, name): _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if value is UNKNOWN else value
