"""The ``model.*`` facts that conditions may use: their values for each model, and their types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...condition import BOOLEAN, INTEGER, NUMBER, STRING, Declaration, ListType, Type
from ..compiled import CompiledModel
from ..locality import Location
from ..shapes.catalog import Model

_TYPES: Mapping[str, Type] = {
    "id": STRING,
    "backend": STRING,
    "kind": STRING,
    "location": STRING,
    "tag": STRING,
    "operations": ListType(STRING),
    "capabilities": ListType(STRING),
    "recommended_for": ListType(STRING),
    "architecture": STRING,
    "quantization": STRING,
    "total_parameters": INTEGER,
    "active_parameters": INTEGER,
    "context_length": INTEGER,
    "max_output_tokens": INTEGER,
    "embedding_space": STRING,
    "dimensions": INTEGER,
    "memory_gb": NUMBER,
    "size_bytes": INTEGER,
    "price_input": NUMBER,
    "price_output": NUMBER,
    "expected_latency_ms": INTEGER,
}

_NARROWED = ("id", "backend", "kind", "location", "architecture", "embedding_space")
"""Facts whose values in the catalog are all that conditions may compare them with."""

STATE_SCOPE: Mapping[str, Declaration] = {
    "state.load": Declaration(NUMBER, kind="state"),
    "state.hour": Declaration(INTEGER, kind="state"),
    "state.weekday": Declaration(INTEGER, kind="state"),
}
"""What every condition may know of the state: load from 0 to 1; hour 0-23 and weekday 1-7 (Monday is 1), UTC."""

CANDIDATE_STATE: Mapping[str, Declaration] = {
    "state.latency_ms": Declaration(NUMBER, kind="state"),
    "state.loaded": Declaration(BOOLEAN, kind="state"),
    "state.load_ms": Declaration(INTEGER, kind="state"),
}
"""What conditions on a candidate may know besides: fields of its ``ModelState``."""


def facts_of(
    id: str, model: Model, kind: str, location: Location | None, operations: Iterable[str]
) -> Mapping[str, object]:
    """The facts that the catalog gives of a model; what it does not give is left out, and so unknown."""
    worked_out: dict[str, object] = {
        "id": id,
        "kind": kind,
        "location": location,
        "tag": model.tag or id,
        "operations": tuple(sorted(operations)),
        "memory_gb": None if model.memory_gb is None else float(model.memory_gb),
        "price_input": float(model.price.input) if model.price else None,
        "price_output": float(model.price.output) if model.price else None,
        "expected_latency_ms": model.expected_latency,
    }
    facts = {}
    for name in _TYPES:
        value = worked_out[name] if name in worked_out else getattr(model, name)
        if value is not None:
            facts[f"model.{name}"] = tuple(value) if isinstance(value, list) else value
    return facts


def model_scope(models: Sequence[CompiledModel]) -> Mapping[str, Declaration]:
    """The ``model.*`` names and their types, narrowed to the values that the catalog holds."""
    scope = {}
    for name, type in _TYPES.items():
        values = [model.facts.get(f"model.{name}") for model in models]
        known = {value for value in values if isinstance(value, str)}
        if name == "location":
            known = {"local", "cloud"}
        enum = tuple(sorted(known)) if name in _NARROWED and known else None
        scope[f"model.{name}"] = Declaration(type, enum, any(v is None for v in values), "model")
    return scope
