"""A policy and a decision in, why it came out so: values, failing parts, gates, runner-up, smallest changes.

An explanation is recomputed: a record and the policy of its digest are enough. Nothing of it is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..condition import UNKNOWN, CheckedExpr, failing_parts, render_expr, trace
from ..errors import RecordError
from ..policy.compiled import Candidate, CompiledPolicy, CompiledRule
from .bind import time_facts
from .counterfactual import Change, smallest_changes
from .decide import candidates_of, decide, make_plan, situation_of
from .decision import Decision, GateFailure
from .gates import Situation, failures
from .record import DecisionRecord, record_of, state_of, task_of

__all__ = [
    "CandidateExplanation",
    "Explanation",
    "PartValue",
    "RuleExplanation",
    "RunnerUp",
    "StepExplanation",
    "explain",
    "recompute",
]

Place = Literal["before", "matched", "after"]


@dataclass(frozen=True, slots=True)
class PartValue:
    """A part of a condition and its value; UNKNOWN while it has none."""

    text: str
    value: object


@dataclass(frozen=True, slots=True)
class RuleExplanation:
    """A rule, where it stands to the one that matched, and the parts that made its condition what it is.

    ``parts`` are, for a rule that holds, the names in its condition with their values; for one that does not,
    the first part that failed (all parts of an ``||``, since all of them did).
    """

    name: str
    place: Place
    verdict: bool | None
    condition: str
    parts: tuple[PartValue, ...]
    note: str | None


@dataclass(frozen=True, slots=True)
class CandidateExplanation:
    """A candidate and every gate that it does not pass, in their order."""

    model: str
    origin: str
    role: Literal["target", "fallback", "excluded"]
    failures: tuple[GateFailure, ...]
    marks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StepExplanation:
    """A step, and every gate that its model does not pass."""

    role: str
    model: str
    failures: tuple[GateFailure, ...]


@dataclass(frozen=True, slots=True)
class RunnerUp:
    """The rule that would have matched next, and the model it leads to (None: no target)."""

    rule: str
    target: str | None


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a decision came out as it did. ``searched`` is false where the search for changes was cut short."""

    record: DecisionRecord
    rules: tuple[RuleExplanation, ...]
    candidates: tuple[CandidateExplanation, ...]
    steps: tuple[StepExplanation, ...]
    runner_up: RunnerUp | None
    changes: tuple[Change, ...]
    searched: bool
    taken_out: tuple[tuple[str, str], ...]
    disabled: tuple[str, ...]


def explain(policy: CompiledPolicy, decided: Decision | DecisionRecord) -> Explanation:
    """Return why ``decided`` came out as it did.

    Raises RecordError for a record that was made under another policy or catalog.
    """
    decision = decided if isinstance(decided, Decision) else recompute(policy, decided)
    changes, searched = smallest_changes(decision)
    rule = None if decision.rule is None else policy.rules[decision.rule]
    return Explanation(
        record=record_of(decision),
        rules=_rules(decision),
        candidates=_candidates(decision),
        steps=_steps(decision),
        runner_up=_runner_up(decision),
        changes=changes,
        searched=searched,
        taken_out=() if rule is None else rule.taken_out,
        disabled=policy.disabled,
    )


def recompute(policy: CompiledPolicy, record: DecisionRecord) -> Decision:
    """Return the decision behind ``record``, made again.

    Raises RecordError when the policy or its catalog is not the one that decided, or when this engine comes to
    another result.
    """
    for kind, here, there in (
        ("policy", policy.digest, record.policy.digest),
        ("catalog", policy.catalog.digest, record.catalog.digest),
    ):
        if here != there:
            raise RecordError(f"the record was made under the {kind} {there}, this one is {here}")
    decision = decide(policy, task_of(record), state_of(record), decision_id=record.id)
    again = record_of(decision).model_copy(update={"engine": record.engine})
    if again != record:
        raise RecordError(f"engine {record.engine} decided otherwise than this one: {record.target} there")
    return decision


def values_by_name(decision: Decision) -> Mapping[str, object]:
    """The value of every name that the policy's conditions may use; UNKNOWN where there is none."""
    values = {
        feature.name: UNKNOWN if value is None else value
        for feature, value in zip(decision.policy.features, decision.values, strict=True)
    }
    hour, weekday = time_facts(decision.state.at_us)
    load = decision.state.load
    return values | {
        "state.load": UNKNOWN if load is None else load,
        "state.hour": hour,
        "state.weekday": weekday,
    }


def _rules(decision: Decision) -> tuple[RuleExplanation, ...]:
    values = values_by_name(decision)
    matched = len(decision.verdicts) if decision.rule is None else decision.rule
    explained = []
    for rule, verdict in zip(decision.policy.rules, decision.verdicts, strict=True):
        place: Place = "before" if rule.index < matched else "matched" if rule.index == matched else "after"
        explained.append(
            RuleExplanation(
                name=rule.name,
                place=place,
                verdict=verdict,
                condition=render_expr(rule.when.source),
                parts=_parts(rule.when, verdict, values),
                note=_note(rule, verdict, place),
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
    return tuple(PartValue(part.text, part.value) for part in failing_parts(condition, values))


def _note(rule: CompiledRule, verdict: bool | None, place: Place) -> str | None:
    if verdict is not None:
        return None
    if place == "matched":
        return f"unknown; on_unknown: {rule.on_unknown}"
    return "unknown; skipped" if place == "before" else "unknown"


def _candidates(decision: Decision) -> tuple[CandidateExplanation, ...]:
    policy, plan = decision.policy, decision.plan
    if not decision.candidates:
        return ()
    situation, _ = _situation(decision)
    explained = []
    for candidate in decision.candidates:
        model = policy.catalog.models[candidate.model]
        found = tuple(failures(model, situation))
        if candidate.failure is not None and candidate.failure.gate == "required_step":
            found = (*found, candidate.failure)
        role: Literal["target", "fallback", "excluded"] = "fallback"
        if candidate.failure is not None:
            role = "excluded"
        elif plan is not None and plan.target == candidate.model:
            role = "target"
        explained.append(CandidateExplanation(model.id, candidate.origin, role, found, candidate.marks))
    return tuple(explained)


def _steps(decision: Decision) -> tuple[StepExplanation, ...]:
    plan = decision.plan
    if plan is None:
        return ()
    models = decision.policy.catalog.models
    situation, _ = _situation(decision)
    kept = tuple(StepExplanation(step.role, models[step.model].id, ()) for step in plan.steps)
    dropped = tuple(
        StepExplanation(
            one.step.role,
            models[one.step.model].id,
            tuple(failures(models[one.step.model], situation)) or (one.failure,),
        )
        for one in plan.dropped
    )
    return kept + dropped


def _situation(decision: Decision, rule: CompiledRule | None = None) -> tuple[Situation, Sequence[Candidate]]:
    """What the gates knew, and the candidates: those of the decision, or those that ``rule`` would give."""
    policy = decision.policy
    values = values_by_name(decision)
    parameters = [None if values[name] is UNKNOWN else values[name] for name in policy.parameters]
    if rule is None and decision.rule is not None:
        rule = policy.rules[decision.rule]
    candidates = candidates_of(policy, rule, decision.task)
    verdicts = policy.evaluate(parameters)
    situation = situation_of(
        policy, decision.task, decision.state, decision.values, parameters, verdicts, candidates
    )
    return situation, candidates


def _runner_up(decision: Decision) -> RunnerUp | None:
    """What would be decided if the rule that matched did not exist."""
    policy = decision.policy
    if decision.rule is None or decision.task.pin is not None:
        return None
    for rule in policy.rules[decision.rule + 1 :]:
        verdict = decision.verdicts[rule.index]
        if verdict is True or (verdict is None and rule.on_unknown == "match"):
            situation, candidates = _situation(decision, rule)
            plan = make_plan(rule, candidates, situation, decision.values)[-1]
            return RunnerUp(rule.name, None if plan is None else policy.catalog.models[plan.target].id)
        if verdict is None and rule.on_unknown == "fail":
            return RunnerUp(rule.name, None)
    return None
