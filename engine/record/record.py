"""A decision in, its record out, as a checked shape or as plain values; and a record's task and state out.

``record_of`` writes out everything that decided; ``task_of`` and ``state_of`` read it back, so that a record
and the policy text behind its digest are enough to make the same decision again.
"""

from __future__ import annotations

from typing import Any

from ..decision import (
    Arm,
    CandidateVerdict,
    Decision,
    ModelState,
    Plan,
    RequestFacts,
    Selection,
    State,
    StatedFacts,
    Task,
    estimate,
)
from ..policy import Backend, CompiledModel, CompiledPolicy
from ..version import ENGINE_VERSION
from .shape import RECORD_VERSION, DecisionRecord

_NOTHING_KNOWN = ModelState()


def record_of(decision: Decision) -> DecisionRecord:
    """Return the record of ``decision``: the same decision gives the same bytes."""
    return DecisionRecord.model_validate(record_values(decision))


def record_values(decision: Decision) -> dict[str, Any]:
    """The record as plain values: what ``record_of`` checks and ``record_bytes`` writes."""
    policy, task, state = decision.policy, decision.task, decision.state
    request = decision.request
    rule = None if decision.rule is None else policy.rules[decision.rule]
    choice = decision.choice
    return {
        "record": RECORD_VERSION,
        "id": decision.id,
        "at_us": state.at_us,
        "engine": ENGINE_VERSION,
        "policy": {"name": policy.name, "digest": policy.digest},
        "catalog": {"name": policy.catalog.name, "digest": policy.catalog.digest},
        "arm": None if decision.arm is None else arm_values(decision.arm),
        "operation": task.operation,
        "pin": task.pin,
        "draw": task.draw,
        "request": request_values(task.request),
        "features": {
            feature.name: {"value": _json(value), "source": source}
            for feature, value, source in zip(policy.features, decision.values, decision.sources, strict=True)
        },
        "ignored": {name: _json(value) for name, value in decision.ignored.items()},
        "rules": [
            {"name": rule.name, "verdict": verdict}
            for rule, verdict in zip(policy.rules, decision.verdicts, strict=True)
        ],
        "rule": None if rule is None else rule.name,
        "reason": None if rule is None else rule.reason,
        "outcome": decision.outcome,
        "target": decision.target,
        "candidates": [_candidate(candidate, request, decision) for candidate in decision.candidates],
        "choice": None if choice is None else choice_values(choice),
        "plan": None if decision.plan is None else plan_values(decision.plan, decision),
        "state": _state(state, policy),
    }


def task_of(record: DecisionRecord) -> Task:
    """The task that was decided: what was given and ignored; what was derived is derived again."""
    features: dict[str, object] = {
        name: _value(feature.value) for name, feature in record.features.items() if feature.source == "given"
    }
    features.update({name: _value(value) for name, value in record.ignored.items()})
    request = record.request
    return Task(
        features=features,
        operation=record.operation,
        request=RequestFacts(**request.model_dump()),
        pin=record.pin,
        draw=record.draw,
    )


def state_of(record: DecisionRecord) -> State:
    """The state that the decision knew."""
    known = record.state.models.items()
    states = {id: ModelState(**model.model_dump()) for id, model in known}
    return State(
        at_us=record.at_us,
        load=record.state.load,
        models={id: state for id, state in states.items() if state != _NOTHING_KNOWN},
        quota_used={name: used for name, used in record.state.quota_used.items() if used is not None},
        session_model=record.state.session_model,
    )


def arm_of(record: DecisionRecord) -> Arm | None:
    """The arm of a rollout that the decision belongs to."""
    arm = record.arm
    if arm is None:
        return None
    return Arm(
        name=arm.arm,
        mode=arm.mode,
        probability=arm.probability,
        share=arm.share,
        key=arm.key,
        salt=arm.salt,
        point=arm.point,
        control=(arm.control.name or "", arm.control.digest),
        candidate=(arm.candidate.name or "", arm.candidate.digest),
        file=arm.file,
    )


def arm_values(arm: Arm) -> dict[str, Any]:
    """What a record holds of an arm."""
    return {
        "arm": arm.name,
        "mode": arm.mode,
        "probability": arm.probability,
        "share": arm.share,
        "key": arm.key,
        "salt": arm.salt,
        "point": arm.point,
        "control": {"name": arm.control[0], "digest": arm.control[1]},
        "candidate": {"name": arm.candidate[0], "digest": arm.candidate[1]},
        "file": arm.file,
    }


def choice_values(choice: Selection) -> dict[str, Any]:
    """What a record holds of a choice."""
    return {"how": choice.how, "inputs": dict(choice.inputs), "session": choice.session}


def request_values(request: RequestFacts) -> dict[str, Any]:
    """What a record holds of a request."""
    return {
        "prompt_tokens": request.prompt_tokens,
        "prompt_tokens_source": request.prompt_tokens_source,
        "tokenizer": request.tokenizer,
        "max_output_tokens": request.max_output_tokens,
        "messages": request.messages,
        "images": request.images,
        "tools": request.tools,
        "json_schema": request.json_schema,
        "metadata": dict(request.metadata),
    }


def _candidate(candidate: CandidateVerdict, request: StatedFacts, decision: Decision) -> dict[str, Any]:
    model = decision.policy.catalog.models[candidate.model]
    expected = estimate(model, decision.task.operation, request, decision.state)
    failure = candidate.failure
    return {
        "model": model.id,
        "origin": candidate.origin,
        "eligible": failure is None,
        "gate": None if failure is None else failure.gate,
        "detail": None if failure is None else failure.recorded(decision),
        "marks": list(candidate.marks),
        "probability": candidate.probability,
        "estimated_cost_nano": expected.cost_nano,
        "currency": expected.currency,
        "cost_source": expected.cost_source,
        "estimated_latency_ms": expected.latency_ms,
        "latency_source": expected.latency_source,
    }


def plan_values(plan: Plan, decision: Decision) -> dict[str, Any]:
    """What a record holds of a plan."""
    policy = decision.policy
    models, limits = policy.catalog.models, policy.limits
    return {
        "target": models[plan.target].id,
        "fallbacks": [models[index].id for index in plan.fallbacks],
        "steps": [
            {
                "role": step.role,
                "model": models[step.model].id,
                "required": step.required,
                "options": dict(step.options),
            }
            for step in plan.steps
        ],
        "dropped": [
            {
                "role": dropped.step.role,
                "model": models[dropped.step.model].id,
                "gate": dropped.failure.gate,
                "detail": dropped.failure.recorded(decision),
            }
            for dropped in plan.dropped
        ],
        "ensemble": _ensemble(plan, models),
        "ensemble_dropped": plan.ensemble_dropped and plan.ensemble_dropped.recorded(decision),
        "timeouts": _timeouts(policy.catalog.backends[models[plan.target].backend]),
        "first_token_within_ms": limits.first_token_within_ms,
        "cache_ttl_ms": limits.cache_ttl_ms,
        "max_attempts": limits.max_attempts,
        "backoff_ms": limits.backoff_ms,
        "deadline_ms": limits.deadline_ms,
        "max_cost_nano": None if limits.cost is None else limits.cost.limit,
        "max_cost_currency": None if limits.cost is None else limits.cost.currency,
        "unknown_cost": None if limits.cost is None else "refuse" if limits.cost.refuses_unknown else "allow",
        "lease_ms": limits.lease_ms,
        "unenforced": list(plan.unenforced),
    }


def _timeouts(backend: Backend) -> dict[str, int]:
    """The limits of a backend's phases, in milliseconds."""
    return {f"{phase}_ms": ms for phase, ms in backend.timeouts if ms is not None}


def _ensemble(plan: Plan, models: tuple[CompiledModel, ...]) -> dict[str, Any] | None:
    ensemble = plan.ensemble
    if ensemble is None:
        return None
    return {
        "members": [models[index].id for index in ensemble.members],
        "combine": ensemble.combine,
        "quorum": ensemble.quorum,
        "judge": None if ensemble.judge is None else models[ensemble.judge].id,
        "override": None if ensemble.override is None else models[ensemble.override].id,
        "label": ensemble.label,
    }


def _state(state: State, policy: CompiledPolicy) -> dict[str, Any]:
    models = {
        model.id: model_state_values(state.models.get(model.id, _NOTHING_KNOWN))
        for model in policy.catalog.models
    }
    used = {quota.name: state.quota_used.get(quota.name) for quota in policy.quotas}
    return {
        "load": state.load,
        "models": models,
        "quota_used": used,
        "session_model": state.session_model,
    }


def model_state_values(known: ModelState) -> dict[str, Any]:
    """What a record holds of the state of a model."""
    return {
        "health": known.health,
        "breaker": known.breaker,
        "breaker_until_us": known.breaker_until_us,
        "breaker_after": known.breaker_after,
        "latency_ms": known.latency_ms,
    }


def _json(value: object) -> Any:
    """A value of the engine as JSON has it: arrays are lists."""
    return [_json(element) for element in value] if isinstance(value, tuple) else value


def _value(value: object) -> object:
    return tuple(_value(element) for element in value) if isinstance(value, list) else value
