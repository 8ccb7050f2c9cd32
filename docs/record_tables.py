"""Writes the tables of docs/decisions.md from the gates and from the fields of records. Reads no files."""

from __future__ import annotations

import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from routewright.engine.decision import GATES, MARKS
from routewright.engine.record.field import Shape, fields_of, plain_type
from routewright.engine.record.fields import (
    RECORD_VERSION,
    ArmRecord,
    CandidateRecord,
    ChoiceRecord,
    DecisionRecord,
    DroppedRecord,
    EnsembleRecord,
    FeatureRecord,
    MemoryRecord,
    ModelStateRecord,
    NamedDigest,
    PlanRecord,
    PriceRecord,
    RequestRecord,
    ResidentRecord,
    StateRecord,
    StepRecord,
    Value,
)


def record_tables() -> dict[str, Iterable[str]]:
    """The lines of each table, by the name of its marks."""
    fields = {f"fields of: {name}": _fields(shape) for shape, name in _SHAPES.items()}
    return {"gates": _gates(), "marks": _marks(), **fields}


def _gates() -> Iterator[str]:
    yield "| gate | refuses |"
    yield "| --- | --- |"
    said: dict[str, str] = {}
    for gate in GATES:
        refuses = " ".join((gate.check.__doc__ or "").split()).removeprefix("Refuses ").rstrip(".")
        said.setdefault(gate.name, refuses)
    yield from (f"| `{name}` | {refuses} |" for name, refuses in said.items())


def _marks() -> Iterator[str]:
    yield "| mark | what was not known |"
    yield "| --- | --- |"
    yield from (f"| `{mark.name}` | {mark.unknown} |" for mark in MARKS)


def _fields(shape: type[Shape]) -> Iterator[str]:
    yield "| field | type | meaning |"
    yield "| --- | --- | --- |"
    for field in fields_of(shape):
        null = " or null" if field.nullable else ""
        part = "" if field.part is None else " ◆"
        yield f"| `{field.name}`{part} | {_words(field.kind)}{null} | {field.meaning} |"


def _words(kind: Any) -> str:
    origin, inside = get_origin(kind), get_args(kind)
    if kind is Value:
        return "value"
    if origin is Annotated:
        return _words(inside[0])
    if origin is Literal and inside != (RECORD_VERSION,):
        return ", ".join(f"`{word}`" for word in inside)
    if origin is list:
        return f"list of {_words(inside[0])}"
    if origin is dict:
        return f"{_words(inside[1])} by name"
    if origin in (Union, types.UnionType):
        members = [_words(member) for member in inside if member is not type(None)]
        members = [word for word in members if not (word == "whole number" and "number" in members)]
        return " or ".join([*dict.fromkeys(members), *(["null"] if type(None) in inside else [])])
    return _TYPES.get(plain_type(kind)) or f"*{_SHAPES[kind]}*"


_TYPES: Mapping[Any, str] = {str: "text", bool: "boolean", int: "whole number", float: "number"}

_SHAPES: Mapping[type[Shape], str] = {
    DecisionRecord: "record",
    NamedDigest: "name and digest",
    ArmRecord: "arm",
    RequestRecord: "request",
    FeatureRecord: "feature",
    PriceRecord: "price",
    CandidateRecord: "candidate",
    ChoiceRecord: "choice",
    PlanRecord: "plan",
    StepRecord: "step",
    DroppedRecord: "dropped step",
    EnsembleRecord: "ensemble",
    StateRecord: "state",
    ModelStateRecord: "state of a model",
    MemoryRecord: "memory",
    ResidentRecord: "model in memory",
}
