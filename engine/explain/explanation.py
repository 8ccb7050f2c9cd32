"""Explains why a decision came out as it did: values, failing parts, gates, runner-up, smallest changes.

An explanation is recomputed: a record and the policy of its digest are enough. Nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, Final, Literal

from ..canonical import canonical_bytes
from ..condition import UNKNOWN, CheckedExpr, failing_parts, render_expr, trace
from ..decision import (
    Decision,
    GateContext,
    GateFailure,
    context_of,
    decide,
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
    arm_of,
    no_decision,
    record_of,
    record_of_version,
    state_of,
    task_of,
    without_later_fields,
)
from ..report import FeatureError, RecordError, TaskError, render_tree
from ..version import ENGINE_VERSION
from .counterfactual import NOT_SEARCHED, drawn_from, search_changes
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
        _check_same(policy, decided.policy.digest, decided.policy.catalog.digest)
        decision, policy = decided, decided.policy
    elif not isinstance(decided, DecisionRecord | DecisionRecord1):
        raise no_decision(decided, "a Decision or a DecisionRecord")
    else:
        decision = recompute(policy, decided)
    found = search_changes(decision) if search else NOT_SEARCHED
    rule = None if decision.rule is None else policy.rules[decision.rule]
    context = _context(decision, rule)
    return Explanation(
        record=record_of(decision) if isinstance(decided, Decision) else _made_again(decision, decided),
        decided=record_of(decision),
        rules=_rules(decision),
        candidates=_candidates(decision, context),
        steps=_steps(decision, context),
        runner_up=_runner_up(decision),
        changes=found.changes,
        searched=not found.not_covered,
        not_covered=found.not_covered,
        excluded=tuple(ExcludedEntry(*one) for one in (() if rule is None else rule.excluded)),
        disabled=policy.disabled,
    )


def _check_same(policy: CompiledPolicy, policy_digest: str, catalog_digest: str) -> None:
    """Raise RecordError unless ``policy`` is the one that decided: another would explain what was not so."""
    for kind, here, there in (
        ("policy", policy.digest, policy_digest),
        ("catalog", policy.catalog.digest, catalog_digest),
    ):
        if here != there:
            raise RecordError(
                f"the record was made under the {kind} {there}, this one is {here}",
                help="if the ledger keeps this policy's text under the record's digest, an older version made that "
                "digest: use `as_recorded(policy, record)`",
            )


def as_recorded(policy: CompiledPolicy, record: Record) -> CompiledPolicy:
    """Return ``policy`` with the digests that ``record`` names, its own and its catalog's.

    For texts that were found under those digests: a ledger keeps the digests that it recorded, and a later engine may
    compute different ones for the same texts. Decisions explained or recomputed under the result are still compared
    with the record byte by byte.
    """
    catalog = replace(policy.catalog, digest=record.catalog.digest)
    return replace(policy, digest=record.policy.digest, catalog=catalog)


def recompute(policy: CompiledPolicy, record: Record) -> Decision:
    """Return the decision behind ``record``, made again.

    Raises RecordError when the policy or its catalog is not the one that decided, or when this engine comes to
    another result.
    """
    _check_same(policy, record.policy.digest, record.catalog.digest)
    if record.erased:
        raise RecordError(f"it cannot be decided again: {', '.join(sorted(record.erased))} was erased")
    try:
        decision = decide(
            policy, task_of(record), state_of(record), decision_id=record.id, strict=False, arm=arm_of(record)
        )
    except (FeatureError, TaskError) as error:
        raise RecordError(f"the record's task cannot be decided: {error}") from None
    if isinstance(record, DecisionRecord) and record.salts:
        decision = replace(decision, salts=record.salts)
    again = _made_again(decision, record)
    # Bytes, not values: in Python 1 equals true.
    if again.canonical() != record.canonical():
        differing = [
            name
            for name in type(record).model_fields
            if canonical_bytes(again.model_dump(mode="json", include={name}))
            != canonical_bytes(record.model_dump(mode="json", include={name}))
        ]
        raise RecordError(
            f"engines {record.engine} and {ENGINE_VERSION} decide differently: {', '.join(differing)} differ",
            help="the policy given to `as_recorded` must be the text that the ledger keeps under the record's digest",
        )
    return decision


def _made_again(decision: Decision, record: Record) -> Record:
    """The record of a decision that was made again, as the engine of ``record`` would have written it.

    Its features are in the policy's order, those of a record that was read in the alphabet's.
    """
    made = without_later_fields(record_of_version(decision, record.record), record)
    return made.model_copy(update={"engine": record.engine})


def values_by_name(decision: Decision) -> Mapping[str, object]:
    """The value of every name that the policy's conditions may use; UNKNOWN where there is none."""
    policy = decision.policy
    values = parameters_of(policy, decision.values, decision.state)
    named = zip(policy.parameters, values, strict=True)
    return {name: UNKNOWN if value is None else value for name, value in named}


def _rules(decision: Decision) -> tuple[RuleExplanation, ...]:
    values = values_by_name(decision)
    matched = len(decision.verdicts) if decision.rule is None else decision.rule
    sizes = {feature.name: largest((values[feature.name],)) for feature in decision.policy.features}
    works = works_of(decision.policy, sizes).conditions
    explained = []
    room = MAX_SEARCH_WORK
    for rule, verdict, work in zip(decision.policy.rules, decision.verdicts, works, strict=False):
        place: Place = "before" if rule.index < matched else "matched" if rule.index == matched else "after"
        room -= _TRACING * work
        explained.append(
            RuleExplanation(
                name=rule.name,
                place=place,
                verdict=verdict,
                condition=render_expr(rule.when.source),
                parts=_parts(rule.when, verdict, values) if room >= 0 else (),
                note=_note(rule, verdict, place, shown=room >= 0),
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


def _note(rule: CompiledRule, verdict: bool | None, place: Place, *, shown: bool) -> str | None:
    said = []
    if verdict is None:
        follows = {"matched": f"on_unknown: {rule.on_unknown}", "before": "skipped"}
        said = ["unknown", *filter(None, [follows.get(place)])]
    if not shown:
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
