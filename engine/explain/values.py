"""The JSON form of an explanation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel

from ..condition import UNKNOWN
from .explanation import Explanation

_NAMES = {"old": "from", "new": "to"}
"""Keys of the JSON that cannot be names of fields in Python."""


def explanation_values(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON has it, field by field; unknown values are null."""
    values: dict[str, Any] = _plain(explanation)
    return values


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if hasattr(value, "_asdict"):
        return {_NAMES.get(name, name): _plain(one) for name, one in value._asdict().items()}
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return None if value is UNKNOWN else value
