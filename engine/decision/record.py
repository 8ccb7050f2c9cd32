"""A decision in, its record out: the shape that is printed, stored and hashed.

``record_of`` writes out everything that decided; ``task_of`` and ``state_of`` read it back, so that a record
and the policy text behind its digest are enough to make the same decision again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ..canonical import canonical_bytes, digest_of
from ..errors import RecordError
from ..policy.base import Operation
from ..policy.compiled import CompiledModel, CompiledPolicy
from ..version import ENGINE_VERSION
from .choose import estimate
from .decision import CandidateVerdict, Decision, Gate, Outcome, Plan, Source
from .task import Breaker, Health, ModelState, RequestFacts, State, Task

__all__ = [
    "RECORD_VERSION",
    "CandidateRecord",
    "ChoiceRecord",
    "DecisionRecord",
    "DroppedRecord",
    "EnsembleRecord",
    "FeatureRecord",
    "ModelStateRecord",
    "NamedDigest",
    "PlanRecord",
    "RequestRecord",
    "RuleRecord",
    "StateRecord",
    "StepRecord",
    "read_record",
    "record_of",
    "record_values",
    "state_of",
    "task_of",
]

RECORD_VERSION = 1
"""The version of the record's shape; a change of meaning counts it up."""

Value = bool | int | float | str | list[Any]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NamedDigest(_Shape):
    """A policy or catalog: its name and the digest of what it means."""

    name: str | None
    digest: str


class RequestRecord(_Shape):
    """What was known of the request."""

    prompt_tokens: int | None = None
    max_output_tokens: int | None = None
    messages: int | None = None
    images: int | None = None
    tools: int | None = None
    json_schema: bool | None = None
    metadata: dict[str, str] = Field(default_factory=dict)


class FeatureRecord(_Shape):
    """A declared feature: its value (null while unknown) and where it came from."""

    value: Value | None
    source: Source


class RuleRecord(_Shape):
    """A rule and the value of its condition; null is unknown."""

    name: str
    verdict: bool | None


class CandidateRecord(_Shape):
    """A candidate in the order to be tried, the first gate that it failed, and what it was expected to cost."""

    model: str
    origin: str
    eligible: bool
    gate: Gate | None
    detail: str | None
    marks: list[str]
    probability: float
    estimated_cost_nano: int | None
    currency: str | None
    cost_source: str | None
    estimated_latency_ms: float | None
    latency_source: str | None


class ChoiceRecord(_Shape):
    """How the target was chosen, with what it was chosen by."""

    how: Literal["first", "cheapest", "fastest", "split", "pin"]
    inputs: dict[str, Any]


class StepRecord(_Shape):
    """A step around the answer."""

    role: Literal["screen", "draft", "verify", "refine"]
    model: str
    required: bool
    options: dict[str, str | int]


class DroppedRecord(_Shape):
    """A step that is left out, and the first gate that its model failed."""

    role: Literal["screen", "draft", "verify", "refine"]
    model: str
    gate: Gate
    detail: str


class EnsembleRecord(_Shape):
    """Members that answer side by side."""

    members: list[str]
    combine: str
    quorum: int
    judge: str | None
    override: str | None


class PlanRecord(_Shape):
    """What is to be executed. Times are in milliseconds; null where nothing limits them."""

    target: str
    fallbacks: list[str]
    steps: list[StepRecord]
    dropped: list[DroppedRecord]
    ensemble: EnsembleRecord | None
    ensemble_dropped: str | None
    timeouts: dict[str, int]
    first_token_within_ms: int | None
    cache_ttl_ms: int | None
    max_attempts: int | None
    backoff_ms: int | None
    deadline_ms: int | None
    unenforced: list[str]


class ModelStateRecord(_Shape):
    """What was known of a model; null where nothing was."""

    health: Health | None = None
    breaker: Breaker | None = None
    latency_ms: float | None = None


class StateRecord(_Shape):
    """What was known beyond the task. ``models`` lists every model of the catalog, known or not."""

    load: float | None
    models: dict[str, ModelStateRecord]
    quota_used: dict[str, int | None]


class DecisionRecord(_Shape):
    """A decision, written out."""

    record: Literal[1] = 1
    id: str
    at_us: int
    engine: str
    policy: NamedDigest
    catalog: NamedDigest
    operation: Operation
    pin: str | None
    draw: float | None
    request: RequestRecord
    features: dict[str, FeatureRecord]
    ignored: dict[str, Value | None]
    rules: list[RuleRecord]
    rule: str | None
    reason: str | None
    outcome: Outcome
    target: str | None
    candidates: list[CandidateRecord]
    choice: ChoiceRecord | None
    plan: PlanRecord | None
    state: StateRecord

    def canonical(self) -> bytes:
        """The record as canonical JSON (RFC 8785): what its digest covers."""
        return canonical_bytes(self.model_dump(mode="json"))

    def digest(self) -> str:
        """``sha256:`` and the SHA-256 of the canonical bytes."""
        return digest_of(self.model_dump(mode="json"))


def record_of(decision: Decision) -> DecisionRecord:
    """Return the record of ``decision``: the same decision gives the same bytes."""
    return DecisionRecord.model_validate(record_values(decision))


def record_values(decision: Decision) -> dict[str, Any]:
    """The record as plain values, several times faster than through the model: for writing many.

    ``canonical_bytes(record_values(d))`` equals ``record_of(d).canonical()``.
    """
    policy, task, state = decision.policy, decision.task, decision.state
    rule = None if decision.rule is None else policy.rules[decision.rule]
    choice = decision.choice
    return {
        "record": RECORD_VERSION,
        "id": decision.id,
        "at_us": state.at_us,
        "engine": ENGINE_VERSION,
        "policy": {"name": policy.name, "digest": policy.digest},
        "catalog": {"name": policy.catalog.name, "digest": policy.catalog.digest},
        "operation": task.operation,
        "pin": task.pin,
        "draw": task.draw,
        "request": _request(task.request),
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
        "candidates": [_candidate(candidate, decision) for candidate in decision.candidates],
        "choice": None if choice is None else {"how": choice.how, "inputs": dict(choice.inputs)},
        "plan": None if decision.plan is None else _plan(decision.plan, policy),
        "state": _state(state, policy),
    }


def read_record(text: str | bytes) -> DecisionRecord:
    """Return the record in a JSON text. Raises RecordError when it is none, or of a newer version."""
    try:
        return DecisionRecord.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        where = f" at `{place}`" if place else ""
        raise RecordError(f"not a decision record{where}: {first['msg'].lower()}") from None


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
    return State(
        at_us=record.at_us,
        load=record.state.load,
        models={
            id: ModelState(known.health, known.breaker, known.latency_ms)
            for id, known in record.state.models.items()
            if known != ModelStateRecord()
        },
        quota_used={name: used for name, used in record.state.quota_used.items() if used is not None},
    )


def _request(request: RequestFacts) -> dict[str, Any]:
    return {
        "prompt_tokens": request.prompt_tokens,
        "max_output_tokens": request.max_output_tokens,
        "messages": request.messages,
        "images": request.images,
        "tools": request.tools,
        "json_schema": request.json_schema,
        "metadata": dict(request.metadata),
    }


def _candidate(candidate: CandidateVerdict, decision: Decision) -> dict[str, Any]:
    model = decision.policy.catalog.models[candidate.model]
    expected = estimate(model, decision.task, decision.state)
    failure = candidate.failure
    return {
        "model": model.id,
        "origin": candidate.origin,
        "eligible": failure is None,
        "gate": None if failure is None else failure.gate,
        "detail": None if failure is None else failure.detail,
        "marks": list(candidate.marks),
        "probability": candidate.probability,
        "estimated_cost_nano": expected.cost_nano,
        "currency": expected.currency,
        "cost_source": expected.cost_source,
        "estimated_latency_ms": expected.latency_ms,
        "latency_source": expected.latency_source,
    }


def _plan(plan: Plan, policy: CompiledPolicy) -> dict[str, Any]:
    models, limits = policy.catalog.models, policy.limits
    backend = policy.catalog.backends[models[plan.target].backend]
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
                "detail": dropped.failure.detail,
            }
            for dropped in plan.dropped
        ],
        "ensemble": _ensemble(plan, models),
        "ensemble_dropped": plan.ensemble_dropped,
        "timeouts": {
            f"{name}_ms": ms for name, ms in backend.timeouts.model_dump().items() if ms is not None
        },
        "first_token_within_ms": limits.first_token_within_ms,
        "cache_ttl_ms": limits.cache_ttl_ms,
        "max_attempts": limits.max_attempts,
        "backoff_ms": limits.backoff_ms,
        "deadline_ms": limits.deadline_ms,
        "unenforced": list(plan.unenforced),
    }


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
    }


def _state(state: State, policy: CompiledPolicy) -> dict[str, Any]:
    known: Mapping[str, ModelState] = state.models
    nothing = {"health": None, "breaker": None, "latency_ms": None}
    models = {}
    for model in policy.catalog.models:
        found = known.get(model.id)
        models[model.id] = (
            nothing
            if found is None
            else {"health": found.health, "breaker": found.breaker, "latency_ms": found.latency_ms}
        )
    used = {quota.name: state.quota_used.get(quota.name) for quota in policy.quotas}
    return {"load": state.load, "models": models, "quota_used": used}


def _json(value: object) -> Any:
    """A value of the engine as JSON has it: arrays are lists."""
    return [_json(element) for element in value] if isinstance(value, tuple) else value


def _value(value: object) -> object:
    return tuple(_value(element) for element in value) if isinstance(value, list) else value
