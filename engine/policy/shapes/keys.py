"""The keys that are allowed at a place of a file, told from the annotations of its shape."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from ..source.document import Path


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that are allowed at ``path`` below ``model``, in their order.

    ``path`` is a location as pydantic gives it: it may also name members of unions, such as the kind of a backend.
    """
    shapes: list[Any] = [model]
    for step in path:
        # A step that leads nowhere names a member in pydantic's words.
        shapes = [inner for shape in shapes for inner in _below(shape, step)] or shapes
    found = [
        field.alias or name
        for shape in shapes
        if _is_model(shape)
        for name, field in shape.model_fields.items()
    ]
    return list(dict.fromkeys(found))


def takers(model: type[BaseModel], key: str) -> list[str]:
    """The keys of a file of ``model`` under which ``key`` may stand, at any depth, as in ``["controls"]``.

    >>> from .policy import Policy
    >>> takers(Policy, "max_cost"), takers(Policy, "judge")
    (['controls'], ['ensemble'])
    """
    return list(_takers(model).get(key, ()))


@cache
def _takers(model: type[BaseModel]) -> Mapping[str, tuple[str, ...]]:
    """By key, what it may stand under; keys at the top of the file are none of it."""
    found: dict[str, dict[str, None]] = {}
    seen: set[tuple[str, Any]] = set()
    waiting: list[tuple[str, Any]] = [("", model)]
    while waiting:
        above, shape = waiting.pop(0)
        if (above, shape) in seen or not _is_model(shape):
            continue
        seen.add((above, shape))
        for name, field in shape.model_fields.items():
            key = field.alias or name
            if above:
                found.setdefault(key, {})[above] = None
            waiting += [(key, inner) for inner in _members(field.annotation)]
    return {key: tuple(places) for key, places in found.items()}


def _members(annotation: Any) -> Iterable[Any]:
    """The shapes that a value of this annotation holds, through lists and mappings."""
    for shape in _unwrapped(annotation):
        if get_origin(shape) in (list, dict):
            yield from _members(get_args(shape)[-1])
        else:
            yield shape


def _below(shape: Any, step: str | int) -> Iterable[Any]:
    if _is_model(shape):
        for name, field in shape.model_fields.items():
            if (field.alias or name) == step:
                yield from _unwrapped(field.annotation)
            elif name == "kind" and get_args(field.annotation) == (step,):
                yield shape
    elif get_origin(shape) is list and isinstance(step, int):
        yield from _unwrapped(get_args(shape)[0])
    elif get_origin(shape) is dict and isinstance(step, str):
        yield from _unwrapped(get_args(shape)[1])


def _is_model(shape: Any) -> bool:
    return isinstance(shape, type) and issubclass(shape, BaseModel)


def _unwrapped(annotation: Any) -> Iterable[Any]:
    """The members of a union, without ``Annotated``."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _unwrapped(member)
    elif hasattr(annotation, "__metadata__"):
        yield from _unwrapped(get_args(annotation)[0])
    else:
        yield annotation
