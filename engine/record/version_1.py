"""Records of version 1, as earlier engines wrote them: read, and made again to be compared.

They hold expected costs and times of candidates, and words that depend on the call, in place. Only what differs from
version 2 is declared here.
"""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Literal, NamedTuple

from ..canonical import canonical_bytes
from ..decision import CandidateVerdict, Decision, Estimate, Outcome, SessionUse, estimate
from ..policy import Operation
from ..version import ENGINE_VERSION
from .field import Shape, Uuid, field
from .fields import (
    ArmRecord,
    DroppedRecord,
    FeatureRecord,
    GateName,
    MarkName,
    NamedDigest,
    PlanRecord,
    RequestRecord,
    StateRecord,
    Value,
    bound_features,
    model_at,
)


class _Weighed(NamedTuple):
    """A candidate with what it was expected to cost and to take."""

    verdict: CandidateVerdict
    expected: Estimate


class _Judged(NamedTuple):
    """A rule's name and verdict."""

    name: str
    verdict: bool | None


class ArmRecord1(ArmRecord):
    """The arm of a rollout that decided."""

    point: float | None = field("where the task fell, from 0 to below 1; null where nothing was drawn")


class RuleRecord1(Shape):
    """A rule."""

    name: str = field("its name")
    verdict: bool | None = field("the value of its condition; null is unknown")


class CandidateRecord1(Shape):
    """A candidate."""

    model: str = field("its id", take=model_at("verdict.model"))
    origin: str = field("what made it a candidate", of="verdict.origin")
    eligible: bool = field("whether it passed every gate", take=lambda x, _: x.verdict.failure is None)
    gate: GateName | None = field(
        "the first gate that it failed", take=lambda x, _: x.verdict.failure and x.verdict.failure.gate
    )
    detail: str | None = field(
        "why, in words",
        take=lambda x, decision: x.verdict.failure and x.verdict.failure.recorded(decision),
    )
    marks: list[MarkName] = field("what could not be checked", of="verdict.marks")
    probability: float = field("of being the target", of="verdict.probability")
    estimated_cost_nano: int | None = field("the cost of the request's tokens", of="expected.cost_nano")
    currency: str | None = field("the price's currency", of="expected.currency")
    cost_source: str | None = field("where the cost came from", of="expected.cost_source")
    estimated_latency_ms: float | None = field("how long it was expected to take", of="expected.latency_ms")
    latency_source: str | None = field("where that came from", of="expected.latency_source")
    load_ms: int | None = field("how long it has to be loaded first", of="expected.load_ms", added=True)
    unloads: list[str] | None = field("what has to be unloaded for it", of="expected.unloads", added=True)


class ChoiceRecord1(Shape):
    """How the target was chosen."""

    how: Literal["first", "cheapest", "fastest", "split", "pin", "session"] = field(
        "how the target was chosen"
    )
    inputs: dict[str, int | float | str | None] = field("what it was chosen by")
    session: SessionUse | None = field("what became of the session")


class DroppedRecord1(DroppedRecord):
    """A step that is left out."""

    detail: str = field("why, in words", take=lambda dropped, decision: dropped.failure.recorded(decision))


class PlanRecord1(PlanRecord):
    """What is to be executed."""

    dropped: list[DroppedRecord1] = field(  # type: ignore[assignment]  # of the same fields
        "steps that are left out"
    )
    ensemble_dropped: str | None = field(
        "why the rule's ensemble is not used",
        take=lambda plan, decision: plan.ensemble_dropped and plan.ensemble_dropped.recorded(decision),
    )


def _rules(decision: Decision, _: Decision) -> list[_Judged]:
    named = zip(decision.policy.rules, decision.verdicts, strict=True)
    return [_Judged(rule.name, verdict) for rule, verdict in named]


def _candidates(decision: Decision, _: Decision) -> list[_Weighed]:
    models, operation = decision.policy.catalog.models, decision.task.operation
    return [
        _Weighed(one, estimate(models[one.model], operation, decision.request, decision.state))
        for one in decision.candidates
    ]


class DecisionRecord1(Shape):
    """A decision as version 1 has it."""

    record: Literal[1] = field("version of this shape: 1", take=lambda *_: 1)
    id: Uuid = field("the decision's id")
    at_us: int = field("time of the decision", of="state.at_us")
    engine: str = field("version of the engine", take=lambda *_: ENGINE_VERSION)
    policy: NamedDigest = field("the policy that decided")
    catalog: NamedDigest = field("its catalog", of="policy.catalog")
    arm: ArmRecord1 | None = field("null without a rollout")
    operation: Operation = field("what is asked for", of="task.operation")
    pin: str | None = field("the only model that the caller allows", of="task.pin")
    draw: float | None = field("the random number that a split may use", of="task.draw")
    request: RequestRecord = field("what was known of the request", of="task.request")
    features: dict[str, FeatureRecord] = field("of each declared feature", take=bound_features)
    ignored: dict[str, Value | None] = field("features that were given and are not declared")
    rules: list[RuleRecord1] = field("of each rule, in order", take=_rules)
    rule: str | None = field("the rule that matched", of="matched")
    reason: str | None = field("the reason that the rule gives")
    outcome: Outcome = field("what came of it")
    target: str | None = field("id of the chosen model")
    candidates: list[CandidateRecord1] = field("in the order to be tried", take=_candidates)
    choice: ChoiceRecord1 | None = field("how the target was chosen")
    plan: PlanRecord1 | None = field("what is to be executed")
    state: StateRecord = field("what was known beyond the task")
    erased: dict[str, str | None] | None = field("values that were erased", take=lambda *_: None, added=True)

    def canonical(self) -> bytes:
        """The record as canonical JSON (RFC 8785): what its digest covers."""
        return canonical_bytes(self.model_dump(mode="json"))


def arm_point(record: Any) -> float | None:
    """Where the task fell between the arms, in a record of either version."""
    path = "arm_point" if record.record != 1 else "arm.point"
    return None if record.arm is None else attrgetter(path)(record)
