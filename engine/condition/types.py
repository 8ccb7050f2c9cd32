"""The types of conditions, and how two of them go together; no values and no expressions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scalar:
    """A type without parts; `str()` is the word for it in policies and messages."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class ListType:
    """An array; `element` may be an array itself."""

    element: Type

    def __str__(self) -> str:
        return "array" if self.element == NOTHING else f"array of {self.element}"


Type = Scalar | ListType

BOOLEAN = Scalar("boolean")
INTEGER = Scalar("integer")
NUMBER = Scalar("number")
STRING = Scalar("string")
NOTHING = Scalar("nothing")
"""The type without values, which fits every other: elements of `[]`, and names that are always unknown."""
SCALARS: dict[type, Type] = {bool: BOOLEAN, int: INTEGER, float: NUMBER, str: STRING}
"""The type of each Python value that is not a list. A bool is an int in Python, and comes first."""
ANY = Scalar("any")
"""In the library alone: a parameter that takes every type."""
ANY_LIST = ListType(NOTHING)
"""As a parameter, it takes every list."""


@dataclass(frozen=True, slots=True)
class Declaration:
    """What is known about a name before it has a value.

    `enum` lists the values that a scalar, or each element of an array, may have.  `may_be_unknown` is false
    for a name that always has a value; a feature may be given as null.  `kind` is `feature`, `model` or `state`.
    """

    type: Type
    enum: tuple[object, ...] | None = None
    may_be_unknown: bool = True
    kind: str = "feature"


def unify(a: Type, b: Type) -> Type | None:
    """The narrowest type that values of both fit into, or None: an integer widens to number, nothing else."""
    if a == b or b == NOTHING:
        return a
    if a == NOTHING:
        return b
    if {a, b} == {INTEGER, NUMBER}:
        return NUMBER
    if isinstance(a, ListType) and isinstance(b, ListType):
        element = unify(a.element, b.element)
        return None if element is None else ListType(element)
    return None


def accepts(wanted: Type, given: Type) -> bool:
    """Whether a value of type `given` can stand where `wanted` is."""
    if wanted == ANY_LIST:
        return isinstance(given, ListType) or given == NOTHING
    return wanted == ANY or unify(wanted, given) == wanted


def article(type_: Type) -> str:
    """The type with its article: `an integer`, `an array of string`."""
    word = str(type_)
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
