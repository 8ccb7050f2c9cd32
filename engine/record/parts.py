"""Encodes a decision by its parts: what differs from call to call, and what many decisions share.

What is shared is encoded once, when it first comes: a policy's part for all its decisions, and the part of a plan for
those with the same plan. ``RecordTexts`` makes the record of them again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from operator import attrgetter
from types import SimpleNamespace
from typing import Any, Final, NamedTuple, TypeVar

from ..canonical import canonical_text
from ..decision import (
    NO_REQUEST,
    Arm,
    CandidateVerdict,
    Decision,
    GateFailure,
    MemoryState,
    ModelState,
    Plan,
    RequestFacts,
    Source,
)
from ..policy import CompiledPolicy, per_policy
from ..report import RecordError
from .field import fields_of
from .fields import ArmRecord, ChoiceRecord, DecisionRecord, RequestRecord, details_of
from .record import no_decision, values_of

_MAX_REMEMBERED = 4096
"""Plans whose part is kept for a policy, and lists of verdicts; when there are more, all are forgotten."""

SOURCES: Final[Mapping[Source, str]] = {"given": "g", "derived": "r", "default": "d", "unknown": "u"}
"""One letter for each source of a feature's value."""
VERDICTS: Final[Mapping[bool | None, str]] = {True: "t", False: "f", None: "u"}
"""One letter for each verdict of a rule."""
SOURCE_NAMES: Final = {letter: source for source, letter in SOURCES.items()}
VERDICT_VALUES: Final = {letter: verdict for verdict, letter in VERDICTS.items()}
REQUEST_FIELDS: Final = tuple(field.name for field in fields_of(RequestRecord))


K = TypeVar("K")
V = TypeVar("V")


class Part(NamedTuple):
    """Something that records share: its canonical JSON, and the digest of that."""

    digest: str
    text: str


class RecordRow(NamedTuple):
    """What of a record differs from call to call, as plain values.

    ``sources`` has a letter of ``SOURCES`` for each feature of the policy, in order, and ``values`` the values of those
    that are given or derived. ``verdicts`` has a letter of ``VERDICTS`` for each rule. ``request`` follows
    ``REQUEST_FIELDS``, and is None where nothing is known; ``quota_used`` follows the policy's quotas. ``ignored`` and
    ``details`` are None where they are empty. ``salts`` and ``erased`` are by the places of values, and None where
    there are none; a value that was erased is None, and left out of metadata.
    """

    id: str
    at_us: int
    operation: str
    pin: str | None
    draw: float | None
    request: Sequence[Any] | None
    prompt_tokens: int | None
    sources: str
    values: Sequence[Any]
    ignored: Mapping[str, Any] | None
    verdicts: str
    details: Mapping[str, str] | None
    arm_point: float | None
    load: float | None
    quota_used: Sequence[int | None] | None
    session_model: str | None
    salts: Mapping[str, str] | None = None
    erased: Mapping[str, str | None] | None = None


class RecordParts(NamedTuple):
    """A record by its parts; ``models`` and ``memory`` hold of the state what is known of models and backends."""

    row: RecordRow
    policy: Part
    plan: Part
    arm: Part | None
    models: Mapping[str, ModelState]
    memory: Mapping[str, MemoryState]


def parts_of(decision: Decision) -> RecordParts:
    """The record of ``decision`` by its parts. Raises RecordError for what is no decision."""
    if type(decision) is not Decision:
        raise no_decision(decision, "a Decision")
    return _encoder_of(decision.policy).encode(decision)


class _Planned(NamedTuple):
    """The part of a plan, and the failed gates in it whose words depend on the call."""

    candidates: object
    plan: object
    part: Part
    varies: bool


class _Encoder:
    """Encodes the decisions of one policy."""

    def __init__(self, policy: CompiledPolicy) -> None:
        self._policy = part_of(_policy_values(policy))
        self._quotas = [quota.name for quota in policy.quotas]
        self._sources: dict[tuple[Source, ...], tuple[str, tuple[int, ...]]] = {}
        self._verdicts: dict[tuple[bool | None, ...], str] = {}
        self._plans: dict[tuple[int, int, int | None, str], _Planned] = {}
        self._plan_parts: dict[object, _Planned] = {}
        self._arms: dict[Arm, Part] = {}

    def encode(self, decision: Decision) -> RecordParts:
        task, state, request = decision.task, decision.state, decision.task.request
        sources, slots = self._sources.get(decision.sources) or self._coded(decision.sources)
        values = decision.values
        planned = self._planned(decision)
        arm = decision.arm
        row = RecordRow(
            decision.id,
            state.at_us,
            task.operation,
            task.pin,
            task.draw,
            None if request is NO_REQUEST else request_values(request),
            decision.request.prompt_tokens,
            sources,
            list(map(values.__getitem__, slots)),
            decision.ignored or None,
            self._verdicts.get(decision.verdicts) or self._judged(decision.verdicts),
            details_of(decision) if planned.varies else None,
            None if arm is None else arm.point,
            state.load,
            list(map(state.quota_used.get, self._quotas)) if state.quota_used else None,
            state.session_model,
            decision.salts or None,
        )
        return RecordParts(
            row,
            self._policy,
            planned.part,
            None if arm is None else self._armed(decision),
            state.models,
            state.memory,
        )

    def _coded(self, sources: tuple[Source, ...]) -> tuple[str, tuple[int, ...]]:
        slots = tuple(slot for slot, source in enumerate(sources) if source in ("given", "derived"))
        coded = "".join(map(SOURCES.__getitem__, sources)), slots
        return _keep(self._sources, sources, coded)

    def _judged(self, verdicts: tuple[bool | None, ...]) -> str:
        return _keep(self._verdicts, verdicts, "".join(map(VERDICTS.__getitem__, verdicts)))

    def _planned(self, decision: Decision) -> _Planned:
        key = (id(decision.candidates), id(decision.plan), decision.rule, decision.outcome)
        kept = self._plans.get(key)
        if kept is None or kept.candidates is not decision.candidates or kept.plan is not decision.plan:
            # Rules that compare numbers make a plan anew for each task, which mostly says the same as one before.
            said = _said_by_plan(decision)
            same = self._plan_parts.get(said)
            if same is None:
                part = part_of(_plan_values(decision))
                varies = any(one.varies for one in _failures(decision))
                same = _Planned(decision.candidates, decision.plan, part, varies)
                _keep(self._plan_parts, said, same)
            kept = same._replace(candidates=decision.candidates, plan=decision.plan)
            _keep(self._plans, key, kept)
        return kept

    def _armed(self, decision: Decision) -> Part:
        assert decision.arm is not None
        key = replace(decision.arm, point=None)
        return self._arms.get(key) or _keep(
            self._arms, key, part_of(values_of(ArmRecord, decision.arm, decision))
        )


def _keep(memory: dict[K, V], key: K, made: V) -> V:
    if len(memory) >= _MAX_REMEMBERED:
        memory.clear()
    memory[key] = made
    return made


def part_of(values: object) -> Part:
    """``values`` as a part. Raises RecordError for half of a surrogate pair."""
    text = canonical_text(values)
    try:
        return Part("sha256:" + hashlib.sha256(text.encode()).hexdigest(), text)
    except UnicodeEncodeError as error:
        raise RecordError(f"a text of the policy cannot be recorded: {error.reason}") from None


def request_values(request: RequestFacts) -> list[Any]:
    """What is known of a request, in the order of ``REQUEST_FIELDS``."""
    return [
        request.prompt_tokens,
        request.prompt_tokens_source,
        request.tokenizer,
        request.max_output_tokens,
        request.messages,
        request.images,
        request.tools,
        request.json_schema,
        dict(request.metadata),
    ]


def _failures(decision: Decision) -> list[GateFailure]:
    failed = [one.failure for one in decision.candidates if one.failure is not None]
    return failed if decision.plan is None else [*failed, *(one.failure for one in decision.plan.dropped)]


def _policy_values(policy: CompiledPolicy) -> dict[str, Any]:
    """What follows from the policy alone: fields of the record, and what its rows are read with."""
    return {
        **values_of(DecisionRecord, SimpleNamespace(policy=policy), None, "policy"),
        "features": [{"name": one.name, "default": one.default} for one in policy.features],
        "models": [model.id for model in policy.catalog.models],
        "quotas": [quota.name for quota in policy.quotas],
    }


_facts_of_candidate = attrgetter(*(one.name for one in fields(CandidateVerdict) if one.name != "failure"))
_facts_of_plan = attrgetter(
    *(one.name for one in fields(Plan) if one.name not in ("steps", "dropped", "ensemble_dropped"))
)


def _said_by_plan(decision: Decision) -> object:
    """All that the part of a plan follows from, beside the policy: equal for equal parts, and made far sooner."""
    choice, plan = decision.choice, decision.plan
    candidates = [(_facts_of_candidate(one), _said_by(one.failure)) for one in decision.candidates]
    chosen = None if choice is None else repr(values_of(ChoiceRecord, choice, decision))
    if plan is None:
        return decision.rule, decision.outcome, tuple(candidates), chosen
    # Steps are the policy's own, which lives as long as what is kept for it.
    steps, dropped = map(id, plan.steps), [(id(one.step), _said_by(one.failure)) for one in plan.dropped]
    known = _facts_of_plan(plan), tuple(steps), tuple(dropped), _said_by(plan.ensemble_dropped)
    return decision.rule, decision.outcome, tuple(candidates), chosen, known


def _said_by(failure: GateFailure | None) -> object:
    return None if failure is None else (failure.gate, failure.lasting, failure.varies)


def _plan_values(decision: Decision) -> dict[str, Any]:
    return values_of(DecisionRecord, decision, decision, "plan")


_encoder_of: Callable[[CompiledPolicy], _Encoder] = per_policy(_Encoder)
