"""What every shape read from YAML is built from: the base model, names, references, conditions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

__all__ = ["CONDITION_SCHEMA", "Condition", "FeatureName", "ModelRef", "Name", "Operation", "Scalar", "Shape"]

Operation = Literal["chat", "embed", "rerank"]

Name = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,99}$")]
"""A name that the author gives: letters, digits, ``_``, ``.``, ``-``; at most 100 characters."""

FeatureName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
"""A name that conditions can use."""

ModelRef = Annotated[
    str,
    Field(min_length=1, max_length=200, description="a model's id, alias or tag, or `backend:tag`"),
]

Scalar = bool | int | float | str


class Shape(BaseModel):
    """Base of everything that is read from YAML: unknown keys are errors, nothing is converted."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, populate_by_name=False)


def _condition(value: object) -> object:
    """Refuse what can never be a condition; its text is parsed by ``compile``."""
    if isinstance(value, (str, bool, dict)):
        return value
    raise ValueError("expected a condition: an expression, or `any:`, `all:` or `none:` with a list")


CONDITION_SCHEMA = {"title": "Condition"}
"""Stands for a condition in generated JSON Schemas; ``schema`` puts the recursive definition in its place."""

Condition = Annotated[Any, BeforeValidator(_condition), WithJsonSchema(CONDITION_SCHEMA)]
"""An expression, or a mapping with one of ``any``, ``all``, ``none`` and a list of conditions."""
