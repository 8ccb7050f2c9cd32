"""What the library says of an operator or a function; everything else is derived from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..types import Type

CALL = 15
"""The steps of calling a Python function."""

SHORT_TEXT = 32
"""The most characters of a number or a boolean as text."""


class Sizes(NamedTuple):
    """The largest number of `elements` of a list, nested ones counted, and of `characters` of all its strings."""

    elements: int
    characters: int


class Operand(NamedTuple):
    """What is known of an operand before anything runs: the sizes of its value, and the value of a constant."""

    elements: int = 0
    characters: int = 0
    constant: object = None

    @property
    def sizes(self) -> Operand:
        """Itself, of another value with the same sizes."""
        return self._replace(constant=None)


def call_steps(*operands: Operand) -> int:
    """The steps of a call whose time does not depend on the sizes of its operands."""
    return CALL


def no_size(*operands: Operand) -> Operand:
    return Operand()


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator or a function does with operands of given types; `name` stands in `typed.Apply`.

    `python` and `reference` are two accounts that share no code of ours. Each takes values of the types in
    `parameters`, never an unknown, and returns None where there is no value, which only an operation that `may_fail`
    does. A `result` of None is the type that the operands have in common.

    `sql` is a third account, DuckDB's SQL: `{a}` and `{b}` stand for the operands, NULL where one is unknown, and
    `{type}` for the SQL type of the result. A capital, `{A}`, takes a number that may still be infinite or NaN, and
    gives one for such. `overflows` says that `sql` may give one for any operands: it stands where there is no value.
    What is variadic joins two values, and then each further one.

    `steps` bounds the time of `python` beyond that of the operands, and `size` the size of its result.
    `with_literal` makes from the last operand, which must then be a literal, the function of the others.
    """

    name: str
    parameters: tuple[Type, ...]
    result: Type | None
    python: Callable[..., Any]
    reference: Callable[..., Any]
    sql: str
    may_fail: bool = False
    steps: Callable[..., int] = call_steps
    size: Callable[..., Operand] = no_size
    with_literal: Callable[[Any], Callable[..., Any]] | None = None
    overflows: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """A function or an operator by its name, with its operations in the order in which they are tried.

    One for integers stands before one for numbers. `method` is whether `x.f(…)` works; `f(x, …)` always does.
    `variadic` takes two or more operands of one type where one parameter is declared, or a list of them. `other_names`
    are those that other languages have for it. `takes` and `gives` are said where the operations do not say it well.
    """

    name: str
    operations: tuple[Operation, ...]
    says: str
    example: str = ""
    method: bool = False
    variadic: bool = False
    other_names: tuple[str, ...] = ()
    takes: str = ""
    gives: str = ""
