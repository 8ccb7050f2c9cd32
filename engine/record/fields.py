"""Every field of a decision's record, said once: validation, values, digest and docs are made from it.

A field says where the ledger keeps it (``place``), and whether the record's digest is made of the field itself or of
its digest (``part``). What a part holds follows from the policy, from a plan that many decisions share, or from the
state: nothing in it differs from call to call.

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
    Decision,
    Health,
    ModelState,
    Outcome,
    PromptTokensSource,
    RolloutMode,
    SessionUse,
    Source,
    catalog_bytes,
)
from ..policy import Location, Operation, Role, default_waits, nano_units
from ..version import ENGINE_VERSION
from .field import Shape, Take, Uuid, field

varying = partial(field, place="row")
"""Declares a field that differs from call to call."""

RECORD_VERSION = 2
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


class Bound(NamedTuple):
    """The value of a feature and where it came from."""

    value: object
    source: Source


def model_at(path: str) -> Take:
    """Takes the id of the model whose position is at ``path``."""
    index = attrgetter(path)

    def take(recorded: Any, decision: Decision) -> str | None:
        at = index(recorded)
        return None if at is None else decision.policy.catalog.models[at].id

    return take


def of_model(path: str) -> Take:
    """Takes a fact of a candidate's model."""
    get = attrgetter(path)
    return lambda candidate, decision: get(decision.policy.catalog.models[candidate.model])


def _expected_latency(candidate: Any, decision: Decision) -> float | None:
    expected = decision.policy.catalog.models[candidate.model].shape.expected_latency
    return None if expected is None else float(expected)


def _sized(candidate: Any, decision: Decision) -> tuple[int | None, int | None]:
    shape = decision.policy.catalog.models[candidate.model].shape
    return catalog_bytes(shape.memory_gb), shape.size_bytes


def _nano(name: str) -> Take:
    return lambda price, _: nano_units(getattr(price, name))


def _key_type(choice: Any, decision: Decision) -> str | None:
    key = choice.inputs["key"] if choice.how == "split" else None
    types = (str(one.declaration.type) for one in decision.policy.features if one.name == key)
    return next(types, None)


def _among(choice: Any, _: object) -> list[str]:
    return list(choice.inputs) if choice.how in ("cheapest", "fastest") else []


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
    """The arm of a rollout that decided. Where the task fell stands beside it, as ``arm_point``."""

    arm: ArmName = field("whose policy decided", of="name")
    mode: RolloutMode = field("the rollout's mode")
    probability: float = field("that this arm is the one executed: 0 of a shadow")
    share: float | None = field("the candidate's share from 0 to 1, under a canary")
    key: str | None = field("the feature whose value fell into a bucket; null for a random draw")
    salt: str | None = field("the salt of the bucket")
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


class PriceRecord(Shape):
    """A price."""

    input_nano: int = field(
        "of a million tokens of the prompt, in nano-units", of="input", take=_nano("input")
    )
    output_nano: int = field("of a million tokens of the answer", of="output", take=_nano("output"))
    currency: str = field("three letters")


class CandidateRecord(Shape):
    """A candidate, with what the catalog says of its costs and times."""

    model: str = field("its id", take=of_model("id"))
    backend: str = field("the id of its backend", take=of_model("backend"))
    location: Location | None = field("where it runs; null where nobody knows", take=of_model("location"))
    origin: str = field("what made it a candidate: `use`, `ensemble`, `fallback`, `chain NAME` or `pin`")
    eligible: bool = field("whether it passed every gate", take=lambda x, _: x.failure is None)
    gate: GateName | None = field(
        "the first gate that it failed", take=lambda x, _: x.failure and x.failure.gate
    )
    detail: str | None = field(
        "why, in words, without what differs from call to call: that is in `details`",
        take=lambda x, _: x.failure and x.failure.lasting,
    )
    marks: list[MarkName] = field("what could not be checked")
    probability: float = field("of being the target, before a draw or key was looked at; 0 for fallbacks")
    price: PriceRecord | None = field("its price; null where it has none", take=of_model("shape.price"))
    expected_latency_ms: float | None = field(
        "how long it takes to its first token, as the catalog expects", take=_expected_latency
    )
    memory_bytes: int | None = field(
        "what it takes in memory, as the catalog says", take=lambda x, decision: _sized(x, decision)[0]
    )
    size_bytes: int | None = field("the size of its files", take=lambda x, decision: _sized(x, decision)[1])


class ChoiceRecord(Shape):
    """How the target was chosen."""

    how: Literal["first", "cheapest", "fastest", "split", "pin", "session"] = field(
        "how the target was chosen"
    )
    among: list[str] = field(
        "ids of the models that were compared, by what each was expected to cost or to take", take=_among
    )
    key: str | None = field(
        "the feature whose value falls into a bucket of a split; null for a random draw",
        take=lambda x, _: x.inputs["key"] if x.how == "split" else None,
    )
    key_type: str | None = field("the type of that feature", take=_key_type, added=True)
    salt: str | None = field(
        "the salt of the bucket", take=lambda x, _: x.inputs["salt"] if x.how == "split" else None
    )
    session: SessionUse | None = field(
        "what became of the [session](#sticky-sessions); null if the rule is not sticky"
    )


class StepRecord(Shape):
    """A step around the answer."""

    role: Role = field("what the step does")
    model: str = field("the id of its model", take=model_at("model"))
    required: bool = field("whether no candidate may be used without it")
    options: dict[str, str | int] = field("what the rule says of it, by key")


class DroppedRecord(Shape):
    """A step that is left out."""

    role: Role = field("what the step would do", of="step.role")
    model: str = field("the id of its model", take=model_at("step.model"))
    gate: GateName = field("the first gate that its model failed", of="failure.gate")
    detail: str = field("why, in words, as a candidate's", of="failure.lasting")


class EnsembleRecord(Shape):
    """Members that answer side by side."""

    members: list[str] = field("ids", take=_models("members"))
    combine: str = field("how their answers become one")
    quorum: int = field("how many have to answer")
    judge: str | None = field("the id of the judge", take=model_at("judge"))
    override: str | None = field(
        "the id of the member that may overrule the others", take=model_at("override")
    )
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

    target: str = field("the id of the model that goes first", take=model_at("target"))
    fallbacks: list[str] = field("ids, in the order to be tried", take=_models("fallbacks"))
    steps: list[StepRecord] = field("steps around the answer")
    dropped: list[DroppedRecord] = field("steps that are left out")
    ensemble: EnsembleRecord | None = field("members that answer side by side")
    ensemble_dropped: str | None = field(
        "why the rule's ensemble is not used",
        take=lambda plan, _: plan.ensemble_dropped and plan.ensemble_dropped.lasting,
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

    load: float | None = varying("from 0 to 1")
    models: dict[str, ModelStateRecord] = field(
        "every model of the catalog, known or not", part="by_key", take=_model_states
    )
    quota_used: dict[str, int | None] = varying(
        "of each quota, in its own unit (money in nano-units)", take=_quota_used
    )
    session_model: str | None = varying("the model that last answered the task's session")
    memory: dict[str, MemoryRecord] | None = field(
        "of each backend whose memory was known",
        part="by_key",
        take=lambda state, _: state.memory or None,
        added=True,
    )


def bound_features(decision: Decision, _: Decision) -> dict[str, Bound]:
    bound = map(Bound, decision.values, decision.sources)
    return {feature.name: one for feature, one in zip(decision.policy.features, bound, strict=True)}


def details_of(decision: Decision, _: object = None) -> dict[str, str]:
    """Words of failed gates that depend on the call, by the id of the model that failed."""
    models = decision.policy.catalog.models
    failed = [(one.model, one.failure) for one in decision.candidates]
    if decision.plan is not None:
        failed += [(one.step.model, one.failure) for one in decision.plan.dropped]
    found = {
        models[at].id: failure.recorded(decision)
        for at, failure in failed
        if failure is not None and failure.varies
    }
    return dict(sorted(found.items()))


class DecisionRecord(Shape):
    """A decision, written out."""

    record: Literal[2] = varying("version of this shape: 2", take=lambda *_: RECORD_VERSION)
    id: Uuid = varying("the decision's id, a UUIDv7")
    at_us: int = varying("time of the decision, microseconds since 1970, UTC", of="state.at_us")
    engine: str = field("version of the engine that decided", place="policy", take=lambda *_: ENGINE_VERSION)
    policy: NamedDigest = field("the policy that decided; under a rollout the arm's", place="policy")
    catalog: NamedDigest = field("its catalog", place="policy", of="policy.catalog")
    arm: ArmRecord | None = field("null without a [rollout](rollout.md)", place="arm", part="whole")
    arm_point: float | None = varying(
        "where the task fell between the arms, from 0 to below 1; null where nothing was drawn",
        take=lambda x, _: x.arm and x.arm.point,
    )
    operation: Operation = varying("what is asked for", of="task.operation")
    pin: str | None = varying("the only model that the caller allows", of="task.pin")
    draw: float | None = varying("the random number, from 0 to below 1, that a split may use", of="task.draw")
    request: RequestRecord = varying("what was known of the request", of="task.request")
    prompt_tokens: int | None = varying(
        "the prompt's length that gates and prices went by, in tokens: the request's, or what a feature states for it",
        of="request.prompt_tokens",
    )
    features: dict[str, FeatureRecord] = varying("of each declared feature", take=bound_features)
    ignored: dict[str, Value | None] = varying("features that were given and are not declared")
    rules: list[str] = field(
        "names of all rules, in order",
        place="policy",
        part="whole",
        take=lambda x, _: [rule.name for rule in x.policy.rules],
    )
    verdicts: list[bool | None] = varying("the value of each rule's condition; null is unknown")
    rule: str | None = field(
        "the rule that matched; of an `undecided` task, the one that was unknown",
        place="plan",
        of="matched",
    )
    reason: str | None = field("the reason that the rule gives", place="plan")
    outcome: Outcome = field("what came of it", place="plan")
    target: str | None = field("id of the chosen model", place="plan")
    candidates: list[CandidateRecord] = field("in the order to be tried", place="plan", part="whole")
    details: dict[str, str] = varying(
        "by model, in words with the numbers of this call, why it failed its gate", take=details_of
    )
    choice: ChoiceRecord | None = field("how the target was chosen", place="plan", part="whole")
    plan: PlanRecord | None = field("what is to be executed", place="plan", part="whole")
    state: StateRecord = field("what was known beyond the task", place="state")
    salts: dict[str, str] | None = varying(
        "of each value that is [sealed](#sealed-values), by its place such as `features.NAME`: the key of its HMAC",
        take=lambda x, _: x.salts or None,
        added=True,
    )
    erased: dict[str, str | None] | None = varying(
        "of each value that was erased, by its place: the HMAC that stands for it in the digest; null where it was not "
        "sealed",
        take=lambda *_: None,
        added=True,
    )

    def canonical(self) -> bytes:
        """The record as canonical JSON (RFC 8785). Its digest is `record_digest`."""
        return canonical_bytes(self.model_dump(mode="json"))
