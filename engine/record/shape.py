"""The shape of a decision record as it is printed, stored and hashed; JSON text in, a record out.

Strict on both sides: nothing is converted, so that what is read is what was written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Annotated, Any, Literal, NoReturn

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from ..canonical import canonical_bytes, digest_of
from ..decision import (
    GATES,
    MARKS,
    ArmName,
    Breaker,
    Health,
    Outcome,
    PromptTokensSource,
    RolloutMode,
    SessionUse,
    Source,
)
from ..policy import MAX_EXACT, Operation
from ..report import RecordError

RECORD_VERSION = 1
"""The version of the record's shape; a change of meaning counts it up."""


def _value(value: object) -> object:
    if isinstance(value, list):
        for element in value:
            _value(element)
    elif not isinstance(value, bool | int | float | str):
        raise ValueError("expected a boolean, a number, text or an array of them")
    return value


Value = Annotated[Any, BeforeValidator(_value)]
"""A boolean, a number, text, or an array of values."""


def _one_of(names: Iterable[str]) -> AfterValidator:
    known = list(dict.fromkeys(names))

    def check(name: str) -> str:
        if name not in known:
            raise ValueError(f"expected one of {', '.join(known)}")
        return name

    return AfterValidator(check)


GateName = Annotated[str, _one_of(gate.gate for gate in GATES)]
MarkName = Annotated[str, _one_of(mark.name for mark in MARKS)]


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class NamedDigest(_Shape):
    """A policy or catalog: its name and the digest of what it means."""

    name: str | None
    digest: str


class ArmRecord(_Shape):
    """The arm of a rollout that decided. ``key`` is null for a random draw, ``point`` where nothing was drawn."""

    arm: ArmName
    mode: RolloutMode
    probability: float
    share: float | None
    key: str | None
    salt: str | None
    point: float | None
    control: NamedDigest
    candidate: NamedDigest
    file: str


class RequestRecord(_Shape):
    """What was known of the request. ``tokenizer`` is what its prompt was counted with."""

    prompt_tokens: int | None
    prompt_tokens_source: PromptTokensSource | None
    tokenizer: str | None
    max_output_tokens: int | None
    messages: int | None
    images: int | None
    tools: int | None
    json_schema: bool | None
    metadata: dict[str, str]


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
    gate: GateName | None
    detail: str | None
    marks: list[MarkName]
    probability: float
    estimated_cost_nano: int | None
    currency: str | None
    cost_source: str | None
    estimated_latency_ms: float | None
    latency_source: str | None


class ChoiceRecord(_Shape):
    """How the target was chosen, with what it was chosen by."""

    how: Literal["first", "cheapest", "fastest", "split", "pin", "session"]
    inputs: dict[str, int | float | str | None]
    session: SessionUse | None


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
    gate: GateName
    detail: str


class EnsembleRecord(_Shape):
    """Members that answer side by side."""

    members: list[str]
    combine: str
    quorum: int
    judge: str | None
    override: str | None
    label: str | None


class PlanRecord(_Shape):
    """What is to be executed. Times are in milliseconds, money in nano-units; null where nothing limits them."""

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
    max_cost_nano: int | None
    max_cost_currency: str | None
    unknown_cost: Literal["refuse", "allow"] | None
    lease_ms: int | None
    unenforced: list[str]


class ModelStateRecord(_Shape):
    """What was known of a model; null where nothing was.

    ``breaker_until_us`` is when its open breaker closes, ``breaker_after`` the failure that opened it.
    """

    health: Health | None
    breaker: Breaker | None
    breaker_until_us: int | None
    breaker_after: str | None
    latency_ms: float | None


class StateRecord(_Shape):
    """What was known beyond the task. ``models`` lists every model of the catalog, known or not."""

    load: float | None
    models: dict[str, ModelStateRecord]
    quota_used: dict[str, int | None]
    session_model: str | None


class DecisionRecord(_Shape):
    """A decision, written out."""

    record: Literal[1]
    id: str
    at_us: int
    engine: str
    policy: NamedDigest
    catalog: NamedDigest
    arm: ArmRecord | None
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


def read_record(text: str | bytes) -> DecisionRecord:
    """Return the record in a JSON text, canonical or laid out otherwise.

    Raises RecordError when it is none, or of another version. ``1`` is no ``true``, ``"1"`` no number, no key
    may be missing, unknown or there twice.
    """
    try:
        values = json.loads(
            text,
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_number,
            parse_constant=_refuse,
        )
        canonical_bytes(values)  # refuses text with half of a surrogate pair
    except (ValueError, RecursionError) as error:
        why = f": {error}" if type(error) is ValueError else ": not JSON"
        raise RecordError(f"not a decision record{why}") from None
    if not isinstance(values, dict):
        raise RecordError("not a decision record: expected a JSON object")
    version = values.get("record")
    if type(version) is int and version != RECORD_VERSION:
        raise RecordError(f"the record has version {version}, this engine reads {RECORD_VERSION}")
    try:
        return DecisionRecord.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(step) for step in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise RecordError(f"not a decision record at `{place}`: {message[:1].lower()}{message[1:]}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _integer(text: str) -> int | float:
    """Canonical JSON writes a number without a fraction as one without a point, however large it is."""
    whole = int(text)
    return whole if -MAX_EXACT <= whole <= MAX_EXACT else _number(text)


def _number(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        _refuse(text)
    return number + 0.0  # -0.0 + 0.0 is 0.0


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"`{text[:40]}` is not a number that a record has")
