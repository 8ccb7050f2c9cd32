"""Makes records of decisions, and reads a record's task, state and arm back.

A record holds everything that decided, so with the policy text behind its digest the same decision can be made again.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, get_origin

from ..decision import (
    NOTHING_KNOWN,
    Arm,
    Decision,
    MemoryState,
    ModelState,
    NamedPolicy,
    RequestFacts,
    Resident,
    State,
    Task,
)
from ..report import RecordError
from .field import Field, Place, Shape, fields_of, generated, plain_type, taken
from .fields import RECORD_VERSION, ArmRecord, DecisionRecord, NamedDigest
from .version_1 import DecisionRecord1, arm_point

Record = DecisionRecord | DecisionRecord1
"""A record of any version."""

_SCALARS = frozenset((bool, int, float, str, type(None)))


def record_of(decision: Decision) -> DecisionRecord:
    """Return the record of ``decision``: the same decision gives the same bytes.

    Raises RecordError for what is no decision.
    """
    if not isinstance(decision, Decision):
        raise no_decision(decision, "a Decision")
    return DecisionRecord.model_validate(record_values(decision))


def no_decision(given: object, wanted: str) -> RecordError:
    """What to say of ``given``, which is not what is ``wanted``."""
    help = "what `ModelGateway.decide` and `run` return holds it as `.decision`"
    return RecordError(f"expected {wanted}, not {type(given).__name__}", help=help)


def record_of_version(decision: Decision, version: int) -> Record:
    """The record of ``decision`` as engines wrote it that wrote ``version``."""
    if version == RECORD_VERSION:
        return record_of(decision)
    return DecisionRecord1.model_validate(values_of(DecisionRecord1, decision, decision))


def record_values(decision: Decision) -> dict[str, Any]:
    """The record as plain values: what ``record_of`` checks."""
    return values_of(DecisionRecord, decision, decision)


def values_of(
    shape: type[Shape], recorded: object, decision: Decision | None, place: Place | None = None
) -> dict[str, Any]:
    """What the record of ``decision`` holds of one object, as plain values; of a ``place`` its fields alone."""
    return _values_function(shape, place)(recorded, decision)


@cache
def _values_function(
    shape: type[Shape], place: Place | None = None
) -> Callable[[object, Decision | None], dict[str, Any]]:
    names: dict[str, Any] = {"json": _json, "scalars": _SCALARS}
    fields = [field for field in fields_of(shape) if place in (None, field.place)]
    members = [_member(field, _plain(field, names)) for field in fields]
    function: Callable[[object, Decision | None], dict[str, Any]]
    function = generated("x, decision", f"{{{', '.join(members)}}}", names)
    return function


def _member(field: Field, value: str) -> str:
    if field.added:
        return f"**({{}} if (added := {value}) is None else {{{field.name!r}: added}})"
    return f"{field.name!r}: {value}"


def _plain(field: Field, names: dict[str, Any]) -> str:
    """The expression for a field's value as JSON has it: arrays are lists."""
    value, kind = taken(field, names), plain_type(field.kind)
    if field.shape is None:
        return value if kind in _SCALARS else f"(v if type(v := {value}) in scalars else json(v))"
    values = f"values_{field.name}"
    names[values] = _values_function(field.shape)
    if get_origin(kind) is list:
        written = f"[{values}(one, decision) for one in {{}}]"
    elif get_origin(kind) is dict:
        written = f"{{{{name: {values}(one, decision) for name, one in {{}}.items()}}}}"
    else:
        written = f"{values}({{}}, decision)"
    # A shape by itself may be missing where its field says nothing of null, as the parts of a plan are.
    held = get_origin(kind) in (list, dict) and not field.nullable
    return written.format(value) if held else f"None if (v := {value}) is None else {written.format('v')}"


def _json(value: Any) -> Any:
    if type(value) in _SCALARS:
        return value
    if isinstance(value, list | tuple):
        return [_json(one) for one in value]
    return {name: _json(one) for name, one in value.items()}


def task_of(record: Record) -> Task:
    """The task that was decided: what was given and ignored; what was derived is derived again, and null if erased."""
    features: dict[str, object] = {
        name: _value(feature.value)
        for name, feature in record.features.items()
        if feature.source == "given" or f"features.{name}" in (record.erased or ())
    }
    features.update({name: _value(value) for name, value in record.ignored.items()})
    request = RequestFacts(**record.request.model_dump())
    return Task(features, record.operation, request, record.pin, record.draw)


def state_of(record: Record) -> State:
    """The state that the decision knew."""
    states = {id: ModelState(**model.model_dump()) for id, model in record.state.models.items()}
    return State(
        at_us=record.at_us,
        load=record.state.load,
        models={id: state for id, state in states.items() if state != NOTHING_KNOWN},
        quota_used={name: used for name, used in record.state.quota_used.items() if used is not None},
        session_model=record.state.session_model,
        memory={
            id: MemoryState(
                one.limit_bytes, tuple(Resident(**resident.model_dump()) for resident in one.loaded)
            )
            for id, one in (record.state.memory or {}).items()
        },
    )


def arm_of(record: Record) -> Arm | None:
    """The arm of a rollout that the decision belongs to."""
    arm = record.arm
    if arm is None:
        return None
    facts = {field.of: getattr(arm, field.name) for field in fields_of(ArmRecord)}
    named = {"control": _named(arm.control), "candidate": _named(arm.candidate)}
    return Arm(**facts | named, point=arm_point(record))


def _named(policy: NamedDigest) -> NamedPolicy:
    return NamedPolicy(policy.name or "", policy.digest)


def _value(value: object) -> object:
    return tuple(_value(element) for element in value) if isinstance(value, list) else value
