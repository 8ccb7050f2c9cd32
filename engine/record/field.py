"""What is said of a record's field: type, meaning, where it is stored, and where its value comes from."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer
from pydantic import Field as _PydanticField

Place = Literal["row", "policy", "plan", "arm", "state"]
"""Where the ledger keeps a field. ``row``: what differs from call to call. ``policy``, ``plan`` and ``arm`` are kept
once for all decisions that have the same, and ``state`` by model, from when it changed."""

Part = Literal["whole", "by_key"]
"""How a field stands in what a record's digest is made of: as the digest of its canonical JSON; or, for a mapping, as
the digest of an object from its keys to the digests of its values. Null stands as itself."""

Take = Callable[[Any, Any], Any]
"""Gets a field's value from the object that is recorded and its decision."""


class Kind(str):
    """Says more of a type than Python's does."""


Uuid = Annotated[str, Kind("uuid")]
"""The id of one decision: text that no other record repeats."""
Ordinal = Annotated[int, Kind("ordinal")]
"""A small whole number that counts."""


class NotStored:
    """Marks a field of a named tuple that no table has."""


class Shape(BaseModel):
    """Fields that are recorded together. Strict: nothing is converted, so what is read is what was written."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _serialized(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        values: dict[str, Any] = handler(self)
        for field in fields_of(type(self)):
            if field.added and values.get(field.name, 0) is None:
                del values[field.name]
        return values


S = TypeVar("S", bound=Shape)


class Field(NamedTuple):
    """One field of a shape.

    ``kind`` is its type without null, ``nullable`` whether it may be null. ``shape`` is what it holds, itself or (where
    ``kind`` is a list or dict) as elements. ``of`` is a path of attributes from the recorded object, or from its
    ``decision``; ``take`` gets the value where there is no such path. One that was ``added`` is left out while it is
    null.
    """

    name: str
    kind: Any
    nullable: bool
    shape: type[Shape] | None
    meaning: str
    place: Place | None
    part: Part | None
    of: str
    take: Take | None
    added: bool


def field(
    meaning: str,
    *,
    place: Place | None = None,
    part: Part | None = None,
    of: str | None = None,
    take: Take | None = None,
    added: bool = False,
) -> Any:
    """Declare a field of a shape; without a ``place`` it is where the field that holds the shape is.

    ``added`` says that older records of this version lack it. It is left out while it is null, so that the bytes of
    records without it stay what they were.
    """
    about: Any = {"place": place, "part": part, "of": of, "take": take, "added": added}
    return _PydanticField(None if added else ..., description=meaning, json_schema_extra=about)


@cache
def fields_of(shape: type[Shape]) -> tuple[Field, ...]:
    """The fields of ``shape`` in their order."""
    hints = get_type_hints(shape, include_extras=True)
    found = []
    for name, info in shape.model_fields.items():
        about: Any = info.json_schema_extra
        kind, nullable = without_null(hints[name])
        inner = get_args(kind)[-1] if get_origin(kind) in (list, dict) else kind
        inside = inner if isinstance(inner, type) and issubclass(inner, Shape) else None
        about = {**about, "of": about["of"] or name}
        found.append(Field(name, kind, nullable, inside, info.description or "", **about))
    return tuple(found)


def without_later_fields(shape: S, older: S) -> S:
    """``shape`` without the added fields that ``older`` lacks: it was recorded before there were any."""
    changes: dict[str, Any] = {}
    for field in fields_of(type(shape)):
        value, known = getattr(shape, field.name), getattr(older, field.name)
        if field.added and known is None:
            changes[field.name] = None
        elif isinstance(value, Shape) and isinstance(known, Shape):
            changes[field.name] = without_later_fields(value, known)
    return shape.model_copy(update=changes)


class Column(NamedTuple):
    """A column that is made from a field of a named tuple; ``kind`` is its type without null."""

    name: str
    kind: Any
    meaning: str


@cache
def columns_of(row: type[NamedTuple]) -> tuple[Column, ...]:
    """The stored fields of a named tuple, each annotated with its meaning, in their order."""
    found = []
    for name, annotation in get_type_hints(row, include_extras=True).items():
        said = {type(one): one for one in getattr(annotation, "__metadata__", ())}
        if NotStored not in said:
            found.append(Column(name, said.get(Kind, without_null(annotation.__origin__)[0]), said[str]))
    return tuple(found)


def without_null(annotation: Any) -> tuple[Any, bool]:
    """A type without None, and whether it had it."""
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation, False
    members = [member for member in get_args(annotation) if member is not type(None)]
    left = members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007  # made from a list
    return left, len(members) < len(get_args(annotation))


def plain_type(kind: Any) -> Any:
    """A type without what is annotated to it: ``str`` for a literal."""
    if get_origin(kind) is Annotated:
        return plain_type(get_args(kind)[0])
    return type(get_args(kind)[0]) if get_origin(kind) is Literal else kind


def taken(field: Field, names: dict[str, Any]) -> str:
    """The Python expression for a field's value of ``x`` and its ``decision``; ``names`` gets what it calls."""
    if field.take is None:
        return field.of if field.of.startswith("decision.") else f"x.{field.of}"
    names[f"take_{field.name}"] = field.take
    return f"take_{field.name}(x, decision)"


def generated(arguments: str, result: str, names: Mapping[str, Any]) -> Any:
    """A function made from the expression of its result: several times faster than going through fields."""
    return eval(f"lambda {arguments}: {result}", dict(names))
