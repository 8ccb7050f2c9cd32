"""Reads a JSON object as one of the shapes that people write, with all that is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from routewright.engine.policy import parse_yaml, shape_problems
from routewright.engine.report import PolicyError, TaskError

S = TypeVar("S", bound=BaseModel)


def shape_of_text(text: str, shape: type[S], what: str, example: str) -> S:
    """The JSON object in ``text`` as ``shape``; ``what`` names it in messages. Raises TaskError."""
    try:
        values: Any = json.loads(text, parse_constant=refuse_constant, object_pairs_hook=_unique)
    except _Repeated as error:
        raise TaskError(f"the {what} has the key `{error}` twice") from None
    except (ValueError, RecursionError) as error:
        where = ""
        if isinstance(error, json.JSONDecodeError):
            where = f" at column {error.colno}" if error.lineno == 1 else f" at line {error.lineno}"
        raise TaskError(f"the {what} is not JSON{where}", help=example) from None
    if not isinstance(values, Mapping):
        raise TaskError(f"the {what} is not a JSON object", help=example)
    return shape_of_values(values, shape, text)


def shape_of_values(values: Mapping[str, Any], shape: type[S], text: str | None = None) -> S:
    """The values as ``shape``; ``text`` is their JSON where they have been read from it. Raises TaskError."""
    try:
        return shape.model_validate(values)
    except ValidationError as error:
        raise _unfit(error, json.dumps(values) if text is None else text, shape) from None


def refuse_constant(name: str) -> float:
    """Raise ValueError for ``NaN`` and ``Infinity``, which JSON does not have."""
    raise ValueError(f"{name} is not a number")


def _unfit(error: ValidationError, text: str, shape: type[BaseModel]) -> TaskError:
    """What is wrong with a JSON object, in the words that YAML files get: YAML includes nearly all of JSON."""
    try:
        problems = shape_problems(error, parse_yaml(text, ""), shape)
    except PolicyError:
        path = ".".join(map(str, error.errors(include_url=False)[0]["loc"]))
        return TaskError(f"`{path}` does not fit")
    if len(problems) == 1:
        return TaskError(problems[0].message, help=problems[0].help)
    return TaskError("; ".join(f"{p.message} ({p.help})" if p.help else p.message for p in problems))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            raise _Repeated(name)
        values[name] = value
    return values


class _Repeated(Exception):
    """A JSON object has a key twice: one of its values would be ignored in silence."""
