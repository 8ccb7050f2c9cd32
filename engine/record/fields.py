"""Every field of a decision's record, said once: validation, values, text, columns and docs are made from it.

The order of fields is that of printed records. Times are in milliseconds unless a name says otherwise, money is in
nano-units (10⁻⁹) of a currency, and null is *not known* or *not there*.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BeforeValidator

from ..canonical import canonical_bytes
from ..decision import (
    GATES,
    MARKS,
    NOTHING_KNOWN,
    ArmName,
    Breaker,
    CandidateVerdict,
    Decision,
    Estimate,
    Health,
    ModelState,
    Outcome,
    PromptTokensSource,
    RolloutMode,
    SessionUse,
    Source,
    estimate,
)
from ..policy import Operation, Role, default_waits
from ..version import ENGINE_VERSION
from .field import Shape, Take, Uuid, field

varying = partial(field, place="row")
"""Declares a field that differs from call to call."""

RECORD_VERSION = 1
"""The version of the record's shape; a change of meaning counts it up."""


def _value(value: object) -> object:
    if isinstance(value, list):
        for element in value:
            _value(element)
    elif not isinstance(value, bool | int | float | str):
        raise ValueError("expected a boolean, a number, text or an array of them")
    return value


def _one_of(names: Iterable[str]) -> AfterValidator:
    known = list(dict.fromkeys(names))

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return name

    return AfterValidator(check)


Value = Annotated[Any, BeforeValidator(_value)]
"""A boolean, a number, text, or an array of values."""
GateName = Annotated[str, _one_of(gate.name for gate in GATES)]
MarkName = Annotated[str, _one_of(mark.name for mark in MARKS)]


class Weighed(NamedTuple):
    """A candidate with what it was expected to cost and to take."""

    verdict: CandidateVerdict
    expected: Estimate


class Bound(NamedTuple):
    """The value of a feature and where it came from."""

    value: object
    source: Source


class Judged(NamedTuple):
    """A rule's name and verdict."""

    name: str
    verdict: bool | None


def _model(path: str) -> Take:
    """Takes the id of the model whose position is at ``path``."""
    index = attrgetter(path)

    def take(recorded: Any, decision: Decision) -> str | None:
        at = index(recorded)
        return None if at is None else decision.policy.catalog.models[at].id

    return take


def _models(name: str) -> Take:
    """Takes the ids of several models."""
    return lambda recorded, decision: [
        decision.policy.catalog.models[at].id for at in getattr(recorded, name)
    ]


class NamedDigest(Shape):
    """A policy or catalog."""

    name: str | None = field("its name; null for a catalog without one")
    digest: str = field("the digest of what it means, not of its layout or comments")


class ArmRecord(Shape):
    """The arm of a rollout that decided."""

    arm: ArmName = field("whose policy decided", of="name")
    mode: RolloutMode = field("the rollout's mode")
    probability: float = field("that this arm is the one executed: 0 of a shadow")
    share: float | None = field("the candidate's share from 0 to 1, under a canary")
    key: str | None = field("the feature whose value fell into a bucket; null for a random draw")
    salt: str | None = field("the salt of the bucket")
    point: float | None = field("where the task fell, from 0 to below 1; null where nothing was drawn")
    control: NamedDigest = field("the policy that is in force")
    candidate: NamedDigest = field("the policy that is tried")
    file: str = field("the candidate's file, as the control names it")


class RequestRecord(Shape):
    """What was known of the request."""

    prompt_tokens: int | None = field("the prompt's length in tokens")
    prompt_tokens_source: PromptTokensSource | None = field(
        "whether the caller stated it, or a tokenizer counted it, or it was estimated from the size of the text"
    )
    tokenizer: str | None = field("what the prompt was counted with")
    max_output_tokens: int | None = field("how long an answer is asked for, in tokens")
    messages: int | None = field("how many messages it has")
    images: int | None = field("how many images")
    tools: int | None = field("how many tools")
    json_schema: bool | None = field("whether the answer has to follow a schema")
    metadata: dict[str, str] = field("what the caller said of it, by name")


class FeatureRecord(Shape):
    """A declared feature."""

    value: Value | None = field("null while it is unknown")
    source: Source = field("where the value came from; null is `given` where the task gave null")


class RuleRecord(Shape):
    """A rule."""

    name: str = field("its name", place="policy")
    verdict: bool | None = field("the value of its condition; null is unknown")


class CandidateRecord(Shape):
    """A candidate."""

    model: str = field("its id", take=_model("verdict.model"), column=True)
    origin: str = field(
        "what made it a candidate: `use`, `ensemble`, `fallback`, `chain NAME` or `pin`",
        of="verdict.origin",
        column=True,
    )
    eligible: bool = field(
        "whether it passed every gate", take=lambda x, _: x.verdict.failure is None, column=True
    )
    gate: GateName | None = field(
        "the first gate that it failed",
        take=lambda x, _: x.verdict.failure and x.verdict.failure.gate,
        column="failed_gate",
    )
    detail: str | None = field(
        "why, in words",
        take=lambda x, decision: x.verdict.failure and x.verdict.failure.recorded(decision),
        column=True,
    )
    marks: list[MarkName] = field("what could not be checked", of="verdict.marks")
    probability: float = field(
        "of being the target, before a draw or key was looked at; 0 for fallbacks",
        of="verdict.probability",
        column=True,
    )
    estimated_cost_nano: int | None = varying(
        "the cost of the request's tokens; null without a price", of="expected.cost_nano", column=True
    )
    currency: str | None = varying("the price's currency", of="expected.currency", column=True)
    cost_source: str | None = varying(
        "`price`, or `price, 1000 tokens assumed` where a number of tokens is not known",
        of="expected.cost_source",
    )
    estimated_latency_ms: float | None = varying(
        "how long it was expected to take", of="expected.latency_ms", column=True
    )
    latency_source: str | None = varying(
        "`observed`, or as the `catalog` expects", of="expected.latency_source"
    )
    load_ms: int | None = varying(
        "how long it has to be loaded first; 0 while it is in memory", of="expected.load_ms", added=True
    )
    unloads: list[str] | None = varying("what has to be unloaded for it", of="expected.unloads", added=True)


class ChoiceRecord(Shape):
    """How the target was chosen."""

    how: Literal["first", "cheapest", "fastest", "split", "pin", "session"] = field(
        "how the target was chosen"
    )
    inputs: dict[str, int | float | str | None] = field(
        "what each model was compared by, or `key`, `salt` and `point`, or the session's `model`"
    )
    session: SessionUse | None = field(
        "what became of the [session](#sticky-sessions); null if the rule is not sticky"
    )


class StepRecord(Shape):
    """A step around the answer."""

    role: Role = field("what the step does")
    model: str = field("the id of its model", take=_model("model"))
    required: bool = field("whether no candidate may be used without it")
    options: dict[str, str | int] = field("what the rule says of it, by key")


class DroppedRecord(Shape):
    """A step that is left out."""

    role: Role = field("what the step would do", of="step.role")
    model: str = field("the id of its model", take=_model("step.model"))
    gate: GateName = field("the first gate that its model failed", of="failure.gate")
    detail: str = field("why, in words", take=lambda dropped, decision: dropped.failure.recorded(decision))


class EnsembleRecord(Shape):
    """Members that answer side by side."""

    members: list[str] = field("ids", take=_models("members"))
    combine: str = field("how their answers become one")
    quorum: int = field("how many have to answer")
    judge: str | None = field("the id of the judge", take=_model("judge"))
    override: str | None = field("the id of the member that may overrule the others", take=_model("override"))
    label: str | None = field("the pattern that finds the label of an answer")


def _cost(name: str) -> Any:
    def take(_: object, decision: Decision) -> Any:
        return getattr(decision.policy.limits.cost, name, None)

    return take


def _timeouts(plan: Any, decision: Decision) -> dict[str, int]:
    catalog = decision.policy.catalog
    backend = catalog.backends[catalog.models[plan.target].backend]
    return {f"{phase}_ms": ms for phase, ms in backend.timeouts if ms is not None}


def _default_waits(plan: Any, decision: Decision) -> dict[str, int]:
    return {f"{name}_ms": ms for name, ms in default_waits(decision.policy, plan.target).items()}


def _unknown_cost(_: object, decision: Decision) -> str | None:
    cost = decision.policy.limits.cost
    return None if cost is None else "refuse" if cost.refuses_unknown else "allow"


class PlanRecord(Shape):
    """What is to be executed."""

    target: str = field("the id of the model that goes first", take=_model("target"))
    fallbacks: list[str] = field("ids, in the order to be tried", take=_models("fallbacks"))
    steps: list[StepRecord] = field("steps around the answer")
    dropped: list[DroppedRecord] = field("steps that are left out")
    ensemble: EnsembleRecord | None = field("members that answer side by side")
    ensemble_dropped: str | None = field(
        "why the rule's ensemble is not used",
        take=lambda plan, decision: plan.ensemble_dropped and plan.ensemble_dropped.recorded(decision),
    )
    timeouts: dict[str, int] = field("limits of the target's backend, by phase", take=_timeouts)
    first_token_within_ms: int | None = field(
        "how soon the first token has to come", of="decision.policy.limits.first_token_within_ms"
    )
    cache_ttl_ms: int | None = field("how long an answer is kept", of="decision.policy.limits.cache_ttl_ms")
    cache_by: list[str] | None = field(
        "features whose values have to be equal for an answer to be reused; where it is left out, all that "
        "the caller gives has to be equal",
        of="decision.policy.limits.cache_by",
        added=True,
    )
    max_attempts: int | None = field(
        "the most calls for the answer", of="decision.policy.limits.max_attempts"
    )
    backoff_ms: int | None = field("how long the first retry waits", of="decision.policy.limits.backoff_ms")
    deadline_ms: int | None = field(
        "how long all calls together may take", of="decision.policy.limits.deadline_ms"
    )
    max_cost_nano: int | None = field("what the task may cost, all calls together", take=_cost("limit"))
    max_cost_currency: str | None = field("the currency of that", take=_cost("currency"))
    unknown_cost: Literal["refuse", "allow"] | None = field(
        "whether models without a price are refused under that limit", take=_unknown_cost
    )
    lease_ms: int | None = field("how long a place in a quota is held", of="decision.policy.limits.lease_ms")
    unenforced: list[str] = field("what the plan asks for that is not supported yet")
    defaults: dict[str, int] | None = field(
        "limits that the engine sets for the target because the policy writes none; no digest of a policy covers them",
        take=_default_waits,
        added=True,
    )


class ModelStateRecord(Shape):
    """What was known of a model."""

    health: Health | None = field("its health")
    breaker: Breaker | None = field("its breaker")
    breaker_until_us: int | None = field("when the open breaker closes, microseconds since 1970")
    breaker_after: str | None = field("the failure that opened it")
    latency_ms: float | None = field("the mean time to its first token")
    health_detail: str | None = field("why it is unhealthy", added=True)
    loaded: bool | None = field("whether it is in memory", added=True)
    load_ms: int | None = field("how long loading it took of late", added=True)
    memory_bytes: int | None = field("what it takes in memory, as its backend says", added=True)


class ResidentRecord(Shape):
    """A model in memory."""

    model: str = field("its id, or its backend's name for one that the catalog does not have")
    memory_bytes: int | None = field("what it takes")


class MemoryRecord(Shape):
    """What was known of the memory of a backend."""

    limit_bytes: int | None = field("what all its models together may take")
    loaded: list[ResidentRecord] = field("the models in memory, in the order in which they make room")


def _model_states(state: Any, decision: Decision) -> dict[str, ModelState]:
    return {model.id: state.models.get(model.id, NOTHING_KNOWN) for model in decision.policy.catalog.models}


def _quota_used(state: Any, decision: Decision) -> dict[str, int | None]:
    return {quota.name: state.quota_used.get(quota.name) for quota in decision.policy.quotas}


class StateRecord(Shape):
    """What was known beyond the task."""

    load: float | None = field("from 0 to 1")
    models: dict[str, ModelStateRecord] = field(
        "every model of the catalog, known or not", take=_model_states
    )
    quota_used: dict[str, int | None] = varying(
        "of each quota, in its own unit (money in nano-units)", take=_quota_used
    )
    session_model: str | None = varying("the model that last answered the task's session")
    memory: dict[str, MemoryRecord] | None = field(
        "of each backend whose memory was known", take=lambda state, _: state.memory or None, added=True
    )


def _features(decision: Decision, _: Decision) -> dict[str, Bound]:
    bound = map(Bound, decision.values, decision.sources)
    return {feature.name: one for feature, one in zip(decision.policy.features, bound, strict=True)}


def _rules(decision: Decision, _: Decision) -> list[Judged]:
    named = zip(decision.policy.rules, decision.verdicts, strict=True)
    return [Judged(rule.name, verdict) for rule, verdict in named]


def _candidates(decision: Decision, _: Decision) -> list[Weighed]:
    models, operation = decision.policy.catalog.models, decision.task.operation
    return [
        Weighed(one, estimate(models[one.model], operation, decision.request, decision.state))
        for one in decision.candidates
    ]


class DecisionRecord(Shape):
    """A decision, written out."""

    record: Literal[1] = varying("version of this shape: 1", take=lambda *_: RECORD_VERSION)
    id: Uuid = varying("the decision's id, a UUIDv7")
    at_us: int = varying("time of the decision, microseconds since 1970, UTC", of="state.at_us", column=True)
    engine: str = varying(
        "version of the engine that decided", take=lambda *_: ENGINE_VERSION, column="engine_version"
    )
    policy: NamedDigest = field(
        "the policy that decided; under a rollout the arm's",
        place="policy",
        column={"name": "policy_name", "digest": "policy_digest"},
    )
    catalog: NamedDigest = field(
        "its catalog", place="policy", of="policy.catalog", column={"digest": "catalog_digest"}
    )
    arm: ArmRecord | None = field(
        "null without a [rollout](rollout.md)",
        place="arm",
        column={
            "arm": "arm",
            "probability": "arm_probability",
            "control.digest": "control_digest",
            "candidate.digest": "candidate_digest",
        },
    )
    operation: Operation = varying("what is asked for", of="task.operation", column=True)
    pin: str | None = varying("the only model that the caller allows", of="task.pin")
    draw: float | None = varying("the random number, from 0 to below 1, that a split may use", of="task.draw")
    request: RequestRecord = varying("what was known of the request", of="task.request")
    features: dict[str, FeatureRecord] = varying("of each declared feature", take=_features)
    ignored: dict[str, Value | None] = varying("features that were given and are not declared")
    rules: list[RuleRecord] = field("of each rule, in order", place="verdicts", take=_rules)
    rule: str | None = varying(
        "the rule that matched; of an `undecided` task, the one that was unknown",
        of="matched",
        column="matched_rule",
    )
    reason: str | None = field("the reason that the rule gives", place="policy", column=True)
    outcome: Outcome = field("what came of it", place="plan", column=True)
    target: str | None = field("id of the chosen model", place="plan", column=True)
    candidates: list[CandidateRecord] = field(
        "in the order to be tried", place="plan", take=_candidates, column=True
    )
    choice: ChoiceRecord | None = field("how the target was chosen", place="choice")
    plan: PlanRecord | None = field("what is to be executed", place="plan", column=True)
    state: StateRecord = field("what was known beyond the task", place="state", column=True)

    def canonical(self) -> bytes:
        """The record as canonical JSON (RFC 8785): what its digest covers."""
        return canonical_bytes(self.model_dump(mode="json"))
