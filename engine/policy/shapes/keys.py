"""A shape and a path in it in, the keys that are allowed there out, by following the annotations."""

from __future__ import annotations

import types
from collections.abc import Iterable
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from ..source import Path


def keys_at(model: type[BaseModel], path: Path) -> list[str]:
    """The keys that are allowed at ``path`` below ``model``, in their order."""
    kinds: list[Any] = [model]
    for step in path:
        kinds = [inner for kind in kinds for inner in _below(kind, step)]
    return [
        field.alias or name
        for kind in kinds
        if isinstance(kind, type) and issubclass(kind, BaseModel)
        for name, field in kind.model_fields.items()
    ]


def _below(kind: Any, step: str | int) -> Iterable[Any]:
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            if (field.alias or name) == step:
                yield from _unwrapped(field.annotation)
    elif get_origin(kind) is list and isinstance(step, int):
        yield from _unwrapped(get_args(kind)[0])
    elif get_origin(kind) is dict and isinstance(step, str):
        yield from _unwrapped(get_args(kind)[1])


def _unwrapped(annotation: Any) -> Iterable[Any]:
    """The members of a union, without ``Annotated``."""
    if get_origin(annotation) in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _unwrapped(member)
    elif hasattr(annotation, "__metadata__"):
        yield from _unwrapped(get_args(annotation)[0])
    else:
        yield annotation
